//! The twin in memory keeps the same promises.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Barrier, mpsc};
use tokio::time::{Instant, sleep};
use transport::memory::{Fault, Hub, Link, MemoryNetwork};
use transport::network::{Error, Handlers, Network, PeerId, Refusal};

use crate::support::{BULK, FORWARD, LANES, LOG, PLENTY, bounded, echo, handlers, receiver};

fn pair(handlers: Handlers) -> (Hub, Arc<MemoryNetwork>, Arc<MemoryNetwork>) {
    let hub = Hub::new();
    let (one, two) = (hub.join(PeerId(1)), hub.join(PeerId(2)));
    two.serve(handlers);
    (hub, one, two)
}

async fn ask(from: &MemoryNetwork, to: u64, within: Duration) -> Result<Bytes, Error> {
    from.request(PeerId(to), FORWARD, "x".into(), within).await
}

#[tokio::test]
async fn it_answers_and_refuses() {
    let (_hub, one, _two) = pair(handlers(|from, body, _| async move {
        if body.is_empty() {
            return Err(Refusal("empty".into()));
        }
        Ok([format!("{from}:").as_bytes(), &body].concat().into())
    }));
    for lane in LANES {
        let answer = one.request(PeerId(2), lane, "hi".into(), PLENTY).await;
        assert_eq!(answer.unwrap(), "1:hi");
        let refused = one.request(PeerId(2), lane, Bytes::new(), PLENTY).await;
        assert_eq!(
            refused,
            Err(Error::Refused {
                peer: PeerId(2),
                why: "empty".into()
            })
        );
    }
    assert_eq!(one.sent().requests, 8);
}

#[tokio::test]
async fn cuts_and_delays_act_on_one_direction() {
    let (hub, one, two) = pair(echo());
    one.serve(echo());
    let delay = Duration::from_millis(70);
    hub.set_link(
        PeerId(1),
        PeerId(2),
        Link {
            delay,
            ..Link::default()
        },
    );
    let started = Instant::now();
    ask(&one, 2, PLENTY).await.unwrap();
    assert!(started.elapsed() >= delay, "{:?}", started.elapsed());
    assert_eq!(one.round_trip(PeerId(2)), Some(delay));

    let started = Instant::now();
    let late = ask(&one, 2, delay / 2).await;
    assert!(matches!(late, Err(Error::NoAnswer { .. })), "{late:?}");
    assert!(started.elapsed() >= delay / 2, "{:?}", started.elapsed());

    hub.cut(PeerId(1), PeerId(2));
    for (from, to) in [(&one, 2), (&two, 1)] {
        let cut = ask(from, to, delay).await;
        assert!(matches!(cut, Err(Error::NoAnswer { .. })), "{cut:?}");
    }
    let gone = Link {
        fault: Fault::Unreachable,
        ..Link::default()
    };
    hub.set_link(PeerId(1), PeerId(2), gone);
    assert!(matches!(
        ask(&one, 2, PLENTY).await,
        Err(Error::Unreachable { .. })
    ));
    hub.heal();
    ask(&one, 2, PLENTY).await.unwrap();
    ask(&two, 1, PLENTY).await.unwrap();
}

#[tokio::test]
async fn a_crashed_node_comes_back_with_new_handlers() {
    let (hub, one, two) = pair(echo());
    hub.leave(PeerId(2));
    assert!(matches!(
        ask(&one, 2, PLENTY).await,
        Err(Error::Unreachable { .. })
    ));
    assert!(matches!(
        ask(&two, 1, PLENTY).await,
        Err(Error::Unreachable { .. })
    ));
    let again = hub.join(PeerId(2));
    again.serve(handlers(|_, _, _| async { Ok("again".into()) }));
    assert_eq!(ask(&one, 2, PLENTY).await.unwrap(), "again");
    assert!(matches!(
        ask(&two, 1, PLENTY).await,
        Err(Error::Unreachable { .. })
    ));
}

#[tokio::test]
async fn log_requests_begin_in_order_and_none_waits_for_the_one_before_it() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    // Nobody is answered until all are there.
    let barrier = Arc::new(Barrier::new(10));
    let (_hub, one, _two) = pair(handlers(move |_, body, _| {
        let (seen, barrier) = (seen.clone(), barrier.clone());
        async move {
            seen.lock().unwrap().push(body[0]);
            barrier.wait().await;
            Ok(body)
        }
    }));
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..10_u8 {
        let one = one.clone();
        asked.spawn(async move {
            let body = Bytes::copy_from_slice(&[number]);
            one.request(PeerId(2), LOG, body, PLENTY).await.unwrap();
        });
    }
    asked.join_all().await;
    assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<u8>>());
}

#[tokio::test]
async fn transfers_end_whole_or_broken() {
    let (tell, mut told) = mpsc::channel(4);
    let (hub, one, _two) = pair(receiver(move |_, _, mut chunks| {
        let tell = tell.clone();
        async move {
            tell.send("begun").await.unwrap();
            let mut bytes = 0;
            while let Some(chunk) = chunks.recv().await {
                let Ok(chunk) = chunk else {
                    tell.send("broken").await.unwrap();
                    return Err(Refusal("broken".into()));
                };
                bytes += chunk.len();
            }
            tell.send("whole").await.unwrap();
            Ok(Bytes::from(bytes.to_string()))
        }
    }));
    let (send, chunks) = mpsc::channel(10);
    for _ in 0..10 {
        send.send(Bytes::from_static(b"12345")).await.unwrap();
    }
    drop(send);
    let answer = one
        .transfer(PeerId(2), BULK, Bytes::new(), chunks, PLENTY)
        .await;
    assert_eq!(answer.unwrap(), "50");
    assert_eq!(bounded(told.recv()).await, Some("begun"));
    assert_eq!(bounded(told.recv()).await, Some("whole"));

    let (send, chunks) = mpsc::channel(10);
    let transfer = tokio::spawn({
        let one = one.clone();
        async move {
            one.transfer(PeerId(2), BULK, Bytes::new(), chunks, PLENTY)
                .await
        }
    });
    send.send(Bytes::from_static(b"12345")).await.unwrap();
    assert_eq!(bounded(told.recv()).await, Some("begun"));
    transfer.abort();
    assert_eq!(bounded(told.recv()).await, Some("broken"));

    let (send, chunks) = mpsc::channel(10);
    let stalled = Duration::from_millis(300);
    let transfer = one.transfer(PeerId(2), BULK, Bytes::new(), chunks, stalled);
    let cut = async {
        send.send(Bytes::from_static(b"12345")).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        hub.cut(PeerId(1), PeerId(2));
        send.send(Bytes::from_static(b"12345")).await.unwrap();
    };
    let (answer, ()) = tokio::join!(transfer, cut);
    assert!(matches!(answer, Err(Error::NoAnswer { .. })), "{answer:?}");
    assert_eq!(bounded(told.recv()).await, Some("begun"));
    assert_eq!(bounded(told.recv()).await, Some("broken"));
}

#[tokio::test]
async fn messages_find_their_address() {
    let (hub, one, two) = pair(echo());
    let mut inbox = two.messages().unwrap();
    one.message(two.local_addr(), "hello".into());
    let message = inbox.recv().await.unwrap();
    assert_eq!(
        (message.from, message.address),
        (PeerId(1), one.local_addr())
    );
    hub.cut(PeerId(1), PeerId(2));
    one.message(two.local_addr(), "lost".into());
    hub.heal();
    one.message(two.local_addr(), "second".into());
    assert_eq!(inbox.recv().await.unwrap().body, "second");
}
