//! Paging through everybody's videos while more are published: each that was there throughout is
//! shown exactly once, and what was published is never missed again.
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use checkers::history::{Action, Call, Kind};
use checkers::pages;
use checkers::verdict::Verdict;

use crate::target::{Answer, Body, Request};
use crate::workload::Workload;
use crate::workload::client::{Boxed, Client, items};
use crate::workload::stage::Stage;

/// Pages of one walk: short ones are often enough to begin at the newest.
const PAGES_MAX: u64 = 12;

/// Pages of the last walks, that go to the end.
const LAST_PAGES_MAX: u64 = 1_000;

/// A page that did not come is asked for again, at other nodes.
const TRIES: usize = 3;

/// Whose videos these are, by number in the pool.
const AUTHOR: usize = 4;

const KEY: &str = "feed";

struct Feed {
    stage: Stage,
    /// Titles of this workload begin with it: the feed shows everybody's.
    mark: String,
}

pub(super) fn make(stage: &Stage) -> Boxed<'_, Result<Arc<dyn Workload>>> {
    Box::pin(async move {
        let made: Arc<dyn Workload> = Arc::new(Feed {
            stage: stage.clone(),
            mark: format!("feed {}", stage.run),
        });
        Ok(made)
    })
}

pub(super) fn check(calls: &[Call]) -> Verdict {
    pages::check(calls)
}

#[async_trait]
impl Workload for Feed {
    async fn step(&self, client: &mut Client) {
        client.roam();
        if client.dice.roll(3) == 0 {
            return self.publish(client).await;
        }
        let is_fresh = client.dice.roll(2) == 0;
        let pages_max = 1 + client.dice.roll(PAGES_MAX);
        self.walk(client, is_fresh, pages_max).await;
    }

    async fn last_reads(&self, client: &mut Client) -> bool {
        self.walk(client, true, LAST_PAGES_MAX).await
    }
}

impl Feed {
    async fn publish(&self, client: &mut Client) {
        let title = client.unique(&self.mark);
        let action = Action::Add {
            key: KEY.into(),
            element: title.clone(),
        };
        let token = &self.stage.author(AUTHOR).token;
        client.invoke(action.clone());
        let clip = self.stage.clip.clone();
        let sent = client
            .target
            .publish(client.node, token, &title, clip, None);
        let answer = sent.await;
        client.wrote(answer, action);
    }

    /// One walk is one operation, over several nodes.
    async fn walk(&self, client: &mut Client, is_fresh: bool, pages_max: u64) -> bool {
        let action = |is_whole, pages| Action::ReadPages {
            key: KEY.into(),
            is_fresh,
            is_whole,
            pages,
        };
        client.invoke(action(false, None));
        let mut pages = Vec::new();
        let mut is_whole = false;
        let mut bound = None;
        let began_at = client.node;
        for page in 0..pages_max {
            let has_token = is_fresh && (page == 0 || client.dice.roll(2) == 0);
            let got = self.page(client, bound, has_token).await;
            let body = match got {
                Ok(body) => body,
                Err(why) => {
                    client.node = began_at;
                    client.end(Kind::Fail, action(false, None), Some(why));
                    return false;
                }
            };
            let videos = items(&body.json["video_list"]);
            is_whole = videos.is_empty();
            if is_whole {
                break;
            }
            let titles = videos.iter().filter_map(|video| video["title"].as_str());
            let own = titles.filter(|title| title.starts_with(&self.mark));
            pages.push(own.map(str::to_owned).collect());
            bound = body.json["next_time"].as_i64();
        }
        client.node = began_at;
        client.end(Kind::Ok, action(is_whole, Some(pages)), None);
        true
    }

    async fn page(
        &self,
        client: &mut Client,
        bound: Option<i64>,
        has_token: bool,
    ) -> Result<Body, String> {
        let mut request = Request::new("/douyin/feed/");
        if let Some(bound) = bound {
            request = request.with("latest_time", bound.to_string());
        }
        if has_token {
            request = request.with("token", &self.stage.anybody(&mut client.dice).token);
        }
        let mut told = String::new();
        for _ in 0..TRIES {
            match client.target.get(client.node, &request).await {
                Answer::Done(body) => {
                    client.roam();
                    return Ok(body);
                }
                other => told = format!("{other:?}"),
            }
            client.roam();
        }
        Err(told)
    }
}
