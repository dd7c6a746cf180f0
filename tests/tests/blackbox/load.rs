//! Writers that remember what was acknowledged, to be held against what is there afterwards.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tests::client::{Client, Login, Outcome, answered, clip};
use tests::cluster::Cluster;

/// How many writers of each kind.
const WRITERS: usize = 4;

/// What a comment's or message's sending came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Acknowledged,
    NotApplied,
    Unknown,
}

/// All that was sent, by its unique text.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) comments: BTreeMap<String, Fate>,
    pub(crate) messages: BTreeMap<String, Fate>,
    /// When each acknowledged write came back.
    pub(crate) acknowledged_at: Vec<Instant>,
}

/// A load that runs until it is stopped.
pub(crate) struct Load {
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) video: u64,
    pub(crate) author: Login,
    pub(crate) writers: Vec<Login>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Registers its users, publishes a video and begins to write at all nodes.
    pub(crate) async fn begin(cluster: &Cluster, name: &str) -> Self {
        let clients = cluster.clients();
        let author = clients[0].register(&format!("{name}-author")).await;
        answered("publish", clients[0].publish(&author, name, clip()).await);
        let id = author.id.to_string();
        let list = clients[0]
            .get(
                "/douyin/publish/list/",
                &[("user_id", id.as_str()), ("token", &author.token)],
            )
            .await;
        let video = list["video_list"][0]["id"].as_u64().expect("a video");
        let mut load = Self {
            ledger: Arc::default(),
            video,
            author,
            writers: Vec::new(),
            stop: Arc::default(),
            tasks: Vec::new(),
        };
        for n in 0..WRITERS {
            let login = clients[0].register(&format!("{name}-{n}")).await;
            load.writers.push(login.clone());
            load.spawn(&clients, login, n);
        }
        load
    }

    fn spawn(&mut self, clients: &[Client], login: Login, n: usize) {
        let (ledger, stop) = (self.ledger.clone(), self.stop.clone());
        let (video, to) = (self.video, self.author.id);
        let clients = clients.to_vec();
        self.tasks.push(tokio::spawn(async move {
            for count in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let client = &clients[(n + count) % clients.len()];
                let text = format!("w{n}-{count}");
                let (outcome, is_comment) = if count % 2 == 0 {
                    (client.comment(&login, video, &text).await, true)
                } else {
                    (client.message(&login, to, &text).await, false)
                };
                let fate = fate(&outcome);
                if fate == Fate::NotApplied {
                    // Connection refused: don't spin on a node that is down.
                    tokio::task::yield_now().await;
                }
                note(&ledger, text, fate, is_comment);
            }
        }));
    }

    /// Stops the writers and waits for their last answers.
    pub(crate) async fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            task.await.expect("no writer panics");
        }
    }

    /// Holds the ledger against what a node serves.
    pub(crate) async fn check(&self, client: &Client) {
        let ledger = self.ledger.lock().expect("unpoisoned").clone();
        let video = self.video.to_string();
        let parameters = [("token", self.author.token.as_str()), ("video_id", &video)];
        let comments = client.get("/douyin/comment/list/", &parameters).await;
        let texts = texts(&comments["comment_list"]);
        hold_against("comments", &ledger.comments, &texts);

        let mut received = Vec::new();
        for writer in &self.writers {
            received.extend(conversation(client, &self.author, writer.id).await);
        }
        hold_against("messages", &ledger.messages, &received);

        let feed = client.get("/douyin/feed/", &parameters[..1]).await;
        let feed = feed["video_list"].as_array().expect("a list");
        let stored = feed
            .iter()
            .find(|item| item["id"] == self.video)
            .expect("the video is in the feed");
        assert_eq!(
            stored["comment_count"],
            texts.len(),
            "a counter equals its set"
        );
    }
}

/// Everything that `author` got from `peer`, by polling, since one answer holds only so much.
async fn conversation(client: &Client, author: &Login, peer: u64) -> Vec<String> {
    let peer = peer.to_string();
    let (mut all, mut since) = (Vec::new(), 1u64);
    loop {
        let bound = since.to_string();
        let parameters = [
            ("token", author.token.as_str()),
            ("to_user_id", &peer),
            ("pre_msg_time", &bound),
        ];
        let page = client.get("/douyin/message/chat/", &parameters).await;
        let page = page["message_list"].as_array().expect("a list").clone();
        let Some(last) = page.last() else {
            return all;
        };
        since = last["create_time"].as_u64().expect("a time");
        all.extend(page.iter().map(content));
    }
}

fn content(item: &serde_json::Value) -> String {
    item["content"].as_str().expect("a text").to_owned()
}

fn texts(list: &serde_json::Value) -> Vec<String> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(content)
        .collect()
}

fn fate(outcome: &Outcome) -> Fate {
    match outcome {
        Outcome::Answered(body) if body["status_code"] == 0 => Fate::Acknowledged,
        Outcome::Answered(body) => panic!("a good write was rejected: {body}"),
        Outcome::NotApplied(_) => Fate::NotApplied,
        Outcome::Unknown(_) => Fate::Unknown,
    }
}

fn note(ledger: &Mutex<Ledger>, text: String, fate: Fate, is_comment: bool) {
    let mut ledger = ledger.lock().expect("unpoisoned");
    if fate == Fate::Acknowledged {
        ledger.acknowledged_at.push(Instant::now());
    }
    if is_comment {
        ledger.comments.insert(text, fate);
    } else {
        ledger.messages.insert(text, fate);
    }
}

/// Nothing acknowledged is lost, nothing is there twice, nothing refused is there.
pub(crate) fn hold_against(what: &str, sent: &BTreeMap<String, Fate>, found: &[String]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for text in found {
        *counts.entry(text).or_default() += 1;
    }
    for (text, count) in &counts {
        assert_eq!(*count, 1, "{what}: {text} is there {count} times");
        assert!(sent.contains_key(*text), "{what}: {text} was never sent");
    }
    for (text, fate) in sent {
        let is_there = counts.contains_key(text.as_str());
        match fate {
            Fate::Acknowledged => assert!(is_there, "{what}: {text} was acknowledged and is lost"),
            Fate::NotApplied => assert!(!is_there, "{what}: {text} was refused and is there"),
            Fate::Unknown => {}
        }
    }
}

#[test]
fn the_ledger_finds_loss_doubles_and_phantoms() {
    let sent = BTreeMap::from([
        ("a".to_owned(), Fate::Acknowledged),
        ("b".to_owned(), Fate::NotApplied),
        ("c".to_owned(), Fate::Unknown),
    ]);
    let check = |found: &[&str]| {
        let found: Vec<String> = found.iter().map(|text| (*text).to_owned()).collect();
        std::panic::catch_unwind(|| hold_against("x", &sent, &found)).is_ok()
    };
    assert!(check(&["a"]) && check(&["c", "a"]));
    assert!(!check(&[]), "a loss");
    assert!(!check(&["a", "a"]), "a double");
    assert!(!check(&["a", "b"]), "a refused one");
    assert!(!check(&["a", "d"]), "a phantom");
}
