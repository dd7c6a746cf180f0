//! The note of how far the log was synced: written after each sync, without a sync of its own.
//!
//! After a `kill -9` it is exact. After a power cut it may be old: then it is a lower bound. What is
//! missing before it was once on disk and is damage; what is missing after it may be a torn tail.
//! Two slots are written in turn, so that no torn write leaves none.
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const NAME: &str = "synced";
/// The slots lie in different sectors.
const SLOT_STRIDE: u64 = 4096;
const SLOT_BYTES: usize = 28;

/// A place in the log, in the order of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// The open file of the note.
#[derive(Debug)]
pub(super) struct SyncedNote {
    file: File,
    turn: u64,
}

impl SyncedNote {
    /// Makes the file, durable but for its name (the directory is synced by the caller).
    pub(super) fn create(dir: &Path) -> io::Result<SyncedNote> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(dir.join(NAME))?;
        let mut note = SyncedNote { file, turn: 0 };
        let start = Position {
            segment: 0,
            offset: 0,
        };
        note.write(start)?;
        note.write(start)?;
        note.file.sync_all()?;
        Ok(note)
    }

    pub(super) fn is_in(dir: &Path) -> bool {
        dir.join(NAME).exists()
    }

    /// Opens the file and reads it; `None` when there is no slot that verifies.
    pub(super) fn open(dir: &Path) -> io::Result<(SyncedNote, Option<Position>)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(dir.join(NAME))?;
        let newest = [0, 1]
            .into_iter()
            .filter_map(|slot| read_slot(&file, slot))
            .max();
        let (turn, position) = newest.unzip();
        let note = SyncedNote {
            file,
            turn: turn.map_or(0, |turn| turn + 1),
        };
        Ok((note, position))
    }

    /// What the note in a directory says, if there is one that verifies.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Position>> {
        if !SyncedNote::is_in(dir) {
            return Ok(None);
        }
        SyncedNote::open(dir).map(|(_, position)| position)
    }

    pub(super) fn write(&mut self, position: Position) -> io::Result<()> {
        let mut slot = [0; SLOT_BYTES];
        slot[..8].copy_from_slice(&self.turn.to_le_bytes());
        slot[8..16].copy_from_slice(&position.segment.to_le_bytes());
        slot[16..24].copy_from_slice(&position.offset.to_le_bytes());
        let sum = crc32c::crc32c(&slot[..24]);
        slot[24..].copy_from_slice(&sum.to_le_bytes());
        self.file
            .write_all_at(&slot, (self.turn % 2) * SLOT_STRIDE)?;
        self.turn += 1;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn read_slot(file: &File, slot: u64) -> Option<(u64, Position)> {
    let mut bytes = [0; SLOT_BYTES];
    file.read_exact_at(&mut bytes, slot * SLOT_STRIDE).ok()?;
    let part = |at: usize| -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were cut"))
    };
    let sum = u32::from_le_bytes(bytes[24..].try_into().expect("four bytes were cut"));
    (crc32c::crc32c(&bytes[..24]) == sum).then(|| {
        let position = Position {
            segment: part(8),
            offset: part(16),
        };
        (part(0), position)
    })
}
