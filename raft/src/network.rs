//! openraft's network over the network seam: what this node asks of its peers.
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{
    ErrorSource, NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::impls::BoxedErrorSource;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    StreamAppendResult, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, StorageError};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use transport::network::{Error, Network, PeerId, Service};

use crate::codec::{self, Raw};
use crate::message::{
    Appended, AskVote, GiveVote, SnapshotHead, SnapshotTaken, Transfer, Transferred, encode_append,
    service,
};
use crate::snapshot::{SnapshotData, SnapshotOf, send_all};
use crate::types::{LogId, Member, Types, Vote};

/// Appends to one follower that are under way at once: the second is there when the first is synced,
/// and the entries that come meanwhile share the third. More would make them smaller, and send each
/// commit on its own.
const APPENDS_IN_FLIGHT: usize = 2;
/// Chunks of a snapshot that are read ahead.
const CHUNKS_AHEAD: usize = 4;

/// Makes the clients of all peers.
pub(crate) struct Peers {
    network: Arc<dyn Network>,
    /// How long an append with entries may take: it includes the follower's sync of up to 1 MiB and
    /// of what is before it, so openraft's 3/4 of a heartbeat would call a busy disk dead.
    append_within: Duration,
    transfer_stall: Duration,
}

impl Peers {
    pub(crate) fn new(
        network: Arc<dyn Network>,
        append_within: Duration,
        transfer_stall: Duration,
    ) -> Self {
        Self {
            network,
            append_within,
            transfer_stall,
        }
    }

    fn client(&self, target: u64, address: SocketAddr, is_heartbeat: bool) -> Peer {
        let peer = PeerId(target);
        // Where it is known to be by others, gossip say, is newer than the membership.
        if self.network.address(peer).is_none() {
            self.network.set_address(peer, address);
        }
        Peer {
            network: Arc::clone(&self.network),
            peer,
            is_heartbeat,
            append_within: self.append_within,
            transfer_stall: self.transfer_stall,
        }
    }
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Member) -> Peer {
        self.client(target, node.address, false)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> Peer {
        self.client(target, node.address, true)
    }
}

/// The client of one peer.
#[derive(Clone)]
pub(crate) struct Peer {
    network: Arc<dyn Network>,
    peer: PeerId,
    is_heartbeat: bool,
    append_within: Duration,
    transfer_stall: Duration,
}

type RpcResult<T> = Result<T, RPCError<Types>>;

impl Peer {
    async fn ask<T: DeserializeOwned>(
        &self,
        service: Service,
        body: Bytes,
        within: Duration,
    ) -> RpcResult<T> {
        let answer = self
            .network
            .request(self.peer, service, body, within)
            .await
            .map_err(rpc_error)?;
        decode_answer(service, &answer)
    }

