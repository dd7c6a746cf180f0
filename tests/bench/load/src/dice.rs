//! Cheap chance from a seed (splitmix64): the same seed, the same requests.

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
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = end.max(1) as u64;
        usize::try_from(self.roll() % end).expect("below a usize")
    }

    /// In (0, 1]: its logarithm is finite.
    pub fn unit(&mut self) -> f64 {
        ((self.roll() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same_and_within_bounds() {
        let (mut one, mut other) = (Dice::new(7), Dice::new(7));
        for _ in 0..1_000 {
            assert_eq!(one.roll(), other.roll());
            assert!(one.below(3) < 3);
            other.roll();
            assert!((0.0..=1.0).contains(&one.unit()));
            other.unit();
        }
        assert_ne!(Dice::new(7).roll(), Dice::new(8).roll());
        assert_eq!(Dice::new(1).below(0), 0);
    }
}
