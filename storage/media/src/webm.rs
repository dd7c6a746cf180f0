//! WebM: the facts of a clip, from its elements. No picture is decoded here.
//!
//! Elements are (id, size, body); the ones that matter are nested three deep. `Segment` and
//! `Cluster` are entered, not jumped over, since browsers record them with an unknown size; so the
//! file is one flat list of elements, each of which must end inside the file.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use crate::clip::check;
use crate::{Bounds, Clip, Invalid, Kind};

mod id {
    pub(super) const SEGMENT: u32 = 0x1853_8067;
    pub(super) const CLUSTER: u32 = 0x1F43_B675;
    pub(super) const BLOCK_GROUP: u32 = 0xA0;
    pub(super) const BLOCK: u32 = 0xA1;
    pub(super) const SIMPLE_BLOCK: u32 = 0xA3;
    pub(super) const CLUSTER_TIME: u32 = 0xE7;
    pub(super) const INFO: u32 = 0x1549_A966;
    pub(super) const TICK_NS: u32 = 0x2A_D7B1;
    pub(super) const DURATION: u32 = 0x4489;
    pub(super) const TRACKS: u32 = 0x1654_AE6B;
    pub(super) const TRACK: u32 = 0xAE;
    pub(super) const TRACK_NUMBER: u32 = 0xD7;
    pub(super) const TRACK_TYPE: u32 = 0x83;
    pub(super) const CODEC: u32 = 0x86;
    pub(super) const VIDEO: u32 = 0xE0;
    pub(super) const WIDTH: u32 = 0xB0;
    pub(super) const HEIGHT: u32 = 0xBA;
}

/// Reads the facts of a WebM file and checks that it is whole.
pub(crate) fn inspect(file: &mut File, bounds: &Bounds) -> Result<Clip, Invalid> {
    let bytes = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut facts = Facts {
        tick_ns: 1_000_000,
        ..Facts::default()
    };
    let mut elements = Elements {
        file: BufReader::new(file),
        at: 0,
        bytes,
    };
    let mut parts = 0;
    while let Some((id, size)) = elements.next()? {
        parts += 1;
        Invalid::at_most("the number of its parts", parts, bounds.samples_max)?;
        match id {
            id::SEGMENT | id::CLUSTER | id::BLOCK_GROUP => {
                if let Some(size) = size {
                    elements.check(size)?;
                }
            }
            id::INFO => facts.info(&elements.body(size, bounds)?)?,
            id::TRACKS => facts.tracks(&elements.body(size, bounds)?)?,
            id::CLUSTER_TIME => facts.cluster = number(&elements.body(size, bounds)?),
            id::BLOCK | id::SIMPLE_BLOCK => {
                let start = elements.body_start(size)?;
                facts.block(&start);
            }
            _ => elements.skip(size)?,
        }
    }
    facts.clip(bounds)
}

/// Where in the file the walk is.
struct Elements<'f> {
    file: BufReader<&'f mut File>,
    at: u64,
    bytes: u64,
}

