//! How good the wire itself is: TCP runs over it, fast enough that it is never the bottleneck of a
//! test. `--nocapture` shows the figures.
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use router::{Link, Member, Network};

use crate::ground::{CLIENTS, Line, N1, N2, PORT, in_network, inside};
use rustix::net::sockopt::set_socket_recv_buffer_size;

const BYTES: usize = 32 << 20;

/// A connection from one member to another; the receiving end is the second.
fn connect(network: &Network, from: Member, to: Member) -> (TcpStream, TcpStream) {
    let address = (network.address(to), PORT);
    let listener = inside(network, to, || TcpListener::bind(address)).expect("bound");
    let address = listener.local_addr().expect("bound");
    let sender = inside(network, from, || TcpStream::connect(address)).expect("connected");
    let (receiver, _) = listener.accept().expect("accepted");
    sender.set_nodelay(true).expect("set");
    receiver.set_nodelay(true).expect("set");
    (sender, receiver)
}

/// Megabits a second over one connection.
fn throughput(network: &Network, bytes: usize) -> f64 {
    let (mut sender, mut receiver) = connect(network, CLIENTS, N1);
    let begun = Instant::now();
    let send = std::thread::spawn(move || {
        let block = vec![7; 1 << 16];
        for _ in 0..bytes / block.len() {
            sender.write_all(&block).expect("sent");
        }
    });
    let mut received = Vec::with_capacity(bytes);
    receiver.read_to_end(&mut received).expect("received");
    let took = begun.elapsed();
    send.join().expect("it does not panic");
    assert_eq!(received.len(), bytes);
    assert!(received.iter().all(|byte| *byte == 7));
    bytes as f64 * 8.0 / 1e6 / took.as_secs_f64()
}

#[test]
fn tcp_runs_over_a_perfect_wire() {
    in_network(1, 1, |network| {
        let megabits = throughput(network, BYTES);
        println!("TCP: {megabits:.0} Mbit/s");
        assert!(megabits > 20.0, "{megabits:.1} Mbit/s");
        let count = network.count(CLIENTS, N1);
        assert_eq!(count.sent, count.delivered, "{count:?}");
    });
}

#[test]
fn what_the_kernel_drops_is_told_apart() {
    in_network(1, 2, |network| {
        let line = Line::new(network, N1, N2);
        assert_eq!(line.carry(1_000, 1_000).len(), 1_000);
        assert_eq!(network.dropped_by_kernel(N2).expect("told"), 0);
        set_socket_recv_buffer_size(&line.receiver, 1).expect("set");
        let arrived = line.carry(1_000, 1_000).len() as u64;
        assert!(arrived < 1_000, "nobody reads while they are sent");
        let count = network.count(N1, N2);
        assert_eq!(
            (count.delivered, count.sent),
            (2_000, 2_000),
            "it is not the link"
        );
        assert_eq!(
            network.dropped_by_kernel(N2).expect("told"),
            1_000 - arrived
        );
        assert_eq!(network.dropped_by_kernel(N1).expect("told"), 0);
    });
}

#[test]
fn tcp_survives_a_bad_wire() {
    in_network(1, 1, |network| {
        let bad = Link {
            delay: Duration::from_millis(2),
            loss: 0.01,
            duplicate: 0.05,
            reorder: 0.05,
            ..Link::default()
        };
        network.set(CLIENTS, N1, bad);
        network.set(N1, CLIENTS, bad);
        let megabits = throughput(network, 1 << 20);
        println!("TCP over a bad wire: {megabits:.1} Mbit/s");
        let count = network.count(CLIENTS, N1);
        assert!(count.lost > 0 && count.duplicated > 0, "{count:?}");
    });
}

#[test]
fn a_round_trip_is_short() {
    const ROUNDS: usize = 2_000;
    in_network(1, 1, |network| {
        let (mut client, mut server) = connect(network, CLIENTS, N1);
        let echo = std::thread::spawn(move || {
            let mut byte = [0];
            for _ in 0..ROUNDS {
                server.read_exact(&mut byte).expect("a byte");
                server.write_all(&byte).expect("sent back");
            }
        });
        let mut took: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let begun = Instant::now();
                client.write_all(&[1]).expect("sent");
                client.read_exact(&mut [0]).expect("came back");
                begun.elapsed()
            })
            .collect();
        echo.join().expect("it does not panic");
        took.sort_unstable();
        let (least, median, p99) = (took[0], took[ROUNDS / 2], took[ROUNDS * 99 / 100]);
        println!("round trip: least {least:?}, median {median:?}, p99 {p99:?}");
        assert!(median < Duration::from_millis(10), "{median:?}");
    });
}
