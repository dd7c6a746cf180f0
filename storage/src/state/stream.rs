//! What a snapshot is made of, on disk and on the wire.
//!
//! ```text
//! stream: "yinsnap1" | manifest bytes u32 | crc32c of the manifest u32 | manifest | files, in order
//! disk:   manifest (the same frame, up to the files) beside 000000.sst, 000001.sst …
//! ```
use bytes::Bytes;
use model::error::Fault;
use serde::{Deserialize, Serialize};

use super::durable::Lineage;
use super::{SnapshotInfo, key};

pub(super) const MANIFEST: &str = "manifest";
const MAGIC: &[u8; 8] = b"yinsnap1";
/// Bytes before the manifest itself.
pub(super) const FIXED_BYTES: usize = 16;
/// More than this no manifest needs; a damaged length asks for no more.
const MANIFEST_BYTES_MAX: usize = 1 << 20;
const FORMAT: u32 = 1;

/// What a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    /// The lineage that begins with it; also its id.
    pub(super) lineage: Lineage,
    pub(super) marker: Vec<u8>,
    pub(super) files: Vec<Part>,
}

/// One of its files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) bytes: u64,
    pub(super) crc32c: u32,
}

impl Manifest {
    pub(super) fn new(lineage: Lineage, marker: &[u8], files: Vec<Part>) -> Manifest {
        Manifest {
            format: FORMAT,
            lineage,
            marker: marker.to_vec(),
            files,
        }
    }

    pub(super) fn id(&self) -> String {
        key::hex(&self.lineage)
    }

    /// The beginning of the stream.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Fault> {
        let body = postcard::to_stdvec(self)
            .map_err(|error| Fault(format!("a manifest cannot be written: {error}")))?;
        let bytes = u32::try_from(body.len())
            .ok()
            .filter(|_| body.len() <= MANIFEST_BYTES_MAX)
            .ok_or_else(|| Fault("a manifest is too long".to_owned()))?;
        let mut frame = Vec::with_capacity(FIXED_BYTES + body.len());
        frame.extend_from_slice(MAGIC);
        frame.extend_from_slice(&bytes.to_le_bytes());
        frame.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        frame.extend_from_slice(&body);
        Ok(frame)
    }

    /// Reads the beginning of a stream; `None` while there is not enough of it. Gives how many bytes
    /// were used.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<(Manifest, usize)>, Fault> {
        let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
            return Ok(None);
        };
        let number = |at: usize| {
            u32::from_le_bytes(fixed[at..at + 4].try_into().expect("four bytes were cut"))
        };
        let body_bytes = number(8) as usize;
        if !fixed.starts_with(MAGIC) || body_bytes > MANIFEST_BYTES_MAX {
            return Err(Fault("this is no snapshot".to_owned()));
        }
        let end = FIXED_BYTES + body_bytes;
        let Some(body) = bytes.get(FIXED_BYTES..end) else {
            return Ok(None);
        };
        if crc32c::crc32c(body) != number(12) {
            return Err(Fault("the manifest of the snapshot is damaged".to_owned()));
        }
        let manifest: Manifest = postcard::from_bytes(body)
            .map_err(|error| Fault(format!("the manifest cannot be read: {error}")))?;
        if manifest.format != FORMAT || manifest.files.is_empty() {
            return Err(Fault("the snapshot's format is not known here".to_owned()));
        }
        Ok(Some((manifest, end)))
    }

    pub(super) fn info(&self, frame_bytes: usize) -> SnapshotInfo {
        let files = self.files.iter().map(|file| file.bytes);
        SnapshotInfo {
            id: self.id(),
            marker: Bytes::copy_from_slice(&self.marker),
            bytes: files.fold(frame_bytes as u64, u64::saturating_add),
        }
    }
}

/// The name of the file with this number.
pub(super) fn file_name(number: usize) -> String {
    format!("{number:06}.sst")
}
