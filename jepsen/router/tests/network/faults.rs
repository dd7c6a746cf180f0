//! One test per fault: without it everything arrives, with it it bites as much as it should, its
//! count agrees with what sockets saw, and after healing everything arrives again.
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use router::{Count, Link, Member, Network};

use crate::ground::{CLIENTS, Line, N1, N2, QUIET, in_network, receive, wait_until};

const PERFECT: Link = Link {
    is_cut: false,
    delay: Duration::ZERO,
    jitter: Duration::ZERO,
    loss: 0.0,
    duplicate: 0.0,
    reorder: 0.0,
    bytes_per_second: None,
    largest_packet: None,
};

fn assert_healed(network: &Network, line: &Line) {
    network.heal();
    let all: Vec<u32> = (0..500).collect();
    assert_eq!(line.carry(500, 100), all, "after healing");
}

#[test]
fn a_perfect_wire_carries_everything_in_order() {
    in_network(1, 2, |network| {
        assert_eq!(network.link(N1, N2), PERFECT);
        let all: Vec<u32> = (0..2_000).collect();
        let line = Line::new(network, N1, N2);
        assert_eq!(line.carry(2_000, 1_400), all);
        let count = network.count(N1, N2);
        assert_eq!(
            (count.sent, count.delivered, count.delayed),
            (2_000, 2_000, 0)
        );
        assert_eq!(network.count(N2, N1).sent, 0);
        assert_eq!(line.reversed().carry(2_000, 1_400), all);
    });
}

#[test]
fn a_cut_drops_exactly_one_direction() {
    in_network(1, 2, |network| {
        let line = Line::new(network, N1, N2);
        let is_cut = Link {
            is_cut: true,
            ..PERFECT
        };
        network.set(N1, N2, is_cut);
        assert_eq!(line.carry(300, 100), [0; 0]);
        let count = network.count(N1, N2);
        assert_eq!((count.cut, count.delivered), (300, 0));
        let line = line.reversed();
        assert_eq!(line.carry(300, 100).len(), 300, "the way back is open");
        drop(line);
        let others = Line::new(network, N1, CLIENTS);
        assert_eq!(others.carry(300, 100).len(), 300, "other links are open");
        drop(others);
        assert_healed(network, &Line::new(network, N1, N2));
    });
}

#[test]
fn delays_of_both_ways_add_up() {
    in_network(1, 2, |network| {
        let line = Line::new(network, N1, N2);
        let before = round_trip(&line);
        let delay = Duration::from_millis(40);
        for (from, to) in [(N1, N2), (N2, N1)] {
            network.set(from, to, Link { delay, ..PERFECT });
        }
        let during = round_trip(&line);
        assert!(before < delay, "before: {before:?}");
        assert!(during >= 2 * delay, "during: {during:?}");
        assert!(during < 3 * delay, "during: {during:?}");
        let (there, back) = (network.count(N1, N2), network.count(N2, N1));
        assert_eq!((there.delayed, back.delayed), (10, 10));
        assert_healed(network, &line);
        let after = round_trip(&line);
        assert!(after < delay, "after: {after:?}");
    });
}

/// The quickest of ten echoes, because the machine may be busy.
fn round_trip(line: &Line) -> Duration {
    let (a, b) = (&line.sender, &line.receiver);
    let (to_a, to_b) = (
        a.local_addr().expect("bound"),
        b.local_addr().expect("bound"),
    );
    let patient = Some(Duration::from_secs(5));
    a.set_read_timeout(patient).expect("set");
    b.set_read_timeout(patient).expect("set");
    let echo = || {
        let begun = Instant::now();
        a.send_to(b"ping", to_b).expect("sent");
        b.send_to(&receive(b).expect("the ping"), to_a)
            .expect("sent");
        assert_eq!(receive(a).expect("the echo"), b"ping");
        begun.elapsed()
    };
    let quickest = std::iter::repeat_with(echo).take(10).min().expect("ten");
    a.set_read_timeout(Some(QUIET)).expect("set");
    b.set_read_timeout(Some(QUIET)).expect("set");
    quickest
}

