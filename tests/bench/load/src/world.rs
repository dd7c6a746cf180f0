//! The users and videos that requests are about, and who liked and follows whom so far.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::HeaderValue;
use serde_json::Value;

use crate::client::{Ask, Client, Node};
use crate::dice::Dice;
use crate::drive::{Pace, Plan, Until, drive};
use crate::liked::Liked;
use crate::scenario::{Scenario, like_path, sign_up};
use crate::trouble::Trouble;
use crate::work::Api;

/// A clip of our own (tests/fixtures), for who has none at hand.
pub const CLIP: &[u8] = include_bytes!("../../../fixtures/clip3.mp4");

/// Everybody's.
pub(crate) const PASSWORD: &str = "load-password";

/// A server that is busy is asked again so often, each time after a longer pause.
const ATTEMPTS: u32 = 8;
const PAUSE: Duration = Duration::from_millis(250);

/// Videos are spread over so many authors at most: their lists are read once.
pub const AUTHORS_MAX: usize = 500;

const BOUNDARY: &str = "yin-load-5c8e1d";

/// How much there is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// At least 2.
    pub users: usize,
    /// At least 2: one of them is the hot one.
    pub videos: usize,
    pub likes: u64,
    pub follows: u64,
}

/// A registered user.
#[derive(Clone, Debug)]
pub struct User {
    pub id: i64,
    pub name: String,
    pub token: String,
}

/// A published video.
#[derive(Clone, Debug)]
pub struct Video {
    pub id: i64,
    /// Path of its bytes.
    pub path: String,
}

/// Who wants to know how far the loading is.
pub trait Progress {
    /// Something begins that is done when the counter shows `total`.
    fn stage(&self, name: &str, total: u64, done: &Arc<AtomicU64>);
}

/// What there is on the servers: made by us, or known to us.
pub struct World {
    prefix: String,
    clip: Bytes,
    users: Vec<User>,
    videos: Vec<Video>,
    /// Whose passwords are checked by [`Scenario::Login`].
    login_names: Vec<String>,
    /// Of a world that was there before.
    liked: Option<Liked>,
    likes: AtomicU64,
    hot_likes: AtomicU64,
    follows: AtomicU64,
    names: AtomicU64,
    done: Arc<AtomicU64>,
}

impl World {
    /// Nothing at all: enough for servers that are no part of the contract.
    pub fn empty() -> Self {
        Self::new(String::new(), Bytes::new())
    }

    fn new(prefix: String, clip: Bytes) -> Self {
        Self {
            prefix,
            clip,
            users: Vec::new(),
            videos: Vec::new(),
            login_names: Vec::new(),
            liked: None,
            likes: AtomicU64::new(0),
            hot_likes: AtomicU64::new(0),
            follows: AtomicU64::new(0),
            names: AtomicU64::new(0),
            done: Arc::default(),
        }
    }

    /// What is on the servers already: at least one user, and more videos than each likes. Enough for
    /// reads and [`Scenario::Like`]: passwords and the addresses of blobs are not known.
    pub fn known(users: Vec<User>, videos: Vec<i64>, liked: Liked) -> Self {
        let video = |id| Video {
            id,
            path: String::new(),
        };
        Self {
            users,
            videos: videos.into_iter().map(video).collect(),
            liked: Some(liked),
            ..Self::empty()
        }
    }

