//! What a directory of segments holds, and whether to believe it.
//!
//! Power cuts and damage look alike: a frame that does not verify. They are told apart by proofs
//! that the place had been synced: the note of the synced length, a later batch in the same segment,
//! a later segment (its header says where the one before ended), the head of the last segment (which
//! segments are needed). With a proof it is damage and the node must not vote; without one it is the
//! torn tail of a write that was never acknowledged, and is cut off.
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::file::{self, HEADER_BYTES, Head, Header};
use super::frame::{self, Decoded, Kind};
use super::index::{Index, Location, Slot};
use super::synced::Position;
use super::{OpenError, Options};
use crate::owner::Owner;

/// Where the next batch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Active {
    pub(super) sequence: u64,
    pub(super) end: u64,
    pub(super) capacity: u64,
    pub(super) next_batch: u32,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) files: BTreeMap<u64, Arc<File>>,
    pub(super) active: Active,
    pub(super) lasts: SegmentLasts,
    pub(super) base: u64,
}

/// The highest entry index in each segment, `None` where there is no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SegmentLasts(BTreeMap<u64, Option<u64>>);

impl SegmentLasts {
    pub(super) fn begin(&mut self, segment: u64) {
        self.0.insert(segment, None);
    }

    pub(super) fn entry(&mut self, segment: u64, index: u64) {
        self.0.insert(segment, Some(index));
    }

    pub(super) fn truncate_from(&mut self, index: u64) {
        for last in self.0.values_mut() {
            *last = last
                .map(|last| last.min(index.saturating_sub(1)))
                .filter(|_| index > 0);
        }
    }

    /// The oldest segment that is still needed when all up to `index` is purged; forgets the others.
    pub(super) fn purge_to(&mut self, index: u64, active: u64) -> u64 {
        while let Some(oldest) = self.0.first_entry() {
            let is_needed = oldest.get().is_some_and(|last| last > index);
            if is_needed || *oldest.key() == active {
                return *oldest.key();
            }
            oldest.remove();
        }
        active
    }
}

/// Reads the directory, judges it, cuts off a torn tail and makes the rest durable.
pub(super) fn recover(
    dir: &Path,
    owner: &Owner,
    synced: Option<Position>,
    options: &Options,
) -> Result<Recovered, OpenError> {
    let Some(synced) = synced else {
        return damaged("the note of what was synced does not verify".to_owned());
    };
    for leftover in [file::SPARE, file::ROLLING] {
        file::remove_if_present(&dir.join(leftover))?;
    }
    let run = needed_run(dir, owner, synced)?;
    let mut replay = Replay::new(options);
    let mut files = BTreeMap::new();
    let mut active = None;
    for (at, &sequence) in run.iter().enumerate() {
        let segment = Segment::load(dir, owner, sequence)?;
        if let Some(before) = active.replace(replay.segment(&segment)?)
            && before.end != segment.header.previous_end
        {
            return damaged(format!(
                "segment {} is readable up to byte {} but went on to {}",
                before.sequence, before.end, segment.header.previous_end
            ));
        }
        let active = active.as_ref().expect("it was put there just now");
        let is_short = synced.segment == sequence && active.end < synced.offset;
        if is_short && !plants::is(plants::SHORTENED_LOG) {
            return damaged(format!(
                "segment {sequence} is readable up to byte {} but was synced up to {}",
                active.end, synced.offset
            ));
        }
        if at + 1 == run.len() {
            cut_tail(&segment, active)?;
        }
        files.insert(sequence, Arc::new(segment.file));
    }
    let active = active.ok_or_else(|| missing(dir))?;
    finish(dir, replay, files, active, run[0])
}

fn finish(
    dir: &Path,
    replay: Replay,
    mut files: BTreeMap<u64, Arc<File>>,
    active: Active,
    oldest: u64,
) -> Result<Recovered, OpenError> {
    if replay.base < oldest {
        return damaged(format!(
            "segments {} to {} are missing",
            replay.base,
            oldest - 1
        ));
    }
    let range = replay.index.range();
    let first = if range.is_empty() {
        replay.index.next()
    } else {
        Some(range.start)
    };
    if let (Some((purged, _)), Some(first)) = (&replay.index.purged, first)
        && first != purged + 1
    {
        return damaged(format!(
            "entries {} to {} are missing",
            purged + 1,
            first - 1
        ));
    }
    for sequence in file::list_segments(dir)? {
        if sequence < replay.base {
            files.remove(&sequence);
            file::remove_if_present(&file::segment_path(dir, sequence))?;
        }
    }
    file::sync_dir(dir)?;
    Ok(Recovered {
        index: replay.index,
        files,
        active,
        lasts: replay.lasts,
        base: replay.base,
    })
}

