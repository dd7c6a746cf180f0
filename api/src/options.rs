//! Every limit of the HTTP face: a name, a unit, a default, one place.
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::address::Networks;
use crate::base::Base;

/// The node's `[api]` settings. Every field has a default; unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where clients reach this service, e.g. `https://yin.example`. Default: whatever host name
    /// the client itself used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Where clients fetch videos, covers and pictures, e.g. a CDN in front of the nodes. Default:
    /// the same as `public_url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cdn_url: Option<String>,
    /// IANA name of the zone in which `create_date` is told.
    pub time_zone: String,
    /// Proxies whose `X-Forwarded-*` headers are believed: addresses or networks (`10.0.0.0/8`).
    pub trusted_proxies: Vec<String>,
    /// Requests that are worked on at the same time; more are answered 503.
    pub requests_max: usize,
    /// How long one request may take, uploads apart.
    pub request_timeout_ms: u64,
    /// How long a read may wait for the freshness that it asks for.
    pub read_timeout_ms: u64,
    /// How long a write may wait for its commit.
    pub write_timeout_ms: u64,
    /// The largest body of any request that is no upload.
    pub body_bytes_max: usize,
    /// The most elements of one list when the client names no limit.
    pub list_items_max: usize,
    /// The most friends in one list: it is sorted by message, so it is made in memory.
    pub friends_max: usize,
    /// The most messages in one answer.
    pub chat_messages_max: usize,
    /// The longest that a chat poll may wait for a message, and no longer than a request may take.
    pub chat_wait_ms_max: u64,
    /// Chat polls that may wait; more are answered at once.
    pub chat_waiting_max: usize,
    /// A chat poll also returns what the poller sent, for clients that do not show it themselves.
    pub chat_poll_includes_own: bool,
    /// `/readyz` says no while more log entries than this are committed and not applied here.
    pub ready_lag_entries_max: u64,
    /// `/readyz` says no when no quorum confirms the leader within this time.
    pub ready_timeout_ms: u64,
    pub password: Password,
    pub upload: Upload,
    pub limits: Limits,
}

/// How passwords are hashed (argon2id).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Password {
    /// Memory of one hash.
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
    /// Hashes at the same time; 0: half of the processors, at least one.
    pub parallel_max: usize,
    /// How long a request waits for its turn before it is answered 503.
    pub wait_ms: u64,
    /// Requests that may wait for their turn.
    pub waiting_max: usize,
}

/// What may be uploaded, and how slowly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upload {
    /// The largest video.
    pub bytes_max: u64,
    /// Uploads at the same time.
    pub parallel_max: usize,
    /// How long an upload waits for its turn before it is answered 503.
    pub wait_ms: u64,
    /// The longest silence within an upload.
    pub stall_ms: u64,
    /// The longest upload.
    pub timeout_ms: u64,
    /// Bytes on this disk, over all uploads, of senders whose token has not arrived yet.
    pub unproven_bytes_max: u64,
    /// Covers that are decoded at the same time; 0: half of the processors, at least one.
    pub covers_parallel_max: usize,
    /// How long an upload waits for a decoder before it gets a generated poster.
    pub cover_wait_ms: u64,
    /// A blob without a video is swept when it is older than this.
    pub orphan_age_s: u64,
}

/// How often: `burst` at once, then `per_second` sustained. `per_second = 0` means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

/// Limits on this node, per client address (IPv6: per /64) and per user. The defaults are meant to
/// stop machines, not people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub register_per_address: Rate,
    pub login_per_address: Rate,
    /// Attempts on one name, whoever makes them.
    pub login_per_name: Rate,
    pub upload_per_address: Rate,
    pub upload_per_user: Rate,
    pub write_per_address: Rate,
    pub write_per_user: Rate,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            public_url: None,
            cdn_url: None,
            time_zone: "Asia/Shanghai".to_owned(),
            trusted_proxies: Vec::new(),
            requests_max: 4_096,
            request_timeout_ms: 30_000,
            read_timeout_ms: 5_000,
            write_timeout_ms: 10_000,
            body_bytes_max: 1 << 20,
            list_items_max: 1_000_000,
            friends_max: 10_000,
            chat_messages_max: 1_000,
            chat_wait_ms_max: 20_000,
            chat_waiting_max: 2_048,
            chat_poll_includes_own: false,
            ready_lag_entries_max: 10_000,
            ready_timeout_ms: 1_000,
            password: Password::default(),
            upload: Upload::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Password {
    fn default() -> Self {
        // OWASP's minimum for argon2id.
        Self {
            memory_kib: 19 * 1_024,
            passes: 2,
            lanes: 1,
            parallel_max: 0,
            wait_ms: 5_000,
            waiting_max: 256,
        }
    }
}

