//! A long-lived stream that many requests share, as the asking side sees it.
//!
//! One task owns the stream: it writes what waits in the queue and hands answers to those who wait
//! for them by request number. When the stream breaks, everyone learns whether their request had
//! been given to it: only then is its fate unknown.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::codes;
use crate::counters::Counters;
use crate::frame::{BODY_BYTES_MAX, Broken, Frame, FrameReader, HEADER_BYTES, Kind, Outcome};
use crate::network::{Error, Lane, PeerId};
use crate::writer::{Outgoing, write_frames};

/// Requests that wait for one stream to take them.
const QUEUE_FRAMES: usize = 1024;
/// Requests without an answer yet, per stream.
const IN_FLIGHT_MAX: usize = 4096;

/// Why a request has no answer, as seen from its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Certainly never given to the stream.
    Unsent(String),
    /// Given to the stream, which broke.
    Lost(String),
    /// Given to the stream; the time was up.
    TimedOut,
    /// The handler's own words.
    Refused(String),
}

impl Fault {
    /// What `peer`'s caller is told.
    pub fn at(self, peer: PeerId) -> Error {
        match self {
            Fault::Unsent(why) => Error::Unreachable { peer, why },
            Fault::Lost(why) => Error::NoAnswer { peer, why },
            Fault::TimedOut => Error::NoAnswer {
                peer,
                why: "the time was up".into(),
            },
            Fault::Refused(why) => Error::Refused { peer, why },
        }
    }
}

/// Says whether a body can be sent in one frame.
///
/// # Errors
/// [`Fault::Refused`] when it is too long.
pub fn fits(body: &Bytes) -> Result<(), Fault> {
    if body.len() <= BODY_BYTES_MAX {
        return Ok(());
    }
    Err(Fault::Refused(format!(
        "the request has {} bytes, more than the {BODY_BYTES_MAX} of a frame; send it as a transfer",
        body.len()
    )))
}

/// One shared stream.
pub struct Pipe {
    queue: mpsc::Sender<Outgoing>,
    waiting: Arc<Waiting>,
    in_flight: Semaphore,
    next: AtomicU64,
}

impl Pipe {
    /// Starts a stream of this lane on `connection` and the task that serves it. When the stream
    /// ends, for whatever reason, the connection is closed.
    pub(crate) async fn open(
        connection: &Connection,
        lane: Lane,
        kind: Kind,
        priority: i32,
        counters: Arc<Counters>,
    ) -> Result<Pipe, Fault> {
        let (send, receive) = connection
            .open_bi()
            .await
            .map_err(|error| Fault::Unsent(error.to_string()))?;
        // Fails on a closed stream only, and then so does the first write.
        let _ = send.set_priority(priority);
        let (pipe, frames) = Pipe::new();
        let task = PipeTask {
            connection: connection.clone(),
            waiting: pipe.waiting(),
            lane,
            counters,
        };
        tokio::spawn(task.run(kind, send, receive, frames));
        Ok(pipe)
    }

    /// A pipe, and the frames that its task has to write; whom they answer, [`Pipe::waiting`] knows.
    pub fn new() -> (Pipe, mpsc::Receiver<Outgoing>) {
        let (queue, frames) = mpsc::channel(QUEUE_FRAMES);
        let pipe = Pipe {
            queue,
            waiting: Arc::new(Waiting::new()),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            next: AtomicU64::new(0),
        };
        (pipe, frames)
    }

    /// Those who wait for answers.
    pub fn waiting(&self) -> Arc<Waiting> {
        self.waiting.clone()
    }

    /// False once its task has ended.
    pub fn is_open(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn ask(&self, service: u8, body: Bytes, deadline: Instant) -> Result<Bytes, Fault> {
        let crowded = |_| Fault::Unsent("its time was up behind other requests".into());
        let _permit = timeout_at(deadline, self.in_flight.acquire())
            .await
            .map_err(crowded)?
            .expect("the semaphore is never closed");
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let answer = self.waiting.enter(number)?;
        let _forget = Forget(&self.waiting, number);
        let frame = Outgoing {
            code: service,
            number,
            deadline: Some(deadline),
            body,
        };
        match timeout_at(deadline, self.queue.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_closed)) => return Err(Fault::Unsent("the connection broke".into())),
            Err(elapsed) => return Err(crowded(elapsed)),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err(Fault::Lost("the stream's task ended".into())),
            Err(elapsed) => match self.waiting.leave(number) {
                Some(entry) if !entry.is_written => Err(crowded(elapsed)),
                _ => Err(Fault::TimedOut),
            },
        }
    }
}

