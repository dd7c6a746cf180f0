//! Whole clusters in one process, on a wire, disks and clocks that a test can break.
pub(crate) mod clock;
pub(crate) mod cluster;
pub(crate) mod lossy;
pub(crate) mod shaky;
pub(crate) mod wait;
pub(crate) mod words;