/// What arrives of 2,000 datagrams at a loss of 20 %.
fn survivors(seed: u64) -> Option<Vec<u32>> {
    in_network(seed, 2, |network| {
        let line = Line::new(network, N1, N2);
        let loss = 0.2;
        network.set(N1, N2, Link { loss, ..PERFECT });
        let arrived = line.carry(2_000, 100);
        let count = network.count(N1, N2);
        assert_eq!(count.lost, 2_000 - arrived.len() as u64);
        assert_eq!(count.delivered, arrived.len() as u64);
        assert!((320..=480).contains(&count.lost), "{count:?}");
        assert_healed(network, &line);
        arrived
    })
}

#[test]
fn losses_keep_their_rate_and_replay_with_the_seed() {
    let Some(first) = survivors(5) else {
        return;
    };
    let again = survivors(5).expect("possible a moment ago");
    assert!(first == again, "the same seed loses the same");
    let other = survivors(6).expect("possible a moment ago");
    assert!(first != other, "another seed loses others");
}

#[test]
fn duplicates_arrive_twice() {
    in_network(1, 2, |network| {
        let line = Line::new(network, N1, N2);
        let duplicate = 0.3;
        network.set(
            N1,
            N2,
            Link {
                duplicate,
                ..PERFECT
            },
        );
        let mut copies = BTreeMap::<u32, usize>::new();
        for number in line.carry(1_000, 100) {
            *copies.entry(number).or_default() += 1;
        }
        assert_eq!(copies.len(), 1_000, "none is lost");
        let twice = copies.values().filter(|copies| **copies == 2).count();
        assert_eq!(network.count(N1, N2).duplicated, twice as u64);
        assert!((240..=360).contains(&twice), "{twice}");
        assert!(copies.values().all(|copies| *copies <= 2));
        assert_healed(network, &line);
    });
}

/// Datagrams that came behind one which was sent later.
fn overtaken(arrived: &[u32]) -> usize {
    let mut highest = 0;
    let is_late = |number: &&u32| {
        highest = highest.max(**number);
        **number < highest
    };
    arrived.iter().filter(is_late).count()
}

#[test]
fn reordering_is_seen_and_jitter_alone_keeps_the_order() {
    in_network(1, 2, |network| {
        let line = Line::new(network, N1, N2);
        let jittery = Link {
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(10),
            ..PERFECT
        };
        network.set(N1, N2, jittery);
        let all: Vec<u32> = (0..1_000).collect();
        assert_eq!(line.carry(1_000, 100), all);
        let reorder = 0.1;
        network.set(N1, N2, Link { reorder, ..PERFECT });
        let mut arrived = line.carry(1_000, 100);
        let late = overtaken(&arrived);
        assert!((30..=150).contains(&late), "{late}");
        arrived.sort_unstable();
        assert_eq!(arrived, all, "none is lost");
        let count = network.count(N1, N2);
        assert!((60..=140).contains(&count.reordered), "{count:?}");
        assert!(late as u64 <= count.reordered, "{late} of {count:?}");
        assert_healed(network, &line);
    });
}

#[test]
fn a_limited_link_is_as_fast_as_it_may_be() {
    in_network(1, 2, |network| {
        let line = Line::new(network, N1, N2);
        let bytes_per_second = Some(100_000);
        network.set(
            N1,
            N2,
            Link {
                bytes_per_second,
                ..PERFECT
            },
        );
        // 40 packets of 1,000 bytes with their headers.
        let begun = Instant::now();
        line.send(40, 972);
        wait_until("the last one", || network.count(N1, N2).delivered == 40);
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(390), "{took:?}");
        assert!(took < Duration::from_millis(800), "{took:?}");
        assert_eq!(line.arrived().len(), 40);
        // More than its queue holds.
        let arrived = line.carry(200, 972).len() as u64;
        let count = network.count(N1, N2);
        assert_eq!(count.overflowed, 200 - arrived);
        assert!((45..=60).contains(&arrived), "{arrived}");
        assert_healed(network, &line);
    });
}

