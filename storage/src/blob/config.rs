//! How to reach a bucket, and what is wrong with how one was told to.

use std::fmt;
use std::time::Duration;

use super::breaker;

/// S3 takes no smaller part but the last.
const PART_BYTES_MIN: usize = 5 << 20;
/// A part is held in memory, and several of them.
const PART_BYTES_MAX: usize = 64 << 20;

/// How to reach a bucket. The first six come from an operator, the rest has defaults.
#[derive(Clone)]
pub struct Config {
    /// Such as `https://s3.example.org` or `http://127.0.0.1:9000`; empty for AWS in `region`.
    pub endpoint: String,
    /// Stores that have none take any word, such as `us-east-1`.
    pub region: String,
    pub bucket: String,
    pub access_key: String,
    pub secret_key: String,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`. Most stores but AWS want it.
    pub is_path_style: bool,
    /// Take an `http:` endpoint: keys do not travel, but contents do, readable by anyone between.
    pub allow_http: bool,
    /// For an answer to a request, all its attempts together.
    pub answer_timeout: Duration,
    /// For the beginning of an answer to one attempt.
    pub attempt_timeout: Duration,
    pub connect_timeout: Duration,
    /// What is sent adds its size at this rate to the two timeouts.
    pub upload_bytes_per_s_min: u64,
    /// Of an upload's parts; blobs below it go in one request. 5 to 64 MiB.
    pub part_bytes: usize,
    /// Parts of one upload that travel at a time. 1 to 16.
    pub parts_in_flight: usize,
    /// Failures in a row after which requests fail at once; 0 never does.
    pub failures_max: u32,
    /// How long they fail at once before one tries again.
    pub rest: Duration,
}

impl Config {
    /// With defaults for everything but the bucket itself: path style, HTTPS only, 10 s for an answer.
    pub fn new(
        endpoint: impl Into<String>,
        region: impl Into<String>,
        bucket: impl Into<String>,
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
    ) -> Self {
        Self {
            endpoint: endpoint.into(),
            region: region.into(),
            bucket: bucket.into(),
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            is_path_style: true,
            allow_http: false,
            answer_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(4),
            connect_timeout: Duration::from_secs(3),
            upload_bytes_per_s_min: 1 << 20,
            part_bytes: 8 << 20,
            parts_in_flight: 2,
            failures_max: 5,
            rest: Duration::from_secs(3),
        }
    }

    /// Says what is wrong with it before a request would.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_endpoint()?;
        for (field, value) in [
            ("region", &self.region),
            ("bucket", &self.bucket),
            ("access key", &self.access_key),
            ("secret key", &self.secret_key),
        ] {
            if value.is_empty() {
                return Err(Invalid::Empty { field });
            }
            if value
                .chars()
                .any(|letter| letter.is_whitespace() || letter.is_control())
            {
                return Err(Invalid::Blank { field });
            }
        }
        if self.bucket.contains('/') {
            return Err(Invalid::Bucket {
                bucket: self.bucket.clone(),
            });
        }
        self.check_limits()
    }

    fn check_endpoint(&self) -> Result<(), Invalid> {
        let endpoint = || self.endpoint.clone();
        if self.endpoint.is_empty() {
            return Ok(());
        }
        let host = match self.endpoint.split_once("://") {
            Some(("https", host)) => host,
            Some(("http", host)) if self.allow_http => host,
            Some(("http", _)) => {
                return Err(Invalid::PlainHttp {
                    endpoint: endpoint(),
                });
            }
            _ => {
                return Err(Invalid::Endpoint {
                    endpoint: endpoint(),
                });
            }
        };
        let host = host.trim_end_matches('/');
        if host.is_empty() || host.contains(['@', '?', '#', ' ', '/']) {
            return Err(Invalid::Endpoint {
                endpoint: endpoint(),
            });
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), Invalid> {
        let limit = |is_fine: bool, field, range| {
            if is_fine {
                Ok(())
            } else {
                Err(Invalid::Limit { field, range })
            }
        };
        let time = Duration::from_millis(10)..=Duration::from_secs(600);
        limit(
            time.contains(&self.answer_timeout),
            "answer timeout",
            "10 ms to 10 min",
        )?;
        limit(
            time.contains(&self.attempt_timeout),
            "attempt timeout",
            "10 ms to 10 min",
        )?;
        limit(
            time.contains(&self.connect_timeout),
            "connect timeout",
            "10 ms to 10 min",
        )?;
        limit(
            self.upload_bytes_per_s_min >= 1024,
            "slowest upload",
            "at least 1 KiB/s",
        )?;
        limit(
            (PART_BYTES_MIN..=PART_BYTES_MAX).contains(&self.part_bytes),
            "size of a part",
            "5 to 64 MiB",
        )?;
        limit(
            (1..=16).contains(&self.parts_in_flight),
            "number of parts in flight",
            "1 to 16",
        )
    }

    /// How long sending so many bytes may take longer than sending none.
    pub(super) fn sending(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000) / self.upload_bytes_per_s_min.max(1))
    }

    pub(super) fn breaker(&self) -> breaker::Settings {
        breaker::Settings {
            failures_max: self.failures_max,
            rest: self.rest,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secret.
        f.debug_struct("Config")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("bucket", &self.bucket)
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// What is wrong with a [`Config`], and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the blob store's {field} is missing: set it")]
    Empty { field: &'static str },
    #[error(
        "the blob store's {field} has a blank or control character in it: check how it was pasted"
    )]
    Blank { field: &'static str },
    #[error(
        "{endpoint:?} is no endpoint of a blob store: write it as https://host or https://host:port, without a path"
    )]
    Endpoint { endpoint: String },
    #[error(
        "{endpoint:?} would send everything readable: use https, or allow http if the network is trusted"
    )]
    PlainHttp { endpoint: String },
    #[error(
        "{bucket:?} is no name of a bucket: a path belongs to neither the bucket nor the endpoint"
    )]
    Bucket { bucket: String },
    #[error("the blob store's {field} is out of range: {range}")]
    Limit {
        field: &'static str,
        range: &'static str,
    },
    #[error("the blob store's client can't be built: {why}")]
    Client { why: String },
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Config, Invalid};

    fn good() -> Config {
        Config::new(
            "https://s3.example.org",
            "us-east-1",
            "videos",
            "key",
            "secret",
        )
    }

    #[test]
    fn good_ones_pass() {
        assert_eq!(good().check(), Ok(()));
        for endpoint in ["", "https://s3.example.org:9000/", "https://[::1]:9000"] {
            assert_eq!(
                Config {
                    endpoint: endpoint.into(),
                    ..good()
                }
                .check(),
                Ok(()),
                "{endpoint}"
            );
        }
        let http = Config {
            endpoint: "http://127.0.0.1:9000".into(),
            allow_http: true,
            ..good()
        };
        assert_eq!(http.check(), Ok(()));
    }

    #[test]
    fn bad_ones_say_what_to_do() {
        for endpoint in [
            "s3.example.org",
            "ftp://s3",
            "https://",
            "https://s3/bucket",
            "https://user@s3",
        ] {
            let result = Config {
                endpoint: endpoint.into(),
                ..good()
            }
            .check();
            assert_eq!(
                result,
                Err(Invalid::Endpoint {
                    endpoint: endpoint.into()
                })
            );
        }
        let plain = Config {
            endpoint: "http://s3".into(),
            ..good()
        }
        .check();
        assert_eq!(
            plain,
            Err(Invalid::PlainHttp {
                endpoint: "http://s3".into()
            })
        );
        assert_eq!(
            Config {
                region: String::new(),
                ..good()
            }
            .check(),
            Err(Invalid::Empty { field: "region" })
        );
        let pasted = Config {
            secret_key: "secret\n".into(),
            ..good()
        }
        .check();
        assert_eq!(
            pasted,
            Err(Invalid::Blank {
                field: "secret key"
            })
        );
        let bucket = Config {
            bucket: "videos/all".into(),
            ..good()
        }
        .check();
        assert_eq!(
            bucket,
            Err(Invalid::Bucket {
                bucket: "videos/all".into()
            })
        );
    }

    #[test]
    fn limits_are_bounded_themselves() {
        for bad in [
            Config {
                part_bytes: 1 << 20,
                ..good()
            },
            Config {
                parts_in_flight: 0,
                ..good()
            },
            Config {
                answer_timeout: Duration::ZERO,
                ..good()
            },
            Config {
                upload_bytes_per_s_min: 0,
                ..good()
            },
        ] {
            assert!(matches!(bad.check(), Err(Invalid::Limit { .. })));
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let shown = format!(
            "{:?}",
            Config {
                secret_key: "hunter2".into(),
                ..good()
            }
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
