//! Takes in a snapshot's stream, checking it as it comes.
use std::fs::File;
use std::io::Write as _;

use model::error::Fault;

use super::rocks::fault;
use super::shelf::{Draft, Shelf};
use super::stream::{self, Manifest, Part};
use super::{SnapshotInfo, SnapshotSink};

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
        });
        body.write(&self.draft, &head[used..])
    }

    fn finish(self: Box<Self>) -> Result<SnapshotInfo, Fault> {
        match self.body {
            Some(body) if body.number == body.manifest.files.len() => {
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
                return Ok(());
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
        file.sync_all()
            .map_err(|error| fault("the snapshot cannot be synced", &error))?;
        self.number += 1;
        Ok(())
    }
}

fn begin_file(draft: &Draft, number: usize) -> Result<File, Fault> {
    File::create(draft.path().join(stream::file_name(number)))
        .map_err(|error| fault("the snapshot cannot be written", &error))
}
