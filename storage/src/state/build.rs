//! Writes a snapshot: sorted files, each of which first deletes the interval that it covers.
//!
//! The intervals tile the whole key space. So one ingestion of all files replaces whatever was
//! there before, and it is one atomic step of RocksDB.
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use model::error::Fault;
use rocksdb::{IteratorMode, ReadOptions, SstFileWriter, properties};
use sha2::{Digest as _, Sha256};

use super::durable::{Lineage, Record};
use super::rocks::{Inner, fault};
use super::stream::{self, Manifest, Part};
use super::view::{self, RocksView};
use super::{SnapshotInfo, key, options};

const READAHEAD_BYTES: usize = 2 << 20;
const COPY_BYTES: usize = 1 << 20;

/// So many pairs, a fraction of a millisecond, and it is asked whether the snapshot is wanted.
const ASK_EVERY: usize = 256;

/// Writes what `view` sees as a new snapshot, as long as it `is_wanted`.
pub(super) fn build(
    inner: &Inner,
    view: &RocksView,
    is_wanted: &dyn Fn() -> bool,
) -> Result<SnapshotInfo, Fault> {
    let draft = inner.shelf.draft()?;
    let record = view.record()?;
    let first = Record {
        lineage: lineage_after(&inner.owner.incarnation, &record),
        commits: 0,
        marker: record.marker,
    };
    let files = write_files(inner, view, &first, draft.path(), is_wanted)?;
    let manifest = Manifest::new(first.lineage, &first.marker, files);
    draft.finish(manifest, false)
}

/// Commits after a snapshot count anew, on whichever node: a name for that history, the same only
/// for the same contents.
fn lineage_after(incarnation: &[u8; 16], record: &Record) -> Lineage {
    let mut hash = Sha256::new();
    hash.update(incarnation);
    hash.update(record.encode());
    let hash: [u8; 32] = hash.finalize().into();
    *hash.first_chunk().expect("a hash is longer")
}

fn write_files(
    inner: &Inner,
    view: &RocksView,
    first: &Record,
    dir: &Path,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Vec<Part>, Fault> {
    let options = options::of_snapshot_files()?;
    let bytes_aim = file_bytes_aim(inner)?;
    let mut files = Vec::new();
    let mut begin = key::RECORD.to_vec();
    let mut writer = begin_file(&options, dir, files.len())?;
    put(&mut writer, key::RECORD, &first.encode())?;
    for (number, pair) in all_pairs(view).enumerate() {
        if number % ASK_EVERY == 0 && !is_wanted() {
            return Err(no_longer_wanted());
        }
        let (key, value) = pair.map_err(|error| fault("the state cannot be read", &error))?;
        if key::is_left_out(&key) {
            continue;
        }
        if writer.file_size() >= bytes_aim {
            end_file(writer, &begin, &key)?;
            files.push(settle_file(&dir.join(stream::file_name(files.len())))?);
            begin = key.to_vec();
            writer = begin_file(&options, dir, files.len())?;
        }
        put(&mut writer, &key, &value)?;
    }
    end_file(writer, &begin, key::END)?;
    files.push(settle_file(&dir.join(stream::file_name(files.len())))?);
    Ok(files)
}

/// Why a build ended early.
pub(super) fn no_longer_wanted() -> Fault {
    Fault("nobody wants the snapshot any more".to_owned())
}

/// Few files even of a large state: see [`options::SNAPSHOT_FILES`].
fn file_bytes_aim(inner: &Inner) -> Result<u64, Fault> {
    let state = view::state_of(&inner.db)?;
    let live = inner
        .db
        .property_int_value_cf(&state, properties::ESTIMATE_LIVE_DATA_SIZE)
        .map_err(|error| fault("the state's size is not known", &error))?
        .unwrap_or(0);
    let share = live / options::SNAPSHOT_FILES;
    Ok(share.max(inner.options.snapshot_file_bytes))
}

fn all_pairs(view: &RocksView) -> rocksdb::DBIteratorWithThreadMode<'_, rocksdb::DB> {
    let held = view.borrow_dependent();
    let mut options = ReadOptions::default();
    options.set_total_order_seek(true);
    options.set_iterate_upper_bound(key::END);
    options.fill_cache(false);
    options.set_readahead_size(READAHEAD_BYTES);
    let mode = IteratorMode::From(key::FIRST, rocksdb::Direction::Forward);
    held.snapshot.iterator_cf_opt(&held.state, options, mode)
}

fn begin_file<'a>(
    options: &'a rocksdb::Options,
    dir: &Path,
    number: usize,
) -> Result<SstFileWriter<'a>, Fault> {
    let writer = SstFileWriter::create(options);
    writer
        .open(dir.join(stream::file_name(number)))
        .map_err(|error| fault("the snapshot cannot be written", &error))?;
    Ok(writer)
}

fn put(writer: &mut SstFileWriter<'_>, key: &[u8], value: &[u8]) -> Result<(), Fault> {
    writer
        .put(key, value)
        .map_err(|error| fault("the snapshot cannot be written", &error))
}

fn end_file(mut writer: SstFileWriter<'_>, begin: &[u8], end: &[u8]) -> Result<(), Fault> {
    writer
        .delete_range(begin, end)
        .and_then(|()| writer.finish())
        .map_err(|error| fault("the snapshot cannot be written", &error))
}

/// Syncs a file and takes its size and checksum.
fn settle_file(path: &Path) -> Result<Part, Fault> {
    let settle = || {
        let file = File::open(path)?;
        file.sync_all()?;
        checksum(file)
    };
    settle().map_err(|error: io::Error| fault("the snapshot cannot be synced", &error))
}

/// Size and checksum of a file.
pub(super) fn checksum(mut file: File) -> io::Result<Part> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut part = Part::default();
    loop {
        let bytes = file.read(&mut buffer)?;
        if bytes == 0 {
            return Ok(part);
        }
        part.bytes += bytes as u64;
        part.crc32c = crc32c::crc32c_append(part.crc32c, &buffer[..bytes]);
    }
}
