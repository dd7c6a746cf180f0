//! Long bodies on a stream of their own, last in line, broken off as soon as either side wants.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::frame::{Broken, Frame, FrameReader, HEADER_BYTES, Kind, Part};
use crate::lane::Fault;
use crate::link::{Link, priority};
use crate::network::{Error, Lane, PeerId, Receiver, Refusal, Service};
use crate::writer::{Outgoing, Sending};

/// Chunks are cut to this size, so that progress is seen while a large one crosses a slow line.
const PIECE_BYTES: usize = 256 << 10;
/// Chunks that wait for the receiver; more are held back at the sender.
const CHUNKS_WAITING: usize = 4;

impl Link {
    /// Sends `head` and `chunks` and waits for what the receiver says.
    pub(crate) async fn transfer(
        &self,
        service: Service,
        head: Bytes,
        chunks: mpsc::Receiver<Bytes>,
        stalled: Duration,
    ) -> Result<Bytes, Fault> {
        let started = Instant::now();
        let opened = timeout(stalled, self.connection.open_bi())
            .await
            .map_err(|_| Fault::Unsent("no stream was free in time".into()))?;
        let (stream, receive) = opened.map_err(|error| Fault::Unsent(error.to_string()))?;
        let mut sending = Sending::new(stream, priority::BULK);
        let mut reader = FrameReader::new(receive);
        let answer = self
            .exchange(&mut sending, &mut reader, service, head, chunks, stalled)
            .await;
        if matches!(answer, Ok(_) | Err(Fault::Refused(_))) {
            sending.complete();
        }
        self.note(started, &answer);
        answer
    }

    async fn exchange(
        &self,
        sending: &mut Sending,
        reader: &mut FrameReader,
        service: Service,
        head: Bytes,
        chunks: mpsc::Receiver<Bytes>,
        stalled: Duration,
    ) -> Result<Bytes, Fault> {
        let head = Outgoing {
            code: service.number,
            number: 0,
            deadline: Some(Instant::now() + stalled),
            body: head,
        };
        let sent = timeout(stalled, sending.begin(Kind::Transfer, head)).await;
        self.count(progress(sent)?);
        let answer = self.read_answer(reader, Lane::Bulk);
        tokio::pin!(answer);
        // The receiver may say no before it has seen everything.
        tokio::select! {
            biased;
            early = &mut answer => return early,
            sent = self.send_chunks(sending, chunks, stalled) => sent?,
        }
        timeout(stalled, answer)
            .await
            .unwrap_or(Err(Fault::TimedOut))
    }

    /// Returns without an error too when the receiver reads no further: then its answer says why.
    async fn send_chunks(
        &self,
        sending: &mut Sending,
        mut chunks: mpsc::Receiver<Bytes>,
        stalled: Duration,
    ) -> Result<(), Fault> {
        let mut number = 1;
        loop {
            let next = timeout(stalled, chunks.recv()).await;
            let next = next.map_err(|_| Fault::Lost("no chunk to send for too long".into()))?;
            let Some(mut chunk) = next else { break };
            while !chunk.is_empty() {
                let piece = chunk.split_to(chunk.len().min(PIECE_BYTES));
                let sent = timeout(stalled, sending.write(part(Part::Chunk, number, piece))).await;
                if let Ok(Err(quinn::WriteError::Stopped(_))) = sent {
                    return Ok(());
                }
                self.count(progress(sent)?);
                number += 1;
            }
        }
        let sent = timeout(
            stalled,
            sending.write(part(Part::End, number, Bytes::new())),
        )
        .await;
        if let Ok(Err(quinn::WriteError::Stopped(_))) = sent {
            return Ok(());
        }
        self.count(progress(sent)?);
        sending.finish();
        Ok(())
    }

    fn count(&self, bytes: usize) {
        let lane = self.counters.lane(Lane::Bulk);
        lane.bytes_sent.increment(bytes as u64);
    }
}

fn part(part: Part, number: u64, body: Bytes) -> Outgoing {
    Outgoing {
        code: part as u8,
        number,
        deadline: None,
        body,
    }
}

fn progress(
    sent: Result<Result<usize, quinn::WriteError>, tokio::time::error::Elapsed>,
) -> Result<usize, Fault> {
    match sent {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(Fault::Lost(error.to_string())),
        Err(_elapsed) => Err(Fault::TimedOut),
    }
}

/// Gives a transfer's chunks to `receiver` and its answer back. An error means that the sender
/// broke the rules.
pub(crate) async fn receive(
    receiver: Arc<dyn Receiver>,
    from: PeerId,
    head: Frame,
    reader: &mut FrameReader,
    received: impl Fn(usize),
) -> Result<Result<Bytes, Refusal>, String> {
    let (chunks, rest) = mpsc::channel(CHUNKS_WAITING);
    let receiving = receiver.receive(from, head.body, rest);
    tokio::pin!(receiving);
    let pumped = tokio::select! {
        // Whoever answers early wants no more chunks.
        answer = &mut receiving => {
            reader.stop();
            return Ok(answer);
        }
        pumped = pump(from, reader, chunks, received) => pumped,
    };
    let answer = receiving.await;
    pumped.map(|()| answer)
}

/// Hands chunks on until the last; dropping `chunks` at the end says that all came.
async fn pump(
    from: PeerId,
    reader: &mut FrameReader,
    chunks: mpsc::Sender<Result<Bytes, Error>>,
    received: impl Fn(usize),
) -> Result<(), String> {
    let broken_off = |why: String| {
        Err(Error::NoAnswer {
            peer: from,
            why: format!("the transfer broke off: {why}"),
        })
    };
    let mut expected = 1;
    loop {
        let (item, end) = match reader.next().await {
            Ok(Some(frame)) => {
                received(HEADER_BYTES + frame.body.len());
                match frame.code {
                    _ if frame.number != expected => {
                        let why = format!("part {} came instead of {expected}", frame.number);
                        (broken_off(why.clone()), Some(Err(why)))
                    }
                    code if code == Part::End as u8 => return Ok(()),
                    code if code == Part::Chunk as u8 => (Ok(frame.body), None),
                    code => {
                        let why = format!("part kind {code} is not known here");
                        (broken_off(why.clone()), Some(Err(why)))
                    }
                }
            }
            Ok(None) => (broken_off("the stream ended".into()), Some(Ok(()))),
            Err(Broken::Lost(why)) => (broken_off(why), Some(Ok(()))),
            Err(Broken::Malformed(why)) => (broken_off(why.clone()), Some(Err(why))),
        };
        expected += 1;
        // A receiver that dropped its end is about to answer; the select above sees to it.
        if chunks.send(item).await.is_err() {
            return std::future::pending().await;
        }
        if let Some(end) = end {
            return end;
        }
    }
}
