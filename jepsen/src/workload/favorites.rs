//! A much liked video: its count against who likes it, both going up and down.
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use checkers::history::{Action, Call};
use checkers::verdict::Verdict;
use checkers::{counter, members};

use crate::target::Request;
use crate::workload::Workload;
use crate::workload::client::{Boxed, Client, find};
use crate::workload::stage::{Rotation, Stage, User};

/// Likes and their ends of one video, before the next one.
const CHANGES_MAX: u64 = 500;

/// Whose videos these are, by number in the pool.
const AUTHOR: usize = 2;

struct Favorites {
    stage: Stage,
    videos: Rotation<String>,
}

pub(super) fn make(stage: &Stage) -> Boxed<'_, Result<Arc<dyn Workload>>> {
    Box::pin(async move {
        let first = stage.video(stage.author(AUTHOR), "favorites-0").await?;
        let made: Arc<dyn Workload> = Arc::new(Favorites {
            stage: stage.clone(),
            videos: Rotation::new(first, CHANGES_MAX),
        });
        Ok(made)
    })
}

pub(super) fn check(calls: &[Call]) -> Verdict {
    members::check(calls).and(counter::check(calls))
}

#[async_trait]
impl Workload for Favorites {
    async fn step(&self, client: &mut Client) {
        client.roam();
        match client.dice.roll(10) {
            0..5 => self.change(client).await,
            5..8 => {
                let video = self.videos.any(&mut client.dice);
                self.count(client, &video).await;
            }
            _ => {
                let video = self.videos.any(&mut client.dice);
                let user = self.stage.anybody(&mut client.dice);
                self.is_liked(client, user, &video).await;
            }
        }
    }

    async fn last_reads(&self, client: &mut Client) -> bool {
        for video in self.videos.all() {
            if !self.count(client, &video).await {
                return false;
            }
            for user in &self.stage.pool {
                if !self.is_liked(client, user, &video).await {
                    return false;
                }
            }
        }
        true
    }
}

impl Favorites {
    async fn change(&self, client: &mut Client) {
        let make = |n| async move {
            let title = format!("favorites-{n}");
            self.stage.video(self.stage.author(AUTHOR), &title).await
        };
        let video = self.videos.take(make).await;
        let user = self.stage.anybody(&mut client.dice);
        let (key, element) = (video.clone(), user.id.clone());
        let (number, action) = if client.dice.roll(2) == 0 {
            ("1", Action::Add { key, element })
        } else {
            ("2", Action::Remove { key, element })
        };
        let request = Request::new("/douyin/favorite/action/")
            .with("token", &user.token)
            .with("video_id", video)
            .with("action_type", number);
        client.write(&request, action).await;
    }

    async fn count(&self, client: &mut Client, video: &str) -> bool {
        let author = self.stage.author(AUTHOR);
        let request = self.stage.published_by(author, &mut client.dice);
        let read = client.read(&request, |body| Action::ReadCount {
            key: video.to_owned(),
            count: body.and_then(|body| find(body, video)?["favorite_count"].as_i64()),
        });
        read.await.is_some()
    }

    async fn is_liked(&self, client: &mut Client, user: &User, video: &str) -> bool {
        let request = Request::new("/douyin/favorite/list/")
            .with("token", &user.token)
            .with("user_id", &user.id);
        let read = client.read(&request, |body| Action::ReadMember {
            key: video.to_owned(),
            element: user.id.clone(),
            is_in: body.map(|body| find(body, video).is_some()),
        });
        read.await.is_some()
    }
}
