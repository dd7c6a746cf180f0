//! Does this user like this video? One register for each pair, which several clients toggle and
//! read in two ways: linearizable.
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use checkers::history::{Action, Call};
use checkers::register;
use checkers::verdict::Verdict;

use crate::target::Request;
use crate::workload::Workload;
use crate::workload::client::{Boxed, Client, find};
use crate::workload::stage::{Rotation, Stage, User};

/// Toggles of one video by everybody of the pool, before the next one.
const TOGGLES_MAX: u64 = 900;

struct Favorite {
    stage: Stage,
    videos: Rotation<String>,
}

pub(super) fn make(stage: &Stage) -> Boxed<'_, Result<Arc<dyn Workload>>> {
    Box::pin(async move {
        let first = stage.video(stage.author(1), "favorite-0").await?;
        let made: Arc<dyn Workload> = Arc::new(Favorite {
            stage: stage.clone(),
            videos: Rotation::new(first, TOGGLES_MAX),
        });
        Ok(made)
    })
}

pub(super) fn check(calls: &[Call]) -> Verdict {
    register::check(calls, 0)
}

fn key(user: &User, video: &str) -> String {
    format!("{} likes {video}", user.id)
}

#[async_trait]
impl Workload for Favorite {
    async fn step(&self, client: &mut Client) {
        client.roam();
        let user = self.stage.anybody(&mut client.dice).clone();
        if client.dice.roll(2) == 0 {
            return self.toggle(client, &user).await;
        }
        let video = self.videos.any(&mut client.dice);
        if client.dice.roll(2) == 0 {
            self.listed(client, &user, &video).await;
        } else {
            self.flagged(client, &user, &video).await;
        }
    }

    async fn last_reads(&self, client: &mut Client) -> bool {
        for video in self.videos.all() {
            for user in &self.stage.pool {
                if !self.listed(client, user, &video).await {
                    return false;
                }
                if !self.flagged(client, user, &video).await {
                    return false;
                }
            }
        }
        true
    }
}

impl Favorite {
    async fn toggle(&self, client: &mut Client, user: &User) {
        let make = |n| async move {
            let title = format!("favorite-{n}");
            self.stage.video(self.stage.author(1), &title).await
        };
        let video = self.videos.take(make).await;
        let is_like = client.dice.roll(2) == 0;
        let request = Request::new("/douyin/favorite/action/")
            .with("token", &user.token)
            .with("video_id", &video)
            .with("action_type", if is_like { "1" } else { "2" });
        let action = Action::Write {
            key: key(user, &video),
            value: i64::from(is_like),
        };
        client.write(&request, action).await;
    }

    /// Is it in the list of what the user likes?
    async fn listed(&self, client: &mut Client, user: &User, video: &str) -> bool {
        let request = Request::new("/douyin/favorite/list/")
            .with("token", &user.token)
            .with("user_id", &user.id);
        let read = client.read(&request, |body| Action::Read {
            key: key(user, video),
            value: body.map(|body| i64::from(find(body, video).is_some())),
        });
        read.await.is_some()
    }

    /// Is it shown with the user's heart on it?
    async fn flagged(&self, client: &mut Client, user: &User, video: &str) -> bool {
        let request = Request::new("/douyin/publish/list/")
            .with("token", &user.token)
            .with("user_id", &self.stage.author(1).id);
        let read = client.read(&request, |body| Action::Read {
            key: key(user, video),
            value: body.map(|body| {
                let video = find(body, video);
                i64::from(video.is_some_and(|video| video["is_favorite"] == true))
            }),
        });
        read.await.is_some()
    }
}
