//! Comments: sets to which everybody adds, and from which authors remove.
use std::collections::{BTreeMap, BTreeSet};

use checkers::history::Action;
use http::Method;
use serde_json::Value;

use super::{Client, Fresh, Reply, column};

/// What a client knows of its own comments.
#[derive(Default)]
pub(crate) struct Mine {
    /// There, for certain: by text, the video and the comment's id.
    there: BTreeMap<String, (u64, u64)>,
    /// Gone, for certain.
    gone: BTreeSet<String>,
}

fn key_of(video: u64) -> String {
    format!("comments/{video}")
}

impl Client {
    pub(super) async fn comment(&mut self, node: u64) {
        if let Some(video) = self.dice.pick(&self.stage.videos).copied() {
            self.comment_on(node, video).await;
        }
    }

    pub(super) async fn comment_on(&mut self, node: u64, video: u64) {
        let text = self.text();
        let path =
            format!("/douyin/comment/action/?video_id={video}&action_type=1&comment_text={text}");
        let begun = self.lobby.record.begin(
            node,
            Action::Add {
                key: key_of(video),
                element: text.clone(),
            },
        );
        match self.post(node, &path).await {
            Reply::Done(body) => {
                self.lobby.record.ok(begun);
                if let Some(id) = body["comment"]["id"].as_u64() {
                    self.mine.there.insert(text, (video, id));
                }
            }
            Reply::No(_) => self.lobby.record.fail(begun),
            Reply::Unknown => self.lobby.record.unknown(begun),
        }
    }

    /// Deletes one of its own.
    pub(super) async fn uncomment(&mut self, node: u64) {
        let texts: Vec<String> = self.mine.there.keys().cloned().collect();
        let Some(text) = self.dice.pick(&texts).cloned() else {
            return;
        };
        let Some((video, id)) = self.mine.there.remove(&text) else {
            return;
        };
        let path =
            format!("/douyin/comment/action/?video_id={video}&action_type=2&comment_id={id}");
        let begun = self.lobby.record.begin(
            node,
            Action::Remove {
                key: key_of(video),
                element: text.clone(),
            },
        );
        match self.post(node, &path).await {
            Reply::Done(_) => {
                self.lobby.record.ok(begun);
                self.mine.gone.insert(text);
            }
            Reply::No(code) => {
                let judged = if code == NOT_FOUND {
                    Err(format!("comment {text} was acknowledged and is not found"))
                } else {
                    Ok(())
                };
                self.judge("acknowledged is never lost", judged);
                self.lobby.record.fail(begun);
                self.mine.there.insert(text, (video, id));
            }
            Reply::Unknown => self.lobby.record.unknown(begun),
        }
    }

    pub(crate) async fn read_comments(&mut self, node: u64) {
        let Some(video) = self.dice.pick(&self.stage.videos).copied() else {
            return;
        };
        let fresh = self.freshness();
        self.read_comments_of(node, video, fresh).await;
    }

    pub(super) async fn read_comments_of(&mut self, node: u64, video: u64, fresh: Fresh) {
        let path = format!("/douyin/comment/list/?video_id={video}");
        let read = |elements| Action::ReadSet {
            key: key_of(video),
            elements,
        };
        let begun = (fresh == Fresh::Newest).then(|| self.lobby.record.begin(node, read(None)));
        let reply = self.ask(node, Method::GET, &path, fresh).await;
        let Reply::Done(body) = reply else {
            if let Some(begun) = begun {
                self.lobby.record.fail(begun);
            }
            return;
        };
        let texts = column(&body, "comment_list", "content", |content: &Value| {
            content.as_str().map(str::to_owned)
        });
        self.judge_comments(video, &texts);
        if let Some(begun) = begun {
            self.lobby.record.ok_with(begun, read(Some(texts)));
        }
    }

    fn judge_comments(&self, video: u64, texts: &[String]) {
        let seen: BTreeSet<&String> = texts.iter().collect();
        let there = self.mine.there.iter();
        let missing = there
            .filter(|(_, (under, _))| *under == video)
            .find(|(text, _)| !seen.contains(text));
        let back = self.mine.gone.iter().find(|text| seen.contains(text));
        let judged = match (missing, back) {
            (Some((text, _)), _) => Err(format!("{text} under {video} is not there")),
            (None, Some(text)) => Err(format!("{text} under {video} is there again")),
            (None, None) => Ok(()),
        };
        self.judge("read your writes", judged);
    }
}

const NOT_FOUND: i64 = 3003;
