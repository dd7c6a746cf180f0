//! One node with a filled state.
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use load::{Api, Liked, Pace, Plan, Scenario, Until, User, World};
use serde::Deserialize;
use serde_json::Value;

use crate::Run;
use crate::case::USUAL;
use crate::cluster::Cluster;
use crate::http::ask;
use crate::meter::{Disk, Usage};
use crate::sample::{Sample, measure};

/// So many likes are measured, and then as many taken back, uncounted. With 10,000 objects 7,500 are
/// new.
const TURN: u64 = 5_000;
/// Ends a measurement whose likes take no time at all.
const TURNS_MAX: usize = 10_000;
/// So many users' profiles are looked at before anything is measured.
const PROBES: usize = 100;
/// A node that uses no more than one tick within this time is at rest.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const QUIET: Duration = Duration::from_millis(10);
const LOOKS_MAX: usize = 240;

/// What `fill` wrote: who is in the state, and what every profile says.
#[derive(Deserialize)]
struct Roster {
    users: Vec<Somebody>,
    /// Ids; on a ring.
    videos: Vec<i64>,
    follow_count: u64,
    work_count: u64,
    /// From a user's place on the ring on, so many videos are liked.
    favorite_count: usize,
}

#[derive(Deserialize)]
struct Somebody {
    id: i64,
    name: String,
    token: String,
    likes_from: usize,
}

/// A node, and what is known of its state.
pub(super) struct Side {
    pub(super) objects: usize,
    cluster: Cluster,
    world: Arc<World>,
    disk: Disk,
    probes: Vec<User>,
    expected: Vec<(&'static str, u64)>,
}

impl Side {
    /// Starts a node in a folder of its own below `dir`, fills it while it is stopped, starts it again
    /// and looks at some profiles.
    pub(super) fn set(
        run: &Run,
        objects: usize,
        yin: &Path,
        dir: &Path,
        logs: &Path,
    ) -> Result<Self> {
        let name = format!("depth-{objects}");
        let (dir, logs) = (dir.join(&name), logs.join(&name));
        for folder in [&dir, &logs] {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("making {}", folder.display()))?;
        }
        let roster = dir.join("roster.json");
        let mut cluster = Cluster::start(yin, &dir, &logs, 1)?;
        cluster.while_stopped(|data| fill(&filler(run)?, data, objects, &roster))?;
        let text =
            std::fs::read(&roster).with_context(|| format!("reading {}", roster.display()))?;
        let roster: Roster = serde_json::from_slice(&text).context("what `fill` wrote")?;
        let side = Self::with(objects, cluster, Disk::of(&dir)?, roster);
        side.check()?;
        Ok(side)
    }

    fn with(objects: usize, cluster: Cluster, disk: Disk, roster: Roster) -> Self {
        let expected = vec![
            ("follow_count", roster.follow_count),
            ("work_count", roster.work_count),
            ("favorite_count", roster.favorite_count as u64),
        ];
        let liked = Liked {
            from: roster.users.iter().map(|user| user.likes_from).collect(),
            each: roster.favorite_count,
            turn: TURN,
        };
        let users: Vec<User> = roster.users.into_iter().map(User::from).collect();
        let every = users.len().div_ceil(PROBES);
        Self {
            objects,
            cluster,
            disk,
            probes: users.iter().step_by(every).cloned().collect(),
            expected,
            world: Arc::new(World::known(users, roster.videos, liked)),
        }
    }

    /// Lets the node recount everything.
    pub(super) fn verify(&self) -> Result<()> {
        self.cluster.verify()
    }

    /// Do some profiles say what they should?
    fn check(&self) -> Result<()> {
        let node = self.cluster.addresses()[0];
        for user in &self.probes {
            let answer = ask(node, "GET", &profile(user))?;
            ensure!(
                is_right(&answer, &self.expected),
                "{}, expected {:?}: {answer}",
                user.name,
                self.expected
            );
        }
        Ok(())
    }

