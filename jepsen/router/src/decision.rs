//! The dice: what a link does to its n-th packet follows from the seed, the link and n alone. So
//! the same seed loses the same packets again, however the system schedules us.
use std::time::Duration;

use crate::link::Link;
use crate::member::Member;

/// How much longer a reordered packet waits: long enough for others to overtake it, short against
/// any timeout.
const HELD_BACK_MIN: Duration = Duration::from_millis(2);
const HELD_BACK_MAX: Duration = Duration::from_millis(12);

/// What happens to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Cut,
    Oversized,
    Lost,
    Passes {
        /// How long the packet is under way.
        takes: Duration,
        /// It lets later packets overtake.
        is_reordered: bool,
        /// How long its copy is under way, if there is one.
        copy_takes: Option<Duration>,
    },
}

/// The dice of one packet.
#[derive(Clone, Copy)]
pub(crate) struct Dice(u64);

/// What is thrown for. Each has dice of its own, so that they do not hang together.
#[derive(Clone, Copy)]
enum Question {
    Lost = 1,
    Duplicated = 2,
    Reordered = 3,
    Jitter = 4,
    JitterOfCopy = 5,
    HeldBack = 6,
}

impl Dice {
    /// Dice for the packet `number` of the link.
    pub(crate) fn new(seed: u64, from: Member, to: Member, number: u64) -> Self {
        let link = u64::from(from.host()) << 8 | u64::from(to.host());
        Self(mix(mix(mix(seed) ^ link) ^ number))
    }

    /// What `link` does to the packet of `bytes`.
    pub(crate) fn fate(self, link: &Link, bytes: usize) -> Fate {
        if link.is_cut {
            return Fate::Cut;
        }
        if link.largest_packet.is_some_and(|largest| bytes > largest) {
            return Fate::Oversized;
        }
        if self.is(Question::Lost, link.loss) {
            return Fate::Lost;
        }
        let is_reordered = self.is(Question::Reordered, link.reorder);
        let mut takes = self.delay(Question::Jitter, link);
        if is_reordered {
            let more = HELD_BACK_MAX - HELD_BACK_MIN;
            takes += HELD_BACK_MIN + more.mul_f64(self.throw(Question::HeldBack));
        }
        let copy_takes = self
            .is(Question::Duplicated, link.duplicate)
            .then(|| self.delay(Question::JitterOfCopy, link));
        Fate::Passes {
            takes,
            is_reordered,
            copy_takes,
        }
    }

    fn is(self, question: Question, probability: f64) -> bool {
        self.throw(question) < probability
    }

    fn delay(self, question: Question, link: &Link) -> Duration {
        let least = link.delay.saturating_sub(link.jitter);
        let most = link.delay + link.jitter;
        least + (most - least).mul_f64(self.throw(question))
    }

    /// Even between 0 and 1, never 1.
    fn throw(self, question: Question) -> f64 {
        /// A double holds 53 bits exactly.
        const BITS: u32 = 53;
        let bits = mix(self.0 ^ question as u64) >> (u64::BITS - BITS);
        bits as f64 / (1_u64 << BITS) as f64
    }
}

