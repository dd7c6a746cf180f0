//! All chance of a run: one seed, and under it a die of its own for every purpose, so that a change
//! of one part leaves the others' rolls as they were.
use std::hash::{DefaultHasher, Hasher};

/// A die (Steele and Vigna's SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The die of a run for one purpose.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(seed);
        hasher.write(purpose.as_bytes());
        Self(hasher.finish())
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `sides`; 0 when there are none.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.bits().checked_rem(sides).unwrap_or(0)
    }

    /// Both ends included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll(high.saturating_sub(low) + 1)
    }

    /// True so many times in a thousand.
    pub fn in_thousand(&mut self, times: u64) -> bool {
        self.roll(1_000) < times
    }

    /// One of them, if there are any.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = usize::try_from(self.roll(from.len() as u64)).expect("below a length");
        from.get(at)
    }

    /// In any order.
    pub fn shuffle<T>(&mut self, these: &mut [T]) {
        for last in (1..these.len()).rev() {
            let other = usize::try_from(self.roll(last as u64 + 1)).expect("below a length");
            these.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn purposes_have_rolls_of_their_own_and_seeds_repeat() {
        let rolls = |seed, purpose| {
            let mut dice = Dice::new(seed, purpose);
            (0..4).map(|_| dice.bits()).collect::<Vec<_>>()
        };
        assert_eq!(rolls(1, "network"), rolls(1, "network"));
        assert_ne!(rolls(1, "network"), rolls(2, "network"));
        assert_ne!(rolls(1, "network"), rolls(1, "disk"));
    }

    #[test]
    fn rolls_stay_within_their_bounds() {
        let mut dice = Dice::new(7, "bounds");
        for _ in 0..1_000 {
            assert!((3..=5).contains(&dice.between(3, 5)));
        }
        assert_eq!(dice.roll(0), 0);
        assert_eq!(dice.pick::<u8>(&[]), None);
        let mut cards = [1, 2, 3, 4, 5];
        dice.shuffle(&mut cards);
        cards.sort_unstable();
        assert_eq!(cards, [1, 2, 3, 4, 5]);
    }
}
