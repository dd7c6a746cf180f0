//! Three nodes of etcd, where it is installed: the best-known replicated store, with its own
//! durability (every write is synced on a quorum) and its own protocol (gRPC).
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use load::dice::Dice;
use load::{Trouble, Work};
use ports::free_address;
use prost::Message;
use tokio::net::TcpStream;

use super::message::{Compare, Put, Range, RequestOp, Txn, TxnAnswer};
use crate::process::Process;

const VALUE: [u8; 128] = [b'v'; 128];
/// Keys that are there before anything is measured.
pub(crate) const KEYS: usize = 10_000;
const LIKERS: usize = 10_000;
const LIKED: usize = 50_000;

/// What is asked of etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// 128 bytes under one of [`KEYS`] keys.
    Put,
    /// The same work as a like, in one transaction: if the row is absent, it and two counters.
    Like,
    GetLinearizable,
    GetSerializable,
}

impl Deed {
    pub(crate) const ALL: [Self; 4] = [
        Self::Put,
        Self::Like,
        Self::GetLinearizable,
        Self::GetSerializable,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Put => "etcd-put",
            Self::Like => "etcd-like",
            Self::GetLinearizable => "etcd-get",
            Self::GetSerializable => "etcd-get-local",
        }
    }
}

/// The program, if it is there: `$ETCD`, or the first in the path.
pub(crate) fn program() -> Option<PathBuf> {
    super::program("ETCD", "etcd")
}

/// Starts three nodes and waits until they answer.
pub(crate) fn start(
    program: &Path,
    dir: &Path,
    logs: &Path,
) -> Result<(Vec<SocketAddr>, Vec<Process>)> {
    let places: Vec<(SocketAddr, SocketAddr)> = (0..3)
        .map(|_| Ok((free_address()?, free_address()?)))
        .collect::<Result<_>>()?;
    let members: Vec<String> = places
        .iter()
        .enumerate()
        .map(|(n, (_, peer))| format!("e{n}=http://{peer}"))
        .collect();
    let mut processes = Vec::new();
    for (n, (client, peer)) in places.iter().enumerate() {
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(dir.join(format!("etcd{n}")));
        for (flag, value) in [
            ("--name", format!("e{n}")),
            ("--listen-client-urls", format!("http://{client}")),
            ("--advertise-client-urls", format!("http://{client}")),
            ("--listen-peer-urls", format!("http://{peer}")),
            ("--initial-advertise-peer-urls", format!("http://{peer}")),
            ("--initial-cluster", members.join(",")),
            ("--initial-cluster-state", "new".to_owned()),
            ("--logger", "zap".to_owned()),
            ("--log-level", "warn".to_owned()),
        ] {
            command.args([flag, &value]);
        }
        let name = format!("etcd{n}");
        processes.push(Process::start(
            &name,
            command,
            logs.join(format!("{name}.log")),
        )?);
    }
    for (process, (client, _)) in processes.iter_mut().zip(&places) {
        let address = *client;
        process.await_that("ready", || {
            crate::http::is_ok(address, "/health").then_some(())
        })?;
    }
    let addresses = places.into_iter().map(|(client, _)| client).collect();
    Ok((addresses, processes))
}

/// Clients of etcd, one HTTP/2 connection each.
#[derive(Clone)]
pub(crate) struct Etcd {
    pub(crate) nodes: Vec<SocketAddr>,
    pub(crate) deed: Deed,
}

pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    dice: Dice,
    address: SocketAddr,
}

impl Work for Etcd {
    type Client = Client;

    fn name(&self) -> &str {
        self.deed.name()
    }

    async fn connect(&self, index: usize, seed: u64) -> Result<Client, Trouble> {
        let address = self.nodes[index % self.nodes.len()];
        let stream = TcpStream::connect(address).await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        let made = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(broken)?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(Client {
            sender,
            dice: Dice::new(seed ^ (index as u64) << 32),
            address,
        })
    }

