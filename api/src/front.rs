//! The first page of the feed, written once for all who are shown the same state.
//!
//! Exact: a position names one state, so what was written for a position is what would be written
//! for it again. Only two flags of each video are the viewer's own; the text is kept without them.
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use model::error::Fault;
use model::id::{UserId, VideoId};
use model::marks;
use model::video::VideoItem;
use model::view::View;
use raft::position::Position;

use crate::base::Base;
use crate::json::Json;
use crate::wire::{self, Looks};

/// Pages are kept for so many names that this node is reached by; most have one.
const BASES_MAX: usize = 4;
/// A flag that is false, with room for one that is true.
const FLAG_BYTES: usize = 5;

/// Shared by all requests; one page for each base, that of the newest state that was asked for.
#[derive(Default)]
pub(crate) struct FrontPages(RwLock<Vec<Arc<FrontPage>>>);

/// The page of one state, as clients of one base are shown it.
pub(crate) struct FrontPage {
    position: Position,
    base: Base,
    videos: Vec<VideoId>,
    /// Of each video.
    authors: Vec<UserId>,
    /// The whole answer but the flags.
    text: Bytes,
    /// Where in it the flags belong: for each video whether its author is followed, then whether it
    /// is liked.
    flags: Vec<usize>,
    /// The answer for who is nobody.
    anonymous: Bytes,
}

impl FrontPages {
    /// The page at `position`; `items` are its videos as nobody sees them, read if there is no such
    /// page yet. `None` when there are none.
    ///
    /// Who comes while a page is written waits for it: that takes microseconds, and then it is there
    /// for all of them.
    ///
    /// # Errors
    /// Those of `items`.
    pub(crate) fn of(
        &self,
        position: Position,
        base: &Base,
        looks: impl FnOnce() -> Looks,
        items: impl FnOnce() -> Result<Vec<VideoItem>, Fault>,
    ) -> Result<Option<Arc<FrontPage>>, Fault> {
        let is_it = |page: &&Arc<FrontPage>| page.position == position && page.base == *base;
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = kept.iter().find(is_it) {
            return Ok(Some(Arc::clone(page)));
        }
        drop(kept);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = kept.iter().find(is_it) {
            return Ok(Some(Arc::clone(page)));
        }
        let items = items()?;
        if items.is_empty() {
            return Ok(None);
        }
        let page = Arc::new(FrontPage::write(position, base, &looks(), &items));
        keep(&mut kept, &page);
        Ok(Some(page))
    }
}

/// Keeps `page` unless a newer one of its base is there.
fn keep(kept: &mut Vec<Arc<FrontPage>>, page: &Arc<FrontPage>) {
    match kept.iter().position(|other| other.base == page.base) {
        Some(place) if kept[place].position > page.position => {}
        Some(place) => kept[place] = Arc::clone(page),
        None => {
            if kept.len() == BASES_MAX {
                kept.remove(0);
            }
            kept.push(Arc::clone(page));
        }
    }
}

impl FrontPage {
    fn write(position: Position, base: &Base, looks: &Looks, items: &[VideoItem]) -> Self {
        let mut json = Json::with_capacity((items.len() + 1) * wire::ITEM_BYTES);
        let mut flags = Vec::with_capacity(2 * items.len());
        wire::write_feed(items, looks, &mut json, |json, _| flags.push(json.len()));
        let text = json.into_bytes();
        let anonymous = filled(&text, &flags, std::iter::repeat(false));
        Self {
            position,
            base: base.clone(),
            videos: items.iter().map(|item| item.id).collect(),
            authors: items.iter().map(|item| item.author.id).collect(),
            text,
            flags,
            anonymous,
        }
    }

    /// The answer for `viewer`, whose flags are read from `view`, which is of this page's position.
    ///
    /// # Errors
    /// When this machine could not read its state.
    pub(crate) fn body(&self, view: &impl View, viewer: Option<UserId>) -> Result<Bytes, Fault> {
        let Some(viewer) = viewer else {
            return Ok(self.anonymous.clone());
        };
        let follows = marks::follows(view, viewer, &self.authors)?;
        let likes = marks::likes(view, viewer, &self.videos)?;
        let pairs = follows.into_iter().zip(likes);
        let marks = pairs.flat_map(|(is_follow, is_favorite)| [is_follow, is_favorite]);
        Ok(filled(&self.text, &self.flags, marks))
    }
}

