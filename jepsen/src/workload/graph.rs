//! A few users who follow and unfollow each other, seen from both ends: lists, friends, counts.
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use checkers::graph;
use checkers::history::{Action, Call, View};
use checkers::verdict::Verdict;

use crate::target::Request;
use crate::workload::Workload;
use crate::workload::client::{Boxed, Client, id, items};
use crate::workload::stage::{Rotation, Stage, User};

/// Changes among one group, before the next one.
const CHANGES_MAX: u64 = 400;

const GROUP: usize = 4;

/// Both ends of an edge are asked in turn so often in the end: a write whose fate was not known
/// explains one change of what is seen, not as many.
const LAST_ROUNDS: usize = 3;

type Group = Arc<Vec<User>>;

struct Graph {
    stage: Stage,
    groups: Rotation<Group>,
}

pub(super) fn make(stage: &Stage) -> Boxed<'_, Result<Arc<dyn Workload>>> {
    Box::pin(async move {
        let made: Arc<dyn Workload> = Arc::new(Graph {
            stage: stage.clone(),
            groups: Rotation::new(group(stage, 0).await?, CHANGES_MAX),
        });
        Ok(made)
    })
}

pub(super) fn check(calls: &[Call]) -> Verdict {
    graph::check(calls)
}

async fn group(stage: &Stage, n: u64) -> Result<Group> {
    let mut users = Vec::new();
    for k in 0..GROUP {
        users.push(stage.user(&format!("graph-{n}-{k}")).await?);
    }
    Ok(Arc::new(users))
}

#[async_trait]
impl Workload for Graph {
    async fn step(&self, client: &mut Client) {
        client.roam();
        if client.dice.roll(2) == 0 {
            return self.change(client).await;
        }
        let group = self.groups.any(&mut client.dice);
        let user = &group[client.dice.index(group.len())];
        match client.dice.roll(6) {
            0 | 1 => self.list(client, user, View::Follows).await,
            2 | 3 => self.list(client, user, View::Followers).await,
            4 => self.list(client, user, View::Friends).await,
            _ => self.degree(client, user).await,
        };
    }

    async fn last_reads(&self, client: &mut Client) -> bool {
        for group in self.groups.all() {
            for _ in 0..LAST_ROUNDS {
                for view in [View::Follows, View::Followers, View::Friends] {
                    for user in group.iter() {
                        if !self.list(client, user, view).await {
                            return false;
                        }
                    }
                }
            }
            for user in group.iter() {
                if !self.degree(client, user).await {
                    return false;
                }
            }
        }
        true
    }
}

impl Graph {
    async fn change(&self, client: &mut Client) {
        let group = self.groups.take(|n| group(&self.stage, n)).await;
        let from = client.dice.index(GROUP);
        let to = (from + 1 + client.dice.index(GROUP - 1)) % GROUP;
        let (from, to) = (&group[from], &group[to]);
        let edge = (from.id.clone(), to.id.clone());
        let (number, action) = if client.dice.roll(2) == 0 {
            let (from, to) = edge;
            ("1", Action::Follow { from, to })
        } else {
            let (from, to) = edge;
            ("2", Action::Unfollow { from, to })
        };
        let request = Request::new("/douyin/relation/action/")
            .with("token", &from.token)
            .with("to_user_id", &to.id)
            .with("action_type", number);
        client.write(&request, action).await;
    }

    async fn list(&self, client: &mut Client, user: &User, view: View) -> bool {
        let path = match view {
            View::Follows => "/douyin/relation/follow/list/",
            View::Followers => "/douyin/relation/follower/list/",
            View::Friends => "/douyin/relation/friend/list/",
        };
        let request = Request::new(path)
            .with("token", &user.token)
            .with("user_id", &user.id);
        let read = client.read(&request, |body| Action::ReadGraph {
            of: user.id.clone(),
            view,
            users: body.map(|body| {
                let users = items(&body["user_list"]).iter();
                users.map(|user| id(&user["id"])).collect()
            }),
        });
        read.await.is_some()
    }

    async fn degree(&self, client: &mut Client, user: &User) -> bool {
        let request = Request::new("/douyin/user/")
            .with("token", &user.token)
            .with("user_id", &user.id);
        let read = client.read(&request, |body| Action::ReadDegree {
            of: user.id.clone(),
            follows: body.and_then(|body| body["user"]["follow_count"].as_i64()),
            followers: body.and_then(|body| body["user"]["follower_count"].as_i64()),
        });
        read.await.is_some()
    }
}
