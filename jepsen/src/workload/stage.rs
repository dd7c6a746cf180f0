//! Users and videos that workloads act on.
//!
//! Passwords are slow to hash on purpose and clips are heavy, so most workloads share a pool of
//! users; keys that have had their share of operations are replaced by new videos or users.
use std::sync::Mutex;

use anyhow::{Result, bail};

use crate::dice::Dice;
use crate::target::{Answer, Body, Request, Target};
use crate::workload::client::{id, items};

/// A user of the test.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// What all workloads share.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) target: Target,
    pub(crate) clip: Vec<u8>,
    /// Everybody: they like, comment, follow and chat.
    pub(crate) pool: Vec<User>,
    /// Sets this run's names and texts apart from other runs'.
    pub(crate) run: String,
}

const POOL: usize = 8;
const PASSWORD: &str = "jepsen-1";

/// How often something is tried that must work on a healthy cluster.
const TRIES: usize = 5;

impl Stage {
    /// Registers the pool.
    pub(crate) async fn set(target: Target, seed: u64, clip: Vec<u8>) -> Result<Self> {
        let mut stage = Self {
            target,
            clip,
            pool: Vec::new(),
            run: format!("{:x}", seed & 0xffff_ffff),
        };
        for n in 0..POOL {
            let user = stage.user(&format!("p{n}")).await?;
            stage.pool.push(user);
        }
        Ok(stage)
    }

    /// Publishes for the workload of this number.
    pub(crate) fn author(&self, number: usize) -> &User {
        &self.pool[number % self.pool.len()]
    }

    pub(crate) fn anybody(&self, dice: &mut Dice) -> &User {
        &self.pool[dice.index(self.pool.len())]
    }

    /// Asks for all that an author published, as anybody.
    pub(crate) fn published_by(&self, author: &User, dice: &mut Dice) -> Request {
        Request::new("/douyin/publish/list/")
            .with("user_id", &author.id)
            .with("token", &self.anybody(dice).token)
    }

    /// A user of this name within the run; one that is there already is let in.
    pub(crate) async fn user(&self, name: &str) -> Result<User> {
        let name = format!("j{}-{name}", self.run);
        let request = |path| {
            Request::new(path)
                .with("username", &name)
                .with("password", PASSWORD)
        };
        let mut told = String::new();
        for node in (0..self.target.node_count()).cycle().take(TRIES) {
            let register = request("/douyin/user/register/");
            let mut answer = self.target.post(node, &register).await;
            if !matches!(answer, Answer::Done(_)) {
                // The same seed before, or a reply that was lost: the user is there already.
                let login = request("/douyin/user/login/");
                answer = self.target.post(node, &login).await;
            }
            match answer {
                Answer::Done(body) => return Ok(user_of(&body)),
                other => told = format!("{other:?}"),
            }
        }
        bail!("registering {name}: {told}")
    }

    /// Publishes a video of this title; its id.
    pub(crate) async fn video(&self, author: &User, title: &str) -> Result<String> {
        let title = format!("j{}-{title}", self.run);
        let mut told = String::new();
        for node in (0..self.target.node_count()).cycle().take(TRIES) {
            let clip = self.clip.clone();
            let sent = self.target.publish(node, &author.token, &title, clip, None);
            told = format!("{:?}", sent.await);
            if let Some(video) = self.find(node, author, &title).await {
                return Ok(video);
            }
        }
        bail!("publishing {title}: {told}")
    }

    async fn find(&self, node: usize, author: &User, title: &str) -> Option<String> {
        let request = Request::new("/douyin/publish/list/")
            .with("user_id", &author.id)
            .with("token", &author.token);
        let Answer::Done(body) = self.target.get(node, &request).await else {
            return None;
        };
        let mut videos = items(&body.json["video_list"]).iter();
        let video = videos.find(|video| video["title"] == title)?;
        Some(id(&video["id"]))
    }
}

fn user_of(body: &Body) -> User {
    User {
        id: id(&body.json["user_id"]),
        token: body.json["token"].as_str().unwrap_or_default().to_owned(),
    }
}

/// What is acted on now, until it had its share; then the next one.
pub(crate) struct Rotation<T> {
    share: u64,
    state: Mutex<Rotated<T>>,
    /// Held by the one client that makes the next.
    making: tokio::sync::Mutex<()>,
}

struct Rotated<T> {
    /// In order; the last is acted on now.
    all: Vec<T>,
    used: u64,
}

/// Reads go back to what was acted on before once in so many times: damage may show late.
const BACK_ONE_IN: u64 = 8;

impl<T: Clone> Rotation<T> {
    pub(crate) fn new(first: T, share: u64) -> Self {
        let state = Rotated {
            all: vec![first],
            used: 0,
        };
        Self {
            share,
            state: Mutex::new(state),
            making: tokio::sync::Mutex::default(),
        }
    }

    /// What to act on. The client that uses up the share makes the next one (given its number);
    /// others go on meanwhile, and all go on with the old one if that fails.
    pub(crate) async fn take<F>(&self, make: impl FnOnce(u64) -> F) -> T
    where
        F: Future<Output = Result<T>>,
    {
        let (now, count, is_used_up) = {
            let mut state = self.state.lock().expect("nothing panics here");
            state.used += 1;
            let now = state.all.last().expect("never empty").clone();
            (now, state.all.len() as u64, state.used > self.share)
        };
        if !is_used_up {
            return now;
        }
        let Ok(_making) = self.making.try_lock() else {
            return now;
        };
        match make(count).await {
            Ok(next) => {
                let mut state = self.state.lock().expect("nothing panics here");
                state.all.push(next.clone());
                state.used = 0;
                next
            }
            Err(_) => {
                // A cluster under faults: tried again after some more use.
                let mut state = self.state.lock().expect("nothing panics here");
                state.used = self.share.saturating_sub(self.share / 10);
                now
            }
        }
    }

    pub(crate) fn now(&self) -> T {
        let state = self.state.lock().expect("nothing panics here");
        state.all.last().expect("never empty").clone()
    }

    /// The one of now, seldom one of before.
    pub(crate) fn any(&self, dice: &mut Dice) -> T {
        let state = self.state.lock().expect("nothing panics here");
        if dice.roll(BACK_ONE_IN) == 0 {
            return state.all[dice.index(state.all.len())].clone();
        }
        state.all.last().expect("never empty").clone()
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.state.lock().expect("nothing panics here").all.clone()
    }
}
