//! Gives a snapshot as a stream of chunks.
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use model::error::Fault;

use super::rocks::fault;
use super::shelf::Kept;
use super::stream;

const CHUNK_BYTES_MAX: usize = 1 << 20;

/// The stream of one snapshot, which stays as long as this does.
pub(super) struct Chunks {
    kept: Arc<Kept>,
    head: Bytes,
    /// Files that are not sent yet, the next one last. All are open from the beginning, so that it
    /// does not matter what becomes of their names.
    files: Vec<(File, u64)>,
}

impl Chunks {
    pub(super) fn of(kept: Arc<Kept>) -> Result<Chunks, Fault> {
        let dir = &kept.path;
        let parts = kept.manifest.files.iter().enumerate().rev();
        let files = parts.map(|(number, part)| {
            File::open(dir.join(stream::file_name(number))).map(|file| (file, part.bytes))
        });
        let files: Result<Vec<_>, _> = files.collect();
        Ok(Chunks {
            head: kept.manifest.encode()?.into(),
            files: files.map_err(|error| fault("the snapshot cannot be opened", &error))?,
            kept,
        })
    }

    fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        if !self.head.is_empty() {
            let bytes = self.head.len().min(CHUNK_BYTES_MAX);
            return Ok(Some(self.head.split_to(bytes)));
        }
        let Some((file, left)) = self.files.last_mut() else {
            return Ok(None);
        };
        let bytes =
            usize::try_from(*left).map_or(CHUNK_BYTES_MAX, |left| left.min(CHUNK_BYTES_MAX));
        let mut chunk = vec![0; bytes];
        file.read_exact(&mut chunk).map_err(|error| {
            let what = format!("the snapshot {} cannot be read", self.kept.info.id);
            fault(&what, &error)
        })?;
        *left -= bytes as u64;
        if *left == 0 {
            self.files.pop();
        }
        Ok(Some(chunk.into()))
    }
}

impl Iterator for Chunks {
    type Item = Result<Bytes, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.chunk();
        if chunk.is_err() {
            self.files.clear();
        }
        chunk.transpose()
    }
}
