//! What is there before the run begins: a cluster, users, videos.
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Method;
use model::cluster::{Found, Identity, NodeInfo};
use model::command::{Operation, Reply as Replied, RequestId};
use model::id::NodeId;
use model::token::TokenHash;
use model::video::{BlobRef, Publish};
use raft::clock::Clock;
use raft::replica::{Error, Proposal, Replica, Written};
use sha2::{Digest, Sha256};
use storage::blob::Blobs;
use tokio::time::sleep;
use transport::memory::address_of;
use transport::network::PeerId;

use super::{Lobby, Reply, request, understand};
use crate::sim::clock::WallClock;
use crate::sim::dice::Dice;

/// A user with a token.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) token: String,
}

pub(crate) struct Stage {
    pub(crate) users: Vec<User>,
    pub(crate) videos: Vec<u64>,
}

const WITHIN: Duration = Duration::from_secs(10);
const VIDEOS: u64 = 5;
/// Attempts at each step; nothing is broken yet, but elections take their time.
const TRIES: usize = 20;

type Step<T> = Result<T, String>;

/// A request that was never made before.
pub(crate) fn proposal(dice: &mut Dice, clock: &WallClock, operation: Operation) -> Proposal {
    let mut request = [0; 16];
    for part in request.chunks_mut(8) {
        part.copy_from_slice(&dice.bits().to_le_bytes());
    }
    Proposal {
        request: RequestId(request),
        issued: clock.now(),
        actor: None,
        operation,
    }
}

impl Lobby {
    /// Founds a cluster of `nodes` voters, with users and videos.
    ///
    /// # Errors
    /// Which step did not succeed, and why.
    pub(crate) async fn set_stage(&self, mut dice: Dice) -> Step<Stage> {
        self.found(&mut dice).await?;
        self.form().await?;
        let mut users = Vec::new();
        for number in 0..self.shape.clients {
            users.push(self.register(&format!("user{number}")).await?);
        }
        let mut videos = Vec::new();
        let author = users.first().cloned().ok_or("no users")?;
        for number in 0..VIDEOS {
            videos.push(self.publish(&mut dice, &author, number).await?);
        }
        Ok(Stage { users, videos })
    }

    async fn found(&self, dice: &mut Dice) -> Step<()> {
        for _ in 0..TRIES {
            if self.doors.nodes().contains(&1) {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        self.on(1, |replica| async move {
            replica.bootstrap(address_of(PeerId(1))).await
        })
        .await?;
        let found = proposal(dice, &WallClock::default(), found());
        self.propose(found).await.map(|_| ())
    }

    async fn form(&self) -> Step<()> {
        let nodes = self.shape.nodes;
        for id in 2..=nodes {
            self.on(1, move |replica| async move {
                replica
                    .add_learner(NodeId(id), address_of(PeerId(id)))
                    .await
            })
            .await?;
        }
        self.on(1, move |replica| async move {
            let voters = (1..=nodes).map(NodeId).collect();
            replica.set_voters(voters).await
        })
        .await
    }

    async fn register(&self, name: &str) -> Step<User> {
        let uri = format!("/douyin/user/register/?username={name}&password=secret");
        for _ in 0..TRIES {
            let heard = self.doors.ask(1, request(Method::POST, &uri, None), WITHIN);
            if let Reply::Done(body) = understand(heard.await) {
                return Ok(User {
                    id: body["user_id"].as_u64().ok_or("no user id")?,
                    token: body["token"].as_str().ok_or("no token")?.to_owned(),
                });
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(format!("{name} could not be registered"))
    }

    async fn publish(&self, dice: &mut Dice, author: &User, number: u64) -> Step<u64> {
        let operation = self.upload(&format!("video{number}")).await?;
        let proposal = Proposal {
            actor: Some(token_hash(&author.token)?),
            ..proposal(dice, &WallClock::default(), operation)
        };
        match self.propose(proposal).await?.reply {
            Replied::Published { video, .. } => Ok(video.0),
            other => Err(format!("publishing: {other:?}")),
        }
    }

    /// Puts the bytes of a video into the bucket; what is left to do is to say so in the log.
    pub(crate) async fn upload(&self, title: &str) -> Step<Operation> {
        let [video, cover] = ["v", "c"].map(|kind| format!("{kind}/{title}"));
        for key in [&video, &cover] {
            let body = Bytes::from(key.clone());
            let put = self.blobs.put(key, "video/mp4", body).await;
            put.map_err(|error| error.to_string())?;
        }
        Ok(Operation::Publish(Publish {
            title: title.to_owned(),
            video: blob(video),
            cover: blob(cover),
        }))
    }

    async fn propose(&self, proposal: Proposal) -> Step<Written> {
        self.on(1, move |replica| {
            let proposal = proposal.clone();
            async move { replica.write(proposal, WITHIN).await }
        })
        .await
    }

    /// Does something at a node until it succeeds.
    async fn on<T, F>(
        &self,
        node: u64,
        deed: impl Fn(Replica) -> F + Clone + Send + 'static,
    ) -> Step<T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let mut why = "it is not there".to_owned();
        for _ in 0..TRIES {
            match self.doors.on(node, deed.clone()).await {
                Some(Ok(done)) => return Ok(done),
                Some(Err(error)) => why = error.to_string(),
                None => {}
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(format!("setting the stage at node {node}: {why}"))
    }
}

/// The hash by which the log knows a token.
pub(crate) fn token_hash(token: &str) -> Step<TokenHash> {
    let secret = token.rsplit('.').next().ok_or("no token")?;
    let secret = URL_SAFE_NO_PAD
        .decode(secret)
        .map_err(|error| error.to_string())?;
    Ok(TokenHash(Sha256::digest(secret).into()))
}

fn blob(key: String) -> BlobRef {
    BlobRef {
        bytes: key.len() as u64,
        sha256: Sha256::digest(&key).into(),
        key,
        content_type: "video/mp4".to_owned(),
    }
}

fn found() -> Operation {
    Operation::Found(Found {
        identity: Identity {
            cluster_id: "0123456789abcdef0123456789abcdef".to_owned(),
            epoch: 1,
            position_key: [9; 32],
            ca_certificate: vec![1],
            sealed_ca_key: vec![2],
        },
        node: NodeInfo {
            incarnation: [1; 16],
            zone: String::new(),
        },
    })
}
