//! Cheap chance from a seed (splitmix64): the same seed, the same data and the same questions.

/// A sequence of numbers that look random.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % (end as u64)).expect("below a usize")
    }

    /// A number below `end` (not 0), small ones more often: about as Zipf's law with exponent 1 has
    /// it, where the first half of the logarithm's range gets half of the throws.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a fraction is to be cut off, and it is below `end` but for rounding"
    )]
    pub fn skewed(&mut self, end: usize) -> usize {
        let unit = (self.roll() >> 11) as f64 / (1_u64 << 53) as f64;
        let place = ((end + 1) as f64).powf(unit) - 1.0;
        (place as usize).min(end - 1)
    }
}

/// Spreads a number over 64 bits, each number to another one.
#[must_use]
pub fn mix(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_stay_below_their_end() {
        let mut dice = Dice::new(7);
        for _ in 0..10_000 {
            assert!(dice.below(3) < 3);
            assert!(dice.skewed(3) < 3);
            assert_eq!(dice.skewed(1), 0);
        }
    }

    #[test]
    fn half_of_the_skewed_throws_fall_below_the_root() {
        let mut dice = Dice::new(7);
        let low = (0..10_000).filter(|_| dice.skewed(10_000) < 100).count();
        assert!((4_500..5_500).contains(&low), "{low}");
    }
}