/// The contiguous segments up to the newest one.
fn needed_run(dir: &Path, owner: &Owner, synced: Position) -> Result<Vec<u64>, OpenError> {
    let mut present = file::list_segments(dir)?;
    if let Some(&last) = present.last()
        && last > synced.segment
        && was_never_in_use(dir, owner, last)?
    {
        tracing::warn!(
            segment = last,
            "a log segment that was never in use is removed"
        );
        fs::remove_file(file::segment_path(dir, last))?;
        present.pop();
    }
    let Some(&last) = present.last() else {
        return Err(if synced.segment == 0 {
            missing(dir)
        } else {
            OpenError::Damaged {
                what: "all its segments are gone".to_owned(),
            }
        });
    };
    if last < synced.segment {
        return damaged(format!("segment {} is missing", synced.segment));
    }
    let hole = present
        .windows(2)
        .rposition(|pair| pair[0] + 1 != pair[1])
        .map_or(0, |at| at + 1);
    Ok(present.split_off(hole))
}

/// A segment gets its name only when its header and its first batch are on disk. One without either
/// is what is left of a roll on a disk that does not keep that order.
fn was_never_in_use(dir: &Path, owner: &Owner, sequence: u64) -> Result<bool, OpenError> {
    let bytes = fs::read(file::segment_path(dir, sequence))?;
    match file::read_header(&bytes) {
        Ok(header) => check_owner(dir, owner, &header).map(|()| false),
        Err(_) => Ok(!frame::has_frame_after(
            &bytes,
            0,
            sequence,
            HEADER_BYTES as u64,
        )),
    }
}

/// One segment, read whole.
struct Segment {
    header: Header,
    bytes: Vec<u8>,
    file: File,
}

impl Segment {
    fn load(dir: &Path, owner: &Owner, sequence: u64) -> Result<Segment, OpenError> {
        let path = file::segment_path(dir, sequence);
        let bytes = fs::read(&path)?;
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let Ok(header) = file::read_header(&bytes) else {
            return damaged(format!("the header of segment {sequence} does not verify"));
        };
        check_owner(dir, owner, &header)?;
        if header.sequence != sequence {
            return damaged(format!(
                "the file of segment {sequence} holds segment {}",
                header.sequence
            ));
        }
        Ok(Segment {
            header,
            bytes,
            file,
        })
    }
}

fn check_owner(dir: &Path, owner: &Owner, header: &Header) -> Result<(), OpenError> {
    if header.owner == *owner {
        return Ok(());
    }
    Err(OpenError::Foreign {
        dir: dir.display().to_string(),
        found: header.owner.to_string(),
        expected: owner.to_string(),
    })
}

/// Judges what comes after the last whole batch of the last segment, and clears it.
fn cut_tail(segment: &Segment, active: &Active) -> Result<(), OpenError> {
    let sequence = active.sequence;
    let unfinished = active.next_batch;
    let is_followed = frame::has_frame_after(&segment.bytes, unfinished, sequence, active.end);
    if is_followed && !plants::is(plants::SHORTENED_LOG) {
        return damaged(format!(
            "segment {sequence} is not readable at byte {}, and later writes follow it",
            active.end
        ));
    }
    let end = usize::try_from(active.end).unwrap_or(usize::MAX);
    let tail = segment.bytes.get(end..).unwrap_or_default();
    if tail.iter().any(|byte| *byte != 0) {
        if frame::has_frame_after(&segment.bytes, unfinished - 1, sequence, active.end) {
            tracing::warn!(
                segment = sequence,
                offset = active.end,
                "the log's tail is torn: a write that was never acknowledged is cut off"
            );
        } else {
            tracing::debug!(
                segment = sequence,
                offset = active.end,
                "what is left in the log's tail is cleared"
            );
        }
        // Otherwise frames of the torn batch could follow a shorter new one and come back to life.
        file::write_zeros(&segment.file, active.end, active.capacity)?;
    }
    // What a killed process wrote may still be in the page cache only.
    segment.file.sync_data()?;
    Ok(())
}

/// The log as the frames that were read so far tell it.
struct Replay {
    index: Index,
    lasts: SegmentLasts,
    base: u64,
    segments: u64,
}

