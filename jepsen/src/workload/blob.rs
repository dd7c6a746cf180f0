//! Small clips, some torn off on the way: what is listed has exactly the bytes that were published.
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use checkers::blob;
use checkers::history::{ABSENT, Action, Call, Kind};
use checkers::verdict::Verdict;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::workload::Workload;
use crate::workload::client::{Boxed, Client, items};
use crate::workload::stage::{Rotation, Stage, User};

/// Uploads of one author, before the next one; every read lists them all.
const UPLOADS_MAX: u64 = 60;

/// So many of the listed are fetched in the end, at each node and of each author.
const LAST_FETCHED: usize = 6;

const COVER: &str = "cover";

struct Blob {
    stage: Stage,
    authors: Rotation<User>,
}

pub(super) fn make(stage: &Stage) -> Boxed<'_, Result<Arc<dyn Workload>>> {
    Box::pin(async move {
        let first = stage.user("blob-0").await?;
        let made: Arc<dyn Workload> = Arc::new(Blob {
            stage: stage.clone(),
            authors: Rotation::new(first, UPLOADS_MAX),
        });
        Ok(made)
    })
}

pub(super) fn check(calls: &[Call]) -> Verdict {
    blob::check(calls)
}

#[async_trait]
impl Workload for Blob {
    async fn step(&self, client: &mut Client) {
        client.roam();
        if client.dice.roll(2) == 0 {
            return self.upload(client).await;
        }
        let author = self.authors.any(&mut client.dice);
        let Some(body) = self.list(client, &author).await else {
            return;
        };
        let videos = items(&body["video_list"]);
        if !videos.is_empty() {
            let video = &videos[client.dice.index(videos.len())];
            self.fetch(client, &author, video).await;
        }
    }

    async fn last_reads(&self, client: &mut Client) -> bool {
        for author in self.authors.all() {
            let Some(body) = self.list(client, &author).await else {
                return false;
            };
            for video in items(&body["video_list"]).iter().take(LAST_FETCHED) {
                if !self.fetch(client, &author, video).await {
                    return false;
                }
            }
        }
        true
    }
}

impl Blob {
    async fn upload(&self, client: &mut Client) {
        let make = |n| async move { self.stage.user(&format!("blob-{n}")).await };
        let author = self.authors.take(make).await;
        let title = client.unique(&format!("blob {}", self.stage.run));
        let clip = marked(&self.stage.clip, &title);
        let torn_at = match client.dice.roll(4) {
            0 => Some(client.dice.index(clip.len())),
            _ => None,
        };
        let action = Action::Upload {
            key: author.id.clone(),
            name: title.clone(),
            digest: digest(&clip),
        };
        client.invoke(action.clone());
        let sent = client
            .target
            .publish(client.node, &author.token, &title, clip, torn_at);
        let answer = sent.await;
        if torn_at.is_some() {
            // Whatever was answered: nobody ever had all the bytes.
            client.end(Kind::Fail, action, Some("torn off on purpose".into()));
        } else {
            client.wrote(answer, action);
        }
    }

    async fn list(&self, client: &mut Client, author: &User) -> Option<Value> {
        let request = self.stage.published_by(author, &mut client.dice);
        let read = client.read(&request, |body| Action::ReadSet {
            key: author.id.clone(),
            elements: body.map(|body| {
                let videos = items(&body["video_list"]).iter();
                videos.map(|video| text(&video["title"])).collect()
            }),
        });
        read.await.map(|body| body.json)
    }

    /// Fetches both parts of a video that was listed.
    async fn fetch(&self, client: &mut Client, author: &User, video: &Value) -> bool {
        let mut is_whole = true;
        for (part, url) in [(blob::PLAY, "play_url"), (COVER, "cover_url")] {
            let action = |digest| Action::Download {
                key: author.id.clone(),
                name: text(&video["title"]),
                part: part.into(),
                digest,
            };
            client.invoke(action(None));
            let fetched = client.target.fetch(client.node, &text(&video[url])).await;
            let (kind, digest, error) = match fetched {
                Ok(Some(bytes)) => (Kind::Ok, Some(digest(&bytes)), None),
                Ok(None) => (Kind::Ok, Some(ABSENT.to_owned()), None),
                Err(error) => (Kind::Fail, None, Some(format!("{error:#}"))),
            };
            is_whole &= kind == Kind::Ok;
            client.end(kind, action(digest), error);
        }
        is_whole
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The clip with a box at its end that players pass over: no two are the same.
fn marked(clip: &[u8], mark: &str) -> Vec<u8> {
    let length = u32::try_from(mark.len() + 8).expect("a short mark");
    let mut clip = clip.to_vec();
    clip.extend(length.to_be_bytes());
    clip.extend(b"free");
    clip.extend(mark.as_bytes());
    clip
}

/// Half of SHA-256 in hex: enough to tell clips apart.
fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let half = digest.iter().take(16);
    half.map(|byte| format!("{byte:02x}")).collect()
}
