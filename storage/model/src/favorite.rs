//! Who likes which video.
//!
//! A like is stored twice: by video and user, which answers whether there is one and how many a
//! video has, and in the user's list. It is counted three times: for the video, for the user who
//! likes, and for the author.
use serde::{Deserialize, Serialize};

use crate::command::Reply;
use crate::error::{Error, Fault, Rejection};
use crate::id::{UserId, VideoId};
use crate::key::{self, Newest};
use crate::read::Read;
use crate::transaction::{Answer, Transaction, down, up};
use crate::user;
use crate::video::{self, VideoItem};
use crate::view::View;

/// The actor likes a video. Liking twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Like {
    pub video: VideoId,
}

/// The actor no longer likes a video. Doing so twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlike {
    pub video: VideoId,
}

/// The videos that `user` likes, most recently liked first; `None` when there is no such user.
///
/// `after` is the last video of the page before. If it is not liked any more, its place is lost and
/// the list begins anew: better shown twice than skipped.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn liked_by(
    view: &impl View,
    viewer: Option<UserId>,
    user: UserId,
    after: Option<VideoId>,
    limit: usize,
) -> Result<Option<Vec<VideoItem>>, Fault> {
    if !user::exists(view, user)? {
        return Ok(None);
    }
    let place = match after {
        Some(video) => view.read(&key::Favorite { video, user })?,
        None => None,
    };
    let after = place.map(|sequence| key::FavoriteBy {
        user,
        sequence: Newest(sequence),
    });
    let listed = view
        .list::<key::FavoriteBy>(user, after.as_ref())
        .take(limit);
    let videos = listed.map(|entry| entry.map(|(_, video)| video));
    let videos = videos.collect::<Result<Vec<_>, _>>()?;
    video::named_items(view, viewer, &videos).map(Some)
}

impl Like {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let video = self.video;
        let user = at.actor()?;
        let author = author_of(at, video)?;
        let edge = key::Favorite { video, user };
        if at.db.has(&edge)? {
            if plants::is(plants::REPEATED_LIKE_COUNTS) {
                count(at, video, user, author, up)?;
            }
            return Ok(Reply::Done);
        }

        let sequence = at.next_sequence();
        at.db.put(&edge, &sequence);
        at.db.put(
            &key::FavoriteBy {
                user,
                sequence: Newest(sequence),
            },
            &video,
        );
        count(at, video, user, author, up)?;
        Ok(Reply::Done)
    }
}

impl Unlike {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let video = self.video;
        let user = at.actor()?;
        let author = author_of(at, video)?;
        let edge = key::Favorite { video, user };
        let Some(sequence) = at.db.read(&edge)? else {
            return Ok(Reply::Done);
        };

        at.db.delete(&edge);
        at.db.delete(&key::FavoriteBy {
            user,
            sequence: Newest(sequence),
        });
        count(at, video, user, author, down)?;
        Ok(Reply::Done)
    }
}

fn author_of(at: &Transaction<'_, impl View>, video: VideoId) -> Result<UserId, Error> {
    let record = at.db.read(&key::VideoById { video })?;
    Ok(record.ok_or(Rejection::VideoNotFound)?.author)
}

fn count(
    at: &mut Transaction<'_, impl View>,
    video: VideoId,
    user: UserId,
    author: UserId,
    step: fn(&mut u64) -> Result<(), Fault>,
) -> Result<(), Fault> {
    at.count_video(video, |counts| step(&mut counts.favorite_count))?;
    at.count_user(user, |counts| step(&mut counts.favorite_count))?;
    at.count_user(author, |counts| step(&mut counts.total_favorited))
}
