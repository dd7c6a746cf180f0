//! The server as clients see it, and `storage`'s bucket against it: well and misbehaving.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod bucket;
mod durability;
mod lifetime;
mod objects;

use std::path::Path;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use object_store::RetryConfig;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use s3::{Disk, Faults, Options, Server, SystemDisk};
use storage::blob::{Bucket, Config};

const BUCKET: &str = "videos";
const ACCESS_KEY: &str = "access";
const SECRET_KEY: &str = "secret";

/// A server in a directory of its own.
struct Running {
    server: Server,
    dir: tempfile::TempDir,
    faults: Faults,
}

impl Running {
    async fn start() -> Self {
        Self::on(Arc::new(SystemDisk)).await
    }

    async fn on(disk: Arc<dyn Disk>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let options = Options {
            disk,
            faults: Some(faults.clone()),
            ..options(dir.path())
        };
        let server = Server::start(options).await.unwrap();
        Self {
            server,
            dir,
            faults,
        }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.server.addr)
    }

    /// A client that never repeats a request.
    fn client(&self) -> AmazonS3 {
        self.client_of(BUCKET, SECRET_KEY)
    }

    fn client_of(&self, bucket: &str, secret_key: &str) -> AmazonS3 {
        install_tls();
        AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(bucket)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(secret_key)
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            })
            .build()
            .unwrap()
    }

    fn config(&self) -> Config {
        install_tls();
        let config = Config::new(self.endpoint(), "us-east-1", BUCKET, ACCESS_KEY, SECRET_KEY);
        Config {
            allow_http: true,
            ..config
        }
    }

    fn bucket(&self) -> Bucket {
        Bucket::new(self.config()).unwrap()
    }

    /// Names beside the buckets: sidecars, uploads, files being written.
    fn beside(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with('.')).collect();
        names.sort();
        names
    }

    /// Waits until nothing of an unfinished upload is left.
    async fn nothing_unfinished(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left: Vec<_> = self
                .beside()
                .into_iter()
                .filter(|name| name.contains("upload") || name.starts_with(".tmp"))
                .collect();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left behind: {left:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn options(dir: &Path) -> Options {
    Options {
        dir: dir.into(),
        access_key: ACCESS_KEY.into(),
        secret_key: SECRET_KEY.into(),
        buckets: vec![BUCKET.into()],
        ..Options::default()
    }
}

fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap();
    });
}

/// Bytes that tell where they belong.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|at| u8::try_from((at / 251 + at) % 251).unwrap())
        .collect()
}
