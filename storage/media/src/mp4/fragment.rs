//! Fragmented files: samples in `moof` boxes along the file instead of one index.

use std::collections::BTreeMap;
use std::fs::File;

use super::Walk;
use super::boxes::{Cursor, child, children, needed};
use super::outline::{Outline, body};
use super::table::Sample;
use super::track::Track;
use crate::Invalid;

/// Flags of `tfhd`.
const BASE_OFFSET: u32 = 0x01;
const DESCRIPTION: u32 = 0x02;
const DEFAULT_DURATION: u32 = 0x08;
const DEFAULT_SIZE: u32 = 0x10;
const DEFAULT_FLAGS: u32 = 0x20;
const BASE_IS_MOOF: u32 = 0x02_0000;

/// Flags of `trun`.
const DATA_OFFSET: u32 = 0x001;
const FIRST_FLAGS: u32 = 0x004;
const DURATIONS: u32 = 0x100;
const SIZES: u32 = 0x200;
const FLAGS: u32 = 0x400;
const COMPOSITION: u32 = 0x800;

/// In a sample's flags: it needs others to be decoded.
const IS_NOT_KEY: u32 = 0x0001_0000;

/// What a sample is when its run does not say.
#[derive(Clone, Copy, Default)]
struct Defaults {
    duration: u32,
    bytes: u32,
    flags: u32,
}

/// The tracks' defaults.
pub(super) struct Fragments {
    tracks: BTreeMap<u32, Defaults>,
}

impl Fragments {
    pub(super) fn new(moov: &[u8], tracks: &[Track<'_>]) -> Result<Self, Invalid> {
        let mut tracks: BTreeMap<_, _> = tracks
            .iter()
            .map(|track| (track.id, Defaults::default()))
            .collect();
        for part in children(child(moov, b"mvex")?.unwrap_or_default()) {
            let (name, trex) = part?;
            if name != *b"trex" {
                continue;
            }
            let mut cursor = Cursor::new(trex);
            cursor.version_and_flags()?;
            let track = cursor.u32()?;
            cursor.u32()?;
            let defaults = Defaults {
                duration: cursor.u32()?,
                bytes: cursor.u32()?,
                flags: cursor.u32()?,
            };
            if let Some(known) = tracks.get_mut(&track) {
                *known = defaults;
            }
        }
        Ok(Self { tracks })
    }

    /// Shows every sample of every fragment to the walk.
    pub(super) fn walk(
        &self,
        file: &mut File,
        outline: &Outline,
        walk: &mut Walk<'_>,
    ) -> Result<(), Invalid> {
        for (start, range) in &outline.moofs {
            let moof = body(file, range)?;
            // Where the data of a track begins if it does not say: behind that of the track before.
            let mut next = *start;
            for part in children(&moof) {
                let (name, traf) = part?;
                if name == *b"traf" {
                    next = self.track(traf, *start, next, walk)?;
                }
            }
        }
        Ok(())
    }

    /// One track of a fragment; returns where its data ends.
    fn track(
        &self,
        traf: &[u8],
        moof: u64,
        next: u64,
        walk: &mut Walk<'_>,
    ) -> Result<u64, Invalid> {
        let mut tfhd = Cursor::new(needed(traf, b"tfhd")?);
        let (_, flags) = tfhd.version_and_flags()?;
        let track = tfhd.u32()?;
        // Tracks that are neither picture nor sound do not count, but their bytes come in between.
        let mut defaults = self.tracks.get(&track).copied().unwrap_or_default();
        let base = match flags {
            flags if flags & BASE_OFFSET != 0 => tfhd.u64()?,
            flags if flags & BASE_IS_MOOF != 0 => moof,
            _ => next,
        };
        if flags & DESCRIPTION != 0 {
            tfhd.u32()?;
        }
        for (flag, field) in [
            (DEFAULT_DURATION, &mut defaults.duration),
            (DEFAULT_SIZE, &mut defaults.bytes),
            (DEFAULT_FLAGS, &mut defaults.flags),
        ] {
            if flags & flag != 0 {
                *field = tfhd.u32()?;
            }
        }
        let mut at = base;
        for part in children(traf) {
            let (name, trun) = part?;
            if name == *b"trun" {
                at = run(trun, track, defaults, base, at, walk)?;
            }
        }
        Ok(at)
    }
}

/// One run of samples; returns where its data ends.
fn run(
    trun: &[u8],
    track: u32,
    defaults: Defaults,
    base: u64,
    next: u64,
    walk: &mut Walk<'_>,
) -> Result<u64, Invalid> {
    let mut cursor = Cursor::new(trun);
    let (_, flags) = cursor.version_and_flags()?;
    let samples = cursor.u32()?;
    let mut at = next;
    if flags & DATA_OFFSET != 0 {
        let offset = cursor.i32()?;
        at = base
            .checked_add_signed(offset.into())
            .ok_or_else(|| Invalid::damaged("a fragment begins before the file"))?;
    }
    let first_flags = if flags & FIRST_FLAGS != 0 {
        Some(cursor.u32()?)
    } else {
        None
    };
    // The count may lie, and a run without lists costs it nothing: the walk refuses too many.
    for number in 0..samples {
        let mut sample = defaults;
        if flags & DURATIONS != 0 {
            sample.duration = cursor.u32()?;
        }
        if flags & SIZES != 0 {
            sample.bytes = cursor.u32()?;
        }
        if flags & FLAGS != 0 {
            sample.flags = cursor.u32()?;
        } else if let (0, Some(first)) = (number, first_flags) {
            sample.flags = first;
        }
        if flags & COMPOSITION != 0 {
            cursor.u32()?;
        }
        let is_key = sample.flags & IS_NOT_KEY == 0;
        let bytes = u64::from(sample.bytes);
        walk.visit(track, Sample { at, bytes, is_key }, sample.duration.into())?;
        at = at.saturating_add(bytes);
    }
    Ok(at)
}
