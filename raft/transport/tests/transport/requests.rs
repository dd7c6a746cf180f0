//! Requests and answers on every lane.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Barrier, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use transport::network::{Error, Lane, Network as _, PeerId, Refusal, Sent};

use crate::support::*;

#[tokio::test]
async fn every_lane_answers_and_says_who_asked() {
    let (one, _two) = Cluster::new().pair(handlers(|from, body, _| async move {
        Ok([format!("{from}:").as_bytes(), &body].concat().into())
    }));
    for lane in LANES {
        let answer = bounded(ask(&one, 2, lane, b"hello")).await;
        assert_eq!(answer.unwrap(), "1:hello", "{lane:?}");
    }
    assert!(one.round_trip(PeerId(2)).is_some());
    let sent = Sent {
        requests: 4,
        ..Sent::default()
    };
    assert_eq!(one.sent(), sent);
}

#[tokio::test]
async fn both_ask_each_other() {
    let (one, two) = Cluster::new().pair(echo());
    one.serve(echo());
    assert_eq!(bounded(ask(&one, 2, FORWARD, b"a")).await.unwrap(), "a");
    assert_eq!(bounded(ask(&two, 1, FORWARD, b"b")).await.unwrap(), "b");
}

#[tokio::test]
async fn a_refusal_carries_the_handlers_words() {
    let refuse = handlers(|_, _, _| async { Err(Refusal("not the leader".into())) });
    let (one, _two) = Cluster::new().pair(refuse);
    for lane in LANES {
        let refused = Error::Refused {
            peer: PeerId(2),
            why: "not the leader".into(),
        };
        assert_eq!(bounded(ask(&one, 2, lane, b"")).await, Err(refused));
    }
}

