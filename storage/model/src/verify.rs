//! Recounts what is kept as counts and compares, on a view.
use crate::error::Fault;
use crate::view::View;

/// One thing that does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which object and which count or index, in words: `video 1025 favorite_count`.
    pub what: String,
    pub stored: String,
    pub recounted: String,
}

/// What a recount looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many objects were recounted, by noun.
    pub users: u64,
    pub videos: u64,
    pub comments: u64,
    pub follows: u64,
    pub favorites: u64,
    pub messages: u64,
    /// The first thousand differences.
    pub differences: Vec<Difference>,
    pub difference_count: u64,
}

/// Recounts everything in `view`. Memory stays bounded: it walks key ranges in order.
pub fn recount(_view: &impl View) -> Result<Report, Fault> {
    todo!()
}
