//! What clients do. Each workload has its own history and its own checker.
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use checkers::history::{Action, Call, Kind};
use checkers::verdict::Verdict;
use checkers::{counter, ordered_log, register, set_full};
use serde_json::Value;

use crate::record::Recorder;
use crate::target::{Answer, Target};

/// A user of the test.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// What all workloads share.
#[derive(Clone)]
pub(crate) struct Stage {
    author: User,
    users: Vec<User>,
    video: String,
    run: String,
}

const USERS: usize = 6;

impl Stage {
    /// Registers users and publishes a video.
    pub(crate) async fn set(target: &Target, seed: u64, clip: Vec<u8>) -> Result<Self> {
        let run = format!("{:x}", seed & 0xffff_ffff);
        let mut users = Vec::new();
        for n in 0..=USERS {
            users.push(user(target, &format!("j{run}-{n}")).await?);
        }
        let author = users.pop().expect("one more than users");
        target.publish(&author.token, "jepsen", clip).await?;
        let query = [("user_id", author.id.as_str()), ("token", &author.token)];
        let list = target
            .get(target.node(1), "/douyin/publish/list/", &query)
            .await;
        let Answer::Done(list) = list else {
            bail!("the publish list: {list:?}");
        };
        let video = list["video_list"][0]["id"].to_string();
        Ok(Self {
            author,
            users,
            video,
            run,
        })
    }
}

async fn user(target: &Target, name: &str) -> Result<User> {
    let query = [("username", name), ("password", "jepsen-1")];
    let mut answer = target
        .post(target.node(0), "/douyin/user/register/", &query)
        .await;
    if let Answer::NotDone(_) = answer {
        // The same seed before: the user is there already.
        answer = target
            .post(target.node(0), "/douyin/user/login/", &query)
            .await;
    }
    let Answer::Done(body) = answer else {
        bail!("registering {name}: {answer:?}");
    };
    Ok(User {
        id: body["user_id"].to_string(),
        token: body["token"].as_str().unwrap_or_default().to_owned(),
    })
}

/// Small, seeded, good enough to choose what to do next (Steele and Vigna's SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

const NAMES: [&str; 4] = ["comments", "followers", "favorite", "chat"];

/// Runs all workloads side by side, then one last read of everything.
pub(crate) async fn drive(
    target: &Target,
    stage: &Stage,
    clients: usize,
    how_long: Duration,
    seed: u64,
) -> Vec<(&'static str, Recorder)> {
    let until = Instant::now() + how_long;
    let mut recorders = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    for (kind, name) in NAMES.into_iter().enumerate() {
        let recorder = Recorder::new();
        for n in 0..clients {
            let client = Worker {
                target: target.clone(),
                stage: stage.clone(),
                recorder: recorder.clone(),
                dice: Dice(seed ^ ((kind * 1_000 + n) as u64) << 32),
                process: n as u64,
                stride: clients as u64,
                number: n,
                count: 0,
                follows: Follows::No,
            };
            tasks.spawn(client.run(name, until));
        }
        recorders.push((name, recorder));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no worker panics");
    }
    for (name, recorder) in &recorders {
        last_reads(target, stage, name, recorder, clients).await;
    }
    recorders
}

/// Judges one workload's calls.
pub(crate) fn check(name: &str, calls: &[Call]) -> Verdict {
    match name {
        "comments" => set_full::check(calls),
        "followers" => counter::check(calls),
        "favorite" => register::check(calls, 0),
        _ => ordered_log::check(calls),
    }
}

async fn last_reads(
    target: &Target,
    stage: &Stage,
    name: &str,
    recorder: &Recorder,
    clients: usize,
) {
    for n in 0..target.nodes.len() {
        let mut worker = Worker {
            target: target.clone(),
            stage: stage.clone(),
            recorder: recorder.clone(),
            dice: Dice(n as u64),
            // Far from every number that a retired process went on to.
            process: u64::MAX / 2 + n as u64,
            stride: 1,
            number: n,
            count: clients as u64,
            follows: Follows::No,
        };
        worker.read(name, n).await;
    }
}

/// One client: one operation at a time, each at a node of the dice's choice.
struct Worker {
    target: Target,
    stage: Stage,
    recorder: Recorder,
    dice: Dice,
    process: u64,
    /// A retired process goes on as this much more.
    stride: u64,
    number: usize,
    count: u64,
    follows: Follows,
}

/// Does this client's user follow the author?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    No,
    Yes,
    Perhaps,
}

impl Worker {
    async fn run(mut self, name: &'static str, until: Instant) {
        while Instant::now() < until {
            let node = usize::try_from(self.dice.roll(1 << 16)).expect("small");
            self.count += 1;
            if self.dice.roll(3) == 0 {
                self.read(name, node).await;
            } else {
                self.change(name, node).await;
            }
        }
    }

    /// Which of the users this client is; likes and flags belong to one client each.
    fn user(&self) -> &User {
        &self.stage.users[self.number % self.stage.users.len()]
    }

    async fn change(&mut self, name: &str, node: usize) {
        let unique = format!("{}-{}-{}", self.stage.run, self.number, self.count);
        let user = self.user().clone();
        match name {
            "comments" => {
                let action = Action::Add {
                    key: self.stage.video.clone(),
                    element: unique.clone(),
                };
                let video = self.stage.video.clone();
                let query = [
                    ("token", user.token.as_str()),
                    ("video_id", &video),
                    ("action_type", "1"),
                    ("comment_text", &unique),
                ];
                self.write(node, "/douyin/comment/action/", &query, action)
                    .await;
            }
            "favorite" => self.favorite(&user, node).await,
            "followers" => self.follow(&user, node).await,
            _ => {
                let key = self.conversation();
                let action = Action::Append {
                    key,
                    text: unique.clone(),
                };
                let to = self.stage.author.id.clone();
                let query = [
                    ("token", user.token.as_str()),
                    ("to_user_id", &to),
                    ("action_type", "1"),
                    ("content", &unique),
                ];
                self.write(node, "/douyin/message/action/", &query, action)
                    .await;
            }
        }
    }