#[tokio::test]
async fn an_unknown_service_is_refused_in_words() {
    let (one, _two) = Cluster::new().pair(echo());
    for lane in [Lane::Urgent, Lane::Log, Lane::Forward] {
        let answer = bounded(ask(&one, 2, service(99, lane, "newer"), b"")).await;
        match answer {
            Err(Error::Refused { why, .. }) => assert!(why.contains("service 99"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn requests_wait_until_the_peer_serves() {
    let cluster = Cluster::new();
    let (one, two) = (cluster.node(1), cluster.node(2));
    meet(&[&one, &two]);
    let asked = tokio::spawn(async move { ask(&one, 2, FORWARD, b"early").await });
    sleep(Duration::from_millis(100)).await;
    assert!(!asked.is_finished());
    two.serve(echo());
    assert_eq!(bounded(asked).await.unwrap().unwrap(), "early");
}

#[tokio::test]
async fn log_requests_begin_in_order_and_none_waits_for_the_one_before_it() {
    const AT_ONCE: u8 = 50;
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    // Nobody is answered until so many are there.
    let barrier = Arc::new(Barrier::new(usize::from(AT_ONCE)));
    let (one, _two) = Cluster::new().pair(handlers(move |_, body, _| {
        let (seen, barrier) = (seen.clone(), barrier.clone());
        async move {
            let number = body[0];
            seen.lock().unwrap().push(number);
            if number > 0 {
                barrier.wait().await;
                sleep(Duration::from_millis(u64::from(number % 3))).await;
            }
            Ok(body)
        }
    }));
    // The connection first: who waits for a dial may be woken in any order.
    bounded(ask(&one, 2, LOG, &[0])).await.unwrap();
    let mut asked = JoinSet::new();
    for number in 1..=4 * AT_ONCE {
        let one = one.clone();
        asked.spawn(async move {
            let answer = ask(&one, 2, LOG, &[number]).await.unwrap();
            assert_eq!(answer[..], [number]);
        });
    }
    bounded(asked.join_all()).await;
    assert_eq!(
        *order.lock().unwrap(),
        (0..=4 * AT_ONCE).collect::<Vec<u8>>()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_forwarded_requests_are_handled_at_once() {
    // Nobody is answered until all are there.
    let barrier = Arc::new(Barrier::new(1000));
    let (one, _two) = Cluster::new().pair(handlers(move |_, body, _| {
        let barrier = barrier.clone();
        async move {
            barrier.wait().await;
            Ok(body)
        }
    }));
    let mut asked = JoinSet::new();
    for number in 0..1000_u32 {
        let one = one.clone();
        asked.spawn(async move {
            let body = number.to_be_bytes();
            assert_eq!(ask(&one, 2, FORWARD, &body).await.unwrap()[..], body);
        });
    }
    bounded(asked.join_all()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_forwarded_requests_than_fit_wait_their_turn() {
    let busy = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let peak = most.clone();
    let (one, _two) = Cluster::new().pair(handlers(move |_, body, _| {
        let (busy, most) = (busy.clone(), most.clone());
        async move {
            most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_millis(30)).await;
            busy.fetch_sub(1, Ordering::SeqCst);
            Ok(body)
        }
    }));
    let mut asked = JoinSet::new();
    for _ in 0..5000 {
        let one = one.clone();
        asked.spawn(async move { ask(&one, 2, FORWARD, b"x").await.unwrap() });
    }
    assert_eq!(bounded(asked.join_all()).await.len(), 5000);
    let peak = peak.load(Ordering::SeqCst);
    assert!((100..=1024).contains(&peak), "{peak} at once");
}

#[tokio::test]
async fn a_slow_forwarded_request_holds_up_no_other() {
    let (one, _two) = Cluster::new().pair(handlers(|_, body, _| async move {
        if body == "slow" {
            sleep(PLENTY).await;
        }
        Ok(body)
    }));
    let slow = tokio::spawn({
        let one = one.clone();
        async move { ask(&one, 2, FORWARD, b"slow").await }
    });
    for _ in 0..10 {
        assert_eq!(
            bounded(ask(&one, 2, FORWARD, b"quick")).await.unwrap(),
            "quick"
        );
    }
    assert!(!slow.is_finished());
    slow.abort();
}

#[tokio::test]
async fn the_deadline_goes_along_and_ends_the_handler() {
    for lane in LANES {
        let (dropped, was_dropped) = oneshot::channel::<()>();
        let (dropped, lefts) = (Mutex::new(Some(dropped)), Arc::new(Mutex::new(Vec::new())));
        let seen = lefts.clone();
        let (one, _two) = Cluster::new().pair(handlers(move |_, _, left| {
            seen.lock().unwrap().push(left);
            let alive = dropped.lock().unwrap().take();
            async move {
                sleep(PLENTY).await;
                drop(alive);
                Ok(Bytes::new())
            }
        }));
        let within = Duration::from_millis(300);
        let started = Instant::now();
        let answer = bounded(one.request(PeerId(2), lane, Bytes::new(), within)).await;
        assert!(
            matches!(answer, Err(Error::NoAnswer { .. })),
            "{lane:?}: {answer:?}"
        );
        assert!(started.elapsed() >= within && started.elapsed() < 10 * within);
        // The channel closes when the handler's future is dropped.
        bounded(was_dropped).await.unwrap_err();
        assert!(started.elapsed() < 10 * within, "the handler ran on");
        let left = lefts.lock().unwrap()[0];
        assert!(
            left <= within && left > Duration::from_millis(50),
            "{left:?}"
        );
    }
}

#[tokio::test]
async fn large_bodies_pass_and_too_large_ones_are_refused_in_words() {
    let (one, _two) = Cluster::new().pair(handlers(|_, body, _| async move {
        if body == "too much" {
            return Ok(vec![0; (64 << 20) + 1].into());
        }
        Ok(body)
    }));
    let large = Bytes::from(vec![7; 10 << 20]);
    for lane in LANES {
        let answer = one.request(PeerId(2), lane, large.clone(), PLENTY);
        assert_eq!(bounded(answer).await.unwrap(), large, "{lane:?}");
    }
    let too_large = Bytes::from(vec![7; (64 << 20) + 1]);
    let answer = bounded(one.request(PeerId(2), FORWARD, too_large, PLENTY)).await;
    assert!(matches!(&answer, Err(Error::Refused { why, .. }) if why.contains("67108865 bytes")));
    let answer = bounded(ask(&one, 2, FORWARD, b"too much")).await;
    assert!(matches!(&answer, Err(Error::Refused { why, .. }) if why.contains("67108865 bytes")));
    assert_eq!(
        bounded(ask(&one, 2, FORWARD, b"still there"))
            .await
            .unwrap(),
        "still there"
    );
}

#[tokio::test]
async fn closing_ends_requests_and_lets_go_of_handlers() {
    let held = Arc::new(());
    let hold = held.clone();
    let (one, two) = Cluster::new().pair(handlers(move |_, body, _| {
        let _held = hold.clone();
        async move { Ok(body) }
    }));
    bounded(ask(&one, 2, FORWARD, b"x")).await.unwrap();
    bounded(two.close()).await;
    until("handlers dropped", || Arc::strong_count(&held) == 1).await;
    let answer = bounded(one.request(PeerId(2), FORWARD, Bytes::new(), Duration::from_secs(2)));
    assert!(matches!(answer.await, Err(Error::Unreachable { .. })));
    bounded(one.close()).await;
    let answer = bounded(ask(&one, 2, FORWARD, b"x")).await;
    assert!(
        matches!(answer, Err(Error::Unreachable { .. })),
        "{answer:?}"
    );
}
