//! The protocol, spoken by object_store's client.

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutOptions,
};

use crate::{BUCKET, Running, SECRET_KEY, pattern};

fn typed(content_type: &'static str) -> PutOptions {
    let attributes = Attributes::from_iter([(Attribute::ContentType, content_type)]);
    PutOptions {
        attributes,
        ..PutOptions::default()
    }
}

async fn range(client: &impl ObjectStore, key: &Path, range: GetRange) -> Result<Vec<u8>, Error> {
    let options = GetOptions {
        range: Some(range),
        ..GetOptions::default()
    };
    Ok(client.get_opts(key, options).await?.bytes().await?.to_vec())
}

#[tokio::test]
async fn what_is_put_can_be_read_in_any_part() {
    let running = Running::start().await;
    let (client, key, body) = (running.client(), Path::from("v/1/a.mp4"), pattern(700_000));
    client
        .put_opts(&key, body.clone().into(), typed("video/mp4"))
        .await
        .unwrap();

    let found = client.get(&key).await.unwrap();
    assert_eq!(
        found
            .attributes
            .get(&Attribute::ContentType)
            .map(AsRef::as_ref),
        Some("video/mp4")
    );
    assert_eq!(found.bytes().await.unwrap(), body);
    assert_eq!(client.head(&key).await.unwrap().size, 700_000);
    assert_eq!(
        range(&client, &key, GetRange::Bounded(10..300_010))
            .await
            .unwrap(),
        body[10..300_010]
    );
    assert_eq!(
        range(&client, &key, GetRange::Bounded(699_000..900_000))
            .await
            .unwrap(),
        body[699_000..]
    );
    assert_eq!(
        range(&client, &key, GetRange::Offset(699_999))
            .await
            .unwrap(),
        body[699_999..]
    );
    assert_eq!(
        range(&client, &key, GetRange::Suffix(5)).await.unwrap(),
        body[699_995..]
    );
    assert_eq!(
        range(&client, &key, GetRange::Suffix(900_000))
            .await
            .unwrap(),
        body,
        "more than there is"
    );
    assert!(
        range(&client, &key, GetRange::Offset(700_000))
            .await
            .is_err(),
        "behind the end"
    );
}

#[tokio::test]
async fn a_known_version_is_not_sent_again() {
    let running = Running::start().await;
    let (client, key) = (running.client(), Path::from("a"));
    let put = client.put(&key, "hello".into()).await.unwrap();
    let known = GetOptions {
        if_none_match: put.e_tag,
        ..GetOptions::default()
    };
    assert!(matches!(
        client.get_opts(&key, known).await,
        Err(Error::NotModified { .. })
    ));
    let unknown = GetOptions {
        if_none_match: Some("\"0\"".into()),
        ..GetOptions::default()
    };
    assert_eq!(
        client
            .get_opts(&key, unknown)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap(),
        "hello"
    );
}

#[tokio::test]
async fn lists_by_prefix() {
    let running = Running::start().await;
    let client = running.client();
    for key in ["v/1/a", "v/1/b", "v/2/a", "w/1"] {
        client.put(&Path::from(key), "x".into()).await.unwrap();
    }
    let listed = async |prefix: Option<&str>| -> Vec<String> {
        let prefix = prefix.map(Path::from);
        let mut found: Vec<_> = client
            .list(prefix.as_ref())
            .map_ok(|meta| meta.location.to_string())
            .try_collect()
            .await
            .unwrap();
        found.sort();
        found
    };
    assert_eq!(listed(Some("v/1")).await, ["v/1/a", "v/1/b"]);
    assert_eq!(listed(None).await, ["v/1/a", "v/1/b", "v/2/a", "w/1"]);
    assert!(listed(Some("x")).await.is_empty());
    let split = client
        .list_with_delimiter(Some(&Path::from("v")))
        .await
        .unwrap();
    assert_eq!(
        split.common_prefixes,
        [Path::from("v/1"), Path::from("v/2")]
    );
}

#[tokio::test]
async fn deleting_leaves_nothing_and_may_be_repeated() {
    let running = Running::start().await;
    let client = running.client();
    for key in ["v/1", "v/2", "v/3"] {
        client.put(&Path::from(key), "x".into()).await.unwrap();
    }
    assert_eq!(
        running.beside().len(),
        6,
        "two sidecars for each: {:?}",
        running.beside()
    );
    client.delete(&Path::from("v/1")).await.unwrap();
    client.delete(&Path::from("v/1")).await.unwrap();
    let rest =
        futures_util::stream::iter(["v/2", "v/3", "v/nothing"].map(|key| Ok(Path::from(key))));
    let deleted: Vec<_> = client
        .delete_stream(Box::pin(rest))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(deleted.len(), 3);
    assert!(matches!(
        client.get(&Path::from("v/2")).await,
        Err(Error::NotFound { .. })
    ));
    assert!(running.beside().is_empty(), "{:?}", running.beside());
}

