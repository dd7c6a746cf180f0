//! Videos, likes, comments, follows, messages.
use model::command::Reply;
use model::comment::{self, AddComment, DeleteComment};
use model::error::Rejection;
use model::id::{CommentId, MessageId, UserId, VideoId};
use model::message::SendMessage;
use model::slot;
use model::time::Timestamp;
use model::video::Publish;

use super::{Answer, Comment, Message, Oracle, Video, numbered};

impl Oracle {
    pub(super) fn publish(&mut self, author: UserId, it: &Publish, stamp: Timestamp) -> Answer {
        let keys = [&it.video.key, &it.cover.key];
        let is_gone = |key: &&String| self.used.contains(*key) || self.retired.contains(*key);
        if keys.iter().any(is_gone) {
            return Err(Rejection::BlobRetired);
        }
        self.used.extend(keys.into_iter().cloned());
        let video = VideoId(numbered(self.videos.len() + 1, slot::of_id(author.0)));
        let after = self.videos.last().map_or(1, |last| last.published.0 + 1);
        let published = Timestamp(stamp.0.max(after));
        self.videos.push(Video {
            id: video,
            author,
            published,
        });
        Ok(Reply::Published { video, published })
    }

    fn has_video(&self, video: VideoId) -> Result<(), Rejection> {
        let is_there = self.videos.iter().any(|it| it.id == video);
        is_there.then_some(()).ok_or(Rejection::VideoNotFound)
    }

    pub(super) fn like(&mut self, user: UserId, video: VideoId, is_on: bool) -> Answer {
        self.has_video(video)?;
        set(&mut self.likes, (user, video), is_on);
        Ok(Reply::Done)
    }

    pub(super) fn add_comment(
        &mut self,
        author: UserId,
        it: &AddComment,
        stamp: Timestamp,
    ) -> Answer {
        self.has_video(it.video)?;
        let id = CommentId(numbered(self.ever.len() + 1, slot::of_id(it.video.0)));
        self.ever.push((it.video, id));
        self.comments.push(Comment {
            id,
            video: it.video,
            author,
            text: it.text.clone(),
        });
        let comment = comment::Comment {
            id,
            video: it.video,
            author,
            text: it.text.clone(),
            created: stamp,
        };
        Ok(Reply::Commented { comment })
    }

    pub(super) fn delete_comment(&mut self, actor: UserId, it: &DeleteComment) -> Answer {
        let is_it = |comment: &Comment| comment.id == it.comment && comment.video == it.video;
        let place = self.comments.iter().position(is_it);
        let place = place.ok_or(Rejection::CommentNotFound)?;
        let video = self.videos.iter().find(|video| video.id == it.video);
        let is_authors = video.is_some_and(|video| video.author == actor);
        if self.comments[place].author != actor && !is_authors {
            return Err(Rejection::NotTheAuthor);
        }
        self.comments.remove(place);
        Ok(Reply::Done)
    }

    pub(super) fn follow(&mut self, actor: UserId, user: UserId, is_on: bool) -> Answer {
        if actor == user {
            return Err(Rejection::CannotFollowSelf);
        }
        if !self.has_user(user) {
            return Err(Rejection::UserNotFound);
        }
        set(&mut self.follows, (actor, user), is_on);
        Ok(Reply::Done)
    }

    pub(super) fn send(&mut self, from: UserId, it: &SendMessage, stamp: Timestamp) -> Answer {
        let to = it.to;
        if from == to {
            return Err(Rejection::CannotMessageSelf);
        }
        if !self.has_user(to) {
            return Err(Rejection::UserNotFound);
        }
        let only = self.settings.get("chat.friends_only");
        if only.is_some_and(|only| only == "true") && !self.are_friends(from, to) {
            return Err(Rejection::FriendsOnly);
        }
        let id = MessageId(numbered(self.messages.len() + 1, slot::of_pair(from, to)));
        let last = self.between(from, to).last().map(|last| last.created.0 + 1);
        let created = Timestamp(stamp.0.max(last.unwrap_or(0)));
        self.messages.push(Message {
            id,
            from,
            to,
            text: it.text.clone(),
            created,
        });
        Ok(Reply::Sent {
            message: id,
            created,
        })
    }

    pub(in super::super) fn are_friends(&self, one: UserId, other: UserId) -> bool {
        self.follows.contains(&(one, other)) && self.follows.contains(&(other, one))
    }

    /// What two users wrote to each other.
    pub(in super::super) fn between(&self, one: UserId, other: UserId) -> Vec<&Message> {
        let is_theirs = |it: &&Message| {
            (it.from == one && it.to == other) || (it.from == other && it.to == one)
        };
        self.messages.iter().filter(is_theirs).collect()
    }

    pub(in super::super) fn videos(&self) -> &[Video] {
        &self.videos
    }

    pub(in super::super) fn comments(&self) -> &[Comment] {
        &self.comments
    }

    /// Every comment that ever was, with its video.
    pub(in super::super) fn comments_ever(&self) -> &[(VideoId, CommentId)] {
        &self.ever
    }

    pub(in super::super) fn likes(&self) -> &[(UserId, VideoId)] {
        &self.likes
    }

    pub(in super::super) fn follows(&self) -> &[(UserId, UserId)] {
        &self.follows
    }
}

/// Puts an edge at the end unless it is there, or takes it out.
fn set<T: PartialEq>(edges: &mut Vec<T>, edge: T, is_on: bool) {
    if !is_on {
        edges.retain(|other| *other != edge);
    } else if !edges.contains(&edge) {
        edges.push(edge);
    }
}
