//! What clients do: each is one user who roams from node to node, likes, follows, comments and
//! talks, remembers what was acknowledged, and looks whether it is there.
mod chat;
mod comments;
pub(crate) mod finish;
mod likes;
mod linger;
mod names;
pub(crate) mod stage;
mod videos;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::Full;
use serde_json::Value;
use storage::blob::MemoryBlobs;
use tokio::time::sleep;

use self::stage::{Stage, User};
use super::dice::Dice;
use super::doors::{Doors, Heard};
use super::invariants::Watch;
use super::record::{Begun, Record};
use super::shape::Shape;

const POSITION: &str = "x-yin-session";
const OUTCOME: &str = "x-yin-outcome";
/// The code for a position beyond the end of the log.
const NO_SUCH_POSITION: i64 = 2008;

/// What all clients share.
#[derive(Clone)]
pub(crate) struct Lobby {
    pub(crate) doors: Doors,
    pub(crate) record: Record,
    pub(crate) watch: Watch,
    pub(crate) shape: Arc<Shape>,
    pub(crate) is_over: Arc<AtomicBool>,
    pub(crate) blobs: MemoryBlobs,
}

/// What became of a request.
pub(crate) enum Reply {
    Done(Value),
    /// Certainly not done.
    No(i64),
    Unknown,
}

/// What a client knows of something that only it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Known {
    #[default]
    Off,
    On,
    Unsure,
}

/// One client.
pub(crate) struct Client {
    lobby: Lobby,
    stage: Arc<Stage>,
    me: User,
    dice: Dice,
    /// The position that it was told last.
    position: Option<String>,
    texts: u64,
    likes: BTreeMap<u64, Known>,
    follows: BTreeMap<u64, Known>,
    mine: comments::Mine,
    /// By peer: what was read of the conversation so far.
    heard: BTreeMap<u64, Vec<String>>,
    /// What it sent and knows to be sent, by peer.
    said: BTreeMap<u64, BTreeSet<String>>,
    /// It looks on another client's behalf, whose memory it does not have.
    is_guest: bool,
    /// What its texts begin with: nobody else's do.
    mark: String,
}

/// How fresh a read is asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// With what was committed when it began.
    Newest,
    /// Not behind what this client has seen.
    Session,
}

impl Client {
    pub(crate) fn new(lobby: Lobby, stage: Arc<Stage>, number: usize, dice: Dice) -> Self {
        let me = stage.users[number].clone();
        Self {
            lobby,
            mark: me.id.to_string(),
            me,
            stage,
            dice,
            position: None,
            texts: 0,
            likes: BTreeMap::new(),
            follows: BTreeMap::new(),
            mine: comments::Mine::default(),
            heard: BTreeMap::new(),
            said: BTreeMap::new(),
            is_guest: false,
        }
    }

    /// One that only looks.
    pub(crate) fn guest(self) -> Self {
        Self {
            is_guest: true,
            ..self
        }
    }

    /// Goes on until the run is over.
    pub(crate) async fn run(mut self) {
        while !self.lobby.is_over.load(Ordering::Relaxed) {
            let (low, high) = self.lobby.shape.think_ms;
            sleep(Duration::from_millis(self.dice.between(low, high))).await;
            let Some(node) = self.node() else {
                continue;
            };
            match self.dice.roll(24) {
                0..=2 => self.like(node).await,
                3..=4 => self.follow(node).await,
                5..=8 => self.comment(node).await,
                9 => self.uncomment(node).await,
                10..=12 => self.talk(node).await,
                13..=14 => self.read_likes(node).await,
                15 => self.read_follows(node).await,
                16..=17 => self.read_comments(node).await,
                18 => self.publish(node).await,
                19 => self.read_published(node).await,
                20 => self.claim_name(node).await,
                21 => self.sweep(node).await,
                _ => self.listen(node).await,
            }
        }
    }

