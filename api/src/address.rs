//! Whose request it is, by network address: behind trusted proxies, and as a key for rate limits.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};

/// The networks whose `X-Forwarded-*` headers are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Networks(Vec<(IpAddr, u32)>);

impl Networks {
    /// Reads addresses (`10.1.2.3`, `::1`) and networks (`10.0.0.0/8`).
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        texts
            .iter()
            .map(|text| network(text))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0
            .iter()
            .any(|(network, bits)| match (network, address) {
                (IpAddr::V4(network), IpAddr::V4(address)) => {
                    let shift = 32 - bits;
                    u64::from(network.to_bits()) >> shift == u64::from(address.to_bits()) >> shift
                }
                (IpAddr::V6(network), IpAddr::V6(address)) => {
                    let shift = 128 - bits;
                    network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
                }
                _ => false,
            })
    }
}

fn network(text: &str) -> Result<(IpAddr, u32), String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address
        .parse()
        .map_err(|_| format!("{text} is neither an address nor a network such as 10.0.0.0/8"))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(bits) => bits
            .parse()
            .ok()
            .filter(|bits| *bits <= most)
            .ok_or_else(|| format!("{text}: the prefix length must be 0..={most}"))?,
    };
    Ok((address, bits))
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) address: IpAddr,
    /// The peer is a trusted proxy.
    pub(crate) is_proxied: bool,
}

impl Origin {
    /// The client's address: the peer's, or behind trusted proxies the nearest that is none.
    pub(crate) fn of(extensions: &Extensions, headers: &HeaderMap, proxies: &Networks) -> Self {
        let peer = extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
            .to_canonical();
        let is_proxied = proxies.contains(peer);
        let address = if is_proxied {
            nearest_stranger(headers, proxies).unwrap_or(peer)
        } else {
            peer
        };
        Self {
            address,
            is_proxied,
        }
    }
}

/// Read from the right, where the proxies that are known wrote; what is left of the first stranger
/// is hearsay.
fn nearest_stranger(headers: &HeaderMap, proxies: &Networks) -> Option<IpAddr> {
    let mut nearest = None;
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        for text in value.to_str().ok()?.rsplit(',') {
            let address = forwarded(text.trim())?.to_canonical();
            nearest = Some(address);
            if !proxies.contains(address) {
                return nearest;
            }
        }
    }
    nearest
}

/// Some proxies append the port.
fn forwarded(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// The address as a key of limits: one household is one IPv4 address or one IPv6 /64.
pub(crate) fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks::parse(
            &texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap()
    }

    fn origin(peer: &str, forwarded: &[&str], proxies: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let headers = forwarded
            .iter()
            .map(|value| ("x-forwarded-for".parse().unwrap(), value.parse().unwrap()))
            .collect();
        Origin::of(&extensions, &headers, &networks(proxies))
            .address
            .to_string()
    }

    #[test]
    fn networks_contain_what_they_should() {
        let some = networks(&["10.0.0.0/8", "::1", "fd00::/8", "192.168.1.7"]);
        for inside in [
            "10.255.0.1",
            "::1",
            "fd12::9",
            "192.168.1.7",
            "::ffff:10.0.0.1",
        ] {
            assert!(some.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "::2", "fe80::1", "192.168.1.8"] {
            assert!(!some.contains(outside.parse().unwrap()), "{outside}");
        }
        let all = networks(&["0.0.0.0/0", "::/0"]);
        assert!(
            all.contains("1.2.3.4".parse().unwrap()) && all.contains("2001::1".parse().unwrap())
        );
    }

    #[test]
    fn forwarded_addresses_count_only_from_trusted_proxies() {
        assert_eq!(origin("1.1.1.1", &["9.9.9.9"], &[]), "1.1.1.1");
        assert_eq!(origin("10.0.0.1", &["9.9.9.9"], &["10.0.0.0/8"]), "9.9.9.9");
        assert_eq!(
            origin("10.0.0.1", &["6.6.6.6, 9.9.9.9, 10.0.0.2"], &["10.0.0.0/8"]),
            "9.9.9.9"
        );
        assert_eq!(
            origin("10.0.0.1", &["6.6.6.6", "9.9.9.9:4711"], &["10.0.0.0/8"]),
            "9.9.9.9"
        );
        assert_eq!(
            origin("10.0.0.1", &["nonsense"], &["10.0.0.0/8"]),
            "10.0.0.1"
        );
        assert_eq!(origin("10.0.0.1", &[], &["10.0.0.0/8"]), "10.0.0.1");
    }

    #[test]
    fn an_ipv6_household_is_a_64() {
        let of = |text: &str| household(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("1.2.3.4"), "1.2.3.4");
    }
}
