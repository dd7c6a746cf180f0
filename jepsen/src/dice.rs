//! Seeded dice: everything the harness chooses follows from its seed.

/// Small, seeded, good enough to choose what to do next (Steele and Vigna's SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another die that follows from the same seed and this name.
    pub(crate) fn named(seed: u64, name: &str) -> Self {
        let mixed = name.bytes().fold(seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(mixed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `sides` - 1.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.next() % sides
    }

    /// Both ends included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll(high - low + 1)
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.index(all.len())]
    }

    /// An index below `len`.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.roll(len as u64)).expect("an index below a length fits")
    }

    /// In any order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            let other = self.index(last + 1);
            all.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn the_same_seed_rolls_the_same_and_names_differ() {
        let rolls = |mut dice: Dice| (0..8).map(|_| dice.roll(1_000)).collect::<Vec<_>>();
        assert_eq!(rolls(Dice::named(7, "a")), rolls(Dice::named(7, "a")));
        assert_ne!(rolls(Dice::named(7, "a")), rolls(Dice::named(7, "b")));
        assert_ne!(rolls(Dice::named(7, "a")), rolls(Dice::named(8, "a")));
    }

    #[test]
    fn a_shuffle_keeps_all() {
        let mut all: Vec<u32> = (0..50).collect();
        Dice::new(3).shuffle(&mut all);
        assert!(all.windows(2).any(|pair| pair[0] > pair[1]), "not shuffled");
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }
}
