//! Names that several claim at the same moment at several nodes: one wins, also after timeouts and
//! repeats, and then only the winner's password lets in.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use async_trait::async_trait;
use checkers::history::{Action, Call, Grant, Kind};
use checkers::unique;
use checkers::verdict::Verdict;

use crate::target::{Answer, Request};
use crate::workload::Workload;
use crate::workload::client::{Boxed, Client, id};
use crate::workload::stage::Stage;

/// Who race for one name.
const RACERS: usize = 3;

/// A claim of unknown fate is repeated so often.
const REPEATS: usize = 2;

/// Hashing passwords is slow on purpose, so that few of all names are asked again in the end.
const LAST_NAMES: u64 = 8;

/// As the API's table of codes has them: the name is taken; name and password do not fit.
const NAME_TAKEN: i64 = 2004;
const CREDENTIALS_WRONG: i64 = 2003;

struct Unique {
    run: String,
    names: AtomicU64,
}

pub(super) fn make(stage: &Stage) -> Boxed<'_, Result<Arc<dyn Workload>>> {
    Box::pin(async move {
        let made: Arc<dyn Workload> = Arc::new(Unique {
            run: stage.run.clone(),
            names: AtomicU64::new(0),
        });
        Ok(made)
    })
}

pub(super) fn check(calls: &[Call]) -> Verdict {
    unique::check(calls)
}

/// What is asked under a name.
#[derive(Clone, Copy)]
enum Door {
    Register,
    Login,
}

#[async_trait]
impl Workload for Unique {
    async fn step(&self, client: &mut Client) {
        let name = self.name(self.names.fetch_add(1, Ordering::Relaxed));
        let mut racers: Vec<Client> = (0..RACERS).map(|_| client.fork()).collect();
        let claims = racers.iter_mut().enumerate().map(|(racer, client)| {
            let name = &name;
            async move {
                client.roam();
                self.claim(client, name, &password(racer)).await;
            }
        });
        futures_util::future::join_all(claims).await;
        for racer in 0..RACERS {
            client.roam();
            knock(client, Door::Login, &name, &password(racer)).await;
        }
    }

    async fn last_reads(&self, client: &mut Client) -> bool {
        let count = self.names.load(Ordering::Relaxed);
        for n in count.saturating_sub(LAST_NAMES)..count {
            let name = self.name(n);
            for racer in 0..RACERS {
                let kind = knock(client, Door::Login, &name, &password(racer)).await;
                if kind != Kind::Ok {
                    return false;
                }
            }
        }
        true
    }
}

impl Unique {
    fn name(&self, n: u64) -> String {
        format!("u{}-{n}", self.run)
    }

    /// Claims a name, and again at another node while nobody knows what came of it.
    async fn claim(&self, client: &mut Client, name: &str, password: &str) {
        for _ in 0..=REPEATS {
            if knock(client, Door::Register, name, password).await != Kind::Info {
                return;
            }
            client.roam();
        }
    }
}

fn password(racer: usize) -> String {
    format!("password-{racer}")
}

/// Asks for the name or to be let in; the answer no is an answer.
async fn knock(client: &mut Client, door: Door, name: &str, password: &str) -> Kind {
    let (path, no) = match door {
        Door::Register => ("/douyin/user/register/", NAME_TAKEN),
        Door::Login => ("/douyin/user/login/", CREDENTIALS_WRONG),
    };
    let action = |granted| {
        let (name, password) = (name.to_owned(), password.to_owned());
        match door {
            Door::Register => Action::Register {
                name,
                password,
                granted,
            },
            Door::Login => Action::Login {
                name,
                password,
                granted,
            },
        }
    };
    let request = Request::new(path)
        .with("username", name)
        .with("password", password);
    client.invoke(action(None));
    let (kind, granted, error) = match client.target.post(client.node, &request).await {
        Answer::Done(body) => (Kind::Ok, Some(Grant::To(id(&body.json["user_id"]))), None),
        Answer::Refused(code, _) if code == no => (Kind::Ok, Some(Grant::Refused), None),
        Answer::Refused(code, why) => (Kind::Fail, None, Some(format!("{code} {why}"))),
        Answer::NotDone(why) => (Kind::Fail, None, Some(why)),
        // Who is not let in has changed nothing.
        Answer::Unknown(why) => match door {
            Door::Register => (Kind::Info, None, Some(why)),
            Door::Login => (Kind::Fail, None, Some(why)),
        },
    };
    client.end(kind, action(granted), error);
    kind
}
