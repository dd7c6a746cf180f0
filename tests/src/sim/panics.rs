//! Panics of the product: a task that panics ends quietly, so they are collected here.
use std::sync::{Mutex, PoisonError};

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// openraft's own assertions in debug builds, which say too much: a leader that stands for election
/// again (`raft::membership::resume`) may be asked for a membership change meanwhile, and leads on
/// with the vote that it leads by.
const KNOWN: &[&str] = &["Only leader is allowed to call update_effective_membership()"];

/// Collects panics from now on, and says nothing.
pub fn collect() {
    std::panic::set_hook(Box::new(|panic| {
        let mut panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
        panics.push(panic.to_string());
    }));
}

/// The panics since the last look.
pub(crate) fn take() -> Vec<String> {
    std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner))
}

pub(crate) fn is_known(panic: &str) -> bool {
    KNOWN.iter().any(|known| panic.contains(known))
}
