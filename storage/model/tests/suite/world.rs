//! A state machine in memory with a clock that a test sets, for all other modules.
use model::apply::{Outcome, apply};
use model::command::{Command, Operation, Reply, RequestId};
use model::id::{UserId, VideoId};
use model::memory::Memory;
use model::time::Timestamp;
use model::token::TokenHash;
use model::user::Register;
use model::verify::{self, Report};
use model::video::Publish;

use crate::samples::blob;

/// Applies commands one by one and remembers them.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) memory: Memory,
    pub(crate) log: Vec<Command>,
    pub(crate) now: u64,
    requests: u64,
}

/// A token hash that carries its label, so that transcripts can show it.
pub(crate) fn token(label: &str) -> TokenHash {
    let mut bytes = [0; 32];
    bytes[..label.len()].copy_from_slice(label.as_bytes());
    TokenHash(bytes)
}

impl World {
    pub(crate) fn at(now: u64) -> Self {
        Self {
            now,
            ..Self::default()
        }
    }

    /// Wraps an operation as the next request, without applying it.
    pub(crate) fn command(&mut self, actor: Option<&str>, operation: Operation) -> Command {
        self.requests += 1;
        let mut request = [0; 16];
        request[8..].copy_from_slice(&self.requests.to_be_bytes());
        Command {
            request: RequestId(request),
            issued: Timestamp(self.now),
            stamp: Timestamp(self.now),
            actor: actor.map(token),
            operation,
        }
    }

    pub(crate) fn apply(&mut self, command: Command) -> Outcome {
        self.log.push(command.clone());
        let outcome = apply(&self.memory, command).unwrap();
        self.memory.commit(outcome.changes.clone());
        outcome
    }

    /// A millisecond later, `actor` asks for `operation`.
    pub(crate) fn ask(&mut self, actor: &str, operation: Operation) -> Reply {
        self.now += 1;
        let command = self.command(Some(actor), operation);
        self.apply(command).reply
    }

    /// Registers a user whose token has the label of their name.
    pub(crate) fn register(&mut self, name: &str) -> UserId {
        let register = Register {
            name: name.to_owned(),
            password_hash: "$h".to_owned(),
            token: token(name),
        };
        match self.ask("nobody", Operation::Register(register)) {
            Reply::Registered { user } => user,
            other => panic!("{name} was not registered: {other:?}"),
        }
    }

    pub(crate) fn publish(&mut self, actor: &str, title: &str) -> VideoId {
        let publish = Publish {
            title: title.to_owned(),
            video: blob(&format!("{title}.mp4"), "video/mp4"),
            cover: blob(&format!("{title}.jpg"), "image/jpeg"),
        };
        match self.ask(actor, Operation::Publish(publish)) {
            Reply::Published { video, .. } => video,
            other => panic!("{title} was not published: {other:?}"),
        }
    }

    pub(crate) fn recount(&self) -> Report {
        verify::recount(&self.memory).unwrap()
    }
}
