//! Takes in a snapshot's stream, checking it as it comes and syncing it while more comes.
use std::fs::File;
use std::io::{self, Write as _};
use std::thread::{self, JoinHandle};

use model::error::Fault;

use super::rocks::fault;
use super::shelf::{Draft, Shelf};
use super::stream::{self, Manifest, Part};
use super::{SnapshotInfo, SnapshotSink};

/// Written bytes after which a sync begins: what is left to be synced at the end is about as much.
const SYNC_BYTES: u64 = 16 << 20;

/// A snapshot on its way in.
pub(super) struct Sink {
    draft: Draft,
    /// The beginning of the stream, until there is enough of it.
    head: Vec<u8>,
    body: Option<Body>,
}

struct Body {
    manifest: Manifest,
    number: usize,
    file: Option<(File, Part)>,
    syncs: Syncs,
}

impl Sink {
    pub(super) fn new(shelf: Shelf) -> Result<Sink, Fault> {
        Ok(Sink {
            draft: shelf.draft()?,
            head: Vec::new(),
            body: None,
        })
    }
}

impl SnapshotSink for Sink {
    fn write(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        if let Some(body) = &mut self.body {
            return body.write(&self.draft, chunk);
        }
        self.head.extend_from_slice(chunk);
        let Some((manifest, used)) = Manifest::decode(&self.head)? else {
            return Ok(());
        };
        let head = std::mem::take(&mut self.head);
        let body = self.body.insert(Body {
            manifest,
            number: 0,
            file: None,
            syncs: Syncs::default(),
        });
        body.write(&self.draft, &head[used..])
    }

    fn finish(self: Box<Self>) -> Result<SnapshotInfo, Fault> {
        match self.body {
            Some(mut body) if body.number == body.manifest.files.len() => {
                body.syncs.end()?;
                self.draft.finish(body.manifest, true)
            }
            _ => Err(Fault("the snapshot ended too early".to_owned())),
        }
    }
}

impl Body {
    fn write(&mut self, draft: &Draft, mut chunk: &[u8]) -> Result<(), Fault> {
        loop {
            let Some(expected) = self.manifest.files.get(self.number).copied() else {
                return if chunk.is_empty() {
                    Ok(())
                } else {
                    Err(Fault(
                        "the snapshot does not end where it should".to_owned(),
                    ))
                };
            };
            let (file, part) = match &mut self.file {
                Some(file) => file,
                none => none.insert((begin_file(draft, self.number)?, Part::default())),
            };
            let left = usize::try_from(expected.bytes - part.bytes).unwrap_or(usize::MAX);
            let (mine, rest) = chunk.split_at(left.min(chunk.len()));
            file.write_all(mine)
                .map_err(|error| fault("the snapshot cannot be written", &error))?;
            part.bytes += mine.len() as u64;
            part.crc32c = crc32c::crc32c_append(part.crc32c, mine);
            if part.bytes < expected.bytes {
                return self.syncs.note(file, mine.len() as u64);
            }
            self.end_file(expected)?;
            chunk = rest;
        }
    }

    fn end_file(&mut self, expected: Part) -> Result<(), Fault> {
        let Some((file, part)) = self.file.take() else {
            return Ok(());
        };
        if part != expected {
            return Err(Fault(format!(
                "file {} of the snapshot came damaged",
                self.number
            )));
        }
        self.number += 1;
        self.syncs.begin(file)
    }
}

/// Syncs what was written, one sync at a time, on a thread of its own: the disk works while more is
/// on its way.
#[derive(Default)]
struct Syncs {
    /// Written since the last sync began.
    bytes: u64,
    under_way: Option<JoinHandle<io::Result<()>>>,
    /// Of the first that failed. The system tells that once, and a later sync would succeed.
    failure: Option<Fault>,
}

impl Syncs {
    /// `bytes` more were written to `file`.
    fn note(&mut self, file: &File, bytes: u64) -> Result<(), Fault> {
        self.bytes += bytes;
        if self.bytes < SYNC_BYTES {
            return Ok(());
        }
        match file.try_clone() {
            Ok(file) => self.begin(file),
            Err(error) => self.fail(&error),
        }
    }

    /// Waits for the sync before, so that a slow disk holds up who sends.
    fn begin(&mut self, file: File) -> Result<(), Fault> {
        self.end()?;
        self.bytes = 0;
        let thread = thread::Builder::new().name("snapshot-sync".to_owned());
        match thread.spawn(move || file.sync_all()) {
            Ok(under_way) => self.under_way = Some(under_way),
            Err(error) => self.fail(&error)?,
        }
        Ok(())
    }

    /// Waits until all that a sync was begun for is on the disk. Once one has failed, this does.
    fn end(&mut self) -> Result<(), Fault> {
        if let Some(under_way) = self.under_way.take() {
            let synced = under_way.join();
            let synced = synced.unwrap_or_else(|_| Err(io::Error::other("the sync panicked")));
            synced.or_else(|error| self.fail(&error))?;
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: &io::Error) -> Result<(), Fault> {
        let failure = fault("the snapshot cannot be synced", error);
        Err(self.failure.insert(failure).clone())
    }
}

fn begin_file(draft: &Draft, number: usize) -> Result<File, Fault> {
    File::create(draft.path().join(stream::file_name(number)))
        .map_err(|error| fault("the snapshot cannot be written", &error))
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    /// A pipe cannot be synced.
    fn pipe() -> (io::PipeReader, File) {
        let (reader, writer) = io::pipe().unwrap();
        (reader, File::from(OwnedFd::from(writer)))
    }

    #[test]
    fn much_is_synced_before_the_file_ends() {
        let file = tempfile::tempfile().unwrap();
        let mut syncs = Syncs::default();
        syncs.note(&file, SYNC_BYTES - 1).unwrap();
        assert!(syncs.under_way.is_none());
        syncs.note(&file, 1).unwrap();
        assert!(syncs.under_way.is_some());
        syncs.end().unwrap();
        syncs.note(&file, SYNC_BYTES - 1).unwrap();
        assert!(syncs.under_way.is_none(), "it counts anew");
    }

    #[test]
    fn a_sync_that_failed_is_told_from_then_on() {
        let mut syncs = Syncs::default();
        syncs.begin(pipe().1).unwrap();
        for _ in 0..2 {
            assert!(syncs.begin(tempfile::tempfile().unwrap()).is_err());
            assert!(syncs.end().is_err());
        }
    }

    #[test]
    fn a_snapshot_is_not_taken_before_all_of_it_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path().join("snapshots")).unwrap();
        let (_reader, file) = pipe();
        let whole = Part {
            bytes: 3,
            crc32c: crc32c::crc32c(b"abc"),
        };
        let sink = |file| Sink {
            draft: shelf.draft().unwrap(),
            head: Vec::new(),
            body: Some(Body {
                manifest: Manifest::new([1; 16], b"marker", vec![whole]),
                number: 0,
                file: Some((file, Part::default())),
                syncs: Syncs::default(),
            }),
        };
        let mut unsynced = sink(file);
        unsynced.write(b"abc").unwrap();
        assert!(Box::new(unsynced).finish().is_err());
        assert!(shelf.list().is_empty());
        let mut synced = sink(tempfile::tempfile().unwrap());
        synced.write(b"abc").unwrap();
        assert!(Box::new(synced).finish().is_ok());
        assert!((shelf.list().len() == 1));
    }
}
