//! What nodes tell of themselves, as everyone sees it.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use transport::network::PeerId;

/// What a node tells of itself. Small: under 2 kB on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Where clients reach this node, e.g. `http://10.0.0.3:8080`.
    pub http_url: String,
    pub zone: String,
    /// `leader`, `voter`, `learner`, `joining`, `draining` or `damaged`.
    pub role: String,
    /// The node's release.
    pub version: String,
    /// Index of the last applied log entry.
    pub applied: u64,
    /// Requests in flight.
    pub load: u32,
    /// Free bytes on the data disk.
    pub disk_free_bytes: u64,
    /// Wall clock, ms since the epoch, when this was told (to compare clocks; never trusted).
    pub clock_ms: u64,
}

/// One node as seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub peer: PeerId,
    /// The cluster endpoint (QUIC).
    pub address: SocketAddr,
    pub is_alive: bool,
    pub told: Told,
    /// Smoothed round-trip time from here; `None` for this node itself or without a connection.
    pub round_trip: Option<Duration>,
}

/// All nodes that gossip knows, this one included.
pub type Members = BTreeMap<PeerId, Member>;

/// Keys are one per field, so that only what changed travels. They are for ever: a node of another
/// release reads the ones it knows.
impl Told {
    /// What stands in gossip for this node. Texts longer than [`TEXT_BYTES_MAX`] are cut.
    pub(crate) fn keys(&self) -> [(&'static str, String); 8] {
        [
            ("http_url", cut(&self.http_url)),
            ("zone", cut(&self.zone)),
            ("role", cut(&self.role)),
            ("version", cut(&self.version)),
            ("applied", self.applied.to_string()),
            ("load", self.load.to_string()),
            ("disk_free_bytes", self.disk_free_bytes.to_string()),
            ("clock_ms", self.clock_ms.to_string()),
        ]
    }

    /// What a node told, as far as this release understands it; the rest is empty or zero.
    pub(crate) fn from_keys<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Told {
        fn number<N: FromStr + Default>(text: Option<&str>) -> N {
            text.and_then(|text| text.parse().ok()).unwrap_or_default()
        }
        let text = |key| get(key).map(cut).unwrap_or_default();
        Told {
            http_url: text("http_url"),
            zone: text("zone"),
            role: text("role"),
            version: text("version"),
            applied: number(get("applied")),
            load: number(get("load")),
            disk_free_bytes: number(get("disk_free_bytes")),
            clock_ms: number(get("clock_ms")),
        }
    }
}

/// Longest text that a node tells or believes: four of them and the numbers stay below 2 kB.
const TEXT_BYTES_MAX: usize = 256;

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        Told {
            http_url: "http://10.0.0.3:8080".into(),
            zone: "home".into(),
            role: "voter".into(),
            version: "0.1.0".into(),
            applied: u64::MAX,
            load: 7,
            disk_free_bytes: 1 << 40,
            clock_ms: 1_700_000_000_000,
        }
    }

    fn read(keys: &[(&'static str, String)]) -> Told {
        let find = |key: &str| keys.iter().find(|(name, _)| *name == key);
        Told::from_keys(|key| find(key).map(|(_, value)| value.as_str()))
    }

    #[test]
    fn what_is_told_is_read() {
        assert_eq!(read(&told().keys()), told());
        assert_eq!(read(&[]), Told::default());
    }

    #[test]
    fn junk_and_long_texts_do_no_harm() {
        let long = "ü".repeat(1000);
        let keys = [
            ("load", "-3".into()),
            ("applied", "many".into()),
            ("zone", long),
        ];
        let read = read(&keys);
        assert_eq!((read.load, read.applied, read.zone.len()), (0, 0, 256));
        let size: usize = told()
            .keys()
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        assert!(size + 4 * TEXT_BYTES_MAX < 2000, "{size}");
    }
}