    /// Measures one round of `case`, in one piece or several.
    pub(super) fn ask(&self, case: Scenario, seconds: f64, seed: u64) -> Result<Vec<Sample>> {
        self.rest();
        self.cluster.forget_logs()?;
        if case != Scenario::Like {
            let until = Until::Time(Duration::from_secs_f64(seconds));
            return Ok(vec![self.drive(case, until, seconds / 5.0, seed)?]);
        }
        let (mut samples, mut measured) = (Vec::new(), 0.0);
        while measured < seconds && samples.len() < TURNS_MAX {
            let likes = self.drive(case, Until::Count(TURN), 0.0, seed)?;
            measured += likes.figures.seconds;
            samples.push(likes);
            let back = self.drive(case, Until::Count(TURN), 0.0, seed)?;
            let errors = &back.figures.errors;
            ensure!(errors.is_empty(), "likes were not taken back: {errors:?}");
        }
        Ok(samples)
    }

    fn drive(&self, scenario: Scenario, until: Until, warm_up: f64, seed: u64) -> Result<Sample> {
        let plan = Plan {
            connections: USUAL,
            pace: Pace::Closed,
            until,
            warm_up: Duration::from_secs_f64(warm_up),
            threads: 1,
            seed,
        };
        let api = Api {
            nodes: self.cluster.nodes(),
            world: Arc::clone(&self.world),
            scenario,
        };
        measure(&self.cluster.pids(), self.disk, &plan, &api)
    }

    /// Waits until flushes and compactions of what came before are through, two minutes at most.
    fn rest(&self) {
        let used = || Usage::of(&self.cluster.pids(), self.disk).cpu;
        let mut last = used();
        for _ in 0..LOOKS_MAX {
            // No event tells of it from outside.
            std::thread::sleep(LOOK_EVERY);
            let now = used();
            if now.saturating_sub(last) <= QUIET {
                return;
            }
            last = now;
        }
        eprintln!("not at rest: what follows holds work of before");
    }

    /// Kills the node and starts it again: seconds from the start of its process until a profile, each
    /// time another one's, says what it should.
    pub(super) fn restart(&mut self, time: usize) -> Result<f64> {
        let user = &self.probes[time % self.probes.len()];
        let (path, expected) = (profile(user), &self.expected);
        let took = self.cluster.kill_and_start(0, |node| {
            ask(node, "GET", &path).is_ok_and(|answer| is_right(&answer, expected))
        })?;
        Ok(took.as_secs_f64())
    }
}

impl From<Somebody> for User {
    fn from(somebody: Somebody) -> Self {
        Self {
            id: somebody.id,
            name: somebody.name,
            token: somebody.token,
        }
    }
}

/// The program that fills: as it was said, or the one beside this.
fn filler(run: &Run) -> Result<PathBuf> {
    let path = match &run.fill {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("fill"),
    };
    path.canonicalize()
        .with_context(|| format!("no binary at {}", path.display()))
}

/// Lets it fill the state of the node that `data` belongs to, and waits. It tells how far it is.
fn fill(filler: &Path, data: &Path, objects: usize, roster: &Path) -> Result<()> {
    eprintln!("filling {} with {objects} objects", data.display());
    let mut command = Command::new(filler);
    command.arg("--data").arg(data);
    command.args(["--objects", &objects.to_string()]);
    command.arg("--roster").arg(roster);
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("starting {}", filler.display()))?;
    ensure!(status.success(), "{} failed ({status})", filler.display());
    Ok(())
}

fn profile(user: &User) -> String {
    format!("/douyin/user/?user_id={}&token={}", user.id, user.token)
}

/// Does the answer, headers and body, hold a profile with these counts?
fn is_right(answer: &str, expected: &[(&str, u64)]) -> bool {
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    let body: Option<Value> = body.and_then(|body| serde_json::from_str(body).ok());
    body.is_some_and(|body| {
        let user = &body["user"];
        expected
            .iter()
            .all(|(name, count)| user[*name].as_u64() == Some(*count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_right_when_every_count_is() {
        let answer =
            |counts: &str| format!("HTTP/1.1 200 OK\r\na: b\r\n\r\n{{\"user\":{{{counts}}}}}");
        let expected = [("follow_count", 49), ("work_count", 5)];
        assert!(is_right(
            &answer(r#""id":1,"work_count":5,"follow_count":49"#),
            &expected
        ));
        for wrong in [
            r#""work_count":5,"follow_count":50"#,
            r#""follow_count":49"#,
            "",
        ] {
            assert!(!is_right(&answer(wrong), &expected), "{wrong}");
        }
        assert!(!is_right(
            "HTTP/1.1 503 Service Unavailable\r\n\r\n",
            &expected
        ));
    }
}