impl Replay {
    fn new(options: &Options) -> Replay {
        Replay {
            index: Index::new(options.cache_bytes, None),
            lasts: SegmentLasts::default(),
            base: 0,
            segments: 0,
        }
    }

    /// Applies a segment's whole batches; gives where they end.
    fn segment(&mut self, segment: &Segment) -> Result<Active, OpenError> {
        let sequence = segment.header.sequence;
        self.lasts.begin(sequence);
        let mut done = Active {
            sequence,
            end: HEADER_BYTES as u64,
            capacity: segment.bytes.len() as u64,
            next_batch: 1,
        };
        let mut at = HEADER_BYTES;
        let mut batch = Vec::new();
        while let Decoded::Frame(frame) = frame::decode(&segment.bytes[at..], sequence, at as u64) {
            if frame.batch != done.next_batch {
                break;
            }
            let is_last = frame.is_last;
            let bytes = frame::frame_bytes(frame.payload.len());
            batch.push((at as u64, frame));
            at += bytes;
            if is_last {
                for (offset, frame) in batch.drain(..) {
                    self.frame(sequence, offset, &frame)?;
                }
                done.end = at as u64;
                done.next_batch += 1;
            }
        }
        if done.next_batch == 1 {
            return damaged(format!("the head of segment {sequence} does not verify"));
        }
        self.segments += 1;
        Ok(done)
    }

    fn frame(
        &mut self,
        sequence: u64,
        offset: u64,
        frame: &frame::Frame<'_>,
    ) -> Result<(), OpenError> {
        let index = frame.index;
        let payload = || Bytes::copy_from_slice(frame.payload);
        match frame.kind {
            Kind::Head => return self.head(sequence, frame.payload),
            Kind::Entry => {
                if let Err(error) = self.index.check_next(index) {
                    return damaged(format!("segment {sequence}: {error}"));
                }
                let location = Location {
                    segment: sequence,
                    offset,
                    payload_bytes: u32::try_from(frame.payload.len())
                        .expect("a frame's length has 32 bits"),
                };
                self.index.append(index, Slot::Written(location), None);
                self.lasts.entry(sequence, index);
            }
            Kind::Vote => self.index.vote = Some(payload()),
            Kind::Committed => self.index.committed = Some(payload()),
            Kind::Truncate => {
                self.index.truncate_from(index);
                self.lasts.truncate_from(index);
            }
            Kind::Purge => {
                let Some((base, marker)) = frame.payload.split_first_chunk() else {
                    return damaged(format!("a purge in segment {sequence} is too short"));
                };
                self.base = u64::from_le_bytes(*base);
                self.lasts.purge_to(index, sequence);
                self.index.purge_to(index, Bytes::copy_from_slice(marker));
            }
        }
        Ok(())
    }

    fn head(&mut self, sequence: u64, payload: &[u8]) -> Result<(), OpenError> {
        let Ok(head) = postcard::from_bytes::<Head>(payload) else {
            return damaged(format!("the head of segment {sequence} cannot be read"));
        };
        if self.segments == 0 {
            self.index = Index::new(self.index.cache_bytes_max(), head.next);
            self.index.purged = head.purged.map(|(at, marker)| (at, marker.into()));
            self.index.vote = head.vote.map(Into::into);
            self.index.committed = head.committed.map(Into::into);
        } else if head.next != self.index.next() {
            return damaged(format!(
                "segment {sequence} begins after entry {:?}, the one before ends at {:?}",
                head.next,
                self.index.next()
            ));
        }
        self.base = head.base;
        Ok(())
    }
}

fn missing(dir: &Path) -> OpenError {
    OpenError::Missing {
        dir: dir.display().to_string(),
    }
}

fn damaged<T>(what: String) -> Result<T, OpenError> {
    Err(OpenError::Damaged { what })
}

impl Active {
    pub(super) fn position(&self) -> Position {
        Position {
            segment: self.sequence,
            offset: self.end,
        }
    }
}

/// Reads a frame back and verifies it.
pub(super) fn entry_of(bytes: &[u8], location: &Location, index: u64) -> io::Result<Bytes> {
    match frame::decode(bytes, location.segment, location.offset) {
        Decoded::Frame(frame) if frame.kind == Kind::Entry && frame.index == index => {
            Ok(Bytes::copy_from_slice(frame.payload))
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "entry {index} in segment {} at byte {} is damaged",
                location.segment, location.offset
            ),
        )),
    }
}
