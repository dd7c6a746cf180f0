//! The same rules, said as naively as can be: lists that are searched, sets that are counted.
//!
//! No keys, no counters, no lists kept in order beside each other. The laws compare what the model
//! answers with what this answers.
use std::collections::BTreeSet;

use model::apply::Outcome;
use model::command::Reply;
use model::error::Rejection;
use model::id::{CommentId, MessageId, UserId, VideoId};
use model::slot;
use model::time::Timestamp;
use proptest::prelude::*;

mod step;

pub(crate) use step::{NAMES, Step, Timed, steps};

#[derive(Debug)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) name: u8,
    sessions: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Video {
    pub(crate) id: VideoId,
    pub(crate) author: UserId,
    pub(crate) published: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Comment {
    pub(crate) id: CommentId,
    pub(crate) video: VideoId,
    pub(crate) author: UserId,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: MessageId,
    pub(crate) from: UserId,
    pub(crate) to: UserId,
    pub(crate) created: Timestamp,
}

/// Everything, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) users: Vec<User>,
    pub(crate) videos: Vec<Video>,
    pub(crate) likes: Vec<(UserId, VideoId)>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) follows: Vec<(UserId, UserId)>,
    pub(crate) messages: Vec<Message>,
    used: BTreeSet<u8>,
    retired: BTreeSet<u8>,
    is_friends_only: bool,
    logins: u32,
    /// Labels of tokens that were given out or, before any, that would be a user's first.
    labels: Vec<String>,
}

impl Reference {
    pub(crate) fn new() -> Self {
        let labels = (0..NAMES).map(|name| format!("user{name}")).collect();
        Self {
            labels,
            ..Self::default()
        }
    }

    /// Follows a step, checks what the model replied, and believes its ids.
    pub(crate) fn follow(
        &mut self,
        step: &Step,
        stamp: Timestamp,
        outcome: &Outcome,
    ) -> Result<(), TestCaseError> {
        let expected = self.decide(step);
        match (&expected, &outcome.reply) {
            (Err(no), reply) => prop_assert_eq!(reply, &Reply::Rejected(no.clone())),
            (Ok(()), Reply::Rejected(no)) => prop_assert!(false, "{step:?} was refused: {no:?}"),
            (Ok(()), reply) => self.perform(step, stamp, reply)?,
        }
        Ok(())
    }

    /// May this be?
    fn decide(&self, step: &Step) -> Result<(), Rejection> {
        let is_known = |user: UserId| self.users.iter().any(|it| it.id == user);
        let has_video = |video: VideoId| self.videos.iter().any(|it| it.id == video);
        match step {
            Step::Register(name) if is_known(self.user(*name)) => Err(Rejection::NameTaken),
            Step::Login(name) if !is_known(self.user(*name)) => Err(Rejection::UserNotFound),
            Step::Register(_) | Step::Login(_) => Ok(()),
            Step::RetireBlob(_) | Step::FriendsOnly(_) | Step::Sweep => Ok(()),
            Step::Logout(name, _) => self.actor(*name).map(|_| ()),
            Step::Publish(name, blobs) => {
                self.actor(*name)?;
                let is_gone = self.used.contains(blobs) || self.retired.contains(blobs);
                if is_gone {
                    Err(Rejection::BlobRetired)
                } else {
                    Ok(())
                }
            }
            Step::Like(name, it) | Step::Unlike(name, it) | Step::AddComment(name, it) => {
                self.actor(*name)?;
                if has_video(self.video(*it)) {
                    Ok(())
                } else {
                    Err(Rejection::VideoNotFound)
                }
            }
            Step::DeleteComment(name, it, number) => {
                let actor = self.actor(*name)?;
                let comment = self
                    .comment(*it, *number)
                    .ok_or(Rejection::CommentNotFound)?;
                let author = self
                    .videos
                    .iter()
                    .find(|it| it.id == comment.video)
                    .unwrap()
                    .author;
                let may = comment.author == actor || author == actor;
                if may {
                    Ok(())
                } else {
                    Err(Rejection::NotTheAuthor)
                }
            }
            Step::Follow(name, it) | Step::Unfollow(name, it) => {
                let (actor, user) = (self.actor(*name)?, self.user(*it));
                if actor == user {
                    return Err(Rejection::CannotFollowSelf);
                }
                if is_known(user) {
                    Ok(())
                } else {
                    Err(Rejection::UserNotFound)
                }
            }
            Step::Send(name, it) => {
                let (actor, user) = (self.actor(*name)?, self.user(*it));
                if actor == user {
                    return Err(Rejection::CannotMessageSelf);
                }
                if !is_known(user) {
                    return Err(Rejection::UserNotFound);
                }
                let may = !self.is_friends_only || self.friends(actor).contains(&user);
                if may {
                    Ok(())
                } else {
                    Err(Rejection::FriendsOnly)
                }
            }
        }
    }

