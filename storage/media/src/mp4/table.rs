//! The sample table of a track: where each sample is, computed from five lists that stay packed.

use super::boxes::{Cursor, child, list, needed, word};
use crate::Invalid;

/// A picture, or a piece of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Offset in the file.
    pub(super) at: u64,
    pub(super) bytes: u64,
    /// It can be decoded without any other.
    pub(super) is_key: bool,
}

/// The lists of `stbl`. In a fragmented file they are empty.
pub(super) struct Table<'a> {
    samples: u32,
    sizes: Sizes<'a>,
    chunks: Chunks<'a>,
    /// Records of (first chunk from 1, samples a chunk, description).
    runs: &'a [u8],
    /// Numbers of the key samples from 1; without the list every sample is one.
    keys: Option<&'a [u8]>,
    /// Records of (samples, duration of each).
    times: &'a [u8],
}

enum Sizes<'a> {
    Same(u32),
    Each(&'a [u8]),
}

#[derive(Clone, Copy)]
enum Chunks<'a> {
    Short(&'a [u8]),
    Long(&'a [u8]),
}

impl Chunks<'_> {
    fn at(self, number: usize) -> Option<u64> {
        match self {
            Chunks::Short(list) => word(list, number).map(u64::from),
            Chunks::Long(list) => {
                let (high, low) = (word(list, number * 2)?, word(list, number * 2 + 1)?);
                Some(u64::from(high) << 32 | u64::from(low))
            }
        }
    }
}

const RUN_BYTES: usize = 12;
const TIME_BYTES: usize = 8;

impl<'a> Table<'a> {
    pub(super) fn parse(stbl: &'a [u8]) -> Result<Self, Invalid> {
        let Some(stsz) = child(stbl, b"stsz")? else {
            return Err(Invalid::damaged(
                "it does not say how large its samples are",
            ));
        };
        let mut stsz = Cursor::new(stsz);
        stsz.version_and_flags()?;
        let same = stsz.u32()?;
        let (samples, sizes) = if same > 0 {
            (stsz.u32()?, Sizes::Same(same))
        } else {
            let each = list(&mut stsz, 4)?;
            (
                u32::try_from(each.len() / 4).unwrap_or(u32::MAX),
                Sizes::Each(each),
            )
        };
        let chunks = match child(stbl, b"co64")? {
            Some(body) => Chunks::Long(records(body, 8)?),
            None => Chunks::Short(records(needed(stbl, b"stco")?, 4)?),
        };
        let runs = records(needed(stbl, b"stsc")?, RUN_BYTES)?;
        let keys = child(stbl, b"stss")?
            .map(|body| records(body, 4))
            .transpose()?;
        let times = records(needed(stbl, b"stts")?, TIME_BYTES)?;
        Ok(Self {
            samples,
            sizes,
            chunks,
            runs,
            keys,
            times,
        })
    }

    /// Sum of the durations of all samples, in the track's timescale.
    pub(super) fn duration(&self) -> u64 {
        let words = |at: usize| word(self.times, at).map_or(0, u64::from);
        (0..self.times.len() / TIME_BYTES)
            .map(|number| words(number * 2).saturating_mul(words(number * 2 + 1)))
            .fold(0, u64::saturating_add)
    }

    /// Each sample in decoding order. Every step uses up an entry of a list or a sample, so the
    /// walk is as long as the index is large or the caller's limit allows, whatever the numbers say.
    pub(super) fn samples(&self) -> Samples<'_> {
        Samples {
            table: self,
            is_whole_chunks: false,
            number: 0,
            chunk: 0,
            run: 0,
            left: 0,
            at: 0,
            key: 0,
        }
    }

    /// Like [`Table::samples`], with the samples of a chunk as one where all have the same size:
    /// plain sound has one sample for each of its 48,000 ticks a second.
    pub(super) fn pieces(&self) -> Samples<'_> {
        Samples {
            is_whole_chunks: matches!(self.sizes, Sizes::Same(_)),
            ..self.samples()
        }
    }

    fn bytes_of(&self, sample: u32) -> Option<u64> {
        match self.sizes {
            Sizes::Same(bytes) => Some(bytes.into()),
            Sizes::Each(list) => word(list, usize::try_from(sample).ok()?).map(u64::from),
        }
    }
}

fn records(body: &[u8], record: usize) -> Result<&[u8], Invalid> {
    let mut cursor = Cursor::new(body);
    cursor.version_and_flags()?;
    list(&mut cursor, record)
}

pub(super) struct Samples<'t> {
    table: &'t Table<'t>,
    is_whole_chunks: bool,
    number: u32,
    /// Chunks opened so far.
    chunk: usize,
    /// The run of chunks that the open one belongs to.
    run: usize,
    /// Samples left in the open chunk.
    left: u32,
    at: u64,
    /// Key samples passed so far.
    key: usize,
}

