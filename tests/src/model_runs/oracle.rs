//! The rules of the state machine, said once more as plainly as can be: lists that are searched,
//! sets that are counted. It knows no keys, no indexes, no counters, and shares no rule with the
//! model; only its words.
//!
//! It answers every command before the model does, and the model must answer the same.
mod cluster;
mod things;

use std::collections::{BTreeMap, BTreeSet};

use model::command::{Command, Operation, Reply, RequestId};
use model::error::Rejection;
use model::id::{CommentId, MessageId, UserId, VideoId};
use model::slot;
use model::time::Timestamp;
use model::token::TokenHash;
use model::user::{Login, Register, fold_name};

/// As the contract has it: for an hour, repeats are recognised.
const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;

#[derive(Debug)]
pub(super) struct User {
    pub(super) id: UserId,
    pub(super) name: String,
    password: String,
}

#[derive(Debug)]
pub(super) struct Video {
    pub(super) id: VideoId,
    pub(super) author: UserId,
    pub(super) published: Timestamp,
}

#[derive(Debug)]
pub(super) struct Comment {
    pub(super) id: CommentId,
    pub(super) video: VideoId,
    pub(super) author: UserId,
    pub(super) text: String,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: MessageId,
    pub(super) from: UserId,
    pub(super) to: UserId,
    pub(super) text: String,
    pub(super) created: Timestamp,
}

/// A join token: until when, and how often still.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    expires: u64,
    uses: u32,
}

/// Everything, oldest first.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    clock: u64,
    remembered: BTreeMap<(Timestamp, RequestId), Reply>,
    users: Vec<User>,
    /// Whose, and until when.
    sessions: BTreeMap<TokenHash, (UserId, u64)>,
    tickets: BTreeMap<TokenHash, Ticket>,
    videos: Vec<Video>,
    comments: Vec<Comment>,
    /// Of all comments that ever were: where a page may have ended.
    ever: Vec<(VideoId, CommentId)>,
    messages: Vec<Message>,
    likes: Vec<(UserId, VideoId)>,
    follows: Vec<(UserId, UserId)>,
    used: BTreeSet<String>,
    retired: BTreeSet<String>,
    /// By id, counted from 1: is it retired?
    members: Vec<bool>,
    is_founded: bool,
    settings: BTreeMap<String, String>,
}

type Answer = Result<Reply, Rejection>;

impl Oracle {
    /// Is this a repeat that must get its first answer again?
    pub(super) fn remembers(&self, command: &Command) -> bool {
        let key = (command.issued, command.request);
        self.remembered.contains_key(&key)
    }

    /// What the model has to reply; done here at once.
    pub(super) fn answer(&mut self, command: &Command) -> Reply {
        let key = (command.issued, command.request);
        if let Some(reply) = self.remembered.get(&key) {
            return reply.clone();
        }
        let expired = Reply::Rejected(Rejection::RequestExpired);
        let issued = command.issued.0;
        if issued + HOUR_MS < self.clock {
            return expired;
        }
        let now = self.clock.max(command.stamp.0);
        let is_off = issued + HOUR_MS < now || now + HOUR_MS < issued;
        let reply = if is_off {
            expired
        } else {
            match self.act(command, now) {
                Ok(reply) => {
                    self.clock = now;
                    reply
                }
                Err(no) => Reply::Rejected(no),
            }
        };
        self.remembered.insert(key, reply.clone());
        reply
    }

    fn act(&mut self, command: &Command, now: u64) -> Answer {
        let stamp = command.stamp;
        let actor = self.actor(command.actor, now);
        match &command.operation {
            Operation::Register(it) => self.register(it, now),
            Operation::Login(it) => self.login(it, now),
            Operation::Logout(it) => {
                let user = actor?;
                let own = command.actor;
                self.sessions.retain(|token, (whose, _)| {
                    *whose != user || (!it.everywhere && Some(*token) != own)
                });
                Ok(Reply::Done)
            }
            Operation::Publish(it) => self.publish(actor?, it, stamp),
            Operation::Like(it) => self.like(actor?, it.video, true),
            Operation::Unlike(it) => self.like(actor?, it.video, false),
            Operation::AddComment(it) => self.add_comment(actor?, it, stamp),
            Operation::DeleteComment(it) => self.delete_comment(actor?, it),
            Operation::Follow(it) => self.follow(actor?, it.user, true),
            Operation::Unfollow(it) => self.follow(actor?, it.user, false),
            Operation::SendMessage(it) => self.send(actor?, it, stamp),
            Operation::RetireBlob(it) => {
                let is_free = !self.used.contains(&it.key);
                if is_free {
                    self.retired.insert(it.key.clone());
                }
                Ok(Reply::Swept {
                    removed: u64::from(is_free),
                })
            }
            Operation::Sweep(it) => Ok(self.sweep(it.limit, now)),
            Operation::Found(_)
            | Operation::CreateJoinToken(_)
            | Operation::AdmitNode(_)
            | Operation::RetireNode(_)
            | Operation::Configure(_) => self.act_on_cluster(&command.operation, now),
        }
    }

