//! The model's tests: one binary, one module per question.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails its test: the lint only knows functions marked as tests"
)]

mod agree;
mod damage;
mod formats;
mod keys;
mod laws;
mod limits;
mod marks;
mod overlay;
mod reference;
mod samples;
mod scripts;
mod world;