    /// Registers users whose names begin with `prefix` (at most 16 letters and digits), publishes
    /// `clip` under many titles, and lets them like and follow. Blocks until all is done.
    ///
    /// # Errors
    /// The first request that failed for good.
    pub fn load(
        nodes: &[Node],
        connections: usize,
        sizes: Sizes,
        prefix: &str,
        clip: Bytes,
        progress: &dyn Progress,
    ) -> Result<Arc<Self>, Trouble> {
        let mut world = Self::new(prefix.to_owned(), clip);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Trouble::Broken(format!("starting a runtime: {error}")))?;
        let crowd = Crowd { nodes, connections };
        world.begin(progress, "users", sizes.users as u64);
        world.users =
            runtime.block_on(crowd.each(sizes.users, &world.done, async |client, n| {
                sign_up(client, &format!("{prefix}u{n}")).await
            }))?;
        world.login_names = world.users.iter().map(|user| user.name.clone()).collect();
        world.begin(progress, "videos", sizes.videos as u64);
        let authors = sizes.users.clamp(1, AUTHORS_MAX);
        runtime.block_on(crowd.each(sizes.videos, &world.done, async |client, n| {
            client.send(world.publish(&world.users[n % authors])).await
        }))?;
        world.begin(progress, "video lists", authors as u64);
        let lists = runtime.block_on(crowd.each(authors, &world.done, async |client, n| {
            published(client, &world.users[n]).await
        }))?;
        let mut known = BTreeSet::new();
        world.videos = lists.into_iter().flatten().collect();
        world.videos.retain(|video| known.insert(video.id));
        if world.videos.len() < sizes.videos {
            return Err(Trouble::Wrong("videos that were published are missing"));
        }
        let world = Arc::new(world);
        world.fill(&crowd, Scenario::Like, sizes.likes, progress)?;
        world.fill(&crowd, Scenario::Follow, sizes.follows, progress)?;
        Ok(world)
    }

    /// Registers `count` more users for [`Scenario::Login`], in place of all others: with what the
    /// servers' password settings are now.
    ///
    /// # Errors
    /// The first request that failed for good.
    pub fn enrol(&mut self, nodes: &[Node], count: usize) -> Result<(), Trouble> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Trouble::Broken(format!("starting a runtime: {error}")))?;
        let crowd = Crowd {
            nodes,
            connections: nodes.len(),
        };
        let enrolled = crowd.each(count, &self.done, async |client, _| {
            sign_up(client, &self.next_name()).await
        });
        let users = runtime.block_on(enrolled)?;
        self.login_names = users.into_iter().map(|user| user.name).collect();
        Ok(())
    }

    fn begin(&self, progress: &dyn Progress, name: &str, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        progress.stage(name, total, &self.done);
    }

    fn fill(
        self: &Arc<Self>,
        crowd: &Crowd<'_>,
        scenario: Scenario,
        count: u64,
        progress: &dyn Progress,
    ) -> Result<(), Trouble> {
        self.begin(progress, scenario.name(), count);
        let plan = Plan {
            connections: crowd.connections,
            pace: Pace::Closed,
            until: Until::Count(count),
            warm_up: Duration::ZERO,
            threads: 1,
            seed: 1,
        };
        let work = Api {
            nodes: crowd.nodes.to_vec(),
            world: Arc::clone(self),
            scenario,
        };
        let figures = drive(&plan, &work, &mut |_| {})?;
        match figures.errors.into_keys().next() {
            None => Ok(()),
            Some(error) => Err(Trouble::Broken(format!("loading: {error}"))),
        }
    }

    /// Path of a write that has not been done yet: the next like.
    pub fn next_write(&self) -> String {
        let (user, video, action) = self.next_like();
        like_path(user, video, action)
    }

    pub(crate) fn count_done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub fn user(&self, number: usize) -> &User {
        &self.users[number % self.users.len()]
    }

    pub(crate) fn any_user(&self, dice: &mut Dice) -> &User {
        &self.users[dice.below(self.users.len())]
    }

    pub(crate) fn any_video(&self, dice: &mut Dice) -> &Video {
        &self.videos[dice.below(self.videos.len())]
    }

    pub(crate) fn login_name(&self, chance: u64) -> &str {
        let count = self.login_names.len() as u64;
        let number = usize::try_from(chance % count).expect("below a usize");
        &self.login_names[number]
    }

    pub(crate) fn next_name(&self) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("{}n{number}", self.prefix)
    }

    /// Who likes (1) which video, or takes it back (2).
    pub(crate) fn next_like(&self) -> (&User, i64, u8) {
        let number = self.likes.fetch_add(1, Ordering::Relaxed);
        let (user, video, is_on) = match &self.liked {
            Some(liked) => liked.next(number, self.videos.len()),
            // The last one is the hot one.
            None => pair(number, self.users.len(), self.videos.len() - 1),
        };
        (&self.users[user], self.videos[video].id, action(is_on))
    }

    pub(crate) fn next_hot_like(&self) -> (&User, i64, u8) {
        let number = self.hot_likes.fetch_add(1, Ordering::Relaxed);
        let (user, _, is_on) = pair(number, self.users.len(), 1);
        let hot = self.videos.last().expect("there are videos");
        (&self.users[user], hot.id, action(is_on))
    }

    /// Who follows (1) whom, or stops it (2).
    pub(crate) fn next_follow(&self) -> (&User, i64, u8) {
        let number = self.follows.fetch_add(1, Ordering::Relaxed);
        let (user, whom, is_on) = two_of(number, self.users.len());
        (&self.users[user], self.users[whom].id, action(is_on))
    }

    /// The request that publishes the clip.
    pub(crate) fn publish(&self, author: &User) -> Ask {
        let mut body = Vec::with_capacity(self.clip.len() + 512);
        for (name, value) in [("token", author.token.as_str()), ("title", "under load")] {
            body.extend_from_slice(
                format!(
                    "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n\
                     {value}\r\n"
                )
                .as_bytes(),
            );
        }
        body.extend_from_slice(
            format!(
                "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"data\"; \
                 filename=\"clip.mp4\"\r\ncontent-type: video/mp4\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(&self.clip);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        Ask {
            content_type: Some(HeaderValue::try_from(content_type).expect("plain letters")),
            body: Bytes::from(body),
            ..Ask::post("/douyin/publish/action/".to_owned())
        }
    }
}

