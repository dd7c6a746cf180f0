//! Clients that go from node to node and carry their position (`X-Yin-Session`): they read their
//! writes and never an older state; those who carry none are promised a fresh one, and those who
//! ask for `local` only one that once was.
//!
//! Comments under three videos are the logs: nothing is ever deleted, and the newest stand first.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use async_trait::async_trait;
use checkers::history::{Action, Call, Level};
use checkers::session;
use checkers::verdict::Verdict;
use serde_json::Value;

use crate::target::Request;
use crate::workload::Workload;
use crate::workload::client::{Boxed, Client, items};
use crate::workload::stage::{Rotation, Stage, User};

const LOGS: usize = 3;

/// Comments under three videos, before the next three; every read lists all of one.
const TEXTS_MAX: u64 = 240;

/// A client stays at a node for at most so many operations.
const STAY_MAX: u64 = 20;

/// Once in so many operations a client forgets its position and begins anew.
const FORGETS_ONE_IN: u64 = 60;

const POSITION: &str = "x-yin-session";
const CONSISTENCY: &str = "x-yin-consistency";

/// Whose videos these are, by number in the pool.
const AUTHOR: usize = 3;

type Logs = Arc<Vec<String>>;

/// What a client carries.
#[derive(Clone)]
struct Carried {
    name: String,
    position: Option<String>,
    /// Operations until it goes to another node.
    stay: u64,
}

struct Session {
    stage: Stage,
    logs: Rotation<Logs>,
    /// By client.
    carried: Mutex<BTreeMap<usize, Carried>>,
}

pub(super) fn make(stage: &Stage) -> Boxed<'_, Result<Arc<dyn Workload>>> {
    Box::pin(async move {
        let made: Arc<dyn Workload> = Arc::new(Session {
            stage: stage.clone(),
            logs: Rotation::new(logs(stage, 0).await?, TEXTS_MAX),
            carried: Mutex::default(),
        });
        Ok(made)
    })
}

pub(super) fn check(calls: &[Call]) -> Verdict {
    session::check(calls)
}

async fn logs(stage: &Stage, n: u64) -> Result<Logs> {
    let mut videos = Vec::new();
    for k in 0..LOGS {
        let title = format!("session-{n}-{k}");
        videos.push(stage.video(stage.author(AUTHOR), &title).await?);
    }
    Ok(Arc::new(videos))
}

#[async_trait]
impl Workload for Session {
    async fn step(&self, client: &mut Client) {
        let mut carried = self.take(client);
        if carried.stay == 0 {
            client.roam();
            carried.stay = 1 + client.dice.roll(STAY_MAX);
        }
        carried.stay -= 1;
        if client.dice.roll(5) < 2 {
            self.say(client, &mut carried).await;
        } else {
            let logs = self.logs.any(&mut client.dice);
            let log = &logs[client.dice.index(LOGS)];
            let level = match client.dice.roll(10) {
                0 => Level::Local,
                1 => Level::Fresh,
                _ => Level::Session,
            };
            self.hear(client, &mut carried, log, level).await;
        }
        let mut all = self.carried.lock().expect("nothing panics here");
        all.insert(client.number, carried);
    }

    async fn last_reads(&self, client: &mut Client) -> bool {
        let mut carried = self.new_session(client);
        for logs in self.logs.all() {
            for log in logs.iter() {
                if !self.hear(client, &mut carried, log, Level::Fresh).await {
                    return false;
                }
            }
        }
        true
    }
}

impl Session {
    fn take(&self, client: &mut Client) -> Carried {
        let carried = {
            let mut all = self.carried.lock().expect("nothing panics here");
            all.remove(&client.number)
        };
        match carried {
            Some(carried) if client.dice.roll(FORGETS_ONE_IN) > 0 => carried,
            _ => self.new_session(client),
        }
    }

    fn new_session(&self, client: &mut Client) -> Carried {
        Carried {
            name: client.unique("s"),
            position: None,
            stay: 0,
        }
    }

    fn user(&self, client: &Client) -> &User {
        &self.stage.pool[client.number % self.stage.pool.len()]
    }

    async fn say(&self, client: &mut Client, carried: &mut Carried) {
        let logs = self.logs.take(|n| logs(&self.stage, n)).await;
        let log = logs[client.dice.index(LOGS)].clone();
        let text = client.unique(&self.stage.run);
        let mut request = Request::new("/douyin/comment/action/")
            .with("token", &self.user(client).token)
            .with("video_id", &log)
            .with("action_type", "1")
            .with("comment_text", &text);
        if let Some(position) = &carried.position {
            request = request.header(POSITION, position);
        }
        let action = Action::SessionAppend {
            session: carried.name.clone(),
            key: log,
            text,
        };
        if let Some(body) = client.write(&request, action).await {
            carried.position = body.position.or(carried.position.take());
        }
    }

    async fn hear(
        &self,
        client: &mut Client,
        carried: &mut Carried,
        log: &str,
        level: Level,
    ) -> bool {
        let mut request = Request::new("/douyin/comment/list/").with("video_id", log);
        let mut level = level;
        match (level, &carried.position) {
            (Level::Local, _) => request = request.header(CONSISTENCY, "local"),
            (Level::Session, Some(position)) => {
                request = request.header(POSITION, position);
                // Who carries a position needs no token to be promised it.
                if client.dice.roll(2) == 0 {
                    request = request.with("token", &self.user(client).token);
                }
            }
            // No position: a token alone is promised a fresh state, and so is who asks for it.
            (Level::Session | Level::Fresh, _) => {
                level = Level::Fresh;
                if client.dice.roll(2) == 0 {
                    request = request.header(CONSISTENCY, "linearizable");
                } else {
                    request = request.with("token", &self.user(client).token);
                }
            }
        }
        let read = client.read(&request, |body| Action::SessionRead {
            session: carried.name.clone(),
            key: log.to_owned(),
            level,
            texts: body.map(texts),
        });
        let Some(body) = read.await else {
            return false;
        };
        if level != Level::Local {
            carried.position = body.position.or(carried.position.take());
        }
        true
    }
}

/// Oldest first.
fn texts(body: &Value) -> Vec<String> {
    let comments = items(&body["comment_list"]).iter().rev();
    comments
        .map(|comment| comment["content"].as_str().unwrap_or_default().to_owned())
        .collect()
}
