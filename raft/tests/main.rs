//! What a replica promises, shown on clusters in one process. All of it is one test binary, which
//! sees the inside of the crate: openraft's own test suite runs on the adapters, and the bytes of
//! the codec are held here.
mod agreement;
mod codec;
mod faults;
mod fitness;
mod lasting;
mod members;
mod on_disk;
mod reading;
mod snapshots;
mod suite;
pub(crate) mod support;
