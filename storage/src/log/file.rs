//! One segment file: its header, its making, its names.
//!
//! ```text
//! "yinlog01" | format u32 | head bytes u32 | postcard (Header) | 0 … | crc32c u32 at the page's end
//! frames from 4096 on
//! ```
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::frame::{self, ALIGN, Batch, Kind};
use crate::owner::Owner;

/// Where the frames begin.
pub(super) const HEADER_BYTES: usize = 4096;
const MAGIC: &[u8; 8] = b"yinlog01";
const FORMAT: u32 = 1;
const SUFFIX: &str = ".segment";
/// A file that becomes the next segment.
pub(super) const SPARE: &str = "spare";
/// A file that becomes the next segment when the spare one is too small or not there.
pub(super) const ROLLING: &str = "rolling";
const ZEROS_BYTES: usize = 1 << 20;
/// Zeros are synced in such portions, so that the log's own syncs never wait behind all of them.
const ZEROS_SYNC_BYTES: u64 = 4 << 20;

/// What the header of a segment says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) sequence: u64,
    /// Where the frames of the segment before end; 0 when there was none.
    pub(super) previous_end: u64,
    pub(super) owner: Owner,
}

/// The payload of a segment's first frame: what holds when it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The oldest segment that is still needed.
    pub(super) base: u64,
    pub(super) next: Option<u64>,
    pub(super) purged: Option<(u64, Vec<u8>)>,
    pub(super) vote: Option<Vec<u8>>,
    pub(super) committed: Option<Vec<u8>>,
}

/// A header that does not verify.
#[derive(Debug)]
pub(super) struct BadHeader;

/// Reads a header page.
pub(super) fn read_header(bytes: &[u8]) -> Result<Header, BadHeader> {
    let page = bytes.get(..HEADER_BYTES).ok_or(BadHeader)?;
    let (body, sum) = page.split_at(HEADER_BYTES - 4);
    if crc32c::crc32c(body).to_le_bytes() != sum || !body.starts_with(MAGIC) {
        return Err(BadHeader);
    }
    if body[8..12] != FORMAT.to_le_bytes() {
        return Err(BadHeader);
    }
    postcard::take_from_bytes(&body[16..])
        .map(|(header, _)| header)
        .map_err(|_| BadHeader)
}

fn write_header(header: &Header) -> io::Result<Vec<u8>> {
    let encoded = postcard::to_stdvec(header).map_err(io::Error::other)?;
    if 16 + encoded.len() + 4 > HEADER_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the cluster id is too long",
        ));
    }
    let mut page = vec![0; HEADER_BYTES];
    page[..8].copy_from_slice(MAGIC);
    page[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    let encoded_bytes = u32::try_from(encoded.len()).expect("it fits into a page");
    page[12..16].copy_from_slice(&encoded_bytes.to_le_bytes());
    page[16..16 + encoded.len()].copy_from_slice(&encoded);
    let sum = crc32c::crc32c(&page[..HEADER_BYTES - 4]);
    page[HEADER_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
    Ok(page)
}

/// The bytes of a head frame, ready to write behind the header.
pub(super) fn head_batch(head: &Head, sequence: u64) -> io::Result<Vec<u8>> {
    let payload = postcard::to_stdvec(head).map_err(io::Error::other)?;
    let mut batch = Batch::new(Vec::new(), sequence, HEADER_BYTES as u64, 1);
    batch.push(Kind::Head, 0, &payload);
    batch.seal();
    Ok(batch.into_buffer())
}

/// How long a segment must be at least to hold one such payload behind such a head.
pub(super) fn bytes_needed(head_bytes: usize, payload_bytes: usize) -> u64 {
    (HEADER_BYTES + head_bytes + frame::frame_bytes(payload_bytes)).next_multiple_of(HEADER_BYTES)
        as u64
}

/// Turns a prepared file into segment `header.sequence`: durable, and only then under its name.
pub(super) fn activate(
    dir: &Path,
    prepared: &Path,
    file: &File,
    header: &Header,
    head_batch: &[u8],
) -> io::Result<()> {
    let mut start = write_header(header)?;
    start.extend_from_slice(head_batch);
    file.write_all_at(&start, 0)?;
    file.sync_data()?;
    fs::rename(prepared, segment_path(dir, header.sequence))?;
    sync_dir(dir)
}

/// Makes a file of really written zeros: later writes to it change no metadata.
pub(super) fn prepare(path: &Path, bytes: u64) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    write_zeros(&file, 0, bytes)?;
    file.sync_all()?;
    Ok(file)
}

pub(super) fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut at = from;
    let mut unsynced = 0;
    while at < to {
        let bytes = (to - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..usize::try_from(bytes).unwrap_or(ZEROS_BYTES)], at)?;
        at += bytes;
        unsynced += bytes;
        if unsynced >= ZEROS_SYNC_BYTES {
            file.sync_data()?;
            unsynced = 0;
        }
    }
    file.sync_data()
}

pub(super) fn segment_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:020}{SUFFIX}"))
}

/// The sequence numbers of the segments in `dir`, rising.
pub(super) fn list_segments(dir: &Path) -> io::Result<Vec<u64>> {
    let mut sequences = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let sequence = name
            .to_str()
            .and_then(|name| name.strip_suffix(SUFFIX))
            .and_then(|number| number.parse::<u64>().ok());
        sequences.extend(sequence);
    }
    sequences.sort_unstable();
    Ok(sequences)
}

/// Removes a file that need not be there.
pub(super) fn remove_if_present(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

const _: () = assert!(HEADER_BYTES.is_multiple_of(ALIGN));
