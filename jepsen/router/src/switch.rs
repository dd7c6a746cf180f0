//! Where a packet goes, and when: the links, the packets under way and their counts. Neither
//! clock nor socket in here: the thread in `forward` brings the time and carries the packets.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use crate::decision::{Dice, Fate};
use crate::link::{Count, Link};
use crate::member::Member;

/// What may be under way in the whole network; the rest is dropped and counted. Two seconds of a
/// link at full speed.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Longest queue in front of a link of limited speed, as that of a common home router.
const BOTTLENECK_WAIT_MAX: Duration = Duration::from_millis(500);

/// All links and what is under way on them.
pub(crate) struct Switch {
    seed: u64,
    paths: BTreeMap<(Member, Member), Path>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    waiting_bytes: usize,
    /// Keeps the order of packets that are due at the same moment.
    next_order: u64,
}

/// One directed link with its state.
#[derive(Default)]
struct Path {
    link: Link,
    count: Count,
    /// Packets under way that nobody may overtake.
    waiting_in_order: usize,
    /// When the last of them is due.
    last_due: Option<Instant>,
    /// When the last bit of the last packet has entered a link of limited speed.
    is_free_at: Option<Instant>,
}

/// A packet under way.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    due: Instant,
    order: u64,
    from: Member,
    to: Member,
    is_reordered: bool,
    bytes: Vec<u8>,
}

/// A packet that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) from: Member,
    pub(crate) to: Member,
    pub(crate) bytes: Vec<u8>,
}

/// How one copy of a packet travels.
#[derive(Clone, Copy)]
struct Journey {
    from: Member,
    to: Member,
    takes: Duration,
    is_reordered: bool,
}