/// `text` with `marks` where the flags belong.
fn filled(text: &[u8], flags: &[usize], marks: impl Iterator<Item = bool>) -> Bytes {
    let mut json = Json::with_capacity(text.len() + FLAG_BYTES * flags.len());
    let mut done = 0;
    for (&place, mark) in flags.iter().zip(marks) {
        json.copy(&text[done..place]);
        json.flag(mark);
        done = place;
    }
    json.copy(&text[done..]);
    json.into_bytes()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use model::apply::apply;
    use model::command::{Command, Operation, Reply, RequestId};
    use model::favorite::Like;
    use model::feed;
    use model::memory::Memory;
    use model::relation::Follow;
    use model::time::Timestamp;
    use model::token::TokenHash;
    use model::user::Register;
    use model::video::{BlobRef, Publish};

    use super::*;
    use crate::wire::Urls;

    /// A state and the number of its last change.
    #[derive(Default)]
    struct Town {
        state: Memory,
        changes: u64,
    }

    impl Town {
        fn change(&mut self, actor: Option<TokenHash>, operation: Operation) -> Reply {
            self.changes += 1;
            let number = self.changes;
            let command = Command {
                request: RequestId(u128::from(number).to_be_bytes()),
                issued: Timestamp(number),
                stamp: Timestamp(number),
                actor,
                operation,
            };
            let outcome = apply(&self.state, command).unwrap();
            self.state.commit(outcome.changes);
            assert!(!matches!(outcome.reply, Reply::Rejected(_)));
            outcome.reply
        }

        fn register(&mut self, name: &str) -> (UserId, TokenHash) {
            let token = TokenHash([u8::try_from(self.changes).unwrap(); 32]);
            let register = Register {
                name: name.to_owned(),
                password_hash: "$".to_owned(),
                token,
            };
            match self.change(None, Operation::Register(register)) {
                Reply::Registered { user } => (user, token),
                other => panic!("{other:?}"),
            }
        }

        fn publish(&mut self, by: TokenHash, title: &str) -> VideoId {
            let blob = |kind: &str| BlobRef {
                key: format!("{kind}/{}", self.changes),
                bytes: 1,
                sha256: [7; 32],
                content_type: "video/mp4".to_owned(),
            };
            let publish = Publish {
                title: title.to_owned(),
                video: blob("v"),
                cover: blob("c"),
            };
            match self.change(Some(by), Operation::Publish(publish)) {
                Reply::Published { video, .. } => video,
                other => panic!("{other:?}"),
            }
        }

        fn position(&self) -> Position {
            let index = self.changes;
            Position { epoch: 1, index }
        }

        fn items(&self, viewer: Option<UserId>) -> Vec<VideoItem> {
            feed::before(&self.state, viewer, None, 30).unwrap()
        }

        fn prepared(&self, pages: &FrontPages, base: &Base, viewer: Option<UserId>) -> Bytes {
            let items = || Ok(self.items(None));
            let page = pages.of(self.position(), base, || looks(base), items);
            page.unwrap().unwrap().body(&self.state, viewer).unwrap()
        }

        fn written(&self, base: &Base, viewer: Option<UserId>) -> Bytes {
            let mut json = Json::default();
            let items = self.items(viewer);
            wire::write_feed(&items, &looks(base), &mut json, Json::flag);
            json.into_bytes()
        }
    }

    fn looks(base: &Base) -> Looks {
        Looks {
            urls: Urls(base.clone()),
            zone: TimeZone::UTC,
        }
    }

    #[test]
    fn everybody_is_shown_what_would_be_written_for_them() {
        let mut town = Town::default();
        let pages = FrontPages::default();
        let bases = ["http://a", "https://b/prefix"].map(|url| Base::parse(url).unwrap());
        let (anna, hers) = town.register("anna");
        let (berta, of_berta) = town.register("berta");
        let stranger = UserId(77);
        let mut older = Vec::new();
        for number in 0..40_u64 {
            let author = if number % 3 == 0 { of_berta } else { hers };
            let title = format!("\"is_follow\":false {number}");
            let video = town.publish(author, &title);
            if number % 4 == 0 {
                town.change(Some(of_berta), Operation::Like(Like { video }));
            }
            if number == 20 {
                town.change(Some(of_berta), Operation::Follow(Follow { user: anna }));
            }
            for base in &bases {
                for viewer in [None, Some(anna), Some(berta), Some(stranger)] {
                    let prepared = town.prepared(&pages, base, viewer);
                    assert_eq!(prepared, town.written(base, viewer), "{number} {viewer:?}");
                }
            }
            older.push((town.position(), town.items(None)));
        }
        // Who still stands at an older state is shown that one, and does not take the newest's place.
        let (position, items) = older.swap_remove(5);
        let first = pages.of(position, &bases[0], || looks(&bases[0]), || Ok(items));
        assert_eq!(first.unwrap().unwrap().position, position);
        let fail = || panic!("it is kept");
        let newest = pages.of(town.position(), &bases[0], || looks(&bases[0]), fail);
        assert_eq!(newest.unwrap().unwrap().position, town.position());
    }

    #[test]
    fn only_so_many_names_are_kept_and_no_empty_page() {
        let mut town = Town::default();
        let pages = FrontPages::default();
        let base = Base::parse("http://a").unwrap();
        let nothing = pages.of(town.position(), &base, || looks(&base), || Ok(Vec::new()));
        assert!(nothing.unwrap().is_none());
        let (_, hers) = town.register("anna");
        town.publish(hers, "one");
        for number in 0..3 * BASES_MAX {
            let base = Base::parse(&format!("http://host{number}")).unwrap();
            town.prepared(&pages, &base, None);
        }
        assert_eq!(pages.0.read().unwrap().len(), BASES_MAX);
    }
}
