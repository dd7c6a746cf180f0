//! An S3 server in the binary: real protocol, real signatures, one directory.
//!
//! For a demo, a single machine and tests, so that the code that talks to a bucket is the same
//! everywhere. Protocol and signatures are s3s, the files are s3s-fs; this crate adds what a store
//! of acknowledged bytes needs and a sample implementation lacks: an answer comes after the bytes
//! are on the disk ([`Disk`]), a repeated request gets the same answer, nothing is left behind.
//! [`Faults`] makes the server misbehave on purpose, for the tests of its clients.

mod clean;
mod disk;
mod durable;
mod faults;
mod place;
mod server;

pub use disk::{Disk, SystemDisk};
pub use faults::{Fault, Faults};
pub use server::{Error, Options, Server};
