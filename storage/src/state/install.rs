//! Replaces the whole state by a snapshot, in one step.
//!
//! Crash before the ingestion: the old state. After it: the new one. The note of what is durable
//! allows both while it is going on.
use std::fs::{self, File};

use bytes::Bytes;
use model::error::Fault;
use rocksdb::{IngestExternalFileOptions, WriteBatch};

use super::durable::Record;
use super::rocks::{Inner, fault, lock};
use super::shelf::Kept;
use super::{build, key, stream, view};

const PURPOSE: &str = "install";

pub(super) fn install(inner: &Inner, id: &str) -> Result<(), Fault> {
    let kept = inner.shelf.find(id)?;
    if !kept.take_checked() {
        verify(&kept)?;
    }
    let mut durable = lock(&inner.durable);
    let mut committed = lock(&inner.committed);
    let was_empty = committed.marker.is_empty();
    let record = Record {
        lineage: kept.manifest.lineage,
        commits: 0,
        marker: Bytes::copy_from_slice(&kept.manifest.marker),
    };
    let note = |error| fault("what is durable cannot be noted", &error);
    durable.allow(record.bound()).map_err(note)?;
    inner.begin_installing();
    let ingested = replace(inner, &kept);
    let after = ingested
        .as_ref()
        .map_or(committed.commits, |()| record.commits);
    inner.end_installing(committed.commits, after);
    ingested?;
    durable.raise(record.bound()).map_err(note)?;
    *committed = record;
    inner.forget_view();
    drop(committed);
    drop(durable);
    // Where nothing lay, the files cover nothing that could be dropped.
    if !was_empty {
        inner.compact_later();
    }
    Ok(())
}

fn replace(inner: &Inner, kept: &Kept) -> Result<(), Fault> {
    if plants::is(plants::INSTALL_IN_STEPS) {
        clear(inner)?;
    }
    ingest(inner, kept)
}

/// Empties the state: half of an installation in two steps.
fn clear(inner: &Inner) -> Result<(), Fault> {
    let state = view::state_of(&inner.db)?;
    let mut batch = WriteBatch::default();
    batch.delete_range_cf(&state, key::FIRST, key::END);
    inner
        .db
        .write(batch)
        .map_err(|error| fault("the state cannot be cleared", &error))
}

/// What lay on the disk for a while is not trusted again.
fn verify(kept: &Kept) -> Result<(), Fault> {
    let dir = &kept.path;
    for (number, expected) in kept.manifest.files.iter().enumerate() {
        let found = File::open(dir.join(stream::file_name(number)))
            .and_then(build::checksum)
            .map_err(|error| fault("the snapshot cannot be read", &error))?;
        if found != *expected {
            return Err(Fault(format!(
                "file {number} of snapshot {} is damaged",
                kept.info.id
            )));
        }
    }
    Ok(())
}

/// RocksDB takes the files for itself. It gets links, since the snapshot is still to be sent.
fn ingest(inner: &Inner, kept: &Kept) -> Result<(), Fault> {
    let links = inner.shelf.temporary(PURPOSE)?;
    let dir = &kept.path;
    let mut paths = Vec::new();
    for number in 0..kept.manifest.files.len() {
        let name = stream::file_name(number);
        let path = links.join(&name);
        fs::hard_link(dir.join(&name), &path)
            .map_err(|error| fault("the snapshot cannot be linked", &error))?;
        paths.push(path);
    }
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    options.set_snapshot_consistency(true);
    options.set_allow_global_seqno(true);
    options.set_allow_blocking_flush(true);
    let state = view::state_of(&inner.db)?;
    inner
        .db
        .ingest_external_file_cf_opts(&state, &options, paths)
        .map_err(|error| fault("the snapshot cannot be installed", &error))?;
    if let Err(error) = fs::remove_dir_all(&links) {
        tracing::warn!(%error, "a temporary directory stays for now");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::overlay::Changes;

    use super::*;
    use crate::owner::Owner;
    use crate::state::{Options, RocksState, StateStore as _};

    #[test]
    fn only_what_is_replaced_is_compacted() {
        let dir = tempfile::tempdir().unwrap();
        let owner = Owner {
            cluster_id: "test".to_owned(),
            node: 1,
            incarnation: [1; 16],
        };
        let make = |name: &str| {
            RocksState::create(&dir.path().join(name), &owner, Options::default()).unwrap()
        };
        let (source, newcomer) = (make("source"), make("newcomer"));
        let changes = Changes::from([(vec![1], Some(vec![2]))]);
        source.commit(changes, Bytes::from_static(b"one")).unwrap();
        let built = source.build_snapshot().unwrap();
        let mut sink = newcomer.receive_snapshot().unwrap();
        for chunk in source.snapshot_chunks(&built.id).unwrap() {
            sink.write(&chunk.unwrap()).unwrap();
        }
        sink.finish().unwrap();
        newcomer.install_snapshot(&built.id).unwrap();
        assert_eq!(newcomer.compactions(), 0);
        newcomer.install_snapshot(&built.id).unwrap();
        assert_eq!(newcomer.compactions(), 1);
    }
}
