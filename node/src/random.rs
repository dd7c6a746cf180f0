//! Random bytes from the operating system.
use ring::rand::{SecureRandom as _, SystemRandom};

/// `N` bytes that nobody can guess.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system gives random bytes");
    bytes
}