    fn conversation(&self) -> String {
        format!("chat {}", self.user().id)
    }

    async fn favorite(&mut self, user: &User, node: usize) {
        let value = i64::from(self.dice.roll(2) == 0);
        let action = Action::Write {
            key: format!("favorite {}", user.id),
            value,
        };
        let video = self.stage.video.clone();
        let query = [
            ("token", user.token.as_str()),
            ("video_id", &video),
            ("action_type", if value == 1 { "1" } else { "2" }),
        ];
        self.write(node, "/douyin/favorite/action/", &query, action)
            .await;
    }

    /// Follows the author; the follower count is the counter.
    async fn follow(&mut self, user: &User, node: usize) {
        let action = Action::Add {
            key: format!("followers of {}", self.stage.author.id),
            element: user.id.clone(),
        };
        let to = self.stage.author.id.clone();
        let query = [
            ("token", user.token.as_str()),
            ("to_user_id", &to),
            ("action_type", "1"),
        ];
        // Repeats change nothing and are no further elements; they wait for a first one that
        // certainly counts, and are not sent while that is not known.
        if self.follows == Follows::Yes {
            drop(
                self.target
                    .post(self.target.node(node), "/douyin/relation/action/", &query)
                    .await,
            );
            return;
        }
        if self.follows == Follows::Perhaps {
            return self.read("followers", node).await;
        }
        self.follows = match self
            .write(node, "/douyin/relation/action/", &query, action)
            .await
        {
            Kind::Ok => Follows::Yes,
            Kind::Info => Follows::Perhaps,
            Kind::Fail | Kind::Invoke => Follows::No,
        };
    }

    async fn write(
        &mut self,
        node: usize,
        path: &str,
        query: &[(&str, &str)],
        action: Action,
    ) -> Kind {
        let node = self.target.node(node).to_owned();
        let process = self.process;
        self.recorder
            .note(process, Kind::Invoke, action.clone(), &node);
        let kind = match self.target.post(&node, path, query).await {
            Answer::Done(_) => Kind::Ok,
            Answer::NotDone(_) => Kind::Fail,
            Answer::Unknown(_) => {
                self.process += self.stride;
                Kind::Info
            }
        };
        self.recorder.note(process, kind, action, &node);
        kind
    }

    async fn read(&mut self, name: &str, node: usize) {
        let user = self.user().clone();
        let stage = self.stage.clone();
        match name {
            "comments" => {
                let query = [("token", user.token.as_str()), ("video_id", &stage.video)];
                let key = stage.video.clone();
                self.ask(node, "/douyin/comment/list/", &query, |body| {
                    Action::ReadSet {
                        key: key.clone(),
                        elements: body.map(|body| texts(&body["comment_list"])),
                    }
                })
                .await;
            }
            "favorite" => {
                let key = format!("favorite {}", user.id);
                let query = [("token", user.token.as_str()), ("user_id", &user.id)];
                self.ask(node, "/douyin/favorite/list/", &query, |body| {
                    Action::Read {
                        key: key.clone(),
                        value: body.map(|body| is_listed(&body["video_list"], &stage.video)),
                    }
                })
                .await;
            }
            "followers" => {
                let key = format!("followers of {}", stage.author.id);
                let query = [
                    ("token", user.token.as_str()),
                    ("user_id", &stage.author.id),
                ];
                self.ask(node, "/douyin/user/", &query, |body| Action::ReadCount {
                    key: key.clone(),
                    count: body.and_then(|body| body["user"]["follower_count"].as_i64()),
                })
                .await;
            }
            _ => self.poll(node).await,
        }
    }

    /// Reads the whole conversation: the latest thousand, so it is only judged while it is shorter.
    async fn poll(&mut self, node: usize) {
        const WHOLE_MAX: usize = 1_000;
        let key = self.conversation();
        let user = self.user().clone();
        let author = self.stage.author.id.clone();
        let query = [("token", user.token.as_str()), ("to_user_id", &author)];
        self.ask(node, "/douyin/message/chat/", &query, |body| {
            let texts = body.map(|body| texts(&body["message_list"]));
            Action::ReadLog {
                key: key.clone(),
                after: None,
                texts: texts.filter(|texts| texts.len() < WHOLE_MAX),
            }
        })
        .await;
    }

    async fn ask(
        &mut self,
        node: usize,
        path: &str,
        query: &[(&str, &str)],
        action: impl Fn(Option<&Value>) -> Action,
    ) {
        let node = self.target.node(node).to_owned();
        self.recorder
            .note(self.process, Kind::Invoke, action(None), &node);
        // A read that failed changed nothing, whatever became of it.
        let (kind, done) = match self.target.get(&node, path, query).await {
            Answer::Done(body) => (Kind::Ok, action(Some(&body))),
            Answer::NotDone(_) | Answer::Unknown(_) => (Kind::Fail, action(None)),
        };
        self.recorder.note(self.process, kind, done, &node);
    }
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().map_or(&[][..], Vec::as_slice);
    items
        .iter()
        .filter_map(|item| item["content"].as_str().map(str::to_owned))
        .collect()
}

fn is_listed(list: &Value, video: &str) -> i64 {
    let items = list.as_array().map_or(&[][..], Vec::as_slice);
    let video = video.parse::<u64>().ok();
    i64::from(items.iter().any(|item| item["id"].as_u64() == video))
}
