//! Long bodies: whole, cancelled, stalled, refused.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use transport::network::{Error, Handlers, Network as _, PeerId, Refusal, Sent};

use crate::support::*;

const CHUNK: usize = 1 << 20;

/// A sender that goes on until nobody listens.
fn endless() -> mpsc::Receiver<Bytes> {
    let (send, chunks) = mpsc::channel(2);
    tokio::spawn(async move {
        let chunk = Bytes::from(vec![1; CHUNK]);
        while send.send(chunk.clone()).await.is_ok() {}
    });
    chunks
}

/// Reads everything and tells how it ended.
fn watching() -> (Handlers, mpsc::Receiver<Result<usize, Error>>) {
    let (tell, told) = mpsc::channel(4);
    let handlers = receiver(move |_, _, mut chunks| {
        let tell = tell.clone();
        async move {
            let mut bytes = 0;
            while let Some(chunk) = chunks.recv().await {
                match chunk {
                    Ok(chunk) => bytes += chunk.len(),
                    Err(error) => {
                        tell.send(Err(error)).await.unwrap();
                        return Err(Refusal("broken off".into()));
                    }
                }
            }
            tell.send(Ok(bytes)).await.unwrap();
            Ok(Bytes::from(bytes.to_string()))
        }
    });
    (handlers, told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_arrive_whole_while_requests_pass() {
    let mut handlers = receiver(|from, head, mut chunks| async move {
        assert_eq!((from, &head[..]), (PeerId(1), &b"head"[..]));
        let mut hash = Sha256::new();
        while let Some(chunk) = chunks.recv().await {
            hash.update(chunk.unwrap());
        }
        Ok(hash.finalize().to_vec().into())
    });
    handlers.requests = echo().requests;
    let (one, _two) = Cluster::new().pair(handlers);
    let (send, chunks) = mpsc::channel(2);
    let hash = tokio::spawn(async move {
        let mut hash = Sha256::new();
        for number in 0..100_u8 {
            let chunk = Bytes::from(vec![number; CHUNK]);
            hash.update(&chunk);
            send.send(chunk).await.unwrap();
        }
        hash.finalize()
    });
    let transfer = tokio::spawn({
        let one = one.clone();
        async move {
            one.transfer(PeerId(2), BULK, "head".into(), chunks, PLENTY)
                .await
        }
    });
    while !transfer.is_finished() {
        bounded(ask(&one, 2, URGENT, b"beat")).await.unwrap();
    }
    let answer = transfer.await.unwrap().unwrap();
    assert_eq!(answer, hash.await.unwrap().to_vec());
    assert_eq!(one.sent().transfers, 1);
}

#[tokio::test]
async fn an_empty_transfer_is_one_too() {
    let (handlers, mut told) = watching();
    let (one, _two) = Cluster::new().pair(handlers);
    let (send, chunks) = mpsc::channel(1);
    drop(send);
    let answer = bounded(one.transfer(PeerId(2), BULK, Bytes::new(), chunks, PLENTY)).await;
    assert_eq!(answer.unwrap(), "0");
    assert_eq!(told.recv().await, Some(Ok(0)));
    assert_eq!(
        one.sent(),
        Sent {
            transfers: 1,
            ..Sent::default()
        }
    );
}

#[tokio::test]
async fn dropping_the_future_breaks_the_transfer_off() {
    let (handlers, mut told) = watching();
    let (one, _two) = Cluster::new().pair(handlers);
    let (send, chunks) = mpsc::channel(1);
    let transfer = tokio::spawn({
        let one = one.clone();
        async move {
            one.transfer(PeerId(2), BULK, Bytes::new(), chunks, PLENTY)
                .await
        }
    });
    for _ in 0..3 {
        send.send(Bytes::from(vec![0; CHUNK])).await.unwrap();
    }
    transfer.abort();
    let end = bounded(told.recv()).await.unwrap();
    assert!(
        matches!(
            end,
            Err(Error::NoAnswer {
                peer: PeerId(1),
                ..
            })
        ),
        "{end:?}"
    );
}

#[tokio::test]
async fn losing_the_connection_breaks_the_transfer_off() {
    let (handlers, mut told) = watching();
    let (one, _two) = Cluster::new().pair(handlers);
    let transfer = tokio::spawn({
        let one = one.clone();
        async move {
            one.transfer(PeerId(2), BULK, Bytes::new(), endless(), PLENTY)
                .await
        }
    });
    until("connected", || one.round_trip(PeerId(2)).is_some()).await;
    bounded(one.close()).await;
    let answer = bounded(transfer).await.unwrap();
    assert!(matches!(answer, Err(Error::NoAnswer { .. })), "{answer:?}");
    let end = bounded(told.recv()).await.unwrap();
    assert!(matches!(end, Err(Error::NoAnswer { .. })), "{end:?}");
}

#[tokio::test]
async fn a_receiver_that_does_not_read_stalls_the_sender_until_it_gives_up() {
    let parked = Arc::new(Mutex::new(Vec::new()));
    let park = parked.clone();
    let mut handlers = receiver(move |_, _, chunks| {
        let park = park.clone();
        async move {
            park.lock().await.push(chunks);
            std::future::pending().await
        }
    });
    handlers.requests = echo().requests;
    let (one, _two) = Cluster::new().pair(handlers);
    let started = Instant::now();
    let stalled = Duration::from_secs(1);
    let transfer = tokio::spawn({
        let one = one.clone();
        async move {
            one.transfer(PeerId(2), BULK, Bytes::new(), endless(), stalled)
                .await
        }
    });
    // Meanwhile nothing else suffers.
    while !transfer.is_finished() {
        for lane in [URGENT, LOG, FORWARD] {
            bounded(ask(&one, 2, lane, b"x")).await.unwrap();
        }
    }
    let answer = transfer.await.unwrap();
    assert!(matches!(answer, Err(Error::NoAnswer { .. })), "{answer:?}");
    assert!(started.elapsed() >= stalled && started.elapsed() < PLENTY);
    // And the receiver, when it looks again, learns of it.
    let mut chunks = parked.lock().await.pop().unwrap();
    let last = bounded(async {
        let mut last = None;
        while let Some(chunk) = chunks.recv().await {
            last = Some(chunk);
        }
        last
    });
    assert!(matches!(last.await, Some(Err(Error::NoAnswer { .. }))));
}

#[tokio::test]
async fn a_sender_without_chunks_stalls_too() {
    let (handlers, mut told) = watching();
    let (one, _two) = Cluster::new().pair(handlers);
    let (_send, chunks) = mpsc::channel(1);
    let stalled = Duration::from_millis(300);
    let answer = bounded(one.transfer(PeerId(2), BULK, Bytes::new(), chunks, stalled)).await;
    assert!(matches!(answer, Err(Error::NoAnswer { .. })), "{answer:?}");
    assert!(matches!(bounded(told.recv()).await, Some(Err(_))));
}

#[tokio::test]
async fn a_receiver_may_refuse_before_the_end() {
    let handlers = receiver(|_, _, mut chunks| async move {
        chunks.recv().await.unwrap().unwrap();
        Err(Refusal("disk full".into()))
    });
    let (one, _two) = Cluster::new().pair(handlers);
    for _ in 0..3 {
        let transfer = one.transfer(PeerId(2), BULK, Bytes::new(), endless(), PLENTY);
        let refused = Error::Refused {
            peer: PeerId(2),
            why: "disk full".into(),
        };
        assert_eq!(bounded(transfer).await, Err(refused));
    }
    let unknown = service(77, BULK.lane, "newer");
    let transfer = one.transfer(PeerId(2), unknown, Bytes::new(), endless(), PLENTY);
    let answer = bounded(transfer).await;
    assert!(matches!(&answer, Err(Error::Refused { why, .. }) if why.contains("service 77")));
}
