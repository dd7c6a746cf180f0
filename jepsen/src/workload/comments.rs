//! Comments under a video: nothing acknowledged is lost or doubled, nothing deleted comes back, and
//! the count fits the list.
use std::sync::{Arc, Mutex};

use anyhow::Result;
use async_trait::async_trait;
use checkers::history::{Action, Call};
use checkers::verdict::Verdict;
use checkers::{counter, set_full};

use crate::target::Request;
use crate::workload::Workload;
use crate::workload::client::{Boxed, Client, find, id, items};
use crate::workload::stage::{Rotation, Stage, User};

/// Comments under one video, before the next one; every read lists them all.
const COMMENTS_MAX: u64 = 120;

/// A comment that its client knows the id of.
#[derive(Clone)]
struct Own {
    video: String,
    id: String,
    text: String,
    author: User,
}

struct Comments {
    stage: Stage,
    videos: Rotation<String>,
    /// Acknowledged and not yet deleted.
    own: Mutex<Vec<Own>>,
}

pub(super) fn make(stage: &Stage) -> Boxed<'_, Result<Arc<dyn Workload>>> {
    Box::pin(async move {
        let first = stage.video(stage.author(0), "comments-0").await?;
        let made: Arc<dyn Workload> = Arc::new(Comments {
            stage: stage.clone(),
            videos: Rotation::new(first, COMMENTS_MAX),
            own: Mutex::default(),
        });
        Ok(made)
    })
}

pub(super) fn check(calls: &[Call]) -> Verdict {
    set_full::check(calls).and(counter::check(calls))
}

#[async_trait]
impl Workload for Comments {
    async fn step(&self, client: &mut Client) {
        client.roam();
        match client.dice.roll(20) {
            0..10 => self.add(client).await,
            10..13 => self.delete(client).await,
            13..18 => {
                let video = self.videos.any(&mut client.dice);
                self.list(client, &video).await;
            }
            _ => {
                self.count(client).await;
            }
        }
    }

    async fn last_reads(&self, client: &mut Client) -> bool {
        if !self.count(client).await {
            return false;
        }
        for video in self.videos.all() {
            if !self.list(client, &video).await {
                return false;
            }
        }
        true
    }
}

impl Comments {
    async fn add(&self, client: &mut Client) {
        let make = |n| async move {
            let title = format!("comments-{n}");
            self.stage.video(self.stage.author(0), &title).await
        };
        let video = self.videos.take(make).await;
        let text = client.unique(&self.stage.run);
        let author = self.stage.anybody(&mut client.dice).clone();
        let request = Request::new("/douyin/comment/action/")
            .with("token", &author.token)
            .with("video_id", &video)
            .with("action_type", "1")
            .with("comment_text", &text);
        let action = Action::Add {
            key: video.clone(),
            element: text.clone(),
        };
        if let Some(body) = client.write(&request, action).await {
            let id = id(&body.json["comment"]["id"]);
            let own = Own {
                video,
                id,
                text,
                author,
            };
            self.own.lock().expect("nothing panics here").push(own);
        }
    }

    /// Each is deleted at most once, so that what came of it stays clear.
    async fn delete(&self, client: &mut Client) {
        let own = {
            let mut own = self.own.lock().expect("nothing panics here");
            if own.is_empty() {
                return;
            }
            let which = client.dice.index(own.len());
            own.swap_remove(which)
        };
        let request = Request::new("/douyin/comment/action/")
            .with("token", &own.author.token)
            .with("video_id", &own.video)
            .with("action_type", "2")
            .with("comment_id", &own.id);
        let action = Action::Remove {
            key: own.video,
            element: own.text,
        };
        client.write(&request, action).await;
    }

    async fn list(&self, client: &mut Client, video: &str) -> bool {
        let request = Request::new("/douyin/comment/list/")
            .with("token", &self.stage.anybody(&mut client.dice).token)
            .with("video_id", video);
        let read = client.read(&request, |body| Action::ReadSet {
            key: video.to_owned(),
            elements: body.map(|body| {
                let comments = items(&body["comment_list"]).iter();
                comments.map(|comment| text(&comment["content"])).collect()
            }),
        });
        read.await.is_some()
    }

    /// The count of the video that is commented on now.
    async fn count(&self, client: &mut Client) -> bool {
        let video = self.videos.now();
        let request = self
            .stage
            .published_by(self.stage.author(0), &mut client.dice);
        let read = client.read(&request, |body| Action::ReadCount {
            key: video.clone(),
            count: body.and_then(|body| find(body, &video)?["comment_count"].as_i64()),
        });
        read.await.is_some()
    }
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