    async fn perform(&self, client: &mut Client) -> Result<(), Trouble> {
        let key = key(client.dice.below(KEYS));
        match self.deed {
            Deed::Put => client.call("Put", &put(key, &VALUE)).await.map(drop),
            Deed::Like => {
                let user = client.dice.below(LIKERS);
                let video = client.dice.below(LIKED);
                let answer = client.call("Txn", &like(user, video)).await?;
                TxnAnswer::decode(answer).map_err(broken).map(drop)
            }
            Deed::GetLinearizable | Deed::GetSerializable => {
                let range = Range {
                    key,
                    serializable: self.deed == Deed::GetSerializable,
                };
                let answer = client.call("Range", &range).await?;
                if answer.len() < VALUE.len() {
                    return Err(Trouble::Wrong("a key without its value"));
                }
                Ok(())
            }
        }
    }
}

impl Etcd {
    /// Puts all keys once.
    pub(crate) fn fill(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime
            .block_on(async {
                let mut client = self.connect(0, 0).await?;
                let mut number = 0;
                while number < KEYS {
                    // The server takes 128 operations in one transaction.
                    let end = (number + 100).min(KEYS);
                    let puts = (number..end).map(|n| RequestOp::put(put(key(n), &VALUE)));
                    let txn = Txn {
                        compare: Vec::new(),
                        success: puts.collect(),
                    };
                    client.call("Txn", &txn).await?;
                    number = end;
                }
                Ok::<(), Trouble>(())
            })
            .context("filling etcd")
    }
}

impl Client {
    /// One gRPC call; gives the message that came back.
    async fn call(&mut self, method: &str, message: &impl Message) -> Result<Bytes, Trouble> {
        let mut body = BytesMut::with_capacity(message.encoded_len() + 5);
        body.put_u8(0);
        body.put_u32(u32::try_from(message.encoded_len()).map_err(broken)?);
        message.encode(&mut body).map_err(broken)?;
        let request =
            hyper::Request::post(format!("http://{}/etcdserverpb.KV/{method}", self.address))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Full::new(body.freeze()))
                .map_err(broken)?;
        self.sender.ready().await.map_err(broken)?;
        let answer = self.sender.send_request(request).await.map_err(broken)?;
        let headers = answer.headers().clone();
        let body = answer.into_body().collect().await.map_err(broken)?;
        let trailers = body.trailers().cloned().unwrap_or(headers);
        if trailers
            .get("grpc-status")
            .is_none_or(|status| status != "0")
        {
            let why = trailers
                .get("grpc-message")
                .and_then(|why| why.to_str().ok());
            return Err(Trouble::Broken(format!(
                "gRPC: {}",
                why.unwrap_or("no word")
            )));
        }
        let mut bytes = body.to_bytes();
        if bytes.len() < 5 {
            return Err(Trouble::Wrong("no gRPC message"));
        }
        Ok(bytes.split_off(5))
    }
}

fn key(number: usize) -> Vec<u8> {
    format!("key{number:08}").into_bytes()
}

fn put(key: Vec<u8>, value: &[u8]) -> Put {
    Put {
        key,
        value: value.to_vec(),
    }
}

fn like(user: usize, video: usize) -> Txn {
    let row = format!("like/{user:08}/{video:08}").into_bytes();
    let counter = |kind: &str, number: usize| {
        RequestOp::put(put(
            format!("count/{kind}/{number:08}").into_bytes(),
            &[0; 8],
        ))
    };
    Txn {
        compare: vec![Compare::absent(row.clone())],
        success: vec![
            RequestOp::put(put(row, &[0; 16])),
            counter("user", user),
            counter("video", video),
        ],
    }
}

fn broken(error: impl std::fmt::Display) -> Trouble {
    Trouble::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_like_is_one_row_and_two_counters_if_it_is_new() {
        let txn = like(7, 9);
        assert_eq!((txn.compare.len(), txn.success.len()), (1, 3));
        // Field 1 is the comparison, field 2 each deed: the tags are the protocol's.
        let bytes = txn.encode_to_vec();
        assert_eq!(bytes[0], 0x0a);
        assert!(bytes.iter().filter(|byte| **byte == 0x12).count() >= 3);
    }
}
