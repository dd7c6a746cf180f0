//! The global feed, newest first.
use crate::error::Fault;
use crate::id::UserId;
use crate::key::{self, Newest};
use crate::read::Read;
use crate::time::Timestamp;
use crate::video::{self, VideoItem};
use crate::view::View;

/// Up to `limit` videos that were published strictly before `bound` (no bound: the newest).
///
/// Publish times are unique, so the last item's time as the next bound pages without gap or repeat.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn before(
    view: &impl View,
    viewer: Option<UserId>,
    bound: Option<Timestamp>,
    limit: usize,
) -> Result<Vec<VideoItem>, Fault> {
    let after = bound.map(|bound| key::Feed {
        published: Newest(bound),
    });
    let listed = view.list((), after.as_ref()).take(limit);
    let videos = listed.map(|entry| entry.map(|(_, video)| video));
    let videos = videos.collect::<Result<Vec<_>, _>>()?;
    video::named_items(view, viewer, &videos)
}

/// The newest publish time that this view knows.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn newest(view: &impl View) -> Result<Option<Timestamp>, Fault> {
    let totals = view.read(&key::Watermarks {})?.unwrap_or_default();
    Ok((totals.videos > 0).then_some(totals.newest))
}
