//! Chat: one total order per conversation, the same for both sides; nothing lost, doubled or
//! reordered, read as a whole and as the app polls (what came in after the last it has).
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use async_trait::async_trait;
use checkers::history::{Action, Call};
use checkers::ordered_log;
use checkers::verdict::Verdict;
use serde_json::Value;

use crate::target::Request;
use crate::workload::Workload;
use crate::workload::client::{Boxed, Client, items};
use crate::workload::stage::{Rotation, Stage, User};

/// Messages of one conversation, before the next one: a whole read has the latest 1,000 at most.
const MESSAGES_MAX: u64 = 200;

/// Two users.
#[derive(Clone)]
struct Conversation {
    key: String,
    sides: [User; 2],
}

/// The last message that a client has, of a conversation and side.
#[derive(Clone)]
struct Cursor {
    text: String,
    time: i64,
}

struct Chat {
    stage: Stage,
    conversations: Rotation<Conversation>,
    /// By client, conversation and side.
    cursors: Mutex<BTreeMap<(usize, String, usize), Cursor>>,
}

pub(super) fn make(stage: &Stage) -> Boxed<'_, Result<Arc<dyn Workload>>> {
    Box::pin(async move {
        let chat = Chat {
            stage: stage.clone(),
            conversations: Rotation::new(conversation(stage, 0).await?, MESSAGES_MAX),
            cursors: Mutex::default(),
        };
        let made: Arc<dyn Workload> = Arc::new(chat);
        Ok(made)
    })
}

pub(super) fn check(calls: &[Call]) -> Verdict {
    ordered_log::check(calls)
}

/// The `n`th conversation: each new user talks to everybody of the pool.
async fn conversation(stage: &Stage, n: u64) -> Result<Conversation> {
    let per_user = stage.pool.len() as u64;
    let other = usize::try_from(n % per_user)?;
    let user = stage.user(&format!("chat-{}", n / per_user)).await?;
    let sides = [user, stage.pool[other].clone()];
    let key = format!("{} and {}", sides[0].id, sides[1].id);
    Ok(Conversation { key, sides })
}

#[async_trait]
impl Workload for Chat {
    async fn step(&self, client: &mut Client) {
        client.roam();
        let side = client.dice.index(2);
        match client.dice.roll(10) {
            0..5 => self.send(client, side).await,
            5..8 => {
                let conversation = self.conversations.any(&mut client.dice);
                self.poll(client, &conversation, side).await;
            }
            _ => {
                let conversation = self.conversations.any(&mut client.dice);
                self.read(client, &conversation, side).await;
            }
        }
    }

    async fn last_reads(&self, client: &mut Client) -> bool {
        for conversation in self.conversations.all() {
            for side in 0..2 {
                if !self.read(client, &conversation, side).await {
                    return false;
                }
            }
        }
        true
    }
}

impl Chat {
    async fn send(&self, client: &mut Client, side: usize) {
        let make = |n| conversation(&self.stage, n);
        let conversation = self.conversations.take(make).await;
        let text = client.unique(&self.stage.run);
        let request = asking("/douyin/message/action/", &conversation, side)
            .with("action_type", "1")
            .with("content", &text);
        let action = Action::Append {
            key: conversation.key,
            sender: conversation.sides[side].id.clone(),
            text,
        };
        client.write(&request, action).await;
    }

    /// The whole conversation.
    async fn read(&self, client: &mut Client, conversation: &Conversation, side: usize) -> bool {
        let request = asking("/douyin/message/chat/", conversation, side);
        let read = client.read(&request, |body| Action::ReadLog {
            key: conversation.key.clone(),
            after: None,
            from: None,
            texts: body.map(texts),
        });
        let Some(body) = read.await else {
            return false;
        };
        self.remember(client, conversation, side, &body.json);
        true
    }

    /// What the other side sent after the last message that this client has.
    async fn poll(&self, client: &mut Client, conversation: &Conversation, side: usize) {
        let cursor = {
            let cursors = self.cursors.lock().expect("nothing panics here");
            let key = (client.number, conversation.key.clone(), side);
            cursors.get(&key).cloned()
        };
        let Some(cursor) = cursor else {
            self.read(client, conversation, side).await;
            return;
        };
        let request = asking("/douyin/message/chat/", conversation, side)
            .with("pre_msg_time", cursor.time.to_string());
        let read = client.read(&request, |body| Action::ReadLog {
            key: conversation.key.clone(),
            after: Some(cursor.text.clone()),
            from: Some(conversation.sides[1 - side].id.clone()),
            texts: body.map(texts),
        });
        if let Some(body) = read.await {
            self.remember(client, conversation, side, &body.json);
        }
    }

    fn remember(&self, client: &Client, conversation: &Conversation, side: usize, body: &Value) {
        let Some(last) = items(&body["message_list"]).last() else {
            return;
        };
        let cursor = Cursor {
            text: last["content"].as_str().unwrap_or_default().to_owned(),
            time: last["create_time"].as_i64().unwrap_or_default(),
        };
        let mut cursors = self.cursors.lock().expect("nothing panics here");
        cursors.insert((client.number, conversation.key.clone(), side), cursor);
    }
}

fn asking(path: &'static str, conversation: &Conversation, side: usize) -> Request {
    Request::new(path)
        .with("token", &conversation.sides[side].token)
        .with("to_user_id", &conversation.sides[1 - side].id)
}

fn texts(body: &Value) -> Vec<String> {
    let messages = items(&body["message_list"]).iter();
    messages
        .map(|message| message["content"].as_str().unwrap_or_default().to_owned())
        .collect()
}
