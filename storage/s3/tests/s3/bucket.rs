//! `storage`'s bucket against a server that is well, slow, broken, gone or not ours.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::Method;
use object_store::ObjectStoreExt;
use s3::Fault;
use storage::blob::{Blobs, Bucket, Config, Error, MemoryBlobs, Part};

use crate::{Running, pattern};

const MIB: usize = 1 << 20;

/// Gives up soon: for servers that never answer.
fn hasty(running: &Running) -> Config {
    Config {
        answer_timeout: Duration::from_millis(1200),
        attempt_timeout: Duration::from_millis(400),
        failures_max: 0,
        ..running.config()
    }
}

async fn body(blobs: &dyn Blobs, key: &str, part: Part) -> Result<Vec<u8>, Error> {
    let reading = blobs.read(key, part).await?;
    let pieces: Vec<Bytes> = reading.stream.try_collect().await?;
    Ok(pieces.concat())
}

async fn upload(
    blobs: &dyn Blobs,
    key: &str,
    chunks: impl IntoIterator<Item = Vec<u8>>,
) -> Result<(), Error> {
    let mut writer = blobs.create(key, "video/mp4").await?;
    for chunk in chunks {
        writer.write(chunk.into()).await?;
    }
    writer.finish().await
}

fn is_unavailable<T: std::fmt::Debug>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Unavailable { .. }))
}

fn is_refused<T: std::fmt::Debug>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Refused { .. }))
}

/// Runs what must end within a time.
async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| panic!("still at it after {:?}", start.elapsed()))
}

#[tokio::test]
async fn the_bucket_and_its_twin_agree() {
    let running = Running::start().await;
    let (bucket, twin) = (running.bucket(), MemoryBlobs::new(64 * MIB));
    let parts = [
        Part::Whole,
        Part::Bounded(0, 0),
        Part::Bounded(10, 99),
        Part::Bounded(99_990, 200_000),
        Part::Bounded(100_000, 100_001),
        Part::Bounded(5, 4),
        Part::From(0),
        Part::From(99_999),
        Part::From(100_000),
        Part::Last(7),
        Part::Last(0),
        Part::Last(1_000_000),
    ];
    for blobs in [&bucket as &dyn Blobs, &twin] {
        blobs
            .put("v/1", "video/mp4", pattern(100_000).into())
            .await
            .unwrap();
        blobs.put("v/2", "video/mp4", Bytes::new()).await.unwrap();
        upload(blobs, "w/1", [pattern(10), pattern(20)])
            .await
            .unwrap();
        upload(blobs, "w/empty", []).await.unwrap();
        upload(blobs, "gone", [pattern(10)]).await.unwrap();
        blobs.delete("gone").await.unwrap();
        blobs.delete("never").await.unwrap();
        blobs.probe().await.unwrap();
    }
    for key in [
        "v/1", "v/2", "w/1", "w/empty", "gone", "never", "v", "", "a//b", "../v/1",
    ] {
        assert_eq!(bucket.size(key).await, twin.size(key).await, "{key}");
        for part in parts {
            let (found, expected) = (bucket.read(key, part).await, twin.read(key, part).await);
            let facts = |reading: &storage::blob::Reading| (reading.bytes, reading.range.clone());
            let (found, expected) = (found.as_ref().map(facts), expected.as_ref().map(facts));
            assert_eq!(found, expected, "{key} {part:?}");
            assert_eq!(
                body(&bucket, key, part).await,
                body(&twin, key, part).await,
                "{key} {part:?}"
            );
        }
    }
    for prefix in ["", "v/", "v", "w/e", "v/1", "x"] {
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        for (blobs, keys) in [(&bucket as &dyn Blobs, &mut found), (&twin, &mut expected)] {
            let listed: Vec<(String, u64)> = blobs.list(prefix).try_collect().await.unwrap();
            assert!(listed.iter().all(|(_, age_s)| *age_s < 600), "{listed:?}");
            keys.extend(listed.into_iter().map(|(key, _)| key));
            keys.sort();
        }
        assert_eq!(found, expected, "prefix {prefix:?}");
    }
}

