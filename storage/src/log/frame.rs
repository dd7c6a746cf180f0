//! How one record of the log lies on disk, and how it is told from garbage.
//!
//! ```text
//! crc32c u32 | payload bytes u32 | kind u8 | flags u8 | 0 u16 | batch u32 | index u64 | payload | 0 … (to 8)
//! ```
//! The checksum is seeded by the segment's sequence number and the frame's offset, so that nothing
//! that was left in a recycled file, and nothing that was written to a wrong place, ever verifies.
//! Frames that were synced together share a batch number, counted from 1 in each segment; the last
//! frame of a batch says so. A batch is whole or it is not there.

/// Bytes before the payload.
pub(super) const HEAD_BYTES: usize = 24;
/// Frames begin at multiples of this.
pub(super) const ALIGN: usize = 8;
/// The largest payload that is taken: a bound for what a damaged length may ask for.
pub(super) const PAYLOAD_BYTES_MAX: usize = 256 << 20;

const FLAG_LAST: u8 = 1;

/// What a frame records. The numbers are the disk's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// First frame of a segment: what must be known without the segments before it.
    Head,
    Entry,
    Vote,
    Committed,
    Truncate,
    Purge,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Kind::Head => 1,
            Kind::Entry => 2,
            Kind::Vote => 3,
            Kind::Committed => 4,
            Kind::Truncate => 5,
            Kind::Purge => 6,
        }
    }

    fn from_number(number: u8) -> Option<Kind> {
        Some(match number {
            1 => Kind::Head,
            2 => Kind::Entry,
            3 => Kind::Vote,
            4 => Kind::Committed,
            5 => Kind::Truncate,
            6 => Kind::Purge,
            _ => return None,
        })
    }
}

/// A frame that verified.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    pub(super) is_last: bool,
    pub(super) batch: u32,
    pub(super) index: u64,
    pub(super) payload: &'a [u8],
}

/// What stands at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded<'a> {
    Frame(Frame<'a>),
    /// Nothing was ever written here, or there is no room for a frame.
    End,
    /// Something that is not a frame of this segment at this offset.
    Bad,
}

/// Bytes on disk of a frame with such a payload.
pub(super) fn frame_bytes(payload_bytes: usize) -> usize {
    (HEAD_BYTES + payload_bytes).next_multiple_of(ALIGN)
}

/// Reads the frame at the beginning of `bytes`, which lies at `offset` of segment `sequence`.
pub(super) fn decode(bytes: &[u8], sequence: u64, offset: u64) -> Decoded<'_> {
    let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
        return Decoded::End;
    };
    if head.iter().all(|byte| *byte == 0) {
        return Decoded::End;
    }
    let Some((kind, payload_bytes)) = plausible(head) else {
        return Decoded::Bad;
    };
    let Some(whole) = bytes.get(..frame_bytes(payload_bytes)) else {
        return Decoded::Bad;
    };
    if checksum(whole, sequence, offset) != u32_at(head, 0) {
        return Decoded::Bad;
    }
    Decoded::Frame(Frame {
        kind,
        is_last: head[9] & FLAG_LAST != 0,
        batch: u32_at(head, 12),
        index: u64_at(head, 16),
        payload: &whole[HEAD_BYTES..HEAD_BYTES + payload_bytes],
    })
}

/// Whether any whole frame of a batch after `batch` stands in `bytes`, at whatever aligned place.
///
/// A batch is written only when the one before it is synced, so such a frame proves that what comes
/// before its batch had been synced.
pub(super) fn has_frame_after(bytes: &[u8], batch: u32, sequence: u64, offset: u64) -> bool {
    let from = usize::try_from(offset)
        .unwrap_or(usize::MAX)
        .next_multiple_of(ALIGN);
    (from..bytes.len()).step_by(ALIGN).any(|at| {
        let rest = &bytes[at..];
        let Some(head) = rest.first_chunk::<HEAD_BYTES>() else {
            return false;
        };
        if plausible(head).is_none() || u32_at(head, 12) <= batch {
            return false;
        }
        matches!(decode(rest, sequence, at as u64), Decoded::Frame(_))
    })
}

fn plausible(head: &[u8; HEAD_BYTES]) -> Option<(Kind, usize)> {
    let kind = Kind::from_number(head[8])?;
    let payload_bytes = u32_at(head, 4) as usize;
    let is_plausible = head[9] <= FLAG_LAST
        && head[10] == 0
        && head[11] == 0
        && payload_bytes <= PAYLOAD_BYTES_MAX;
    is_plausible.then_some((kind, payload_bytes))
}