#[test]
fn a_black_hole_eats_large_packets_and_passes_small_ones() {
    in_network(1, 2, |network| {
        let line = Line::new(network, N1, N2);
        let largest_packet = Some(1_228);
        network.set(
            N1,
            N2,
            Link {
                largest_packet,
                ..PERFECT
            },
        );
        assert_eq!(
            line.carry(100, 1_200).len(),
            100,
            "1,228 bytes with headers"
        );
        assert_eq!(line.carry(100, 1_201).len(), 0, "one byte too large");
        assert_eq!(network.count(N1, N2).oversized, 100);
        assert_healed(network, &line);
        assert_eq!(line.carry(100, 1_400).len(), 100);
    });
}

#[test]
fn healing_delivers_what_is_under_way() {
    in_network(1, 2, |network| {
        let line = Line::new(network, N1, N2);
        let mut took: Vec<Duration> = (0..9).map(|_| time_to_heal(network, &line)).collect();
        took.sort_unstable();
        // Most of them at once: not when the next packet happens to come by.
        assert!(took[4] < Duration::from_millis(50), "{took:?}");
        assert_healed(network, &line);
    });
}

/// How long it takes until ten packets arrive that were to take an hour.
fn time_to_heal(network: &Network, line: &Line) -> Duration {
    let delay = Duration::from_secs(3_600);
    network.set(N1, N2, Link { delay, ..PERFECT });
    line.send(10, 100);
    let expected = network.count(N1, N2).delivered + 10;
    let begun = Instant::now();
    network.heal();
    wait_until("delivery", || network.count(N1, N2).delivered == expected);
    let took = begun.elapsed();
    assert_eq!(line.arrived(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    took
}

#[test]
fn faults_may_come_together() {
    in_network(9, 3, |network| {
        let line = Line::new(network, CLIENTS, N2);
        let all_at_once = Link {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(10),
            loss: 0.1,
            duplicate: 0.1,
            reorder: 0.1,
            bytes_per_second: Some(1_000_000),
            ..PERFECT
        };
        network.set(CLIENTS, N2, all_at_once);
        let arrived = line.carry(1_000, 100);
        let count = network.count(CLIENTS, N2);
        assert_eq!(count.delivered, arrived.len() as u64, "{count:?}");
        assert_eq!(count.delivered, 1_000 - count.lost + count.duplicated);
        assert!(
            count.lost > 0 && count.duplicated > 0 && count.reordered > 0,
            "{count:?}"
        );
        assert!(overtaken(&arrived) > 0);
        assert_healed(network, &line);
    });
}

#[test]
fn packets_to_nobody_lead_nowhere() {
    in_network(1, 2, |network| {
        let line = Line::new(network, N1, N2);
        for nobody in ["10.77.0.77:9", "10.77.0.253:9", "10.77.0.1:9"] {
            line.sender.send_to(b"hello?", nobody).expect("sent");
        }
        // They went first, so they have been seen when these have.
        assert_eq!(line.carry(100, 100).len(), 100);
        for host in [77, 253, 1] {
            assert_eq!(network.count(N1, Member::Node(host - 1)), Count::default());
        }
    });
}

/// Sets the flags of a member's device to `flags`.
fn set_flags(network: &Network, member: Member, flags: i32) {
    let program = "import fcntl, socket, struct, sys\n\
                   request = struct.pack('16sh22x', b'yin0', int(sys.argv[1]))\n\
                   fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, request)";
    let mut command = Command::new("python3");
    command.args(["-c", program, &flags.to_string()]);
    let mut python = network.spawn(member, command).expect("python3 is there");
    assert!(python.wait().expect("waited for").success());
}

#[test]
fn a_device_that_is_down_takes_nothing_and_works_again() {
    const UP: i32 = 1;
    in_network(1, 2, |network| {
        let line = Line::new(network, N1, N2);
        set_flags(network, N2, 0);
        assert_eq!(line.carry(100, 100), [0; 0]);
        let count = network.count(N1, N2);
        assert_eq!((count.overflowed, count.delivered), (100, 0));
        set_flags(network, N2, UP);
        assert_eq!(line.carry(100, 100).len(), 100);
    });
}