#[tokio::test]
async fn uneven_chunks_make_the_same_blob() {
    let running = Running::start().await;
    let (bucket, whole) = (running.bucket(), pattern(20 * MIB + 12_345));
    for (key, size) in [
        ("by-small", 100_000),
        ("by-part", 8 * MIB),
        ("by-large", 19 * MIB),
    ] {
        upload(&bucket, key, whole.chunks(size).map(<[u8]>::to_vec))
            .await
            .unwrap();
        assert!(
            body(&bucket, key, Part::Whole).await.unwrap() == whole,
            "{key}"
        );
    }
    let exact = pattern(16 * MIB);
    upload(&bucket, "exact", [exact.clone()]).await.unwrap();
    assert!(body(&bucket, "exact", Part::Whole).await.unwrap() == exact);
    running.nothing_unfinished().await;
}

#[tokio::test]
async fn the_content_type_travels_along() {
    let running = Running::start().await;
    let bucket = running.bucket();
    bucket
        .put("small", "image/png", Bytes::from_static(b"x"))
        .await
        .unwrap();
    upload(&bucket, "large", [pattern(9 * MIB)]).await.unwrap();
    for (key, expected) in [("small", "image/png"), ("large", "video/mp4")] {
        let found = running.client().get(&key.into()).await.unwrap();
        let found = found
            .attributes
            .get(&object_store::Attribute::ContentType)
            .map(|found| found.as_ref().to_owned());
        assert_eq!(found.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn short_trouble_is_not_noticed() {
    let running = Running::start().await;
    let (bucket, small, large) = (running.bucket(), pattern(1000), pattern(20 * MIB));
    for fault in [Fault::Busy, Fault::Broken, Fault::Reset, Fault::LoseAnswer] {
        running.faults.next(2, fault);
        bucket
            .put("small", "x", small.clone().into())
            .await
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        running.faults.next(2, fault);
        assert_eq!(
            body(&bucket, "small", Part::From(500)).await.unwrap(),
            small[500..],
            "{fault:?}"
        );
        for query in ["uploads", "partNumber=2", "uploadId="] {
            running.faults.some(None, query, 1, fault);
        }
        upload(&bucket, "large", [large.clone()])
            .await
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert!(
            body(&bucket, "large", Part::Whole).await.unwrap() == large,
            "{fault:?}"
        );
        assert_eq!(running.faults.left(), 0, "{fault:?}");
    }
    running.faults.next(1, Fault::Truncate(3 * MIB));
    assert!(
        body(&bucket, "large", Part::Whole).await.unwrap() == large,
        "a cut body is continued"
    );
}

#[tokio::test]
async fn trouble_that_stays_is_an_error_in_bounded_time() {
    let running = Running::start().await;
    let (bucket, patient) = (Bucket::new(hasty(&running)).unwrap(), running.bucket());
    patient
        .put("v/1", "x", pattern(3 * MIB).into())
        .await
        .unwrap();
    for fault in [Fault::Busy, Fault::Broken, Fault::Reset, Fault::Hang] {
        running.faults.always(fault);
        let limit = Duration::from_secs(8);
        assert!(
            is_unavailable(&within(limit, bucket.put("v/2", "x", pattern(1000).into())).await),
            "{fault:?}"
        );
        assert!(
            is_unavailable(&within(limit, body(&bucket, "v/1", Part::Whole)).await),
            "{fault:?}"
        );
        assert!(
            is_unavailable(&within(limit, bucket.size("v/1")).await),
            "{fault:?}"
        );
        assert!(
            is_unavailable(&within(limit, bucket.delete("v/1")).await),
            "{fault:?}"
        );
        assert!(
            is_unavailable(&within(limit, bucket.probe()).await),
            "{fault:?}"
        );
        let listed = within(limit, bucket.list("").try_collect::<Vec<_>>()).await;
        assert!(is_unavailable(&listed), "{fault:?}");
        let large = within(
            Duration::from_secs(60),
            upload(&bucket, "v/3", [pattern(20 * MIB)]),
        )
        .await;
        assert!(is_unavailable(&large), "{fault:?}: {large:?}");
        running.faults.clear();
    }
    assert_eq!(
        patient.size("v/1").await,
        Ok(3 * MIB as u64),
        "all is well again"
    );
}

#[tokio::test]
async fn a_body_is_whole_or_an_error() {
    let running = Running::start().await;
    let (bucket, patient) = (Bucket::new(hasty(&running)).unwrap(), running.bucket());
    patient
        .put("v/1", "x", pattern(3 * MIB).into())
        .await
        .unwrap();
    for fault in [Fault::Truncate(10_000), Fault::Stall(10_000)] {
        running.faults.always(fault);
        let reading = match bucket.read("v/1", Part::Whole).await {
            Ok(reading) => reading,
            // The connection broke so early that not even the head came through.
            Err(error) => {
                assert!(
                    matches!(error, Error::Unavailable { .. }),
                    "{fault:?}: {error}"
                );
                running.faults.clear();
                continue;
            }
        };
        let mut stream = reading.stream;
        let mut bytes = 0;
        let end = within(Duration::from_secs(20), async {
            loop {
                match stream.try_next().await {
                    Ok(Some(piece)) => bytes += piece.len(),
                    end => return end,
                }
            }
        })
        .await;
        assert!(is_unavailable(&end), "{fault:?}: {end:?}");
        assert!(bytes < 3 * MIB, "{fault:?}: {bytes}");
        running.faults.clear();
    }
}

#[tokio::test]
async fn a_store_that_is_not_ours_says_no() {
    let running = Running::start().await;
    let wrong_secret = Bucket::new(Config {
        secret_key: "wrong".into(),
        ..running.config()
    })
    .unwrap();
    let no_bucket = Bucket::new(Config {
        bucket: "nowhere".into(),
        ..running.config()
    })
    .unwrap();
    for (bucket, word) in [
        (wrong_secret, "SignatureDoesNotMatch"),
        (no_bucket, "NoSuchBucket"),
    ] {
        let start = Instant::now();
        for result in [
            bucket.probe().await,
            bucket.put("a", "x", Bytes::from_static(b"x")).await,
            bucket.delete("a").await,
            upload(&bucket, "b", [pattern(9 * MIB)]).await,
            body(&bucket, "a", Part::Whole).await.map(|_| ()),
            bucket.list("").try_collect::<Vec<_>>().await.map(|_| ()),
        ] {
            let Err(Error::Refused { why }) = &result else {
                panic!("{result:?}")
            };
            assert!(why.contains(word), "{why}");
        }
        assert!(
            start.elapsed() < Duration::from_secs(8),
            "a no is not asked for again"
        );
    }
}

#[tokio::test]
async fn nobody_listens() {
    let running = Running::start().await;
    let bucket = running.bucket();
    running.server.shutdown().await;
    let result = within(Duration::from_secs(11), bucket.size("a")).await;
    let Err(Error::Unavailable { why }) = result else {
        panic!("{result:?}")
    };
    assert!(why.contains("refused"), "the reason is told: {why}");
}

#[tokio::test]
async fn an_upload_that_is_dropped_leaves_nothing() {
    let running = Running::start().await;
    let bucket = running.bucket();
    let mut writer = bucket.create("v/1", "video/mp4").await.unwrap();
    writer.write(pattern(20 * MIB).into()).await.unwrap();
    assert!(running.beside().iter().any(|name| name.contains("upload")));
    drop(writer);
    running.nothing_unfinished().await;

    let mut writer = bucket.create("v/2", "video/mp4").await.unwrap();
    writer.write(pattern(20 * MIB).into()).await.unwrap();
    writer.abort().await.unwrap();
    running.nothing_unfinished().await;
    assert!(running.beside().is_empty(), "{:?}", running.beside());
    assert_eq!(bucket.list("").try_collect::<Vec<_>>().await, Ok(vec![]));
}

#[tokio::test]
async fn a_failed_part_fails_the_upload_and_leaves_nothing() {
    let running = Running::start().await;
    let bucket = running.bucket();
    running
        .faults
        .some(Some(Method::PUT), "partNumber=2", 8, Fault::Broken);
    let result = upload(&bucket, "v/1", [pattern(30 * MIB)]).await;
    assert!(is_unavailable(&result), "{result:?}");
    running.nothing_unfinished().await;
    assert!(matches!(
        bucket.size("v/1").await,
        Err(Error::NotFound { .. })
    ));
}

#[tokio::test]
async fn an_upload_that_waits_holds_little_in_memory() {
    const PART: usize = 5 * MIB;
    let running = Running::start().await;
    let config = Config {
        part_bytes: PART,
        attempt_timeout: Duration::from_secs(60),
        ..running.config()
    };
    let bucket = Bucket::new(Config {
        answer_timeout: Duration::from_secs(60),
        ..config
    })
    .unwrap();
    running
        .faults
        .some(Some(Method::PUT), "partNumber=", usize::MAX, Fault::Hang);
    let mut writer = bucket.create("v/1", "video/mp4").await.unwrap();
    let mut taken = 0;
    let chunk = Bytes::from(pattern(256 << 10));
    while tokio::time::timeout(Duration::from_secs(3), writer.write(chunk.clone()))
        .await
        .is_ok()
    {
        taken += chunk.len();
        assert!(
            taken <= 3 * PART,
            "took {taken} bytes while nothing was sent"
        );
    }
    assert!(
        taken >= 2 * PART,
        "two parts travel at a time, took {taken}"
    );
    assert!(
        is_unavailable(&writer.write(chunk).await),
        "a write that was given up is not forgotten"
    );
}

#[tokio::test]
async fn a_store_that_keeps_failing_is_not_asked_for_a_while() {
    let running = Running::start().await;
    let config = Config {
        failures_max: 3,
        rest: Duration::from_secs(3),
        attempt_timeout: Duration::from_millis(100),
        answer_timeout: Duration::from_millis(200),
        ..running.config()
    };
    let bucket = Bucket::new(config).unwrap();
    running
        .bucket()
        .put("a", "x", Bytes::from_static(b"x"))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    running.faults.always(Fault::Hang);
    for _ in 0..3 {
        assert!(is_unavailable(&bucket.size("a").await));
    }
    let start = Instant::now();
    for _ in 0..100 {
        let result = bucket.size("a").await;
        assert!(
            matches!(&result, Err(Error::Unavailable { why }) if why.contains("asked again in")),
            "{result:?}"
        );
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "at once: {:?}",
        start.elapsed()
    );
    running.faults.clear();
    let deadline = Instant::now() + Duration::from_secs(10);
    while bucket.size("a").await != Ok(1) {
        assert!(Instant::now() < deadline, "does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_no_is_an_answer_and_opens_nothing() {
    let running = Running::start().await;
    let bucket = Bucket::new(Config {
        failures_max: 2,
        ..running.config()
    })
    .unwrap();
    for _ in 0..10 {
        assert!(matches!(
            bucket.size("missing").await,
            Err(Error::NotFound { .. })
        ));
    }
    let liar = Bucket::new(Config {
        failures_max: 2,
        secret_key: "wrong".into(),
        ..running.config()
    })
    .unwrap();
    for _ in 0..10 {
        assert!(is_refused(&liar.size("missing").await));
    }
}
