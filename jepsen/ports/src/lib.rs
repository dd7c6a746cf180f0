//! Loopback addresses for the servers that tests start as processes.
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where Linux says which ports it gives to connections that go out.
const OUTGOING: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// What Linux does when nobody told it otherwise.
const OUTGOING_BY_DEFAULT: RangeInclusive<u16> = 32_768..=60_999;
/// Below lie the privileged ports, and those that developers' own servers like.
const FIRST: u16 = 10_240;
/// A prime, so that processes with neighbouring ids start far from one another.
const STRIDE: usize = 97;

/// An address on 127.0.0.1 that is free for both TCP and UDP right now, and that no connection
/// going out is given.
///
/// A port out of the kernel's range for such connections may be gone before the server that it is
/// meant for listens, or while that server is down: any client's connection may get it, even one
/// that asks whether the server is up, which then talks to itself. Each call tries ports that this
/// process has not tried before, until all were tried.
///
/// # Errors
/// Each port is in use.
pub fn free_address() -> io::Result<SocketAddr> {
    static TRIED: AtomicUsize = AtomicUsize::new(0);
    let ports = ports(&outgoing());
    let start = std::process::id() as usize * STRIDE;
    first_free(ports.iter().map(|_| {
        let turn = TRIED.fetch_add(1, Ordering::Relaxed);
        ports[start.wrapping_add(turn) % ports.len()]
    }))
}

fn first_free(ports: impl Iterator<Item = u16>) -> io::Result<SocketAddr> {
    let mut addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    addresses.find(is_free).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::AddrInUse,
            "each port on loopback is in use: end servers that are not needed (`ss -ltn`)",
        )
    })
}

fn is_free(address: &SocketAddr) -> bool {
    TcpListener::bind(address).is_ok_and(|_held| UdpSocket::bind(address).is_ok())
}

/// All ports for servers, given those of connections that go out.
fn ports(outgoing: &RangeInclusive<u16>) -> Vec<u16> {
    let all = FIRST..=u16::MAX;
    let ports: Vec<u16> = all
        .clone()
        .filter(|port| !outgoing.contains(port))
        .collect();
    // A machine that gives away all of them leaves no choice.
    if ports.is_empty() {
        all.collect()
    } else {
        ports
    }
}

fn outgoing() -> RangeInclusive<u16> {
    // Other systems have no such file; their range (49,152 to 65,535) leaves enough in any case.
    std::fs::read_to_string(OUTGOING)
        .ok()
        .and_then(|text| parsed(&text))
        .unwrap_or(OUTGOING_BY_DEFAULT)
}

/// `32768\t60999\n`
fn parsed(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = text.split_whitespace().map(str::parse::<u16>);
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    Some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_connection_that_goes_out_is_given_a_servers_port() {
        let outgoing = outgoing();
        let given: Vec<u16> = (0..200).map(|_| free_address().unwrap().port()).collect();
        assert!(
            given.iter().all(|port| !outgoing.contains(port)),
            "{outgoing:?}: {given:?}"
        );
    }

    #[test]
    fn no_address_is_given_twice() {
        let mut given: Vec<SocketAddr> = (0..200).map(|_| free_address().unwrap()).collect();
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), 200);
    }

    #[test]
    fn a_port_in_use_is_passed_over() {
        let addresses: Vec<SocketAddr> = (0..3).map(|_| free_address().unwrap()).collect();
        let _listening = TcpListener::bind(addresses[0]).unwrap();
        let _bound = UdpSocket::bind(addresses[1]).unwrap();
        let found = first_free(addresses.iter().map(SocketAddr::port)).unwrap();
        assert_eq!(found, addresses[2]);
    }

    #[test]
    fn that_all_are_in_use_is_an_error_that_says_so() {
        let address = free_address().unwrap();
        let _listening = TcpListener::bind(address).unwrap();
        let error = first_free(std::iter::once(address.port())).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
    }

    #[test]
    fn ports_for_servers_are_those_that_are_left() {
        assert_eq!(parsed("32768\t60999\n"), Some(OUTGOING_BY_DEFAULT));
        assert_eq!(parsed("32768"), None);
        let usual = ports(&OUTGOING_BY_DEFAULT);
        assert_eq!((usual[0], *usual.last().unwrap()), (FIRST, u16::MAX));
        assert!(!usual.contains(&32_768) && !usual.contains(&60_999));
        assert!(usual.contains(&32_767) && usual.contains(&61_000));
        assert_eq!(ports(&(1_024..=60_999))[0], 61_000);
        assert_eq!(ports(&(1_024..=u16::MAX))[0], FIRST);
    }
}