impl Elements<'_> {
    /// Reads the id and the size of the next element; no size: until its parent ends.
    fn next(&mut self) -> Result<Option<(u32, Option<u64>)>, Invalid> {
        if self.at >= self.bytes {
            return Ok(None);
        }
        let id = self.vint(4, false)?;
        let size = self.vint(8, true)?;
        let id = u32::try_from(id).map_err(|_| Invalid::damaged("it has a part without a name"))?;
        Ok(Some((id, (size != u64::MAX).then_some(size))))
    }

    /// A number that says its own length: the zeros before its first one bit. All ones is "unknown".
    fn vint(&mut self, bytes_max: u32, is_size: bool) -> Result<u64, Invalid> {
        let first = self.byte()?;
        let more = first.leading_zeros();
        if more >= bytes_max {
            return Err(Invalid::damaged(format!(
                "bytes before {} are no part of a WebM file",
                self.at
            )));
        }
        let marker = 0x80_u64 >> more;
        let mut value = u64::from(first) & if is_size { marker - 1 } else { u64::MAX };
        let mut is_unknown = is_size && value == marker - 1;
        for _ in 0..more {
            let byte = self.byte()?;
            is_unknown &= byte == 0xff;
            value = value << 8 | u64::from(byte);
        }
        Ok(if is_unknown { u64::MAX } else { value })
    }

    fn byte(&mut self) -> Result<u8, Invalid> {
        self.check(1)?;
        let mut byte = [0];
        self.file.read_exact(&mut byte)?;
        self.at += 1;
        Ok(byte[0])
    }

    /// Refuses what does not end inside the file.
    fn check(&self, size: u64) -> Result<(), Invalid> {
        match self.at.checked_add(size) {
            Some(end) if end <= self.bytes => Ok(()),
            end => Err(Invalid::Truncated {
                needs: end.unwrap_or(u64::MAX),
                bytes: self.bytes,
            }),
        }
    }

    fn known(&self, size: Option<u64>) -> Result<u64, Invalid> {
        let size = size.ok_or_else(|| Invalid::damaged("one of its parts has no size"))?;
        self.check(size)?;
        Ok(size)
    }

    fn body(&mut self, size: Option<u64>, bounds: &Bounds) -> Result<Vec<u8>, Invalid> {
        let size = self.known(size)?;
        Invalid::at_most(
            "the size of its index in bytes",
            size,
            bounds.index_bytes_max,
        )?;
        let mut body = Vec::new();
        self.file.by_ref().take(size).read_to_end(&mut body)?;
        self.at += size;
        Ok(body)
    }

    /// The first bytes of a block, enough for its track and time; goes on behind it.
    fn body_start(&mut self, size: Option<u64>) -> Result<Vec<u8>, Invalid> {
        const START_BYTES: u64 = 12;
        let size = self.known(size)?;
        let start = size.min(START_BYTES);
        let mut bytes = Vec::new();
        self.file.by_ref().take(start).read_to_end(&mut bytes)?;
        self.at += start;
        self.skip(Some(size - start))?;
        Ok(bytes)
    }

    fn skip(&mut self, size: Option<u64>) -> Result<(), Invalid> {
        let size = self.known(size)?;
        self.at += size;
        let size = i64::try_from(size)
            .map_err(|_| Invalid::damaged("one of its parts has an absurd size"))?;
        self.file.seek_relative(size)?;
        Ok(())
    }
}

#[derive(Default)]
struct Facts {
    tick_ns: u64,
    /// In ticks.
    duration: f64,
    video: Option<Video>,
    has_video_of: Option<String>,
    /// Time of the open cluster, in ticks.
    cluster: u64,
    /// Time of the latest picture, in ticks.
    last: u64,
    pictures: u64,
}

struct Video {
    number: u64,
    codec: String,
    width: u32,
    height: u32,
}

impl Facts {
    fn info(&mut self, body: &[u8]) -> Result<(), Invalid> {
        for part in parts(body) {
            match part? {
                (id::TICK_NS, value) => self.tick_ns = number(value),
                (id::DURATION, value) => self.duration = float(value),
                _ => {}
            }
        }
        Ok(())
    }

    fn tracks(&mut self, body: &[u8]) -> Result<(), Invalid> {
        for part in parts(body) {
            let (id, track) = part?;
            if id == id::TRACK && self.video.is_none() {
                self.track(track)?;
            }
        }
        Ok(())
    }

    fn track(&mut self, body: &[u8]) -> Result<(), Invalid> {
        let (mut kind, mut codec) = (0, String::new());
        let mut video = Video {
            number: 0,
            codec: String::new(),
            width: 0,
            height: 0,
        };
        for part in parts(body) {
            match part? {
                (id::TRACK_NUMBER, value) => video.number = number(value),
                (id::TRACK_TYPE, value) => kind = number(value),
                (id::CODEC, value) => codec = String::from_utf8_lossy(value).into_owned(),
                (id::VIDEO, value) => (video.width, video.height) = size(value)?,
                _ => {}
            }
        }
        if kind != 1 {
            return Ok(());
        }
        video.codec = match codec.as_str() {
            "V_VP8" => "vp8",
            "V_VP9" => "vp09",
            "V_AV1" => "av01",
            _ => {
                self.has_video_of = Some(codec);
                return Ok(());
            }
        }
        .into();
        self.video = Some(video);
        Ok(())
    }

    /// A block starts with its track's number and its time relative to its cluster.
    fn block(&mut self, start: &[u8]) {
        let Some((track, rest)) = small_vint(start) else {
            return;
        };
        let Some(time) = rest.first_chunk::<2>() else {
            return;
        };
        if self
            .video
            .as_ref()
            .is_some_and(|video| video.number == track)
        {
            self.pictures += 1;
            let time = self
                .cluster
                .saturating_add_signed(i16::from_be_bytes(*time).into());
            self.last = self.last.max(time);
        }
    }

