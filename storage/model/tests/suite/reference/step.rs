//! What somebody may try, and the operation that it means in a state.
use model::cluster::Configure;
use model::command::Operation;
use model::comment::{AddComment, DeleteComment};
use model::favorite::{Like, Unlike};
use model::id::CommentId;
use model::message::SendMessage;
use model::relation::{Follow, Unfollow};
use model::sweep::{RetireBlob, Sweep};
use model::user::{Login, Logout, Register};
use model::video::Publish;
use proptest::prelude::*;

use super::Reference;
use crate::samples::blob;
use crate::world::token;

/// How many names there are: few, so that steps meet each other.
pub(crate) const NAMES: u8 = 5;

/// One thing that somebody tries. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Register(u8),
    Login(u8),
    Logout(u8, bool),
    Publish(u8, u8),
    Like(u8, u8),
    Unlike(u8, u8),
    AddComment(u8, u8),
    DeleteComment(u8, u8, u8),
    Follow(u8, u8),
    Unfollow(u8, u8),
    Send(u8, u8),
    RetireBlob(u8),
    FriendsOnly(bool),
    Sweep,
}

/// A step, how long after the one before, and how wrong the leader's clock is then.
pub(crate) type Timed = (Step, u64, i64);

pub(crate) fn steps(count: usize) -> impl Strategy<Value = Vec<Timed>> {
    let (who, what) = (0..NAMES, 0..6_u8);
    let step = prop_oneof![
        3 => who.clone().prop_map(Step::Register),
        3 => who.clone().prop_map(Step::Login),
        1 => (who.clone(), any::<bool>()).prop_map(|(a, b)| Step::Logout(a, b)),
        5 => (who.clone(), 0..40_u8).prop_map(|(a, b)| Step::Publish(a, b)),
        8 => (who.clone(), what.clone()).prop_map(|(a, b)| Step::Like(a, b)),
        5 => (who.clone(), what.clone()).prop_map(|(a, b)| Step::Unlike(a, b)),
        4 => (who.clone(), what.clone()).prop_map(|(a, b)| Step::AddComment(a, b)),
        3 => (who.clone(), what.clone(), what).prop_map(|(a, b, c)| Step::DeleteComment(a, b, c)),
        9 => (who.clone(), who.clone()).prop_map(|(a, b)| Step::Follow(a, b)),
        4 => (who.clone(), who.clone()).prop_map(|(a, b)| Step::Unfollow(a, b)),
        6 => (who.clone(), who).prop_map(|(a, b)| Step::Send(a, b)),
        1 => (0..40_u8).prop_map(Step::RetireBlob),
        1 => any::<bool>().prop_map(Step::FriendsOnly),
        1 => Just(Step::Sweep),
    ];
    let timed = prop::collection::vec((step, 0..40_u64, -60..60_i64), 0..count);
    // Three are there from the start, or most histories would be of refusals.
    timed.prop_map(|timed| {
        let first = (0..3).map(|name| (Step::Register(name), 1, 0));
        first.chain(timed).collect()
    })
}

impl Reference {
    /// The operation that a step means now, and the label of its actor's latest token.
    pub(crate) fn operation(&self, step: &Step) -> (Option<String>, Operation) {
        let actor = match step {
            Step::Logout(name, _)
            | Step::Publish(name, _)
            | Step::Like(name, _)
            | Step::Unlike(name, _)
            | Step::AddComment(name, _)
            | Step::DeleteComment(name, _, _)
            | Step::Follow(name, _)
            | Step::Unfollow(name, _)
            | Step::Send(name, _) => Some(self.labels[usize::from(*name)].clone()),
            Step::Register(_)
            | Step::Login(_)
            | Step::RetireBlob(_)
            | Step::FriendsOnly(_)
            | Step::Sweep => None,
        };
        (actor, self.meaning(step))
    }

    fn meaning(&self, step: &Step) -> Operation {
        let (video, user) = (
            |number: &u8| self.video(*number),
            |name: &u8| self.user(*name),
        );
        match step {
            Step::Register(name) => register(*name),
            Step::Login(name) => Operation::Login(Login {
                user: user(name),
                verified_hash: "$h".to_owned(),
                rehashed: None,
                token: token(&self.next_label()),
            }),
            Step::Logout(_, everywhere) => Operation::Logout(Logout {
                everywhere: *everywhere,
            }),
            Step::Publish(_, blobs) => publish(*blobs),
            Step::Like(_, it) => Operation::Like(Like { video: video(it) }),
            Step::Unlike(_, it) => Operation::Unlike(Unlike { video: video(it) }),
            Step::AddComment(_, it) => {
                let text = "text".to_owned();
                Operation::AddComment(AddComment {
                    video: video(it),
                    text,
                })
            }
            Step::DeleteComment(_, it, comment) => {
                let place = usize::from(*comment) % self.comments.len().max(1);
                let comment = self.comments.get(place).map_or(CommentId(3), |it| it.id);
                Operation::DeleteComment(DeleteComment {
                    video: video(it),
                    comment,
                })
            }
            Step::Follow(_, it) => Operation::Follow(Follow { user: user(it) }),
            Step::Unfollow(_, it) => Operation::Unfollow(Unfollow { user: user(it) }),
            Step::Send(_, it) => {
                let text = self.messages.len().to_string();
                Operation::SendMessage(SendMessage { to: user(it), text })
            }
            Step::RetireBlob(key) => Operation::RetireBlob(RetireBlob {
                key: format!("{key}.mp4"),
            }),
            Step::FriendsOnly(value) => Operation::Configure(Configure {
                name: "chat.friends_only".to_owned(),
                value: value.to_string(),
            }),
            Step::Sweep => Operation::Sweep(Sweep { limit: 10 }),
        }
    }
}

fn register(name: u8) -> Operation {
    Operation::Register(Register {
        name: format!("user{name}"),
        password_hash: "$h".to_owned(),
        token: token(&format!("user{name}")),
    })
}

fn publish(blobs: u8) -> Operation {
    Operation::Publish(Publish {
        title: blobs.to_string(),
        video: blob(&format!("{blobs}.mp4"), "video/mp4"),
        cover: blob(&format!("{blobs}.jpg"), "image/jpeg"),
    })
}