impl Default for Upload {
    fn default() -> Self {
        Self {
            bytes_max: 512 << 20,
            parallel_max: 64,
            wait_ms: 5_000,
            stall_ms: 15_000,
            timeout_ms: 3_600_000,
            unproven_bytes_max: 4 << 30,
            covers_parallel_max: 0,
            cover_wait_ms: 3_000,
            orphan_age_s: 24 * 3_600,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let rate = |per_second, burst| Rate { per_second, burst };
        Self {
            register_per_address: rate(20, 2_000),
            login_per_address: rate(20, 2_000),
            login_per_name: rate(10, 1_000),
            upload_per_address: rate(5, 500),
            upload_per_user: rate(2, 200),
            write_per_address: rate(2_000, 20_000),
            write_per_user: rate(200, 4_000),
        }
    }
}

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("setting `api.{name}`: {why}")]
pub struct Invalid {
    pub name: &'static str,
    pub why: String,
}

/// The settings that are more than numbers, understood once.
#[derive(Clone, Debug)]
pub(crate) struct Understood {
    pub(crate) public: Option<Base>,
    pub(crate) cdn: Option<Base>,
    pub(crate) zone: TimeZone,
    pub(crate) proxies: Networks,
}

impl Options {
    /// Checks the settings that are more than numbers.
    ///
    /// # Errors
    /// [`Invalid`] names the first setting that makes no sense.
    pub fn check(&self) -> Result<(), Invalid> {
        self.understand().map(drop)
    }

    pub(crate) fn understand(&self) -> Result<Understood, Invalid> {
        for (name, value) in [
            ("requests_max", self.requests_max),
            ("body_bytes_max", self.body_bytes_max),
            ("list_items_max", self.list_items_max),
            ("friends_max", self.friends_max),
            ("chat_messages_max", self.chat_messages_max),
            ("upload.parallel_max", self.upload.parallel_max),
        ] {
            if value == 0 {
                return Err(Invalid {
                    name,
                    why: "must be at least 1".to_owned(),
                });
            }
        }
        crate::password::Hasher::check(&self.password)?;
        Ok(Understood {
            public: base("public_url", self.public_url.as_deref())?,
            cdn: base("cdn_url", self.cdn_url.as_deref())?,
            zone: TimeZone::get(&self.time_zone).map_err(|error| Invalid {
                name: "time_zone",
                why: error.to_string(),
            })?,
            proxies: Networks::parse(&self.trusted_proxies).map_err(|why| Invalid {
                name: "trusted_proxies",
                why,
            })?,
        })
    }

    pub(crate) fn read_timeout(&self) -> Duration {
        Duration::from_millis(self.read_timeout_ms)
    }

    /// A poll that waited still has to read.
    pub(crate) fn chat_wait(&self) -> Duration {
        let rest_ms = self.request_timeout_ms.saturating_sub(self.read_timeout_ms);
        Duration::from_millis(self.chat_wait_ms_max.min(rest_ms))
    }

    pub(crate) fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }
}

fn base(name: &'static str, url: Option<&str>) -> Result<Option<Base>, Invalid> {
    url.map(|url| Base::parse(url).map_err(|why| Invalid { name, why }))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_make_sense_and_survive_their_own_text() {
        let options = Options::default();
        options.check().unwrap();
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), options);
        assert_eq!(serde_json::from_str::<Options>("{}").unwrap(), options);
    }

    #[test]
    fn nonsense_is_named() {
        let refused = |text: &str| {
            serde_json::from_str::<Options>(text)
                .map_err(|error| error.to_string())
                .and_then(|options| options.check().map_err(|error| error.to_string()))
                .unwrap_err()
        };
        assert!(refused(r#"{"time_zone":"Mars/Olympus"}"#).contains("api.time_zone"));
        assert!(refused(r#"{"public_url":"yin.example"}"#).contains("api.public_url"));
        assert!(refused(r#"{"trusted_proxies":["10.0.0.0/33"]}"#).contains("trusted_proxies"));
        assert!(refused(r#"{"requests_max":0}"#).contains("api.requests_max"));
        assert!(refused(r#"{"password":{"memory_kib":1}}"#).contains("api.password"));
        assert!(refused(r#"{"colour":"red"}"#).contains("colour"));
    }
}