impl Switch {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            paths: BTreeMap::new(),
            waiting: BinaryHeap::new(),
            waiting_bytes: 0,
            next_order: 0,
        }
    }

    pub(crate) fn set(&mut self, from: Member, to: Member, link: Link) {
        self.paths.entry((from, to)).or_default().link = link;
    }

    pub(crate) fn link(&self, from: Member, to: Member) -> Link {
        let path = self.paths.get(&(from, to));
        path.map(|path| path.link).unwrap_or_default()
    }

    pub(crate) fn count(&self, from: Member, to: Member) -> Count {
        let path = self.paths.get(&(from, to));
        path.map(|path| path.count).unwrap_or_default()
    }

    /// Makes all links perfect, and all that is under way due, in the order it would have come.
    pub(crate) fn heal(&mut self, now: Instant) {
        for path in self.paths.values_mut() {
            path.link = Link::default();
            path.last_due = None;
            path.is_free_at = None;
        }
        let mut waiting = std::mem::take(&mut self.waiting).into_vec();
        // `Reverse` is for the heap alone: the first due comes first here.
        waiting.sort_by(|Reverse(a), Reverse(b)| a.cmp(b));
        for Reverse(mut packet) in waiting {
            packet.due = now;
            packet.order = self.next_order;
            self.next_order += 1;
            self.waiting.push(Reverse(packet));
        }
    }

    /// Takes a packet for `to` on. Answers how many copies of it are to be delivered at once; they
    /// are counted as delivered (see [`Switch::refused`]).
    pub(crate) fn accept(
        &mut self,
        from: Member,
        to: Member,
        packet: &[u8],
        now: Instant,
    ) -> usize {
        let path = self.paths.entry((from, to)).or_default();
        let number = path.count.sent;
        path.count.sent += 1;
        match Dice::new(self.seed, from, to, number).fate(&path.link, packet.len()) {
            Fate::Cut => path.count.cut += 1,
            Fate::Oversized => path.count.oversized += 1,
            Fate::Lost => path.count.lost += 1,
            Fate::Passes {
                takes,
                is_reordered,
                copy_takes,
            } => {
                path.count.reordered += u64::from(is_reordered);
                path.count.duplicated += u64::from(copy_takes.is_some());
                let journey = Journey {
                    from,
                    to,
                    takes,
                    is_reordered,
                };
                let mut at_once = usize::from(self.send(journey, packet, now));
                if let Some(takes) = copy_takes {
                    let copy = Journey {
                        takes,
                        is_reordered: false,
                        ..journey
                    };
                    at_once += usize::from(self.send(copy, packet, now));
                }
                return at_once;
            }
        }
        0
    }

    /// The next packet that has arrived by `now`; it is counted as delivered.
    pub(crate) fn arrived(&mut self, now: Instant) -> Option<Arrival> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(packet) = self.waiting.pop()?;
        self.waiting_bytes -= packet.bytes.len();
        let path = self.paths.entry((packet.from, packet.to)).or_default();
        path.count.delivered += 1;
        path.waiting_in_order -= usize::from(!packet.is_reordered);
        Some(Arrival {
            from: packet.from,
            to: packet.to,
            bytes: packet.bytes,
        })
    }

    /// When there is something to deliver again.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse(packet)| packet.due)
    }

    /// The receiver's device did not take a packet that was counted as delivered.
    pub(crate) fn refused(&mut self, from: Member, to: Member) {
        let path = self.paths.entry((from, to)).or_default();
        path.count.delivered -= 1;
        path.count.overflowed += 1;
    }

    /// Sends one copy on its way; true if it has arrived already.
    fn send(&mut self, journey: Journey, packet: &[u8], now: Instant) -> bool {
        let path = self.paths.entry((journey.from, journey.to)).or_default();
        let Some(entered) = path.enter(packet.len(), now) else {
            path.count.overflowed += 1;
            return false;
        };
        let mut due = entered + journey.takes;
        if !journey.is_reordered {
            due = path.last_due.map_or(due, |last| last.max(due));
            path.last_due = Some(due);
            if due <= now && path.waiting_in_order == 0 {
                path.count.delivered += 1;
                return true;
            }
        }
        if self.waiting_bytes + packet.len() > WAITING_BYTES_MAX {
            path.count.overflowed += 1;
            return false;
        }
        path.count.delayed += u64::from(!journey.is_reordered);
        path.waiting_in_order += usize::from(!journey.is_reordered);
        self.waiting_bytes += packet.len();
        self.waiting.push(Reverse(Waiting {
            due,
            order: self.next_order,
            from: journey.from,
            to: journey.to,
            is_reordered: journey.is_reordered,
            bytes: packet.to_vec(),
        }));
        self.next_order += 1;
        false
    }
}

