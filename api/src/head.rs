//! The feed's newest videos, kept between requests so that a page scans nothing.
//!
//! Exact: [`model::feed::Head`] says why one of them serves views of any age.
use std::sync::{Arc, PoisonError, RwLock};

use model::error::Fault;
use model::feed::Head;
use storage::state::SharedView;

/// As many pages as somebody who pages through what is new may see before one is scanned.
const KEEP: usize = 1_024;

/// Shared by all requests.
#[derive(Debug, Default)]
pub(crate) struct FeedHead(RwLock<Arc<Head>>);

impl FeedHead {
    /// A head that covers `view`.
    ///
    /// # Errors
    /// When this machine could not read its state.
    pub(crate) fn of(&self, view: &SharedView) -> Result<Arc<Head>, Fault> {
        let known = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        if known.covers(view)? {
            return Ok(known);
        }
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !kept.covers(view)? {
            *kept = Arc::new(kept.advance(view, KEEP)?);
        }
        Ok(Arc::clone(&kept))
    }
}