    fn actor(&self, token: Option<TokenHash>, now: u64) -> Result<UserId, Rejection> {
        let session = token.and_then(|token| self.sessions.get(&token));
        let valid = session.filter(|(_, expires)| *expires > now);
        valid.map(|(user, _)| *user).ok_or(Rejection::InvalidToken)
    }

    fn is_token_free(&self, token: TokenHash) -> Result<(), Rejection> {
        if self.sessions.contains_key(&token) || self.tickets.contains_key(&token) {
            return Err(Rejection::InvalidToken);
        }
        Ok(())
    }

    fn grant(&mut self, user: UserId, token: TokenHash, now: u64) {
        let days = self.settings.get("token.lifetime_days");
        let days = days.map_or(90, |days| days.parse().unwrap_or(0));
        self.sessions.insert(token, (user, now + days * DAY_MS));
    }

    fn register(&mut self, it: &Register, now: u64) -> Answer {
        let folded = fold_name(&it.name);
        let is_taken = |user: &User| fold_name(&user.name) == folded;
        if self.users.iter().any(is_taken) {
            return Err(Rejection::NameTaken);
        }
        self.is_token_free(it.token)?;
        let id = UserId(numbered(self.users.len() + 1, slot::of_name(&folded)));
        self.users.push(User {
            id,
            name: it.name.clone(),
            password: it.password_hash.clone(),
        });
        self.grant(id, it.token, now);
        Ok(Reply::Registered { user: id })
    }

    fn login(&mut self, it: &Login, now: u64) -> Answer {
        let user = self.users.iter().position(|user| user.id == it.user);
        let place = user.ok_or(Rejection::UserNotFound)?;
        if self.users[place].password != it.verified_hash {
            return Err(Rejection::PasswordChanged);
        }
        self.is_token_free(it.token)?;
        if let Some(new) = &it.rehashed {
            self.users[place].password.clone_from(new);
        }
        self.grant(it.user, it.token, now);
        Ok(Reply::LoggedIn { user: it.user })
    }

    /// Requests first, then tokens of both kinds; each kind oldest first.
    fn sweep(&mut self, limit: u32, now: u64) -> Reply {
        let limit = limit as usize;
        let due = self.remembered.keys();
        let due: Vec<_> = due
            .filter(|(issued, _)| issued.0 + HOUR_MS < now)
            .take(limit)
            .copied()
            .collect();
        for key in &due {
            self.remembered.remove(key);
        }
        let sessions = self.sessions.iter().map(|(token, it)| (it.1, *token));
        let tickets = self.tickets.iter().map(|(token, it)| (it.expires, *token));
        let mut expired: Vec<_> = sessions.chain(tickets).collect();
        expired.retain(|(expires, _)| *expires <= now);
        expired.sort_unstable();
        expired.truncate(limit - due.len());
        for (_, token) in &expired {
            self.sessions.remove(token);
            self.tickets.remove(token);
        }
        Reply::Swept {
            removed: (due.len() + expired.len()) as u64,
        }
    }

    fn has_user(&self, user: UserId) -> bool {
        self.users.iter().any(|it| it.id == user)
    }

    pub(super) fn users(&self) -> &[User] {
        &self.users
    }

    pub(super) fn user_ids(&self) -> Vec<UserId> {
        self.users.iter().map(|user| user.id).collect()
    }

    pub(super) fn password_of(&self, user: UserId) -> Option<String> {
        let user = self.users.iter().find(|it| it.id == user)?;
        Some(user.password.clone())
    }

    pub(super) fn tokens(&self) -> Vec<TokenHash> {
        self.sessions.keys().copied().collect()
    }
}

/// The id of the object with this number, counted from 1.
fn numbered(count: usize, slot: u64) -> u64 {
    (count as u64) << 10 | slot
}
