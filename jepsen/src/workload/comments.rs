//! Comments under a video: nothing acknowledged is lost or doubled, nothing deleted comes back, the
//! count fits the list, and page by page the list is the same as at once.
use std::sync::{Arc, Mutex};

use anyhow::Result;
use async_trait::async_trait;
use checkers::history::{Action, Call, Kind};
use checkers::verdict::Verdict;
use checkers::{counter, pages, set_full};

use crate::target::{Answer, Request};
use crate::workload::Workload;
use crate::workload::client::{Boxed, Client, find, id, items};
use crate::workload::stage::{Rotation, Stage, User};

/// Comments under one video, before the next one; every read lists them all.
const COMMENTS_MAX: u64 = 120;

const PAGE: usize = 6;

/// More pages than all comments fill, and those that are added meanwhile.
const PAGES_MAX: usize = 200;

/// A walk has the comment that it stands at deleted once in so many pages.
const DELETES_ONE_IN: u64 = 12;

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
    set_full::check(calls)
        .and(counter::check(calls))
        .and(pages::check(calls))
}

#[async_trait]
impl Workload for Comments {
    async fn step(&self, client: &mut Client) {
        client.roam();
        match client.dice.roll(20) {
            0..10 => self.add(client).await,
            10..13 => self.delete(client).await,
            13 => {
                let video = self.videos.now();
                self.walk(client, &video).await;
            }
            14..18 => {
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
        // Paged through as well: one whose time was full of faults may have seen no walk to its end.
        for video in self.videos.all() {
            if !self.list(client, &video).await || !self.walk(client, &video).await {
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

    async fn delete(&self, client: &mut Client) {
        let own = {
            let mut own = self.own.lock().expect("nothing panics here");
            if own.is_empty() {
                return;
            }
            let which = client.dice.index(own.len());
            own.swap_remove(which)
        };
        self.delete_own(client, own).await;
    }

    /// Each is deleted at most once, so that what came of it stays clear.
    async fn delete_own(&self, client: &mut Client, own: Own) {
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

    /// One walk over all pages is one operation, over several nodes. Now and then somebody deletes
    /// the comment that the walk stands at.
    async fn walk(&self, client: &mut Client, video: &str) -> bool {
        let action = |pages| Action::ReadPages {
            key: video.to_owned(),
            is_fresh: true,
            is_whole: true,
            pages,
        };
        client.invoke(action(None));
        let began_at = client.node;
        let walked = self.pages(client, video).await;
        client.node = began_at;
        match walked {
            Ok(pages) => {
                client.end(Kind::Ok, action(Some(pages)), None);
                true
            }
            Err(why) => {
                client.end(Kind::Fail, action(None), Some(why));
                false
            }
        }
    }

    async fn pages(&self, client: &mut Client, video: &str) -> Result<Vec<Vec<String>>, String> {
        let mut pages = Vec::new();
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let mut request = Request::new("/douyin/comment/list/")
                .with("token", &self.stage.anybody(&mut client.dice).token)
                .with("video_id", video)
                .with("limit", PAGE.to_string());
            if let Some(cursor) = cursor {
                request = request.with("cursor", cursor);
            }
            let body = match client.target.get(client.node, &request).await {
                Answer::Done(body) => body.json,
                other => return Err(format!("{other:?}")),
            };
            let comments = items(&body["comment_list"]);
            let Some(last) = comments.last() else {
                return Ok(pages);
            };
            cursor = Some(id(&last["id"]));
            let texts = comments.iter().map(|comment| text(&comment["content"]));
            pages.push(texts.collect());
            if client.dice.roll(DELETES_ONE_IN) == 0
                && let Some(own) = self.own_of(&text(&last["content"]))
            {
                self.delete_own(&mut client.fork(), own).await;
            }
            client.roam();
        }
        Err(format!("no end after {PAGES_MAX} pages"))
    }

    /// Takes one that may be deleted, by its text.
    fn own_of(&self, text: &str) -> Option<Own> {
        let mut own = self.own.lock().expect("nothing panics here");
        let which = own.iter().position(|own| own.text == text)?;
        Some(own.swap_remove(which))
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
