//! Likes and follows: registers with one writer each.
use checkers::history::Action;
use http::Method;

use super::{Client, Fresh, Known, Reply, column};

fn key_of_like(user: u64, video: u64) -> String {
    format!("like/{user}/{video}")
}

fn key_of_follow(user: u64, other: u64) -> String {
    format!("follow/{user}/{other}")
}

impl Client {
    pub(super) async fn like(&mut self, node: u64) {
        let Some(video) = self.dice.pick(&self.stage.videos).copied() else {
            return;
        };
        let is_on = match self.likes.get(&video).copied().unwrap_or_default() {
            // What is not known will never be known: a write may come late.
            Known::Unsure => return,
            // Now and then the same again: it must change nothing.
            known => (known == Known::On) == (self.dice.roll(5) == 0),
        };
        let (wanted, action) = wanted(is_on);
        let path = format!("/douyin/favorite/action/?video_id={video}&action_type={action}");
        let begun = self.lobby.record.begin(
            node,
            Action::Write {
                key: key_of_like(self.me.id, video),
                value: i64::from(is_on),
            },
        );
        if let Some(known) = self.write(node, begun, &path, wanted).await {
            self.likes.insert(video, known);
        }
    }

    pub(super) async fn follow(&mut self, node: u64) {
        let users: Vec<u64> = self.stage.users.iter().map(|user| user.id).collect();
        let Some(other) = self.dice.pick(&users).copied() else {
            return;
        };
        if other == self.me.id {
            return;
        }
        let is_on = match self.follows.get(&other).copied().unwrap_or_default() {
            Known::Unsure => return,
            known => (known == Known::On) == (self.dice.roll(5) == 0),
        };
        let (wanted, action) = wanted(is_on);
        let path = format!("/douyin/relation/action/?to_user_id={other}&action_type={action}");
        let begun = self.lobby.record.begin(
            node,
            Action::Write {
                key: key_of_follow(self.me.id, other),
                value: i64::from(is_on),
            },
        );
        if let Some(known) = self.write(node, begun, &path, wanted).await {
            self.follows.insert(other, known);
        }
    }

    pub(crate) async fn read_likes(&mut self, node: u64) {
        let users: Vec<u64> = self.stage.users.iter().map(|user| user.id).collect();
        let fresh = self.freshness();
        let user = match fresh {
            Fresh::Session => self.me.id,
            Fresh::Newest => self.dice.pick(&users).copied().unwrap_or(self.me.id),
        };
        let Some(video) = self.dice.pick(&self.stage.videos).copied() else {
            return;
        };
        let path = format!("/douyin/favorite/list/?user_id={user}");
        let key = key_of_like(user, video);
        let list = ("video_list", video);
        let listed = self.read_member(node, &path, fresh, key, list).await;
        if user == self.me.id {
            let known = self.likes.get(&video).copied().unwrap_or_default();
            self.judge_own(listed, known, &format!("the like of {video}"));
        }
    }

    pub(crate) async fn read_follows(&mut self, node: u64) {
        let users: Vec<u64> = self.stage.users.iter().map(|user| user.id).collect();
        let fresh = self.freshness();
        let user = match fresh {
            Fresh::Session => self.me.id,
            Fresh::Newest => self.dice.pick(&users).copied().unwrap_or(self.me.id),
        };
        let Some(other) = self.dice.pick(&users).copied() else {
            return;
        };
        // From either end: both lists say the same.
        let is_reverse = self.dice.roll(2) == 0;
        let (path, member) = if is_reverse {
            let path = format!("/douyin/relation/follower/list/?user_id={other}");
            (path, user)
        } else {
            let path = format!("/douyin/relation/follow/list/?user_id={user}");
            (path, other)
        };
        let key = key_of_follow(user, other);
        let list = ("user_list", member);
        let listed = self.read_member(node, &path, fresh, key, list).await;
        if user == self.me.id {
            let known = self.follows.get(&other).copied().unwrap_or_default();
            self.judge_own(listed, known, &format!("that it follows {other}"));
        }
    }

    /// Reads whether something is in a list; only fresh reads go on record.
    async fn read_member(
        &mut self,
        node: u64,
        path: &str,
        fresh: Fresh,
        key: String,
        (list, member): (&str, u64),
    ) -> Option<bool> {
        let begun = (fresh == Fresh::Newest).then(|| {
            let key = key.clone();
            self.lobby
                .record
                .begin(node, Action::Read { key, value: None })
        });
        let reply = self.ask(node, Method::GET, path, fresh).await;
        let Reply::Done(body) = reply else {
            if let Some(begun) = begun {
                self.lobby.record.fail(begun);
            }
            return None;
        };
        let members = column(&body, list, "id", serde_json::Value::as_u64);
        let is_in = members.contains(&member);
        if let Some(begun) = begun {
            let value = Some(i64::from(is_in));
            self.lobby
                .record
                .ok_with(begun, Action::Read { key, value });
        }
        Some(is_in)
    }

    /// A client sees its own writes, wherever it asks.
    fn judge_own(&self, seen: Option<bool>, known: Known, what: &str) {
        let is_wrong = match (seen, known) {
            (None, _) | (_, Known::Unsure) => false,
            _ if self.is_guest => false,
            (Some(seen), known) => seen != (known == Known::On),
        };
        let judged = if is_wrong {
            Err(format!(
                "user {} knows {what} to be {known:?} and reads {seen:?}",
                self.me.id
            ))
        } else {
            Ok(())
        };
        self.judge("read your writes", judged);
    }
}

fn wanted(is_on: bool) -> (Known, u8) {
    if is_on {
        (Known::On, 1)
    } else {
        (Known::Off, 2)
    }
}