struct PipeTask {
    connection: Connection,
    waiting: Arc<Waiting>,
    lane: Lane,
    counters: Arc<Counters>,
}

impl PipeTask {
    async fn run(
        self,
        kind: Kind,
        mut send: SendStream,
        receive: RecvStream,
        frames: mpsc::Receiver<Outgoing>,
    ) {
        let lane = self.counters.lane(self.lane);
        let write = async {
            send.write_all(&[kind as u8]).await?;
            write_frames(
                &mut send,
                frames,
                |frame| self.waiting.is_about_to_be_written(frame.number),
                |bytes| lane.bytes_sent.increment(bytes as u64),
            )
            .await
        };
        let mut reader = FrameReader::new(receive);
        let read = async {
            while let Some(frame) = reader.next().await? {
                let bytes = HEADER_BYTES + frame.body.len();
                lane.bytes_received.increment(bytes as u64);
                self.waiting.answer(frame)?;
            }
            Err(Broken::Lost("the peer ended the stream".into()))
        };
        let (code, why) = tokio::select! {
            written = write => match written {
                // The pipe was dropped: nobody waits for anything.
                Ok(()) => (codes::BYE, "no longer needed".to_owned()),
                Err(error) => (codes::LANE_ENDED, error.to_string()),
            },
            read = read => match read {
                Ok(()) => (codes::LANE_ENDED, String::new()),
                Err(Broken::Malformed(why)) => (codes::MALFORMED, why),
                Err(Broken::Lost(why)) => (codes::LANE_ENDED, why),
            },
        };
        self.waiting.fail_all(&why);
        self.connection.close(code, why.as_bytes());
    }
}

/// Who waits for which answer; `None` once the stream is broken.
pub struct Waiting(Mutex<Option<HashMap<u64, Entry>>>);

struct Entry {
    answer: oneshot::Sender<Result<Bytes, Fault>>,
    is_written: bool,
}

impl Waiting {
    fn new() -> Waiting {
        Waiting(Mutex::new(Some(HashMap::new())))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Option<HashMap<u64, Entry>>) -> T) -> T {
        // No panic can happen while the map is half changed, so a poisoned lock is as good.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(&self, number: u64) -> Result<oneshot::Receiver<Result<Bytes, Fault>>, Fault> {
        let (answer, waiter) = oneshot::channel();
        let entry = Entry {
            answer,
            is_written: false,
        };
        self.with(|entries| match entries {
            Some(entries) => {
                entries.insert(number, entry);
                Ok(waiter)
            }
            None => Err(Fault::Unsent("the connection broke".into())),
        })
    }

    fn leave(&self, number: u64) -> Option<Entry> {
        self.with(|entries| entries.as_mut()?.remove(&number))
    }

    /// False when nobody waits for this request any more. From here on its fate is unknown.
    pub fn is_about_to_be_written(&self, number: u64) -> bool {
        self.with(
            |entries| match entries.as_mut().and_then(|all| all.get_mut(&number)) {
                Some(entry) => {
                    entry.is_written = true;
                    true
                }
                None => false,
            },
        )
    }

    /// Hands an answer to whoever waits for it.
    ///
    /// # Errors
    /// [`Broken::Malformed`] when it is none.
    pub fn answer(&self, frame: Frame) -> Result<(), Broken> {
        let answer = read_outcome(&frame)?;
        // Without an entry the answer came too late, which is nobody's fault.
        if let Some(entry) = self.leave(frame.number) {
            let _ = entry.answer.send(answer);
        }
        Ok(())
    }

    /// The stream is broken: tells everyone, and those who come later.
    pub fn fail_all(&self, why: &str) {
        let entries = self.with(Option::take).unwrap_or_default();
        for entry in entries.into_values() {
            let fault = if entry.is_written {
                Fault::Lost(why.to_owned())
            } else {
                Fault::Unsent(why.to_owned())
            };
            // Whoever left meanwhile does not care.
            let _ = entry.answer.send(Err(fault));
        }
    }
}

/// Removes a request whose caller went away, so that it is not written for nobody.
struct Forget<'a>(&'a Waiting, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// What an answer frame says.
pub(crate) fn read_outcome(frame: &Frame) -> Result<Result<Bytes, Fault>, Broken> {
    match frame.code {
        code if code == Outcome::Answer as u8 => Ok(Ok(frame.body.clone())),
        code if code == Outcome::Refusal as u8 => {
            let words = String::from_utf8_lossy(&frame.body).into_owned();
            Ok(Err(Fault::Refused(words)))
        }
        code if code == Outcome::Late as u8 => Ok(Err(Fault::TimedOut)),
        code => Err(Broken::Malformed(format!(
            "outcome {code} is not known here"
        ))),
    }
}
