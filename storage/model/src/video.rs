//! Published videos and their authors' lists.
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::command::Reply;
use crate::error::{Fault, Rejection};
use crate::event::Event;
use crate::id::{UserId, VideoId};
use crate::key::{self, Newest};
use crate::marks;
use crate::read::{Questions, Read};
use crate::record;
use crate::slot;
use crate::time::Timestamp;
use crate::transaction::{Answer, Transaction, up};
use crate::user::{self, Profile};
use crate::view::View;

/// Bytes in the bucket, safe before any command names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// Key in the bucket, made by the entry node, written once.
    pub key: String,
    pub bytes: u64,
    pub sha256: [u8; 32],
    /// As sniffed, e.g. `video/mp4`.
    pub content_type: String,
}

/// The actor publishes a video. The title is already trimmed and checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    pub title: String,
    pub video: BlobRef,
    pub cover: BlobRef,
}

/// A video as somebody sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoItem {
    pub id: VideoId,
    pub author: Profile,
    pub title: String,
    pub video: BlobRef,
    pub cover: BlobRef,
    pub published: Timestamp,
    pub favorite_count: u64,
    pub comment_count: u64,
    pub is_favorite: bool,
}

/// The video `id` as `viewer` sees it.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn item(
    view: &impl View,
    viewer: Option<UserId>,
    id: VideoId,
) -> Result<Option<VideoItem>, Fault> {
    if !exists(view, id)? {
        return Ok(None);
    }
    Ok(named_items(view, viewer, &[id])?.pop())
}

/// What `author` published, newest first; `None` when there is no such user.
///
/// `after` is the last video of the page before; `limit` is at least 1.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn published_by(
    view: &impl View,
    viewer: Option<UserId>,
    author: UserId,
    after: Option<VideoId>,
    limit: usize,
) -> Result<Option<Vec<VideoItem>>, Fault> {
    if !user::exists(view, author)? {
        return Ok(None);
    }
    let after = after.map(|video| key::PublishedBy {
        author,
        video: Newest(video),
    });
    let listed = view.list(author, after.as_ref()).take(limit);
    let videos = listed.map(|entry| entry.map(|(key, ())| key.video.0));
    let videos = videos.collect::<Result<Vec<_>, _>>()?;
    named_items(view, viewer, &videos).map(Some)
}

/// The blobs of a video (video, cover), without anything else.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn blobs(view: &impl View, id: VideoId) -> Result<Option<(BlobRef, BlobRef)>, Fault> {
    let record = view.read(&key::VideoById { video: id })?;
    Ok(record.map(|record| (record.video, record.cover)))
}

/// Is there such a video?
pub(crate) fn exists(view: &impl View, video: VideoId) -> Result<bool, Fault> {
    view.has(&key::VideoById { video })
}

/// The videos `ids`, which other records name, so that they must be there; in their order.
///
/// A few rounds of reads, however many there are: all of the videos, all of their authors, and for
/// each of them what the viewer likes and follows.
pub(crate) fn named_items(
    view: &impl View,
    viewer: Option<UserId>,
    ids: &[VideoId],
) -> Result<Vec<VideoItem>, Fault> {
    let mut questions = Questions::default();
    let records = questions.ask(ids.iter().map(|&video| key::VideoById { video }));
    let counts = questions.ask(ids.iter().map(|&video| key::VideoCount { video }));
    let mut answers = questions.answers(view)?;
    let named = ids.iter().zip(answers.take(records)?).map(|(id, record)| {
        record.ok_or_else(|| Fault(format!("video {id} is named but not stored")))
    });
    let records = named.collect::<Result<Vec<_>, _>>()?;
    let counts = answers.take(counts)?;
    let likes = match viewer {
        Some(viewer) => marks::likes(view, viewer, ids)?,
        None => vec![false; ids.len()],
    };

    let authors: BTreeSet<_> = records.iter().map(|record| record.author).collect();
    let authors: Vec<_> = authors.into_iter().collect();
    let profiles = user::named_profiles(view, viewer, &authors)?;
    let profiles: BTreeMap<_, _> = authors.into_iter().zip(profiles).collect();
    let rows = ids.iter().zip(records).zip(counts).zip(likes);
    Ok(rows
        .map(|(((&id, record), counts), is_favorite)| {
            let counts = counts.unwrap_or_default();
            VideoItem {
                id,
                author: profiles[&record.author].clone(),
                title: record.title,
                video: record.video,
                cover: record.cover,
                published: record.published,
                favorite_count: counts.favorite_count,
                comment_count: counts.comment_count,
                is_favorite,
            }
        })
        .collect())
}

impl Publish {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let author = at.actor()?;
        for blob in [&self.video, &self.cover] {
            let key = &blob.key;
            let is_retired = at.db.has(&key::RetiredBlob { key: key.clone() })?;
            // Written once, named once: a blob of another video must not come under this one too.
            let is_used = at.db.has(&key::UsedBlob { key: key.clone() })?;
            if is_retired || is_used {
                return Err(Rejection::BlobRetired.into());
            }
        }

        let published = Timestamp(at.stamp.0.max(at.totals.newest.0.saturating_add(1)));
        at.totals.newest = published;
        let video = VideoId(at.next_id(|totals| &mut totals.videos, slot::of_id(author.0))?);
        at.db.put(
            &key::UsedBlob {
                key: self.video.key.clone(),
            },
            &video,
        );
        at.db.put(
            &key::UsedBlob {
                key: self.cover.key.clone(),
            },
            &video,
        );
        at.db.put(
            &key::PublishedBy {
                author,
                video: Newest(video),
            },
            &(),
        );
        at.db.put(
            &key::Feed {
                published: Newest(published),
            },
            &video,
        );
        let Self {
            title,
            video: bytes,
            cover,
        } = self;
        let record = record::Video {
            author,
            title,
            video: bytes,
            cover,
            published,
        };
        at.db.put(&key::VideoById { video }, &record);
        at.emit(Event::VideoPublished { video, author });
        at.count_user(author, |counts| up(&mut counts.work_count))?;
        Ok(Reply::Published { video, published })
    }
}