impl Path {
    /// When the last bit of a packet of `bytes` is on the link; `None` if the queue is full.
    fn enter(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let Some(bytes_per_second) = self.link.bytes_per_second else {
            return Some(now);
        };
        let begins = self.is_free_at.map_or(now, |at| at.max(now));
        if begins - now > BOTTLENECK_WAIT_MAX {
            return None;
        }
        let seconds = bytes as f64 / bytes_per_second.max(1) as f64;
        let ends = begins + Duration::from_secs_f64(seconds);
        self.is_free_at = Some(ends);
        Some(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Member = Member::Node(0);
    const B: Member = Member::Node(1);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn switch(link: Link) -> Switch {
        let mut switch = Switch::new(1);
        switch.set(A, B, link);
        switch
    }

    /// All that arrives by `at`: the first byte of each.
    fn arrivals(switch: &mut Switch, at: Instant) -> Vec<u8> {
        let next = || Some(switch.arrived(at)?.bytes[0]);
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_perfect_wire_delivers_at_once_and_keeps_nothing() {
        let mut switch = Switch::new(1);
        let now = Instant::now();
        assert_eq!(switch.accept(A, B, b"x", now), 1);
        assert_eq!(switch.next_due(), None);
        let count = switch.count(A, B);
        assert_eq!((count.sent, count.delivered, count.delayed), (1, 1, 0));
        assert_eq!(switch.count(B, A), Count::default());
    }

    #[test]
    fn a_delayed_packet_arrives_when_due_and_not_before() {
        let mut switch = switch(Link {
            delay: ms(40),
            ..Link::default()
        });
        let now = Instant::now();
        assert_eq!(switch.accept(A, B, &[1], now), 0);
        assert_eq!(switch.next_due(), Some(now + ms(40)));
        assert_eq!(arrivals(&mut switch, now + ms(39)), [0; 0]);
        assert_eq!(arrivals(&mut switch, now + ms(40)), [1]);
        assert_eq!((switch.count(A, B).delayed, switch.waiting_bytes), (1, 0));
    }

    #[test]
    fn only_the_reordered_are_overtaken() {
        let now = Instant::now();
        let jittery = Link {
            delay: ms(20),
            jitter: ms(20),
            ..Link::default()
        };
        let send_all = |switch: &mut Switch| {
            for number in 0..100 {
                assert_eq!(switch.accept(A, B, &[number], now), 0);
            }
            arrivals(switch, now + ms(60))
        };
        let sent: Vec<u8> = (0..100).collect();
        assert_eq!(
            send_all(&mut switch(jittery)),
            sent,
            "jitter keeps the order"
        );
        let mut reordering = switch(Link {
            reorder: 0.2,
            ..jittery
        });
        let mut seen = send_all(&mut reordering);
        assert_ne!(seen, sent);
        seen.sort_unstable();
        assert_eq!(seen, sent, "and loses nothing");
        let count = reordering.count(A, B);
        assert!((10..30).contains(&count.reordered), "{count:?}");
        assert_eq!(count.reordered + count.delayed, 100);
    }

    #[test]
    fn a_packet_held_back_does_not_hold_others_back() {
        let mut switch = switch(Link {
            reorder: 1.0,
            ..Link::default()
        });
        let now = Instant::now();
        assert_eq!(switch.accept(A, B, &[1], now), 0);
        switch.set(A, B, Link::default());
        assert_eq!(switch.accept(A, B, &[2], now), 1);
        assert_eq!(arrivals(&mut switch, now + ms(12)), [1]);
    }

    #[test]
    fn a_link_that_gets_faster_does_not_overtake_itself() {
        let mut switch = switch(Link {
            delay: ms(100),
            ..Link::default()
        });
        let now = Instant::now();
        assert_eq!(switch.accept(A, B, &[1], now), 0);
        switch.set(A, B, Link::default());
        assert_eq!(switch.accept(A, B, &[2], now + ms(1)), 0);
        assert_eq!(arrivals(&mut switch, now + ms(100)), [1, 2]);
        assert_eq!(switch.accept(A, B, &[3], now + ms(100)), 1);
    }

    #[test]
    fn healing_delivers_what_is_under_way_in_its_order() {
        let mut switch = switch(Link {
            delay: ms(60_000),
            jitter: ms(10_000),
            ..Link::default()
        });
        let now = Instant::now();
        switch.set(
            B,
            A,
            Link {
                delay: ms(1),
                ..Link::default()
            },
        );
        for number in 0..50 {
            assert_eq!(switch.accept(A, B, &[number], now), 0);
            assert_eq!(switch.accept(B, A, &[number], now), 0);
        }
        assert_eq!(
            arrivals(&mut switch, now + ms(1)).len(),
            50,
            "those of the other link"
        );
        switch.heal(now + ms(1));
        assert_eq!(
            switch.accept(A, B, &[50], now + ms(1)),
            0,
            "behind the others"
        );
        let all: Vec<u8> = (0..=50).collect();
        assert_eq!(arrivals(&mut switch, now + ms(1)), all);
        assert_eq!(switch.link(A, B), Link::default());
        assert_eq!(switch.accept(A, B, &[51], now + ms(1)), 1);
    }

    #[test]
    fn a_limited_link_takes_its_time_and_its_queue_ends() {
        let mut switch = switch(Link {
            bytes_per_second: Some(100_000),
            ..Link::default()
        });
        let now = Instant::now();
        for number in 0..100 {
            assert_eq!(switch.accept(A, B, &[number; 1_000], now), 0);
        }
        // 10 ms each; who would have to wait for more than 500 ms is dropped.
        assert_eq!(switch.count(A, B).overflowed, 49);
        assert_eq!(arrivals(&mut switch, now + ms(9)).len(), 0);
        assert_eq!(arrivals(&mut switch, now + ms(100)).len(), 10);
        assert_eq!(arrivals(&mut switch, now + ms(510)).len(), 41);
    }

    #[test]
    fn a_stopped_link_is_slow_but_no_fault_of_ours() {
        let mut switch = switch(Link {
            bytes_per_second: Some(0),
            ..Link::default()
        });
        let now = Instant::now();
        assert_eq!(switch.accept(A, B, &[1; 1_500], now), 0);
        assert_eq!(switch.accept(A, B, &[2; 1_500], now), 0);
        assert_eq!(switch.count(A, B).overflowed, 1);
    }

    #[test]
    fn what_waits_is_bounded_and_the_rest_counted() {
        let mut switch = switch(Link {
            delay: ms(60_000),
            ..Link::default()
        });
        let now = Instant::now();
        let packet = vec![0; 1 << 20];
        for _ in 0..70 {
            assert_eq!(switch.accept(A, B, &packet, now), 0);
        }
        let count = switch.count(A, B);
        assert_eq!((count.delayed, count.overflowed), (64, 6));
        switch.heal(now);
        assert_eq!(arrivals(&mut switch, now).len(), 64);
        assert_eq!(switch.waiting_bytes, 0);
    }

    #[test]
    fn a_refused_packet_was_not_delivered() {
        let mut switch = Switch::new(1);
        assert_eq!(switch.accept(A, B, &[1], Instant::now()), 1);
        switch.refused(A, B);
        let count = switch.count(A, B);
        assert_eq!((count.delivered, count.overflowed), (0, 1));
    }

    /// Whatever links do, every packet ends in exactly one count.
    #[test]
    fn the_books_balance() {
        let from_bits = |seed: u64, shift: u32| (seed >> shift & 3) as f64 / 4.0;
        for seed in 0..4_096_u64 {
            let mut switch = Switch::new(seed);
            let begin = Instant::now();
            let mut now = begin;
            for step in 0..40_u64 {
                if step % 10 == 0 {
                    let turn = seed.rotate_right(u32::try_from(step).expect("small"));
                    switch.set(
                        A,
                        B,
                        Link {
                            is_cut: turn & 0xf00 == 0,
                            delay: ms(turn & 31),
                            jitter: ms(turn >> 5 & 15),
                            loss: from_bits(turn, 0),
                            duplicate: from_bits(turn, 2),
                            reorder: from_bits(turn, 4),
                            bytes_per_second: (turn & 64 == 0).then_some(10_000),
                            largest_packet: (turn & 128 == 0).then_some(500),
                        },
                    );
                }
                now += ms(step % 7);
                let size = usize::try_from(seed * step % 1_000 + 1).expect("small");
                switch.accept(A, B, &vec![1; size], now);
                arrivals(&mut switch, now);
            }
            if seed % 2 == 0 {
                switch.heal(now);
            }
            arrivals(&mut switch, now + ms(200_000));
            let count = switch.count(A, B);
            let ends =
                count.delivered + count.cut + count.lost + count.oversized + count.overflowed;
            assert_eq!(
                ends,
                count.sent + count.duplicated,
                "seed {seed}: {count:?}"
            );
            let path = &switch.paths[&(A, B)];
            assert_eq!(
                (path.waiting_in_order, switch.waiting_bytes),
                (0, 0),
                "seed {seed}"
            );
        }
    }
}