#[tokio::test]
async fn copies_keep_content_and_type() {
    let running = Running::start().await;
    let client = running.client();
    client
        .put_opts(&Path::from("a"), "hello".into(), typed("text/x"))
        .await
        .unwrap();
    client
        .copy(&Path::from("a"), &Path::from("b/c"))
        .await
        .unwrap();
    let copy = client.get(&Path::from("b/c")).await.unwrap();
    assert_eq!(
        copy.attributes
            .get(&Attribute::ContentType)
            .map(AsRef::as_ref),
        Some("text/x")
    );
    assert_eq!(copy.bytes().await.unwrap(), "hello");
    assert!(
        client
            .copy(&Path::from("nothing"), &Path::from("d"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn forty_mebibytes_in_parts() {
    const PART: usize = 8 << 20;
    let running = Running::start().await;
    let (client, key, body) = (running.client(), Path::from("v/big"), pattern(40 << 20));
    let mut upload = client.put_multipart(&key).await.unwrap();
    let parts: Vec<_> = body
        .chunks(PART)
        .map(|part| upload.put_part(part.to_vec().into()))
        .collect();
    futures_util::future::try_join_all(parts).await.unwrap();
    assert!(
        client.head(&key).await.is_err(),
        "not there before it is whole"
    );
    upload.complete().await.unwrap();
    assert!(client.get(&key).await.unwrap().bytes().await.unwrap() == body);
    assert_eq!(
        running.beside().len(),
        2,
        "only sidecars: {:?}",
        running.beside()
    );
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing_and_takes_no_further_part() {
    let running = Running::start().await;
    let (client, key) = (running.client(), Path::from("v/aborted"));
    let mut upload = client.put_multipart(&key).await.unwrap();
    upload.put_part(pattern(6 << 20).into()).await.unwrap();
    assert!(!running.beside().is_empty());
    upload.abort().await.unwrap();
    assert!(running.beside().is_empty(), "{:?}", running.beside());
    assert!(matches!(
        upload.put_part("late".into()).await,
        Err(Error::NotFound { .. })
    ));
    assert!(upload.complete().await.is_err());
    assert!(running.beside().is_empty(), "{:?}", running.beside());
    assert!(matches!(
        client.head(&key).await,
        Err(Error::NotFound { .. })
    ));
}

#[tokio::test]
async fn a_part_that_is_too_small_fails_the_upload_and_leaves_nothing() {
    let running = Running::start().await;
    let mut upload = running
        .client()
        .put_multipart(&Path::from("v/small"))
        .await
        .unwrap();
    for part in ["one", "two"] {
        upload.put_part(part.into()).await.unwrap();
    }
    assert!(upload.complete().await.is_err());
    running.nothing_unfinished().await;
}

#[tokio::test]
async fn strangers_are_refused() {
    let running = Running::start().await;
    let (client, key) = (running.client(), Path::from("v/1"));
    client.put(&key, "x".into()).await.unwrap();
    let liar = running.client_of(BUCKET, "wrong");
    assert!(matches!(
        liar.get(&key).await,
        Err(Error::PermissionDenied { .. })
    ));
    assert!(matches!(
        liar.put(&key, "y".into()).await,
        Err(Error::PermissionDenied { .. })
    ));

    let http = reqwest::Client::new();
    let anonymous = http
        .get(format!("{}/{BUCKET}/v/1", running.endpoint()))
        .send()
        .await
        .unwrap();
    assert_eq!(anonymous.status(), 403);
    let put = http
        .put(format!("{}/{BUCKET}/v/2", running.endpoint()))
        .body("y")
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), 403);

    let signed = client
        .signed_url(http::Method::GET, &key, std::time::Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(
        http.get(signed.clone())
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
        "x"
    );
    let mut bent = signed;
    bent.set_path(&format!("/{BUCKET}/v/3"));
    assert_eq!(http.get(bent).send().await.unwrap().status(), 403);
    assert_eq!(client.get(&key).await.unwrap().bytes().await.unwrap(), "x");
}

#[tokio::test]
async fn keys_can_not_leave_their_bucket() {
    let running = Running::start().await;
    let (client, http) = (running.client(), reqwest::Client::new());
    // Signed for a harmless key of the same length, so only the path differs; and a signed key that
    // is a path of its own, which no client of ours makes.
    for key in [
        "%2e%2e/secret",
        "a/%2e%2e/%2e%2e/secret",
        "a//b",
        "%2fetc/passwd",
    ] {
        let url = format!("{}/{BUCKET}/{key}", running.endpoint());
        let status = http.put(url).body("x").send().await.unwrap().status();
        assert!(status.is_client_error(), "{key}: {status}");
    }
    let long = Path::from("k".repeat(300));
    assert!(client.put(&long, "x".into()).await.is_err());
    assert!(running.beside().is_empty());
    let names: Vec<_> = std::fs::read_dir(running.dir.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "the bucket and nothing else");
}

#[tokio::test]
async fn a_bucket_is_not_made_by_writing_to_it() {
    let running = Running::start().await;
    let client = running.client_of("nowhere", SECRET_KEY);
    let key = Path::from("a");
    for error in [
        client.put(&key, "x".into()).await.err(),
        client.put_multipart(&key).await.err(),
        client.get(&key).await.err(),
        client.delete(&key).await.err(),
    ] {
        let error = error.expect("there is no such bucket").to_string();
        assert!(error.contains("NoSuchBucket"), "{error}");
    }
    assert!(!running.dir.path().join("nowhere").exists());
}

#[tokio::test]
async fn an_empty_object_is_one() {
    let running = Running::start().await;
    let (client, key) = (running.client(), Path::from("empty"));
    client.put(&key, "".into()).await.unwrap();
    assert_eq!(client.get(&key).await.unwrap().bytes().await.unwrap(), "");
    assert!(range(&client, &key, GetRange::Suffix(3)).await.is_err());
}

#[tokio::test]
async fn a_directory_of_keys_is_no_key() {
    let running = Running::start().await;
    let client = running.client();
    client.put(&Path::from("v/1/a"), "x".into()).await.unwrap();
    for key in ["v", "v/1", "v/1/a/b"] {
        assert!(
            matches!(
                client.get(&Path::from(key)).await,
                Err(Error::NotFound { .. })
            ),
            "{key}"
        );
        assert!(
            matches!(
                client.head(&Path::from(key)).await,
                Err(Error::NotFound { .. })
            ),
            "{key}"
        );
        client.delete(&Path::from(key)).await.unwrap();
    }
    assert_eq!(
        client
            .get(&Path::from("v/1/a"))
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap(),
        "x"
    );
}
