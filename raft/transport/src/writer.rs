//! Puts frames on a stream, many in one write.
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quinn::{SendStream, VarInt, WriteError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::codes;
use crate::frame::{HEADER_BYTES, Kind, put_header};

/// Frames taken from the queue for one write.
pub const BATCH_FRAMES: usize = 256;
/// Bodies up to this size are copied beside their headers; larger ones are handed over as they are.
const COPY_BYTES_MAX: usize = 4 << 10;

/// A frame that waits to be written.
pub struct Outgoing {
    pub(crate) code: u8,
    pub number: u64,
    /// Until when an answer is of use; `None` in answers.
    pub(crate) deadline: Option<Instant>,
    pub(crate) body: Bytes,
}

/// Bytes for one write: small frames lie side by side in one piece.
#[derive(Default)]
pub struct Batch {
    small: BytesMut,
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Batch {
    /// Adds a frame.
    pub fn push(&mut self, frame: Outgoing) {
        let left_ms = frame.deadline.map_or(0, left_ms);
        put_header(
            &mut self.small,
            frame.code,
            frame.number,
            left_ms,
            frame.body.len(),
        );
        self.bytes += HEADER_BYTES + frame.body.len();
        if frame.body.len() <= COPY_BYTES_MAX {
            self.small.extend_from_slice(&frame.body);
        } else {
            self.pieces.push(self.small.split().freeze());
            self.pieces.push(frame.body);
        }
    }

    /// Everything, in the order in which it is to be written; no piece is empty. Whoever has
    /// written the pieces clears them.
    pub fn pieces(&mut self) -> &mut Vec<Bytes> {
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
        &mut self.pieces
    }

    /// Writes everything and gives the number of bytes.
    async fn write(&mut self, stream: &mut SendStream) -> Result<usize, WriteError> {
        stream.write_all_chunks(self.pieces()).await?;
        self.pieces.clear();
        Ok(std::mem::take(&mut self.bytes))
    }
}

/// Writes frames from `queue` until it is closed, then ends the stream.
///
/// `keep` is asked right before a frame is written; a frame that nobody waits for any more is left
/// out. `written` gets the number of bytes of each write.
pub(crate) async fn write_frames(
    stream: &mut SendStream,
    mut queue: mpsc::Receiver<Outgoing>,
    keep: impl Fn(&Outgoing) -> bool,
    written: impl Fn(usize),
) -> Result<(), WriteError> {
    let mut frames = Vec::with_capacity(BATCH_FRAMES);
    let mut batch = Batch::default();
    while queue.recv_many(&mut frames, BATCH_FRAMES).await > 0 {
        for frame in frames.drain(..).filter(|frame| keep(frame)) {
            batch.push(frame);
        }
        written(batch.write(stream).await?);
    }
    // An error only says that the other end has stopped the stream already.
    let _ = stream.finish();
    Ok(())
}

/// A stream for one request or transfer, that is reset when its sender goes away early: dropping a
/// plain stream would end it as if all had been said.
pub(crate) struct Sending {
    stream: SendStream,
    is_complete: bool,
}

impl Sending {
    pub(crate) fn new(stream: SendStream, priority: i32) -> Sending {
        // Fails on a closed stream only, and then so does the next write.
        let _ = stream.set_priority(priority);
        Sending {
            stream,
            is_complete: false,
        }
    }

    /// Writes the stream's kind and its first frame, and gives the number of bytes.
    pub(crate) async fn begin(&mut self, kind: Kind, frame: Outgoing) -> Result<usize, WriteError> {
        let mut batch = Batch::default();
        batch.small.extend_from_slice(&[kind as u8]);
        batch.push(frame);
        Ok(1 + batch.write(&mut self.stream).await?)
    }

    pub(crate) async fn write(&mut self, frame: Outgoing) -> Result<usize, WriteError> {
        let mut batch = Batch::default();
        batch.push(frame);
        batch.write(&mut self.stream).await
    }

    /// Says that all was sent.
    pub(crate) fn finish(&mut self) {
        // An error only says that the other end has stopped the stream already.
        let _ = self.stream.finish();
    }

    /// Says that the answer is here too, so nothing is left to cancel.
    pub(crate) fn complete(mut self) {
        self.is_complete = true;
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.is_complete {
            self.cancel(codes::CANCELLED);
        }
    }
}

impl Sending {
    fn cancel(&mut self, code: VarInt) {
        // An error only says that the stream has ended already.
        let _ = self.stream.reset(code);
    }
}

/// Milliseconds until `deadline`, rounded up: a request with time left never says 0.
fn left_ms(deadline: Instant) -> u32 {
    let left = deadline.saturating_duration_since(Instant::now());
    let ms = left.saturating_add(Duration::from_micros(999)).as_millis();
    u32::try_from(ms).unwrap_or(u32::MAX)
}
