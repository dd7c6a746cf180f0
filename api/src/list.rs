//! Long lists: asked for without paging they come whole, and still in flat memory.
//!
//! The first elements are read at once, which is all of most lists. What follows is read in pages
//! on the blocking threads, each when the client has taken the one before, from the same view. The
//! optional parameters `limit` and `cursor` (the id of the last element that the client has) page
//! explicitly.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use model::error::Fault;
use storage::state::SharedView;
use tokio::task::AbortHandle;
use tokio::time;

use crate::call::{Call, json};
use crate::error::{Answer, Code, Failure};
use crate::json::Json;
use crate::seam::{self, Blocking};
use crate::wire::{self, Looks, Shape};

/// Read on the async thread: a few milliseconds at most.
const FIRST_PAGE: usize = 100;
const PAGE: usize = 500;
/// A view pins old data on the disk: a client that takes longer than this is cut off.
const VIEW_TIME_MAX: Duration = Duration::from_secs(60);

/// Which elements are asked for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Id of the last element that is known already.
    pub(crate) after: Option<u64>,
    pub(crate) limit: usize,
}

/// One kind of list.
pub(crate) trait Listing: Send + Sync + 'static {
    type Item: Shape + Send + 'static;
    /// The list's field.
    const NAME: &'static str;
    /// What is said when the list's owner does not exist.
    const MISSING: Code;

    fn page(&self, view: &SharedView, page: Page) -> Result<Option<Vec<Self::Item>>, Fault>;
    fn id(item: &Self::Item) -> u64;
}

/// The `limit` that a client asks for, within ours.
pub(crate) fn limit(call: &Call, most: usize) -> Result<usize, Failure> {
    match call.params.number("limit")? {
        None => Ok(most),
        Some(0) => Err(Failure::new(
            Code::NumberInvalid,
            "limit must be at least 1",
        )),
        Some(limit) => Ok(usize::try_from(limit).map_or(most, |limit| limit.min(most))),
    }
}

/// Answers with a list.
pub(crate) async fn answer<L: Listing>(call: &Call, view: SharedView, listing: L) -> Answer {
    let limit = limit(call, call.app.options.list_items_max)?;
    let page = Page {
        after: call.params.number("cursor")?,
        limit: limit.min(FIRST_PAGE),
    };
    let looks = call.looks();
    let items = listing.page(&view, page)?.ok_or(L::MISSING)?;
    let mut text = Json::with_capacity((items.len() + 1) * wire::ITEM_BYTES);
    wire::start(L::NAME, &mut text);
    text.raw("[");
    wire::write_all(&items, &looks, &mut text);
    let last = items.last().map(L::id);
    if items.len() < page.limit || page.limit == limit {
        text.raw(wire::LIST_END);
        return Ok(json(text.into_bytes()));
    }
    let rest = Rest {
        listing: Arc::new(listing),
        looks,
        view: Lease::new(view),
        after: last,
        left: limit - items.len(),
        blocking: Arc::clone(&call.app.parts.blocking),
    };
    let start = stream::once(std::future::ready(Ok(text.into_bytes())));
    let rest = stream::try_unfold(Some(rest), |rest| async {
        match rest {
            Some(rest) => rest.next().await.map(Some),
            None => Ok(None),
        }
    });
    Ok(json(Body::from_stream(futures_util::StreamExt::chain(
        start, rest,
    ))))
}

/// What of a list is not read yet.
struct Rest<L> {
    listing: Arc<L>,
    looks: Looks,
    view: Lease,
    after: Option<u64>,
    left: usize,
    blocking: Arc<dyn Blocking>,
}

/// Why a list broke off in the middle; its client sees a body that ends too soon.
#[derive(Debug, thiserror::Error)]
#[error("the list could not be read to its end: {0}")]
struct BrokenOff(String);

impl<L: Listing> Rest<L> {
    /// The next part of the text, and what is left then.
    async fn next(mut self) -> Result<(Bytes, Option<Self>), BrokenOff> {
        let page = Page {
            after: self.after,
            limit: self.left.min(PAGE),
        };
        let view = self
            .view
            .get()
            .ok_or_else(|| BrokenOff("it took too long".to_owned()))?;
        let (listing, looks) = (Arc::clone(&self.listing), self.looks.clone());
        let read = move || -> Result<_, Failure> {
            // An owner that was there a page ago is there in the same view.
            let items = listing.page(&view, page)?.unwrap_or_default();
            let mut text = Json::with_capacity((items.len() + 1) * wire::ITEM_BYTES);
            if !items.is_empty() {
                text.raw(",");
            }
            wire::write_all(&items, &looks, &mut text);
            Ok((text, items.len(), items.last().map(L::id)))
        };
        let (mut text, count, last) = seam::run(&self.blocking, read)
            .await
            .map_err(|error| BrokenOff(error.to_string()))?
            .map_err(|failure| BrokenOff(failure.message))?;
        self.left -= count.min(self.left);
        self.after = last.or(self.after);
        let is_end = count < page.limit || self.left == 0;
        if is_end {
            text.raw(wire::LIST_END);
        }
        Ok((text.into_bytes(), (!is_end).then_some(self)))
    }
}

/// A view that is let go when its time is up, whether or not anybody asks for it.
struct Lease {
    view: Arc<Mutex<Option<SharedView>>>,
    timer: AbortHandle,
}

impl Lease {
    fn new(view: SharedView) -> Self {
        let view = Arc::new(Mutex::new(Some(view)));
        let lent = Arc::clone(&view);
        let timer = tokio::spawn(async move {
            time::sleep(VIEW_TIME_MAX).await;
            lent.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        Self {
            view,
            timer: timer.abort_handle(),
        }
    }

    fn get(&self) -> Option<SharedView> {
        self.view
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.timer.abort();
    }
}