/// One step of SplitMix64: every bit of the answer hangs on every bit of `value`.
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: u64 = 100_000;

    fn fates(seed: u64, from: Member, to: Member, link: Link) -> Vec<Fate> {
        let dice = |number| Dice::new(seed, from, to, number);
        (0..PACKETS).map(|n| dice(n).fate(&link, 100)).collect()
    }

    fn share(fates: &[Fate], is: impl Fn(&Fate) -> bool) -> f64 {
        fates.iter().filter(|fate| is(fate)).count() as f64 / PACKETS as f64
    }

    fn assert_near(found: f64, expected: f64, what: &str) {
        assert!(
            (found - expected).abs() < 0.01,
            "{what}: {found}, not {expected}"
        );
    }

    #[test]
    fn a_perfect_wire_does_nothing() {
        let untouched = Fate::Passes {
            takes: Duration::ZERO,
            is_reordered: false,
            copy_takes: None,
        };
        let fates = fates(7, Member::Node(0), Member::Clients, Link::default());
        assert!(fates.iter().all(|fate| *fate == untouched));
    }

    #[test]
    fn rates_are_kept_and_do_not_hang_together() {
        let link = Link {
            loss: 0.2,
            duplicate: 0.3,
            reorder: 0.1,
            ..Link::default()
        };
        let fates = fates(1, Member::Node(0), Member::Node(1), link);
        assert_near(share(&fates, |fate| *fate == Fate::Lost), 0.2, "lost");
        let is_copied = |fate: &Fate| {
            matches!(
                fate,
                Fate::Passes {
                    copy_takes: Some(_),
                    ..
                }
            )
        };
        let is_late = |fate: &Fate| {
            matches!(
                fate,
                Fate::Passes {
                    is_reordered: true,
                    ..
                }
            )
        };
        assert_near(share(&fates, is_copied), 0.8 * 0.3, "duplicated");
        assert_near(share(&fates, is_late), 0.8 * 0.1, "reordered");
        let both = share(&fates, |fate| is_copied(fate) && is_late(fate));
        assert_near(both, 0.8 * 0.3 * 0.1, "both");
    }

    #[test]
    fn certain_things_are_certain() {
        let pair = (Member::Node(0), Member::Node(1));
        let always = Link {
            loss: 1.0,
            ..Link::default()
        };
        assert_near(
            share(&fates(1, pair.0, pair.1, always), |fate| {
                *fate == Fate::Lost
            }),
            1.0,
            "lost",
        );
        let dice = Dice::new(1, pair.0, pair.1, 1);
        let cut = Link {
            is_cut: true,
            ..Link::default()
        };
        assert_eq!(dice.fate(&cut, 100), Fate::Cut);
        let narrow = Link {
            largest_packet: Some(600),
            ..Link::default()
        };
        assert_eq!(dice.fate(&narrow, 601), Fate::Oversized);
        assert!(matches!(dice.fate(&narrow, 600), Fate::Passes { .. }));
    }

    #[test]
    fn delays_fill_the_range_of_the_jitter() {
        let link = Link {
            delay: Duration::from_millis(40),
            jitter: Duration::from_millis(10),
            ..Link::default()
        };
        let takes: Vec<Duration> = fates(3, Member::Clients, Member::Node(2), link)
            .iter()
            .map(|fate| match fate {
                Fate::Passes { takes, .. } => *takes,
                other => panic!("{other:?}"),
            })
            .collect();
        let (least, most) = (
            takes.iter().min().expect("some"),
            takes.iter().max().expect("some"),
        );
        assert!(*least >= Duration::from_millis(30) && *least < Duration::from_millis(31));
        assert!(*most <= Duration::from_millis(50) && *most > Duration::from_millis(49));
    }

    #[test]
    fn copies_have_a_delay_of_their_own() {
        let link = Link {
            jitter: Duration::from_millis(10),
            loss: 0.5,
            duplicate: 1.0,
            reorder: 0.5,
            ..Link::default()
        };
        let copies: Vec<Duration> = fates(3, Member::Node(0), Member::Node(1), link)
            .iter()
            .filter_map(|fate| match fate {
                Fate::Passes { copy_takes, .. } => *copy_takes,
                _ => None,
            })
            .collect();
        let half = Duration::from_millis(5);
        let early = copies.iter().filter(|takes| **takes < half).count();
        assert_near(early as f64 / copies.len() as f64, 0.5, "in the first half");
    }

    #[test]
    fn a_jitter_above_the_delay_is_no_travel_back_in_time() {
        let link = Link {
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(20),
            ..Link::default()
        };
        let Fate::Passes { takes, .. } =
            Dice::new(1, Member::Node(0), Member::Node(1), 5).fate(&link, 1)
        else {
            panic!("it passes");
        };
        assert!(takes <= Duration::from_millis(25));
    }

    #[test]
    fn a_seed_replays_and_another_differs() {
        let link = Link {
            loss: 0.5,
            ..Link::default()
        };
        let (a, b) = (Member::Node(0), Member::Node(1));
        let first = fates(42, a, b, link);
        assert!(
            first == fates(42, a, b, link),
            "the same seed decides the same"
        );
        for other in [
            fates(43, a, b, link),
            fates(42, b, a, link),
            fates(42, a, Member::Clients, link),
        ] {
            let same = first.iter().zip(&other).filter(|(x, y)| x == y).count();
            assert_near(same as f64 / PACKETS as f64, 0.5, "what two have in common");
        }
    }
}