    /// Some node; it may be down.
    fn node(&mut self) -> Option<u64> {
        let nodes = self.lobby.doors.nodes();
        self.dice.pick(&nodes).copied()
    }

    fn freshness(&mut self) -> Fresh {
        if self.position.is_none() || self.dice.roll(2) == 0 {
            Fresh::Newest
        } else {
            Fresh::Session
        }
    }

    /// A text that nobody else ever sends.
    fn text(&mut self) -> String {
        self.texts += 1;
        format!("{}-{}", self.mark, self.texts)
    }

    /// Asks with this client's token; remembers the position that comes back.
    async fn ask(&mut self, node: u64, method: Method, path: &str, fresh: Fresh) -> Reply {
        let glue = if path.contains('?') { '&' } else { '?' };
        let uri = format!("{path}{glue}token={}", self.me.token);
        let position = match fresh {
            Fresh::Session => self.position.clone(),
            Fresh::Newest => None,
        };
        let request = request(method, &uri, position.as_deref());
        let patience = Duration::from_millis(self.lobby.shape.write_timeout_ms + 1_000);
        let heard = self.lobby.doors.ask(node, request, patience).await;
        let told = match &heard {
            Heard::Answer(answer) => header(&answer.headers, POSITION).map(str::to_owned),
            Heard::Refused | Heard::Nothing => None,
        };
        let reply = understand(heard);
        self.judge_position(node, position.as_deref(), &reply);
        // Who sends no position is told where that node stood when it failed: that may be behind.
        if told.is_some() && (position.is_some() || matches!(reply, Reply::Done(_))) {
            self.position = told;
        }
        reply
    }

    async fn post(&mut self, node: u64, path: &str) -> Reply {
        let fresh = self.freshness();
        self.ask(node, Method::POST, path, fresh).await
    }

    /// Writes and puts the end on record; what is known afterwards comes back.
    async fn write(&mut self, node: u64, begun: Begun, path: &str, wanted: Known) -> Option<Known> {
        match self.post(node, path).await {
            Reply::Done(_) => {
                self.lobby.record.ok(begun);
                Some(wanted)
            }
            Reply::No(_) => {
                self.lobby.record.fail(begun);
                None
            }
            Reply::Unknown => {
                self.lobby.record.unknown(begun);
                Some(Known::Unsure)
            }
        }
    }

    /// Whoever was told a position is never told that there is none.
    fn judge_position(&self, node: u64, position: Option<&str>, reply: &Reply) {
        let judged = match (position, reply) {
            (Some(position), Reply::No(NO_SUCH_POSITION)) => {
                Err(format!("node {node} does not know of {position}"))
            }
            _ => Ok(()),
        };
        self.judge("a position that was told is known", judged);
    }

    /// A session guarantee, judged.
    fn judge(&self, invariant: &'static str, judged: Result<(), String>) {
        self.lobby.watch.judge(invariant, judged);
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(crate) fn request(method: Method, uri: &str, position: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "yin.test");
    if let Some(position) = position {
        request = request.header(POSITION, position);
    }
    request
        .body(Full::default())
        .expect("a request of our own making is well formed")
}

pub(crate) fn understand(heard: Heard) -> Reply {
    let answer = match heard {
        Heard::Answer(answer) => answer,
        Heard::Refused => return Reply::No(-1),
        Heard::Nothing => return Reply::Unknown,
    };
    if header(&answer.headers, OUTCOME) == Some("unknown") {
        return Reply::Unknown;
    }
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
        return Reply::Unknown;
    };
    match body["status_code"].as_i64() {
        Some(0) if answer.status.is_success() => Reply::Done(body),
        code => Reply::No(code.unwrap_or(-1)),
    }
}

/// The values of a field in a list of objects.
pub(crate) fn column<T>(
    body: &Value,
    list: &str,
    field: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Vec<T> {
    let list = body[list].as_array().map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(|item| read(&item[field])).collect()
}
