//! Facts and pictures of a video file that a stranger sent.
//!
//! Everything here reads hostile bytes. The parsers ([`sniff`], [`inspect`]) are our own safe Rust
//! with bounded memory and time and may run in the server's process; the H.264 decoder behind
//! [`cover`] is C++ and may not: the server starts [`child`], which confines itself first.
//!
//! Read `clip` (what is asked), then `mp4` and `webm` (how it is found), then `cover` and `child`.
//! This crate knows nothing of users, buckets or HTTP.

pub mod child;
mod clip;
mod confine;
mod cover;
mod mp4;
mod picture;
mod sniff;
mod webm;

pub use clip::{Bounds, Clip, Invalid, inspect, inspect_file};
pub use confine::{Confinement, confine, seal};
pub use cover::{COVER_HEIGHT_MAX, COVER_WIDTH_MAX, NoCover, cover};
pub use picture::{Picture, avatar, background, poster};
pub use sniff::{Kind, SNIFF_BYTES, sniff};
