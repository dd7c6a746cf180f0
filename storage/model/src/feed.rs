//! The global feed, newest first.
use crate::error::Fault;
use crate::id::{UserId, VideoId};
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

/// The newest videos of the feed, kept in memory for many views.
///
/// Videos come to the feed in the order of their publish times and never leave it. So the feed of a
/// view is that of any later view without what is newer than the view's newest, and one head serves
/// all views.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Publish time of the newest video of the view that this was made from.
    newest: Timestamp,
    /// Newest first, without gaps.
    entries: Vec<(Timestamp, VideoId)>,
    /// The feed's first video is among them.
    is_all: bool,
}

impl Head {
    /// Does this know all that `view` has at its end?
    ///
    /// # Errors
    /// [`Fault`] when this machine could not read its state.
    pub fn covers(&self, view: &impl View) -> Result<bool, Fault> {
        Ok(newest(view)?.is_none_or(|newest| newest <= self.newest))
    }

    /// The `keep` newest of `view`, which this does not cover; reads only what is new.
    ///
    /// # Errors
    /// [`Fault`] when this machine could not read its state.
    pub fn advance(&self, view: &impl View, keep: usize) -> Result<Self, Fault> {
        let mut head = Self {
            newest: newest(view)?.unwrap_or_default(),
            entries: Vec::with_capacity(keep),
            is_all: true,
        };
        for entry in view.list::<key::Feed>((), None) {
            let (key, video) = entry?;
            let published = key.published.0;
            if published <= self.newest {
                let rest = keep - head.entries.len();
                head.is_all = self.is_all && self.entries.len() <= rest;
                head.entries.extend(self.entries.iter().take(rest));
                break;
            }
            if head.entries.len() == keep {
                head.is_all = false;
                break;
            }
            head.entries.push((published, video));
        }
        Ok(head)
    }

    /// The ids that [`before`] shows, for a view that this covers and whose newest video is of
    /// `newest`; `None` when the page reaches beyond what is kept.
    #[must_use]
    fn ids(
        &self,
        newest: Timestamp,
        bound: Option<Timestamp>,
        limit: usize,
    ) -> Option<Vec<VideoId>> {
        let is_in = |published: Timestamp| {
            published <= newest && bound.is_none_or(|bound| published < bound)
        };
        let start = self
            .entries
            .partition_point(|(published, _)| !is_in(*published));
        let rest = &self.entries[start..];
        (self.is_all || rest.len() >= limit)
            .then(|| rest.iter().take(limit).map(|(_, video)| *video).collect())
    }
}

/// As [`before`], for a view that `head` covers.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn before_by(
    head: &Head,
    view: &impl View,
    viewer: Option<UserId>,
    bound: Option<Timestamp>,
    limit: usize,
) -> Result<Vec<VideoItem>, Fault> {
    let Some(newest) = newest(view)? else {
        return Ok(Vec::new());
    };
    match head.ids(newest, bound, limit) {
        Some(videos) => video::named_items(view, viewer, &videos),
        None => before(view, viewer, bound, limit),
    }
}

/// The newest publish time that this view knows.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn newest(view: &impl View) -> Result<Option<Timestamp>, Fault> {
    let totals = view.read(&key::Watermarks {})?.unwrap_or_default();
    Ok((totals.videos > 0).then_some(totals.newest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::overlay::Overlay;
    use crate::record::Totals;

    /// A feed with videos of the times 10, 20, … up to ten times `count`.
    fn feed_of(count: u64) -> Memory {
        let mut memory = Memory::default();
        let empty = Memory::default();
        let mut changes = Overlay::new(&empty);
        for number in 1..=count {
            let published = Newest(Timestamp(10 * number));
            changes.put(&key::Feed { published }, &VideoId(number));
        }
        let totals = Totals {
            videos: count,
            newest: Timestamp(10 * count),
            ..Totals::default()
        };
        changes.put(&key::Watermarks {}, &totals);
        memory.commit(changes.into_changes());
        memory
    }

    fn scanned(view: &Memory, bound: Option<Timestamp>, limit: usize) -> Vec<VideoId> {
        let after = bound.map(|bound| key::Feed {
            published: Newest(bound),
        });
        let listed = view.list((), after.as_ref()).take(limit);
        listed.map(|entry| entry.unwrap().1).collect()
    }

    /// Every page of every view that `head` covers; gives how many it left to a scan.
    fn pages_left(head: &Head, counts: std::ops::RangeInclusive<u64>) -> usize {
        let mut left = 0;
        for count in counts {
            let view = feed_of(count);
            assert!(head.covers(&view).unwrap());
            let newest = newest(&view).unwrap().unwrap_or_default();
            let bounds = (0..=10 * count + 15).map(|time| Some(Timestamp(time)));
            for bound in bounds.chain([None]) {
                for limit in [1, 3, 30] {
                    match head.ids(newest, bound, limit) {
                        Some(ids) => assert_eq!(ids, scanned(&view, bound, limit)),
                        None => left += 1,
                    }
                }
            }
        }
        left
    }

    #[test]
    fn one_head_shows_views_of_any_age_what_a_scan_shows_them() {
        let mut head = Head::default();
        for count in [1, 2, 5, 6, 9, 10] {
            let view = feed_of(count);
            if !head.covers(&view).unwrap() {
                head = head.advance(&view, 10).unwrap();
            }
            assert_eq!(pages_left(&head, 1..=count), 0, "{count}");
        }
        // Now there are more than are kept: the last pages are for a scan, the first are not.
        for count in [11, 13, 40] {
            let view = feed_of(count);
            assert!(!head.covers(&view).unwrap());
            head = head.advance(&view, 10).unwrap();
            assert!(pages_left(&head, count - 5..=count) > 0);
            assert!(head.ids(Timestamp(10 * count), None, 10).is_some());
        }
    }
}
