//! Interfaces of a member's namespace: the loopback device and one TUN device, whose packets we
//! read and write.
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::ioctl::Opcode;
use rustix::net::{AddressFamily, SocketType};

use crate::system::{InterfaceRequest, ask_interface};

/// The name of the device in every namespace.
const NAME: &str = "yin0";
pub(crate) const DEVICE: &str = "/dev/net/tun";
/// As on Ethernet.
const PACKET_BYTES_MAX: i32 = 1_500;
/// Packets that wait for us in the kernel. With the default of 500 a burst would be dropped there
/// before the link is asked.
const QUEUE_PACKETS_MAX: i32 = 20_000;

// From linux/if_tun.h, linux/if.h and linux/sockios.h.
const TUNSETIFF: Opcode = 0x4004_54ca;
const SIOCSIFFLAGS: Opcode = 0x8914;
const SIOCSIFADDR: Opcode = 0x8916;
const SIOCSIFNETMASK: Opcode = 0x891c;
const SIOCSIFMTU: Opcode = 0x8922;
const SIOCSIFTXQLEN: Opcode = 0x8943;
const IFF_TUN: i16 = 0x0001;
const IFF_NO_PI: i16 = 0x1000;
const IFF_UP: i16 = 0x0001;

/// Opens the descriptor of a new TUN device in the calling thread's namespace.
pub(crate) fn open_device() -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = rustix::fs::open(DEVICE, flags, Mode::empty())?;
    let kind = (IFF_TUN | IFF_NO_PI).to_ne_bytes();
    ask_interface::<TUNSETIFF>(&device, request(NAME, &kind))?;
    Ok(device)
}

/// Gives the device its address and brings it and the loopback device up.
pub(crate) fn configure(address: Ipv4Addr) -> io::Result<()> {
    // Any socket of the namespace will do to name the namespace.
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let socket = socket.as_fd();
    let up = IFF_UP.to_ne_bytes();
    let netmask = Ipv4Addr::new(255, 255, 255, 0);
    ask_interface::<SIOCSIFFLAGS>(socket, request("lo", &up))?;
    ask_interface::<SIOCSIFADDR>(socket, request(NAME, &socket_address(address)))?;
    ask_interface::<SIOCSIFNETMASK>(socket, request(NAME, &socket_address(netmask)))?;
    ask_interface::<SIOCSIFMTU>(socket, request(NAME, &PACKET_BYTES_MAX.to_ne_bytes()))?;
    ask_interface::<SIOCSIFTXQLEN>(socket, request(NAME, &QUEUE_PACKETS_MAX.to_ne_bytes()))?;
    ask_interface::<SIOCSIFFLAGS>(socket, request(NAME, &up))
}

/// Packets and datagrams that the kernel dropped in the calling thread's namespace because a queue
/// was full: on their way to us, or in front of a socket that nobody read in time.
pub(crate) fn dropped_by_kernel() -> io::Result<u64> {
    let interfaces = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let protocols = std::fs::read_to_string("/proc/thread-self/net/snmp")?;
    let device = transmit_drops(&interfaces).ok_or_else(|| unreadable("dev"))?;
    let sockets = udp_buffer_errors(&protocols).ok_or_else(|| unreadable("snmp"))?;
    Ok(device + sockets)
}

fn unreadable(file: &str) -> io::Error {
    io::Error::other(format!("/proc/net/{file} does not say what was dropped"))
}

/// The column `drop` under `Transmit` of our device.
fn transmit_drops(interfaces: &str) -> Option<u64> {
    const COLUMN: usize = 11;
    let ours = |line: &&str| line.trim_start().starts_with(NAME);
    let (_, columns) = interfaces.lines().find(ours)?.split_once(':')?;
    columns.split_whitespace().nth(COLUMN)?.parse().ok()
}

/// The value under `RcvbufErrors` of UDP: a line of names, then a line of values.
fn udp_buffer_errors(protocols: &str) -> Option<u64> {
    let mut lines = protocols.lines().filter(|line| line.starts_with("Udp:"));
    let names = lines.next()?.split_whitespace();
    let values = lines.next()?.split_whitespace();
    let (_, value) = names
        .zip(values)
        .find(|(name, _)| *name == "RcvbufErrors")?;
    value.parse().ok()
}

fn request(name: &str, value: &[u8]) -> InterfaceRequest {
    let mut request = InterfaceRequest {
        name: [0; 16],
        value: [0; 24],
    };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    request.value[..value.len()].copy_from_slice(value);
    request
}

/// Linux' `struct sockaddr_in` with port 0.
fn socket_address(address: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&AddressFamily::INET.as_raw().to_ne_bytes());
    bytes[4..8].copy_from_slice(&address.octets());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_read_from_what_the_kernel_prints() {
        let interfaces = "Inter-|   Receive    |  Transmit\n face |bytes packets\n    \
                          lo: 1 2 0 3 0 0 0 0 1 2 0 5 0 0 0 0\n  \
                          yin0: 64 1 0 8 0 0 0 0 128 2 0 7 0 0 0 0\n";
        assert_eq!(transmit_drops(interfaces), Some(7));
        let protocols = "Ip: Forwarding\nIp: 1\n\
                         Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\n\
                         Udp: 9 8 7 6 5\nUdpLite: InDatagrams\n";
        assert_eq!(udp_buffer_errors(protocols), Some(5));
        assert_eq!(transmit_drops("lo: 1"), None);
        assert_eq!(udp_buffer_errors("Udp: RcvbufErrors\n"), None);
    }
}
