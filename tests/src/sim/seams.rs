//! The HTTP face's seams: seeded randomness, and work that is done where it comes up.
use std::sync::{Mutex, PoisonError};

use api::seam::{Blocking, Random};

use super::dice::Dice;

/// Bytes that a seed makes.
pub(crate) struct Seeded(Mutex<Dice>);

impl Seeded {
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        Self(Mutex::new(Dice::new(seed, purpose)))
    }
}

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        let mut dice = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&dice.bits().to_le_bytes()[..part.len()]);
        }
    }
}

/// There is one thread.
pub(crate) struct InPlace;

impl Blocking for InPlace {
    fn start(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}