fn checksum(frame: &[u8], sequence: u64, offset: u64) -> u32 {
    let seed = crc32c::crc32c_append(
        crc32c::crc32c(&sequence.to_le_bytes()),
        &offset.to_le_bytes(),
    );
    crc32c::crc32c_append(seed, &frame[4..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let part: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes were cut");
    u32::from_le_bytes(part)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let part: [u8; 8] = bytes[at..at + 8].try_into().expect("eight bytes were cut");
    u64::from_le_bytes(part)
}

/// The frames of one batch, being put together for one write.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    last_frame: Option<usize>,
    sequence: u64,
    offset: u64,
    number: u32,
}

impl Batch {
    /// A batch that will lie at `offset` of segment `sequence`; `buffer` is used again.
    pub(super) fn new(mut buffer: Vec<u8>, sequence: u64, offset: u64, number: u32) -> Batch {
        buffer.clear();
        Batch {
            bytes: buffer,
            last_frame: None,
            sequence,
            offset,
            number,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Where the next frame will lie.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    /// Adds a frame; gives its offset in the segment. The payload is at most [`PAYLOAD_BYTES_MAX`].
    pub(super) fn push(&mut self, kind: Kind, index: u64, payload: &[u8]) -> u64 {
        let start = self.bytes.len();
        let payload_bytes =
            u32::try_from(payload.len()).expect("payloads are bounded when they are taken in");
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&payload_bytes.to_le_bytes());
        self.bytes.extend_from_slice(&[kind.number(), 0, 0, 0]);
        self.bytes.extend_from_slice(&self.number.to_le_bytes());
        self.bytes.extend_from_slice(&index.to_le_bytes());
        self.bytes.extend_from_slice(payload);
        self.bytes.resize(start + frame_bytes(payload.len()), 0);
        self.sign(start);
        self.last_frame = Some(start);
        self.offset + start as u64
    }

    /// The bytes to write, its last frame marked as the last.
    pub(super) fn seal(&mut self) -> &[u8] {
        if let Some(start) = self.last_frame {
            self.bytes[start + 9] |= FLAG_LAST;
            self.sign(start);
        }
        &self.bytes
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    fn sign(&mut self, start: usize) {
        let sum = checksum(
            &self.bytes[start..],
            self.sequence,
            self.offset + start as u64,
        );
        self.bytes[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Vec<u8> {
        let mut batch = Batch::new(Vec::new(), 7, 4096, 3);
        assert_eq!(batch.push(Kind::Entry, 11, b"eleven"), 4096);
        assert_eq!(batch.push(Kind::Purge, 12, &[]), 4096 + 32);
        batch.seal();
        assert_eq!(batch.end(), 4096 + 56);
        batch.into_buffer()
    }

    #[test]
    fn frames_come_back() {
        let bytes = batch();
        let first = Frame {
            kind: Kind::Entry,
            is_last: false,
            batch: 3,
            index: 11,
            payload: b"eleven",
        };
        let second = Frame {
            kind: Kind::Purge,
            is_last: true,
            batch: 3,
            index: 12,
            payload: &[],
        };
        assert_eq!(decode(&bytes, 7, 4096), Decoded::Frame(first));
        assert_eq!(decode(&bytes[32..], 7, 4096 + 32), Decoded::Frame(second));
        assert_eq!(decode(&bytes[56..], 7, 4096 + 56), Decoded::End);
        assert_eq!(decode(&[0; 64], 7, 4096), Decoded::End);
    }

    #[test]
    fn a_frame_is_one_only_in_its_segment_and_place_and_unchanged() {
        let bytes = batch();
        assert_eq!(decode(&bytes, 8, 4096), Decoded::Bad);
        assert_eq!(decode(&bytes, 7, 4096 + 32), Decoded::Bad);
        assert_eq!(decode(&bytes[..31], 7, 4096), Decoded::Bad);
        for at in 0..32 {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(
                    decode(&changed, 7, 4096),
                    Decoded::Bad,
                    "byte {at} bit {bit}"
                );
            }
        }
    }

    #[test]
    fn later_batches_are_found_behind_garbage() {
        let mut bytes = vec![0xa5; 4096];
        bytes.extend(batch());
        assert!(has_frame_after(&bytes, 2, 7, 100));
        assert!(!has_frame_after(&bytes, 3, 7, 100), "not later than that");
        assert!(!has_frame_after(&bytes, 2, 8, 100), "of another segment");
        assert!(!has_frame_after(&bytes, 2, 7, 4096 + 40), "behind it");
    }
}
