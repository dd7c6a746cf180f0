//! Who follows a much followed user: the list, its count, and both going up and down.
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use checkers::history::{Action, Call};
use checkers::verdict::Verdict;
use checkers::{counter, members};

use crate::target::Request;
use crate::workload::Workload;
use crate::workload::client::{Boxed, Client, id, items};
use crate::workload::stage::{Rotation, Stage, User};

/// Follows and unfollows of one user, before the next one.
const CHANGES_MAX: u64 = 500;

struct Followers {
    stage: Stage,
    followed: Rotation<User>,
}

pub(super) fn make(stage: &Stage) -> Boxed<'_, Result<Arc<dyn Workload>>> {
    Box::pin(async move {
        let first = stage.user("followed-0").await?;
        let made: Arc<dyn Workload> = Arc::new(Followers {
            stage: stage.clone(),
            followed: Rotation::new(first, CHANGES_MAX),
        });
        Ok(made)
    })
}

pub(super) fn check(calls: &[Call]) -> Verdict {
    members::check(calls).and(counter::check(calls))
}

#[async_trait]
impl Workload for Followers {
    async fn step(&self, client: &mut Client) {
        client.roam();
        match client.dice.roll(10) {
            0..5 => self.change(client).await,
            5..8 => {
                let user = self.followed.any(&mut client.dice);
                self.count(client, &user).await;
            }
            _ => {
                let user = self.followed.any(&mut client.dice);
                self.list(client, &user).await;
            }
        }
    }

    async fn last_reads(&self, client: &mut Client) -> bool {
        for user in self.followed.all() {
            if !self.list(client, &user).await {
                return false;
            }
            if !self.count(client, &user).await {
                return false;
            }
        }
        true
    }
}

impl Followers {
    async fn change(&self, client: &mut Client) {
        let make = |n| async move { self.stage.user(&format!("followed-{n}")).await };
        let followed = self.followed.take(make).await;
        let follower = self.stage.anybody(&mut client.dice);
        let (key, element) = (followed.id.clone(), follower.id.clone());
        let (number, action) = if client.dice.roll(2) == 0 {
            ("1", Action::Add { key, element })
        } else {
            ("2", Action::Remove { key, element })
        };
        let request = Request::new("/douyin/relation/action/")
            .with("token", &follower.token)
            .with("to_user_id", &followed.id)
            .with("action_type", number);
        client.write(&request, action).await;
    }

    async fn list(&self, client: &mut Client, user: &User) -> bool {
        let request = Request::new("/douyin/relation/follower/list/")
            .with("token", &user.token)
            .with("user_id", &user.id);
        let read = client.read(&request, |body| Action::ReadSet {
            key: user.id.clone(),
            elements: body.map(|body| {
                let users = items(&body["user_list"]).iter();
                users.map(|user| id(&user["id"])).collect()
            }),
        });
        read.await.is_some()
    }

    async fn count(&self, client: &mut Client, user: &User) -> bool {
        let request = Request::new("/douyin/user/")
            .with("token", &self.stage.anybody(&mut client.dice).token)
            .with("user_id", &user.id);
        let read = client.read(&request, |body| Action::ReadCount {
            key: user.id.clone(),
            count: body.and_then(|body| body["user"]["follower_count"].as_i64()),
        });
        read.await.is_some()
    }
}