    async fn append(
        self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<StreamAppendResult<Types>> {
        let previous = request.prev_log_id;
        let last = request
            .entries
            .last()
            .map_or(previous, |it| Some(it.log_id));
        let (service, within) = if self.is_heartbeat {
            (service::HEARTBEAT, option.soft_ttl())
        } else {
            (service::APPEND, self.append_within.max(option.soft_ttl()))
        };
        let body = encode_append(&request);
        drop(request);
        let appended: RpcResult<Appended> = self.ask(service, body, within).await;
        if appended.is_err() && plants::is(plants::COMMIT_WITHOUT_QUORUM) {
            return Ok(Ok(last));
        }
        let appended = appended?;
        if appended == Appended::Conflict && previous.is_none() {
            let why = format!("node {} finds a conflict before the first entry", self.peer);
            return Err(RPCError::Network(NetworkError::from_string(why)));
        }
        Ok(AppendEntriesResponse::from(appended).into_stream_result(previous, last))
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<Types>> {
        let within = self.append_within.max(option.soft_ttl());
        let body = encode_append(&rpc);
        let appended: Appended = self.ask(service::APPEND, body, within).await?;
        Ok(appended.into())
    }

    /// Sends ahead of the answers; the log lane keeps the order. Ends at the first append that did
    /// not succeed in full.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<Types>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let peer = self.clone();
        let answers = input
            .map(move |request| {
                let sent = last_of(&request);
                let append = peer.clone().append(request, option.clone());
                async move { (sent, append.await) }
            })
            .buffered(APPENDS_IN_FLIGHT);
        let session = Session {
            answers,
            acked: None,
        };
        let answers =
            futures_util::stream::unfold(Some(session), |session| async { session?.next().await });
        let answers: BoxStream<'s, _> = Box::pin(answers);
        Box::pin(std::future::ready(Ok(answers)))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<Types>> {
        let body = codec::encode(&AskVote::from(rpc));
        let give: GiveVote = self.ask(service::VOTE, body, option.soft_ttl()).await?;
        Ok(give.into())
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<Types>> {
        let body = codec::encode(&AskVote::from(rpc));
        let give: GiveVote = self.ask(service::PRE_VOTE, body, option.soft_ttl()).await?;
        Ok(give.into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let head = codec::encode(&SnapshotHead {
            vote: vote.into(),
            bytes: snapshot.snapshot.info.bytes,
            marker: Raw(&snapshot.snapshot.info.marker),
        });
        let (chunks, taken) = mpsc::channel(CHUNKS_AHEAD);
        let data = snapshot.snapshot;
        let reading = send_all(data, chunks);
        let sending = self.network.transfer(
            self.peer,
            service::SNAPSHOT,
            head,
            taken,
            self.transfer_stall,
        );
        tokio::pin!(reading, sending, cancel);
        let mut is_read = false;
        let answer = loop {
            tokio::select! {
                closed = &mut cancel => return Err(StreamingError::Closed(closed)),
                read = &mut reading, if !is_read => match read {
                    Ok(()) => is_read = true,
                    // Dropping the transfer tells the other end that this is not all of it.
                    Err(error) => {
                        let error = StorageError::read_snapshot(
                            None,
                            BoxedErrorSource::from_error(&error),
                        );
                        return Err(StreamingError::StorageError(error));
                    }
                },
                answer = &mut sending => break answer,
            }
        };
        let answer = answer.map_err(|error| StreamingError::from(rpc_error(error)))?;
        let taken: SnapshotTaken = decode_answer(service::SNAPSHOT, &answer)?;
        Ok(SnapshotResponse::new(taken.vote.into()))
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<Types>> {
        let body = codec::encode(&Transfer {
            from: (*req.from_leader()).into(),
            to: *req.to_node_id(),
            last: req.last_log_id().map(|id| (*id).into()),
        });
        let transferred = self.ask(service::TRANSFER, body, option.soft_ttl()).await?;
        Ok(match transferred {
            Transferred::Done => Ok(()),
            Transferred::VoteChanged { expected, actual } => {
                Err(TransferLeaderError::VoteChanged {
                    expected: expected.into(),
                    actual: actual.into(),
                })
            }
            Transferred::NotFlushed { expected, actual } => {
                Err(TransferLeaderError::LogNotFlushed {
                    expected: expected.map(LogId::from),
                    actual: actual.map(LogId::from),
                })
            }
        })
    }
}

/// The answers to one stream of appends.
struct Session<S> {
    answers: S,
    /// What the follower has acknowledged in this stream, once it has something.
    acked: Option<Option<LogId>>,
}

type Answer = RpcResult<StreamAppendResult<Types>>;

impl<S: Stream<Item = (Option<LogId>, Answer)> + Unpin> Session<S> {
    /// The next answer, and the rest if there may be more.
    async fn next(mut self) -> Option<(Answer, Option<Self>)> {
        let (sent, mut answer) = self.answers.next().await?;
        if let Ok(Err(StreamAppendError::Conflict(previous))) = &answer
            && self.acked == Some(Some(*previous))
        {
            // It has what it says it lacks, so this append overtook the one before it. openraft
            // would take it for a follower that lost its log, which is the end of a leader.
            let error = NetworkError::from_string("an append overtook the one before it");
            answer = Err(RPCError::Network(error));
        }
        let is_complete = matches!(&answer, Ok(Ok(appended)) if *appended == sent);
        self.acked = Some(sent);
        Some((answer, is_complete.then_some(self)))
    }
}

fn last_of(request: &AppendEntriesRequest<Types>) -> Option<LogId> {
    let last = request.entries.last().map(|entry| entry.log_id);
    last.or(request.prev_log_id)
}

fn decode_answer<T: DeserializeOwned>(service: Service, answer: &[u8]) -> RpcResult<T> {
    codec::decode(service.name, answer)
        .map_err(|error| RPCError::Network(NetworkError::new(&error)))
}

/// A peer that is away or refuses is left alone for a while; one that gave no answer is asked again
/// at once.
fn rpc_error(error: Error) -> RPCError<Types> {
    match error {
        Error::Unreachable { .. } | Error::Refused { .. } => {
            RPCError::Unreachable(Unreachable::new(&error))
        }
        Error::NoAnswer { .. } => RPCError::Network(NetworkError::new(&error)),
    }
}
