//! Comments under videos.
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::command::Reply;
use crate::error::{Fault, Rejection};
use crate::event::Event;
use crate::id::{CommentId, UserId, VideoId};
use crate::key::{self, Newest};
use crate::read::Read;
use crate::record;
use crate::slot;
use crate::time::Timestamp;
use crate::transaction::{Answer, Transaction, down, up};
use crate::user::{self, Profile};
use crate::video;
use crate::view::View;

/// The actor comments on a video. The text is already trimmed and checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddComment {
    pub video: VideoId,
    pub text: String,
}

/// The actor deletes a comment, as its author or as the author of its video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteComment {
    pub video: VideoId,
    pub comment: CommentId,
}

/// A comment as it is replied to its author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    pub id: CommentId,
    pub video: VideoId,
    pub author: UserId,
    pub text: String,
    pub created: Timestamp,
}

/// A comment as somebody sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommentItem {
    pub id: CommentId,
    pub author: Profile,
    pub text: String,
    pub created: Timestamp,
}

/// The comments under `video`, newest first; `None` when there is no such video.
///
/// `after` is the last comment of the page before, which may be deleted by now.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn of_video(
    view: &impl View,
    viewer: Option<UserId>,
    video: VideoId,
    after: Option<CommentId>,
    limit: usize,
) -> Result<Option<Vec<CommentItem>>, Fault> {
    if !video::exists(view, video)? {
        return Ok(None);
    }
    let after = after.map(|comment| key::CommentOn {
        video,
        comment: Newest(comment),
    });
    let mut offset = 0;
    if let Some(last) = &after
        && plants::is(plants::PAGE_BY_OFFSET)
        && !view.has(last)?
    {
        offset = 1; // whatever follows moved up by one
    }
    let listed = view.list(video, after.as_ref()).skip(offset).take(limit);
    let listed = listed.collect::<Result<Vec<(key::CommentOn, _)>, _>>()?;

    let authors: BTreeSet<_> = listed.iter().map(|(_, comment)| comment.author).collect();
    let authors: Vec<_> = authors.into_iter().collect();
    let profiles = user::named_profiles(view, viewer, &authors)?;
    let profiles: BTreeMap<_, _> = authors.into_iter().zip(profiles).collect();
    let items = listed.into_iter().map(|(key, comment)| CommentItem {
        id: key.comment.0,
        author: profiles[&comment.author].clone(),
        text: comment.text,
        created: comment.created,
    });
    Ok(Some(items.collect()))
}

impl AddComment {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let Self { video, text } = self;
        let author = at.actor()?;
        if !video::exists(&at.db, video)? {
            return Err(Rejection::VideoNotFound.into());
        }

        let id = CommentId(at.next_id(|totals| &mut totals.comments, slot::of_id(video.0))?);
        let created = at.stamp;
        let record = record::Comment {
            author,
            text,
            created,
        };
        at.db.put(
            &key::CommentOn {
                video,
                comment: Newest(id),
            },
            &record,
        );
        at.emit(Event::CommentAdded { video, comment: id });
        at.count_video(video, |counts| up(&mut counts.comment_count))?;
        let comment = Comment {
            id,
            video,
            author,
            text: record.text,
            created,
        };
        Ok(Reply::Commented { comment })
    }
}

impl DeleteComment {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let Self { video, comment } = self;
        let actor = at.actor()?;
        let key = key::CommentOn {
            video,
            comment: Newest(comment),
        };
        // The key holds the video, so a comment under another video is not found.
        let record = at.db.read(&key)?.ok_or(Rejection::CommentNotFound)?;
        if actor != record.author {
            let video = at.db.read(&key::VideoById { video })?;
            if video.is_none_or(|video| video.author != actor) {
                return Err(Rejection::NotTheAuthor.into());
            }
        }

        at.db.delete(&key);
        at.emit(Event::CommentDeleted { video, comment });
        at.count_video(video, |counts| down(&mut counts.comment_count))?;
        Ok(Reply::Done)
    }
}