impl Iterator for Samples<'_> {
    type Item = Result<Sample, Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.number >= self.table.samples {
            return None;
        }
        let sample = self.sample();
        if sample.is_none() {
            // An error ends the walk.
            self.number = self.table.samples;
        }
        Some(
            sample.ok_or_else(|| {
                Invalid::damaged("its index names samples in parts that are not there")
            }),
        )
    }
}

impl Samples<'_> {
    fn sample(&mut self) -> Option<Sample> {
        while self.left == 0 {
            self.at = self.table.chunks.at(self.chunk)?;
            self.chunk += 1;
            self.left = self.samples_in_chunk()?;
        }
        let samples = if self.is_whole_chunks {
            self.left.min(self.table.samples - self.number)
        } else {
            1
        };
        let bytes = self
            .table
            .bytes_of(self.number)?
            .checked_mul(samples.into())?;
        let sample = Sample {
            at: self.at,
            bytes,
            is_key: self.is_key(),
        };
        self.number += samples;
        self.left -= samples;
        self.at = self.at.checked_add(bytes)?;
        Some(sample)
    }

    /// How many samples the chunk that was just opened has.
    fn samples_in_chunk(&mut self) -> Option<u32> {
        let first_chunk = |run: usize| {
            word(self.table.runs, run * 3).and_then(|chunk| usize::try_from(chunk).ok())
        };
        while first_chunk(self.run + 1).is_some_and(|first| first <= self.chunk) {
            self.run += 1;
        }
        word(self.table.runs, self.run * 3 + 1)
    }

    fn is_key(&mut self) -> bool {
        let Some(keys) = self.table.keys else {
            return true;
        };
        while word(keys, self.key).is_some_and(|key| key <= self.number) {
            self.key += 1;
        }
        word(keys, self.key) == self.number.checked_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunks, Sample, Sizes, Table};

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn samples_follow_chunks_runs_and_keys() {
        let (sizes, chunks) = (words(&[10, 20, 30, 40, 50]), words(&[100, 500, 900]));
        let (runs, keys, times) = (
            words(&[1, 2, 1, 3, 1, 1]),
            words(&[1, 4]),
            words(&[4, 100, 1, 50]),
        );
        let table = Table {
            samples: 5,
            sizes: Sizes::Each(&sizes),
            chunks: Chunks::Short(&chunks),
            runs: &runs,
            keys: Some(&keys),
            times: &times,
        };
        let found: Vec<_> = table.samples().map(Result::unwrap).collect();
        let sample = |at, bytes, is_key| Sample { at, bytes, is_key };
        assert_eq!(
            found,
            [
                sample(100, 10, true),
                sample(110, 20, false),
                sample(500, 30, false),
                sample(530, 40, true),
                sample(900, 50, false),
            ]
        );
        assert_eq!(table.duration(), 450);
    }

    #[test]
    fn a_count_that_lies_ends_in_one_error() {
        let (chunks, runs) = (words(&[100]), words(&[1, 3, 1]));
        let table = Table {
            samples: u32::MAX,
            sizes: Sizes::Same(1),
            chunks: Chunks::Short(&chunks),
            runs: &runs,
            keys: None,
            times: &[],
        };
        let found: Vec<_> = table.samples().collect();
        assert_eq!(found.len(), 4);
        assert!(found[..3].iter().all(Result::is_ok));
        assert!(found[3].is_err());
    }

    #[test]
    fn plain_sound_is_walked_by_the_chunk() {
        let (chunks, runs) = (words(&[100, 5_000_000]), words(&[1, 1_000_000, 1]));
        let table = Table {
            samples: 1_500_000,
            sizes: Sizes::Same(4),
            chunks: Chunks::Short(&chunks),
            runs: &runs,
            keys: None,
            times: &[],
        };
        let found: Vec<_> = table
            .pieces()
            .map(Result::unwrap)
            .map(|piece| (piece.at, piece.bytes))
            .collect();
        assert_eq!(found, [(100, 4_000_000), (5_000_000, 2_000_000)]);
    }

    #[test]
    fn empty_chunks_and_missing_runs_end() {
        let (chunks, runs) = (words(&[1, 2, 3]), words(&[1, 0, 1]));
        for runs in [&runs[..], &[]] {
            let table = Table {
                samples: 1,
                sizes: Sizes::Same(1),
                chunks: Chunks::Short(&chunks),
                runs,
                keys: None,
                times: &[],
            };
            let found: Vec<_> = table.samples().collect();
            assert_eq!(found.len(), 1);
            assert!(found[0].is_err());
        }
    }
}