    fn perform(
        &mut self,
        step: &Step,
        stamp: Timestamp,
        reply: &Reply,
    ) -> Result<(), TestCaseError> {
        match (step, reply) {
            (Step::Register(name), Reply::Registered { user }) => {
                let others = self.users.iter().map(|it| it.id.0);
                check_id(user.0, slot::of_name(&format!("user{name}")), others)?;
                let sessions = vec![format!("user{name}")];
                self.users.push(User {
                    id: *user,
                    name: *name,
                    sessions,
                });
            }
            (Step::Login(name), Reply::LoggedIn { user }) => {
                prop_assert_eq!(*user, self.user(*name));
                let label = self.next_label();
                self.logins += 1;
                self.labels[usize::from(*name)].clone_from(&label);
                self.users
                    .iter_mut()
                    .find(|it| it.id == *user)
                    .unwrap()
                    .sessions
                    .push(label);
            }
            (Step::Logout(name, everywhere), Reply::Done) => {
                let label = self.labels[usize::from(*name)].clone();
                let user = self.users.iter_mut().find(|it| it.name == *name).unwrap();
                user.sessions
                    .retain(|session| !everywhere && *session != label);
            }
            (Step::Follow(name, it), Reply::Done) => {
                let edge = (self.user(*name), self.user(*it));
                if !self.follows.contains(&edge) {
                    self.follows.push(edge);
                }
            }
            (Step::Unfollow(name, it), Reply::Done) => {
                let edge = (self.user(*name), self.user(*it));
                self.follows.retain(|it| *it != edge);
            }
            (Step::Send(name, it), Reply::Sent { message, created }) => {
                let (from, to) = (self.user(*name), self.user(*it));
                let others = self.messages.iter().map(|it| it.id.0);
                check_id(message.0, slot::of_pair(to, from), others)?;
                let after = self
                    .between(from, to)
                    .last()
                    .map_or(0, |it| it.created.0 + 1);
                prop_assert_eq!(created.0, stamp.0.max(after));
                self.messages.push(Message {
                    id: *message,
                    from,
                    to,
                    created: *created,
                });
            }
            (Step::FriendsOnly(value), Reply::Done) => self.is_friends_only = *value,
            (Step::Sweep, Reply::Swept { removed }) => prop_assert_eq!(*removed, 0),
            _ => self.perform_on_videos(step, stamp, reply)?,
        }
        Ok(())
    }

    fn perform_on_videos(
        &mut self,
        step: &Step,
        stamp: Timestamp,
        reply: &Reply,
    ) -> Result<(), TestCaseError> {
        match (step, reply) {
            (Step::Publish(name, blobs), Reply::Published { video, published }) => {
                let author = self.user(*name);
                let others = self.videos.iter().map(|it| it.id.0);
                check_id(video.0, slot::of_id(author.0), others)?;
                let after = self.videos.last().map_or(0, |it| it.published.0 + 1);
                prop_assert_eq!(published.0, stamp.0.max(after));
                self.used.insert(*blobs);
                self.videos.push(Video {
                    id: *video,
                    author,
                    published: *published,
                });
            }
            (Step::Like(name, it), Reply::Done) => {
                let edge = (self.user(*name), self.video(*it));
                if !self.likes.contains(&edge) {
                    self.likes.push(edge);
                }
            }
            (Step::Unlike(name, it), Reply::Done) => {
                let edge = (self.user(*name), self.video(*it));
                self.likes.retain(|it| *it != edge);
            }
            (Step::AddComment(name, it), Reply::Commented { comment }) => {
                let video = self.video(*it);
                let others = self.comments.iter().map(|it| it.id.0);
                check_id(comment.id.0, slot::of_id(video.0), others)?;
                let id = comment.id;
                self.comments.push(Comment {
                    id,
                    video,
                    author: self.user(*name),
                });
            }
            (Step::DeleteComment(_, it, number), Reply::Done) => {
                let id = self.comment(*it, *number).unwrap().id;
                self.comments.retain(|it| it.id != id);
            }
            (Step::RetireBlob(key), Reply::Swept { removed }) => {
                prop_assert_eq!(*removed, u64::from(!self.used.contains(key)));
                if *removed == 1 {
                    self.retired.insert(*key);
                }
            }
            (step, reply) => prop_assert!(false, "{step:?} was answered {reply:?}"),
        }
        Ok(())
    }

    fn actor(&self, name: u8) -> Result<UserId, Rejection> {
        let label = &self.labels[usize::from(name)];
        let user = self
            .users
            .iter()
            .find(|it| it.name == name && it.sessions.contains(label));
        user.map(|it| it.id).ok_or(Rejection::InvalidToken)
    }

    fn next_label(&self) -> String {
        format!("login{}", self.logins)
    }

    /// Id 1 is nobody's: the first id of a noun is 1024.
    fn user(&self, name: u8) -> UserId {
        self.users
            .iter()
            .find(|it| it.name == name)
            .map_or(UserId(1), |it| it.id)
    }

    fn video(&self, number: u8) -> VideoId {
        self.videos
            .get(usize::from(number))
            .map_or(VideoId(2), |it| it.id)
    }

    fn comment(&self, video: u8, number: u8) -> Option<&Comment> {
        let comment = self
            .comments
            .get(usize::from(number) % self.comments.len().max(1))?;
        (comment.video == self.video(video)).then_some(comment)
    }

    /// The friends of `user` with the place of the later edge, latest first.
    pub(crate) fn friends(&self, user: UserId) -> Vec<UserId> {
        let mut friends = Vec::new();
        for (place, (follower, followee)) in self.follows.iter().enumerate() {
            let back = self
                .follows
                .iter()
                .position(|it| *it == (*followee, *follower));
            let is_later = back.is_some_and(|back| back < place);
            if is_later && *follower == user {
                friends.push(*followee);
            } else if is_later && *followee == user {
                friends.push(*follower);
            }
        }
        friends.reverse();
        friends
    }

    pub(crate) fn between(&self, one: UserId, other: UserId) -> Vec<&Message> {
        let both = [(one, other), (other, one)];
        self.messages
            .iter()
            .filter(|it| both.contains(&(it.from, it.to)))
            .collect()
    }
}

/// Ids are greater than all before, exact in float64, and carry their slot.
fn check_id(id: u64, slot: u64, others: impl Iterator<Item = u64>) -> Result<(), TestCaseError> {
    prop_assert!(id < 1 << 53);
    prop_assert_eq!(slot::of_id(id), slot);
    for other in others {
        prop_assert!(other >> 10 < id >> 10);
    }
    Ok(())
}
