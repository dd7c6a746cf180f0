//! MP4 and QuickTime: from boxes to the facts of a clip and the samples of its first picture.
//!
//! Our own reader, since no crate read both real files and hostile ones: re_mp4 0.5 panics on a
//! duration shorter than its samples (real files have that) and grows by a count in the header
//! (hostile ones have that). It stays as the oracle of our tests.
//!
//! `boxes` is the syntax, `outline` the top level of the file, `track` and `table` the index of a
//! plain file, `fragment` that of a fragmented one, `avc` the H.264 parts. Every list is walked in
//! place in the bytes of its box: nothing is allocated by a number that a file names.

mod avc;
mod boxes;
mod fragment;
#[cfg(test)]
mod oracle;
mod outline;
mod table;
mod track;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

pub(crate) use avc::Avc;
pub(crate) use track::Turn;

use self::boxes::children;
use self::fragment::Fragments;
use self::outline::Outline;
use self::table::Sample;
use self::track::Track;
use crate::clip::check;
use crate::{Bounds, Clip, Invalid, Kind};

/// A decoder may need some pictures after the key picture before it shows the first.
const FIRST_SAMPLES_MAX: usize = 16;

/// A checked file.
pub(crate) struct Movie {
    pub(crate) clip: Clip,
    /// How the decoded picture has to be turned.
    pub(crate) turn: Turn,
    /// The size to show before turning, `None` when the file names none that makes sense.
    pub(crate) shown: Option<(u32, u32)>,
    /// Set for H.264.
    pub(crate) avc: Option<Avc>,
    /// The first key picture and what follows it.
    first: Vec<Sample>,
}

/// Reads the index of a file, checks every sample's place, and returns what is in it.
pub(crate) fn read(file: &mut File, kind: Kind, bounds: &Bounds) -> Result<Movie, Invalid> {
    let outline = Outline::read(file, bounds)?;
    let moov = outline.moov(file, bounds)?;
    let tracks = tracks(&moov)?;
    let track = video(&tracks)?;

    let mut walk = Walk::new(track.id, outline.bytes, bounds);
    for track in &tracks {
        let samples = if track.is_video {
            track.table.samples()
        } else {
            track.table.pieces()
        };
        for sample in samples {
            walk.visit(track.id, sample?, 0)?;
        }
    }
    Fragments::new(&moov, &tracks)?.walk(file, &outline, &mut walk)?;
    if walk.pictures == 0 {
        return Err(Invalid::damaged("its video track is empty"));
    }
    if walk.first.is_empty() {
        return Err(Invalid::damaged("its video track has no key picture"));
    }

    let (width, height) = track.turned_size();
    let clip = Clip {
        kind,
        codec: track.codec()?,
        width,
        height,
        duration_ms: track.duration_ms(walk.duration),
        is_faststart: outline.is_faststart,
    };
    check(&clip, bounds)?;
    Ok(Movie {
        clip,
        turn: track.turn,
        shown: track.shown_size(),
        avc: track.avc()?,
        first: walk.first,
    })
}

impl Movie {
    /// Reads one sample of the beginning; `None` past the last that was kept.
    pub(crate) fn first_sample(
        &self,
        file: &mut File,
        number: usize,
    ) -> Result<Option<Vec<u8>>, Invalid> {
        /// A single H.264 picture; intra-only 8K stays below.
        const SAMPLE_BYTES_MAX: u64 = 16 << 20;
        let Some(sample) = self.first.get(number) else {
            return Ok(None);
        };
        Invalid::at_most("the size of a picture", sample.bytes, SAMPLE_BYTES_MAX)?;
        file.seek(SeekFrom::Start(sample.at))?;
        let mut bytes = Vec::new();
        file.by_ref().take(sample.bytes).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

fn tracks(moov: &[u8]) -> Result<Vec<Track<'_>>, Invalid> {
    const TRACKS_MAX: usize = 64;
    let mut tracks = Vec::new();
    for part in children(moov) {
        let (name, body) = part?;
        if name == *b"trak" {
            Invalid::at_most(
                "the number of tracks",
                tracks.len() as u64 + 1,
                TRACKS_MAX as u64,
            )?;
            tracks.extend(Track::parse(body)?);
        }
    }
    Ok(tracks)
}

/// The first video track that can be played; phones put cover art and depth maps beside it.
fn video<'t, 'a>(tracks: &'t [Track<'a>]) -> Result<&'t Track<'a>, Invalid> {
    let mut videos = tracks.iter().filter(|track| track.is_video);
    let first = videos.clone().next().ok_or(Invalid::NoVideoTrack)?;
    match videos.find(|track| track.codec().is_ok()) {
        Some(track) => Ok(track),
        None => first.codec().map(|_| first),
    }
}

/// Sees each sample of the file once.
struct Walk<'b> {
    video: u32,
    bytes: u64,
    bounds: &'b Bounds,
    samples: u64,
    pictures: u64,
    /// Sum over the fragments of the video track, in its timescale.
    duration: u64,
    first: Vec<Sample>,
}

impl<'b> Walk<'b> {
    fn new(video: u32, bytes: u64, bounds: &'b Bounds) -> Self {
        Self {
            video,
            bytes,
            bounds,
            samples: 0,
            pictures: 0,
            duration: 0,
            first: Vec::new(),
        }
    }

    fn visit(&mut self, track: u32, sample: Sample, duration: u64) -> Result<(), Invalid> {
        self.samples += 1;
        Invalid::at_most(
            "the number of samples",
            self.samples,
            self.bounds.samples_max,
        )?;
        let end = sample.at.checked_add(sample.bytes);
        if end.is_none_or(|end| end > self.bytes) {
            return Err(Invalid::SampleOutside {
                at: sample.at,
                bytes: self.bytes,
            });
        }
        if track != self.video {
            return Ok(());
        }
        self.pictures += 1;
        self.duration = self.duration.saturating_add(duration);
        let is_wanted = sample.is_key || !self.first.is_empty();
        if is_wanted && self.first.len() < FIRST_SAMPLES_MAX {
            self.first.push(sample);
        }
        Ok(())
    }
}
