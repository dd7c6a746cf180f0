//! What a video is, and why a file is not one: the question and its answers.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sniff::{Kind, SNIFF_BYTES, sniff};
use crate::{mp4, webm};

/// What a player and a feed need to know of a video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clip {
    pub kind: Kind,
    /// As RFC 6381 writes it where the file tells enough (`avc1.64001f`), else its short name
    /// (`hvc1`, `vp09`, `av01`, `vp8`).
    pub codec: String,
    /// Pixels as shown, after rotation.
    pub width: u32,
    /// Pixels as shown, after rotation.
    pub height: u32,
    pub duration_ms: u64,
    /// Whether a player can begin before it has the end of the file.
    pub is_faststart: bool,
}

/// Where a file stops being a video and starts being an attack.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The index of a video (`moov`, all `moof` together, WebM's `Tracks`) is read into memory.
    pub index_bytes_max: u64,
    /// Pictures and pieces of sound; walking them is what costs time.
    pub samples_max: u64,
    /// Boxes or elements at the top of the file.
    pub parts_max: u64,
    /// Width and height in pixels.
    pub side_px_max: u32,
    pub duration_ms_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            index_bytes_max: 32 << 20,
            samples_max: 4_000_000,
            parts_max: 1_000_000,
            side_px_max: 8192,
            duration_ms_max: 24 * 60 * 60 * 1000,
        }
    }
}

/// Why a file is refused, in words that its sender can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invalid {
    #[error("this is not a video: send MP4, MOV or WebM")]
    NotVideo,
    #[error(
        "the file is cut off: it has {bytes} bytes, but a part of it reaches to byte {needs}; send it again"
    )]
    Truncated { needs: u64, bytes: u64 },
    #[error("there is no picture in this file: it has no video track")]
    NoVideoTrack,
    #[error(
        "its pictures are {codec}, which phones and browsers do not play: use H.264, H.265, VP8, VP9 or AV1"
    )]
    Codec { codec: String },
    #[error(
        "the file is damaged: a piece of its content at byte {at} would end beyond its last byte {bytes}"
    )]
    SampleOutside { at: u64, bytes: u64 },
    #[error("too much: {what} is {found}, at most {limit} is allowed")]
    TooMuch {
        what: String,
        found: u64,
        limit: u64,
    },
    #[error("the file is damaged: {why}")]
    Damaged { why: String },
    /// Our disk, not the file.
    #[error("the file can't be read: {why}")]
    Unreadable { why: String },
}

impl Invalid {
    pub(crate) fn damaged(why: impl Into<String>) -> Self {
        Invalid::Damaged { why: why.into() }
    }

    /// Refuses what is above its limit.
    pub(crate) fn at_most(what: &str, found: u64, limit: u64) -> Result<(), Invalid> {
        if found > limit {
            return Err(Invalid::TooMuch {
                what: what.into(),
                found,
                limit,
            });
        }
        Ok(())
    }
}

impl From<std::io::Error> for Invalid {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            // Lengths are checked before reads, so the file shrank under us.
            ErrorKind::UnexpectedEof => Invalid::damaged("it ends in the middle of a header"),
            _ => Invalid::Unreadable {
                why: error.to_string(),
            },
        }
    }
}

/// Reads the facts of a video file and checks that it is whole, with default [`Bounds`].
///
/// Reads headers and indexes only: memory and time do not grow with the pictures. Blocking.
pub fn inspect(path: &Path) -> Result<Clip, Invalid> {
    inspect_file(&mut File::open(path)?, &Bounds::default())
}

/// [`inspect`] of an open file.
pub fn inspect_file(file: &mut File, bounds: &Bounds) -> Result<Clip, Invalid> {
    match kind_of(file)? {
        kind if kind == Kind::WEBM => webm::inspect(file, bounds),
        kind => mp4::read(file, kind, bounds).map(|movie| movie.clip),
    }
}

/// Sniffs an open file and leaves it at its start.
pub(crate) fn kind_of(file: &mut File) -> Result<Kind, Invalid> {
    let mut first = Vec::with_capacity(SNIFF_BYTES);
    file.seek(SeekFrom::Start(0))?;
    file.by_ref()
        .take(SNIFF_BYTES as u64)
        .read_to_end(&mut first)?;
    file.seek(SeekFrom::Start(0))?;
    sniff(&first).ok_or(Invalid::NotVideo)
}

/// Checks what every container must keep to.
pub(crate) fn check(clip: &Clip, bounds: &Bounds) -> Result<(), Invalid> {
    if clip.width == 0 || clip.height == 0 {
        return Err(Invalid::damaged("its pictures have no size"));
    }
    Invalid::at_most("the width", clip.width.into(), bounds.side_px_max.into())?;
    Invalid::at_most("the height", clip.height.into(), bounds.side_px_max.into())?;
    Invalid::at_most(
        "the duration in ms",
        clip.duration_ms,
        bounds.duration_ms_max,
    )
}
