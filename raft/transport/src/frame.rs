//! How requests, answers and chunks lie on a stream.
//!
//! A bidirectional stream begins with one byte, its [`Kind`]; then frames follow, big-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | length of what follows, header included |
//! | 1 | version of this layout, [`VERSION`] |
//! | 1 | code: a service number, an [`Outcome`] or a [`Part`] |
//! | 8 | request number, repeated in its answer |
//! | 4 | ms that the sender still waits; 0 in answers |
//! | … | body |
//!
//! A message is a unidirectional stream of its own: the version byte, then the body.
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use quinn::{ReadError, RecvStream};

/// Layout of frames and messages.
pub(crate) const VERSION: u8 = 1;
/// Largest body of a request or answer. Larger things are transfers.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;
/// Bytes of a frame before its body.
pub(crate) const HEADER_BYTES: usize = 18;
/// Largest message: gossip's largest is 65,507 bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 70_000;

/// Bytes of the header that the length field counts.
const COUNTED_BYTES: usize = HEADER_BYTES - 4;
/// How much is taken from a stream at once.
const READ_BYTES: usize = 256 << 10;

/// What a bidirectional stream is for. The numbers are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// One urgent request.
    Urgent = 1,
    /// Log requests, begun and answered in order.
    Log = 2,
    /// Forwarded requests, handled side by side, answered in any order.
    Forward = 3,
    /// One request that may wait.
    Bulk = 4,
    /// One transfer.
    Transfer = 5,
}

impl Kind {
    /// `None` for a number that is not known here.
    pub fn from_byte(byte: u8) -> Option<Kind> {
        match byte {
            1 => Some(Kind::Urgent),
            2 => Some(Kind::Log),
            3 => Some(Kind::Forward),
            4 => Some(Kind::Bulk),
            5 => Some(Kind::Transfer),
            _ => None,
        }
    }
}

/// The code of an answer. The numbers are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Outcome {
    /// The body is the handler's answer.
    Answer = 0,
    /// The body is the refusal's words.
    Refusal = 1,
    /// The request's time was up before its handler was done, so its fate is unknown.
    Late = 2,
}

/// The code of a frame after a transfer's head. The numbers are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Part {
    Chunk = 0,
    /// Says that the transfer is complete: a stream that only ends was broken off.
    End = 1,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub(crate) code: u8,
    pub(crate) number: u64,
    pub(crate) left_ms: u32,
    pub(crate) body: Bytes,
}

/// Why there is no next frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The sender breaks the rules: the connection has to end.
    #[error("{0}")]
    Malformed(String),
    /// The stream or the connection ended, through nobody's fault.
    #[error("{0}")]
    Lost(String),
}

/// Writes a frame's header. The body, of at most [`BODY_BYTES_MAX`] bytes, has to follow.
pub(crate) fn put_header(
    buffer: &mut BytesMut,
    code: u8,
    number: u64,
    left_ms: u32,
    body_len: usize,
) {
    let length = u32::try_from(COUNTED_BYTES + body_len).expect("bodies are far below 4 GiB");
    buffer.put_u32(length);
    buffer.put_u8(VERSION);
    buffer.put_u8(code);
    buffer.put_u64(number);
    buffer.put_u32(left_ms);
}

/// Takes the first frame out of `buffer`; `None` when it has not wholly arrived.
///
/// # Errors
/// [`Broken::Malformed`] as soon as the header is against the rules.
pub fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, Broken> {
    let Some(length) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    // Judged before the body arrives, so that nobody can make this node wait or keep for it.
    if length < COUNTED_BYTES {
        return Err(Broken::Malformed(format!(
            "a frame of {length} bytes is too short"
        )));
    }
    if length > COUNTED_BYTES + BODY_BYTES_MAX {
        return Err(Broken::Malformed(format!(
            "a frame of {length} bytes is too long: a body has at most {BODY_BYTES_MAX}"
        )));
    }
    if let Some(&version) = buffer.get(4)
        && version != VERSION
    {
        return Err(Broken::Malformed(format!(
            "frame version {version} is not known here, only {VERSION}"
        )));
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    let mut frame = buffer.split_to(4 + length);
    frame.advance(5);
    let code = frame.get_u8();
    let number = frame.get_u64();
    let left_ms = frame.get_u32();
    Ok(Some(Frame {
        code,
        number,
        left_ms,
        body: frame.freeze(),
    }))
}

/// Reads frames off a stream. Cancel-safe: what was read of a frame is kept.
pub(crate) struct FrameReader {
    stream: RecvStream,
    buffer: BytesMut,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream) -> FrameReader {
        FrameReader {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// The stream's first byte.
    pub(crate) async fn kind(&mut self) -> Result<Kind, Broken> {
        while self.buffer.is_empty() {
            if !self.fill().await? {
                return Err(Broken::Lost("the stream ended before it began".into()));
            }
        }
        let byte = self.buffer.get_u8();
        Kind::from_byte(byte)
            .ok_or_else(|| Broken::Malformed(format!("stream kind {byte} is not known here")))
    }

    /// The next frame; `None` when the stream ended between frames.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, Broken> {
        loop {
            if let Some(frame) = take(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            if !self.fill().await? {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                return Err(Broken::Lost("the stream ended within a frame".into()));
            }
        }
    }

    /// Tells the sender that nothing more will be read.
    pub(crate) fn stop(&mut self) {
        // An error only says that the stream has ended already.
        let _ = self.stream.stop(crate::codes::STOPPED);
    }

    /// Gets more bytes; false at the stream's end.
    async fn fill(&mut self) -> Result<bool, Broken> {
        match self.stream.read_chunk(READ_BYTES, true).await {
            Ok(Some(chunk)) => {
                self.buffer.extend_from_slice(&chunk.bytes);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(ReadError::Reset(_)) => Err(Broken::Lost("the sender broke off".into())),
            Err(error) => Err(Broken::Lost(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(code: u8, number: u64, left_ms: u32, body: &'static [u8]) -> BytesMut {
        let mut buffer = BytesMut::new();
        put_header(&mut buffer, code, number, left_ms, body.len());
        buffer.extend_from_slice(body);
        buffer
    }

    #[test]
    fn the_layout_is_for_ever() {
        assert_eq!(
            frame(7, 0x0102_0304_0506_0708, 250, b"hi").to_vec(),
            [
                0, 0, 0, 16, 1, 7, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 250, b'h', b'i'
            ]
        );
    }

    #[test]
    fn a_frame_comes_out_whole_or_not_at_all() {
        let whole = frame(3, 9, 100, b"body");
        for cut in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..cut]);
            assert_eq!(take(&mut part), Ok(None), "cut at {cut}");
        }
        let mut two = whole.clone();
        two.extend_from_slice(&whole);
        for _ in 0..2 {
            let taken = take(&mut two).unwrap().unwrap();
            assert_eq!((taken.code, taken.number, taken.left_ms), (3, 9, 100));
            assert_eq!(taken.body, "body");
        }
        assert_eq!(take(&mut two), Ok(None));
    }

    #[test]
    fn impossible_frames_are_refused_at_their_header() {
        let cases: [(&[u8], &str); 3] = [
            (&[0, 0, 0, 3], "too short"),
            (&[0xff; 4], "too long"),
            (&[0, 0, 0, 16, 2], "version 2"),
        ];
        for (bytes, word) in cases {
            match take(&mut BytesMut::from(bytes)) {
                Err(Broken::Malformed(why)) => assert!(why.contains(word), "{why}"),
                other => panic!("{bytes:?} gave {other:?}"),
            }
        }
    }
}
