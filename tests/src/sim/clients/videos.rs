//! Videos: bytes first, then the row; and what sweeps do meanwhile.
use std::time::Duration;

use checkers::history::Action;
use http::Method;
use model::command::{Operation, Reply as Replied};
use model::sweep::Sweep;
use raft::replica::{Error, Proposal, Written};
use serde_json::Value;

use super::stage::{proposal, token_hash};
use super::{Client, Fresh, Reply, column};
use crate::sim::clock::WallClock;

fn key_of(author: u64) -> String {
    format!("videos/{author}")
}

impl Client {
    /// What the router does with an upload, without the spool on a real disk.
    pub(super) async fn publish(&mut self, node: u64) {
        let title = self.text();
        let (Ok(operation), Ok(actor)) =
            (self.lobby.upload(&title).await, token_hash(&self.me.token))
        else {
            return;
        };
        let proposal = Proposal {
            actor: Some(actor),
            ..proposal(&mut self.dice, &WallClock::default(), operation)
        };
        let add = Action::Add {
            key: key_of(self.me.id),
            element: title,
        };
        let begun = self.lobby.record.begin(node, add);
        match self.propose(node, proposal).await {
            Some(Ok(written)) if matches!(written.reply, Replied::Published { .. }) => {
                self.lobby.record.ok(begun);
            }
            Some(Ok(_) | Err(Error::Unavailable { .. })) => self.lobby.record.fail(begun),
            Some(Err(_)) | None => self.lobby.record.unknown(begun),
        }
    }

    async fn propose(&self, node: u64, proposal: Proposal) -> Option<Result<Written, Error>> {
        let within = Duration::from_millis(self.lobby.shape.write_timeout_ms);
        let doing = self.lobby.doors.on(node, move |replica| async move {
            replica.write(proposal, within).await
        });
        tokio::time::timeout(within * 2, doing).await.ok()?
    }

    /// Somebody's videos, and how many comments the stage's have.
    pub(super) async fn read_published(&mut self, node: u64) {
        let users: Vec<u64> = self.stage.users.iter().map(|user| user.id).collect();
        let Some(author) = self.dice.pick(&users).copied() else {
            return;
        };
        let video = self
            .dice
            .pick(&self.stage.videos)
            .copied()
            .unwrap_or_default();
        let read = |elements| Action::ReadSet {
            key: key_of(author),
            elements,
        };
        let count = |count| Action::ReadCount {
            key: format!("comments/{video}"),
            count,
        };
        let begun = self.lobby.record.begin(node, read(None));
        let counting = self.lobby.record.begin(node, count(None));
        let path = format!("/douyin/publish/list/?user_id={author}");
        let Reply::Done(body) = self.ask(node, Method::GET, &path, Fresh::Newest).await else {
            self.lobby.record.fail(begun);
            self.lobby.record.fail(counting);
            return;
        };
        let titles = column(&body, "video_list", "title", |title: &Value| {
            title.as_str().map(str::to_owned)
        });
        let own = titles
            .into_iter()
            .filter(|title| !title.starts_with("video"));
        self.lobby.record.ok_with(begun, read(Some(own.collect())));
        let ids = column(&body, "video_list", "id", Value::as_u64);
        let counts = column(&body, "video_list", "comment_count", Value::as_i64);
        match ids.iter().zip(counts).find(|(id, _)| **id == video) {
            Some((_, found)) => self.lobby.record.ok_with(counting, count(Some(found))),
            // Another author's.
            None => self.lobby.record.fail(counting),
        }
    }

    /// What the leader does now and then.
    pub(super) async fn sweep(&mut self, node: u64) {
        let sweep = Operation::Sweep(Sweep { limit: 50 });
        let proposal = proposal(&mut self.dice, &WallClock::default(), sweep);
        // The next one comes soon, whatever became of this one.
        drop(self.propose(node, proposal).await);
    }
}
