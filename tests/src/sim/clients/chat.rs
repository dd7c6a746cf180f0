//! Chat: one order of messages per conversation, the same for both and at every node.
use checkers::history::Action;
use http::Method;
use serde_json::Value;

use super::{Client, Fresh, Reply, column};

fn key_of(one: u64, other: u64) -> String {
    format!("chat/{}-{}", one.min(other), one.max(other))
}

impl Client {
    /// Its neighbours: few conversations, so that they get long.
    fn peer(&mut self) -> Option<u64> {
        let users = &self.stage.users;
        let me = users.iter().position(|user| user.id == self.me.id)?;
        let step = if self.dice.roll(2) == 0 {
            1
        } else {
            users.len() - 1
        };
        let peer = users[(me + step) % users.len()].id;
        (peer != self.me.id).then_some(peer)
    }

    pub(super) async fn talk(&mut self, node: u64) {
        let Some(peer) = self.peer() else {
            return;
        };
        let text = self.text();
        let path =
            format!("/douyin/message/action/?to_user_id={peer}&action_type=1&content={text}");
        let begun = self.lobby.record.begin(
            node,
            Action::Append {
                key: key_of(self.me.id, peer),
                sender: self.me.id.to_string(),
                text: text.clone(),
            },
        );
        match self.post(node, &path).await {
            Reply::Done(_) => {
                self.lobby.record.ok(begun);
                self.said.entry(peer).or_default().insert(text);
            }
            Reply::No(_) => self.lobby.record.fail(begun),
            Reply::Unknown => self.lobby.record.unknown(begun),
        }
    }

    pub(crate) async fn listen(&mut self, node: u64) {
        let Some(peer) = self.peer() else {
            return;
        };
        let fresh = self.freshness();
        self.listen_to(node, peer, fresh).await;
    }

    pub(super) async fn listen_to(&mut self, node: u64, peer: u64, fresh: Fresh) {
        let path = format!("/douyin/message/chat/?to_user_id={peer}");
        let key = key_of(self.me.id, peer);
        let read = |texts| Action::ReadLog {
            key: key.clone(),
            after: None,
            from: None,
            texts,
        };
        let begun = (fresh == Fresh::Newest).then(|| self.lobby.record.begin(node, read(None)));
        let reply = self.ask(node, Method::GET, &path, fresh).await;
        let Reply::Done(body) = reply else {
            if let Some(begun) = begun {
                self.lobby.record.fail(begun);
            }
            return;
        };
        let texts = column(&body, "message_list", "content", |content: &Value| {
            content.as_str().map(str::to_owned)
        });
        self.judge_chat(peer, &texts);
        self.heard.insert(peer, texts.clone());
        if let Some(begun) = begun {
            self.lobby.record.ok_with(begun, read(Some(texts)));
        }
    }

    /// What was read once stays, in its place; what was sent is there.
    fn judge_chat(&self, peer: u64, texts: &[String]) {
        let before = self.heard.get(&peer).map_or(&[][..], Vec::as_slice);
        let judged = if texts.starts_with(before) {
            Ok(())
        } else {
            Err(format!(
                "with {peer}: read {:?} before and now {:?}",
                before.last(),
                texts.last()
            ))
        };
        self.judge("monotonic reads", judged);
        let mut said = self.said.get(&peer).into_iter().flatten();
        let judged = match said.find(|text| !texts.contains(text)) {
            Some(text) => Err(format!("{text} was sent to {peer} and is not there")),
            None => Ok(()),
        };
        self.judge("read your writes", judged);
    }
}
