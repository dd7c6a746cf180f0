//! What the tests stand on: a thread of their own per network, sockets in namespaces, and
//! datagrams that tell which one they are.
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use router::{Member, Network};

/// Longest wait for something that takes milliseconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Nothing came for so long: nothing more comes.
pub(crate) const QUIET: Duration = Duration::from_millis(150);
/// Any free one: a process that another test is just starting may still hold the one of before.
pub(crate) const PORT: u16 = 0;
/// Above all that a test sends in one go, so that sockets drop nothing by themselves.
const SOCKET_BUFFER_BYTES: usize = 16 << 20;

pub(crate) const N1: Member = Member::Node(0);
pub(crate) const N2: Member = Member::Node(1);
pub(crate) const CLIENTS: Member = Member::Clients;

/// Networks need root and a device. Without them the test says so, and fails unless the operator
/// accepts that.
pub(crate) fn may_make_networks() -> bool {
    let Err(why) = Network::is_possible() else {
        return true;
    };
    assert!(
        std::env::var_os("YIN_WITHOUT_ROOT").is_some(),
        "this test makes network namespaces: {why}; or set YIN_WITHOUT_ROOT=1 to leave it out"
    );
    eprintln!("left out: needs root and /dev/net/tun");
    false
}

/// Runs `test` in a network, on a thread of its own because starting one moves the thread.
pub(crate) fn in_network<T: Send + 'static>(
    seed: u64,
    nodes: usize,
    test: impl FnOnce(&Network) -> T + Send + 'static,
) -> Option<T> {
    if !may_make_networks() {
        return None;
    }
    let run = move || test(&Network::start(seed, nodes).expect("possible, as it said"));
    match std::thread::spawn(run).join() {
        Ok(answer) => Some(answer),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs `make` in the namespace of `member`.
pub(crate) fn inside<T: Send>(
    network: &Network,
    member: Member,
    make: impl FnOnce() -> T + Send,
) -> T {
    let enter_and_make = || {
        network.enter(member).expect("a member's namespace");
        make()
    };
    std::thread::scope(|scope| scope.spawn(enter_and_make).join()).expect("it does not panic")
}

/// A socket in the namespace of `member`.
pub(crate) fn socket(network: &Network, member: Member) -> UdpSocket {
    let address = SocketAddr::from((network.address(member), PORT));
    let socket = inside(network, member, || UdpSocket::bind(address)).expect("bound");
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER_BYTES)
        .expect("root may");
    socket.set_read_timeout(Some(QUIET)).expect("set");
    socket
}

/// Two sockets, from one member to another.
pub(crate) struct Line<'a> {
    network: &'a Network,
    from: Member,
    to: Member,
    pub(crate) sender: UdpSocket,
    pub(crate) receiver: UdpSocket,
}

impl<'a> Line<'a> {
    pub(crate) fn new(network: &'a Network, from: Member, to: Member) -> Self {
        Self {
            network,
            from,
            to,
            sender: socket(network, from),
            receiver: socket(network, to),
        }
    }

    pub(crate) fn reversed(self) -> Self {
        Self {
            from: self.to,
            to: self.from,
            sender: self.receiver,
            receiver: self.sender,
            ..self
        }
    }

    /// Sends `datagrams` of `bytes` each, numbered from 0, and answers the numbers in the order in
    /// which they arrived once nothing is under way any more.
    pub(crate) fn carry(&self, datagrams: u32, bytes: usize) -> Vec<u32> {
        self.send(datagrams, bytes);
        self.wait_until_at_rest();
        self.arrived()
    }

    pub(crate) fn send(&self, datagrams: u32, bytes: usize) {
        let sent = self.network.count(self.from, self.to).sent;
        let mut datagram = vec![0; bytes];
        let to = self.receiver.local_addr().expect("bound");
        for number in 0..datagrams {
            datagram[..4].copy_from_slice(&number.to_le_bytes());
            self.sender.send_to(&datagram, to).expect("sent");
        }
        wait_until("all packets at the router", || {
            self.network.count(self.from, self.to).sent - sent >= u64::from(datagrams)
        });
    }

    fn wait_until_at_rest(&self) {
        wait_until("nothing under way", || {
            let count = self.network.count(self.from, self.to);
            let dropped = count.cut + count.lost + count.oversized + count.overflowed;
            count.delivered + dropped == count.sent + count.duplicated
        });
    }

    /// The numbers of what has arrived until nothing more comes.
    pub(crate) fn arrived(&self) -> Vec<u32> {
        let next = || Some(number(&receive(&self.receiver)?));
        std::iter::from_fn(next).collect()
    }
}

/// The next datagram; `None` if none comes.
pub(crate) fn receive(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut datagram = vec![0; 2_000];
    match socket.recv(&mut datagram) {
        Ok(bytes) => {
            datagram.truncate(bytes);
            Some(datagram)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

fn number(datagram: &[u8]) -> u32 {
    u32::from_le_bytes(*datagram.first_chunk().expect("ours have four bytes"))
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "in vain: waited for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