    fn clip(self, bounds: &Bounds) -> Result<Clip, Invalid> {
        let video = match (self.video, self.has_video_of) {
            (Some(video), _) => video,
            (None, Some(codec)) => return Err(Invalid::Codec { codec }),
            (None, None) => return Err(Invalid::NoVideoTrack),
        };
        if self.pictures == 0 {
            return Err(Invalid::damaged("its video track is empty"));
        }
        // Browsers that record live leave the duration out.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "floats saturate"
        )]
        let ticks = if self.duration > 0.0 {
            self.duration as u64
        } else {
            self.last
        };
        let duration_ms = u128::from(ticks) * u128::from(self.tick_ns) / 1_000_000;
        let clip = Clip {
            kind: Kind::WEBM,
            codec: video.codec,
            width: video.width,
            height: video.height,
            duration_ms: u64::try_from(duration_ms).unwrap_or(u64::MAX),
            is_faststart: true,
        };
        check(&clip, bounds)?;
        Ok(clip)
    }
}

fn size(video: &[u8]) -> Result<(u32, u32), Invalid> {
    let (mut width, mut height) = (0, 0);
    for part in parts(video) {
        match part? {
            (id::WIDTH, value) => width = number(value),
            (id::HEIGHT, value) => height = number(value),
            _ => {}
        }
    }
    let side = |side: u64| u32::try_from(side).unwrap_or(u32::MAX);
    Ok((side(width), side(height)))
}

/// The elements in a body that was read into memory.
fn parts(mut rest: &[u8]) -> impl Iterator<Item = Result<(u32, &[u8]), Invalid>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let part = split(rest);
        rest = part.map_or(&[], |(_, _, rest)| rest);
        Some(match part {
            Some((id, body, _)) => Ok((id, body)),
            None => Err(Invalid::damaged(
                "one of its parts is larger than the part around it",
            )),
        })
    })
}

/// Id, body and what follows.
fn split(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let more = usize::try_from(bytes.first()?.leading_zeros())
        .ok()
        .filter(|more| *more < 4)?;
    let (id, rest) = bytes.split_at_checked(more + 1)?;
    let id = id
        .iter()
        .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    let (size, rest) = small_vint(rest)?;
    let (body, rest) = rest.split_at_checked(usize::try_from(size).ok()?)?;
    Some((id, body, rest))
}

/// A number that says its own length, without its marker.
fn small_vint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let more = usize::try_from(first.leading_zeros())
        .ok()
        .filter(|more| *more < 8)?;
    let (value, rest) = bytes.split_at_checked(more + 1)?;
    let value = value
        .iter()
        .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    Some((value & !(1 << (7 * (more + 1))), rest))
}

/// A big-endian number of up to eight bytes; 0 for anything else, as an absent one.
fn number(body: &[u8]) -> u64 {
    if body.len() > 8 {
        return 0;
    }
    body.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn float(body: &[u8]) -> f64 {
    if let Ok(bytes) = <[u8; 8]>::try_from(body) {
        return f64::from_be_bytes(bytes);
    }
    <[u8; 4]>::try_from(body).map_or(0.0, |bytes| f32::from_be_bytes(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::{number, parts, small_vint};

    #[test]
    fn numbers_that_say_their_length() {
        assert_eq!(small_vint(&[0x81, 9]), Some((1, &[9][..])));
        assert_eq!(small_vint(&[0x41, 0x02]), Some((0x102, &[][..])));
        assert_eq!(small_vint(&[0x40]), None);
        assert_eq!(small_vint(&[0]), None);
        assert_eq!(number(&[1, 0]), 256);
        assert_eq!(number(&[0xff; 9]), 0);
    }

    #[test]
    fn parts_in_order_until_one_lies() {
        let found: Vec<_> =
            parts(&[0xD7, 0x81, 5, 0x42, 0x86, 0x82, 1, 2, 0x83, 0x85, 1]).collect();
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], Ok((0xD7, &[5][..])));
        assert_eq!(found[1], Ok((0x4286, &[1, 2][..])));
        assert!(found[2].is_err());
    }
}