fn action(is_on: bool) -> u8 {
    if is_on { 1 } else { 2 }
}

/// The `number`th pair of one of `lefts` and one of `rights`: neighbours differ on both sides, all
/// pairs come once before any comes again, and every other time round they are undone.
pub fn pair(number: u64, lefts: usize, rights: usize) -> (usize, usize, bool) {
    let (lefts, rights) = (lefts.max(1) as u64, rights.max(1) as u64);
    let within = number % (lefts * rights);
    let left = within % lefts;
    let right = (within / lefts + left) % rights;
    let index = |number| usize::try_from(number).expect("below a usize");
    let is_on = (number / (lefts * rights)).is_multiple_of(2);
    (index(left), index(right), is_on)
}

/// The `number`th pair of two different ones of `count`, at least 2, in the same way.
pub fn two_of(number: u64, count: usize) -> (usize, usize, bool) {
    let (one, step, is_on) = pair(number, count, count - 1);
    // Steps are shifted by the first within `pair`, so that all of 1..count come once.
    (one, (one + 1 + step) % count, is_on)
}

/// The videos of one author.
async fn published(client: &mut Client, author: &User) -> Result<Vec<Video>, Trouble> {
    let path = format!(
        "/douyin/publish/list/?user_id={}&token={}",
        author.id, author.token
    );
    let body = client.send(Ask::get(path).kept()).await?;
    let body: Value = serde_json::from_slice(&body).map_err(|_| Trouble::Wrong("no JSON"))?;
    let videos = body["video_list"].as_array();
    videos
        .ok_or(Trouble::Wrong("no video_list"))?
        .iter()
        .map(|video| {
            let id = video["id"].as_i64();
            // `http://host/path`: behind the third slash.
            let url = video["play_url"].as_str();
            let path = url.and_then(|url| Some(format!("/{}", url.splitn(4, '/').nth(3)?)));
            match (id, path) {
                (Some(id), Some(path)) => Ok(Video { id, path }),
                (Some(_) | None, _) => Err(Trouble::Wrong("a video without id or address")),
            }
        })
        .collect()
}

/// Clients that do a number of things, each once.
struct Crowd<'a> {
    nodes: &'a [Node],
    connections: usize,
}

impl Crowd<'_> {
    /// Does `work` with 0, 1, … below `count`, and gives what came out, in that order.
    async fn each<T>(
        &self,
        count: usize,
        done: &AtomicU64,
        work: impl AsyncFn(&mut Client, usize) -> Result<T, Trouble>,
    ) -> Result<Vec<T>, Trouble> {
        let next = AtomicUsize::new(0);
        let clients = (0..self.connections.clamp(1, count.max(1))).map(async |index| {
            let node = self.nodes[index % self.nodes.len()].clone();
            let mut client = Client::new(index, node, 0);
            let mut made = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(made);
                }
                made.push((number, insist(&mut client, number, &work).await?));
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut made: Vec<(usize, T)> =
            try_join_all(clients).await?.into_iter().flatten().collect();
        made.sort_by_key(|(number, _)| *number);
        Ok(made.into_iter().map(|(_, thing)| thing).collect())
    }
}

/// Asks again while the servers say that they are too busy.
async fn insist<T>(
    client: &mut Client,
    number: usize,
    work: &impl AsyncFn(&mut Client, usize) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    for attempt in 1..ATTEMPTS {
        match work(client, number).await {
            Err(Trouble::Http(429 | 503)) => tokio::time::sleep(PAUSE * attempt).await,
            other => return other,
        }
    }
    work(client, number).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pairs_come_once_and_are_then_undone() {
        let (lefts, rights) = (6_u64, 4_u64);
        for round in 0..4 {
            let pairs: BTreeSet<(usize, usize, bool)> = (0..lefts * rights)
                .map(|number| pair(round * lefts * rights + number, 6, 4))
                .collect();
            assert_eq!(pairs.len(), 24);
            assert!(pairs.iter().all(|(.., is_on)| *is_on == (round % 2 == 0)));
        }
        let (first, second) = (pair(0, 6, 4), pair(1, 6, 4));
        assert!(first.0 != second.0 && first.1 != second.1);
    }
}
