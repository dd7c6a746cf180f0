//! The snapshots on this disk: the complete ones, and dropped ones that are still being read.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use model::error::Fault;

use super::SnapshotInfo;
use super::durable::{sync_dir, write_durably};
use super::rocks::{fault, lock};
use super::stream::{MANIFEST, Manifest};

const TEMPORARY: &str = "tmp-";

/// All snapshots of one state. Clones share it.
#[derive(Clone)]
pub(super) struct Shelf {
    dir: PathBuf,
    contents: Arc<Mutex<Contents>>,
}

#[derive(Default)]
struct Contents {
    /// By when they were begun. No two have the same id.
    kept: BTreeMap<u64, Arc<Kept>>,
    next: u64,
}

/// A complete snapshot. Its directory stays until the last holder lets go of it.
pub(super) struct Kept {
    pub(super) manifest: Manifest,
    pub(super) info: SnapshotInfo,
    pub(super) path: PathBuf,
    /// Received and checked by this process, and nobody has tried to install it yet.
    is_checked: AtomicBool,
    is_dropped: AtomicBool,
}

impl Kept {
    /// Was it checked as it came? Says so once: what lay on the disk for a while is not trusted.
    pub(super) fn take_checked(&self) -> bool {
        self.is_checked.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.is_dropped.load(Ordering::Relaxed)
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, "an old snapshot stays for now");
        }
    }
}

/// A directory in which a snapshot is being made; removed unless it becomes one.
pub(super) struct Draft {
    shelf: Shelf,
    number: u64,
    path: PathBuf,
}

impl Drop for Draft {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "an unfinished snapshot stays for now");
            }
            _ => {}
        }
    }
}

impl Draft {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the draft a snapshot: durable, then under its name. Its files are synced already, and
    /// those of one that `was_received` checked.
    pub(super) fn finish(
        self,
        manifest: Manifest,
        was_received: bool,
    ) -> Result<SnapshotInfo, Fault> {
        let frame = manifest.encode()?;
        let info = manifest.info(frame.len());
        let path = self.shelf.dir.join(name(self.number, &info.id));
        write_durably(&self.path.join(MANIFEST), &frame)
            .and_then(|()| fs::rename(&self.path, &path))
            .and_then(|()| sync_dir(&self.shelf.dir))
            .map_err(|error| fault("the snapshot cannot be kept", &error))?;
        let kept = Kept {
            manifest,
            info: info.clone(),
            path,
            is_checked: AtomicBool::new(was_received),
            is_dropped: AtomicBool::new(false),
        };
        self.shelf.keep(self.number, kept);
        Ok(info)
    }
}

impl Shelf {
    /// Opens the directory; removes what is unfinished.
    pub(super) fn open(dir: PathBuf) -> Result<Shelf, Fault> {
        let contents =
            read_dir(&dir).map_err(|error| fault("snapshots cannot be listed", &error))?;
        Ok(Shelf {
            dir,
            contents: Arc::new(Mutex::new(contents)),
        })
    }

    pub(super) fn list(&self) -> Vec<SnapshotInfo> {
        let contents = lock(&self.contents);
        let kept = contents.kept.values();
        kept.map(|kept| kept.info.clone()).collect()
    }

    fn keep(&self, number: u64, kept: Kept) {
        let replaced = lock(&self.contents).keep(number, kept);
        drop(replaced);
    }

    /// Lets go of a snapshot, outside the lock: the directory of the last holder goes with it.
    pub(super) fn drop_kept(&self, id: &str) {
        let dropped = lock(&self.contents).take(id);
        drop(dropped);
    }

    /// The snapshot with this id, which stays as long as it is held.
    pub(super) fn find(&self, id: &str) -> Result<Arc<Kept>, Fault> {
        let contents = lock(&self.contents);
        let mut kept = contents.kept.values();
        kept.find(|kept| kept.info.id == id)
            .cloned()
            .ok_or_else(|| Fault(format!("there is no snapshot {id}")))
    }

    /// A new directory for a snapshot.
    pub(super) fn draft(&self) -> Result<Draft, Fault> {
        let number = lock(&self.contents).take_number();
        let path = self.temporary(&number.to_string())?;
        Ok(Draft {
            shelf: self.clone(),
            number,
            path,
        })
    }

    /// An empty directory on the same disk.
    pub(super) fn temporary(&self, purpose: &str) -> Result<PathBuf, Fault> {
        let path = self.dir.join(format!("{TEMPORARY}{purpose}"));
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir(&path),
        }
        .map_err(|error| fault("no directory for a snapshot", &error))?;
        Ok(path)
    }
}

impl Contents {
    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Gives the one that it replaces: the same snapshot, begun at another time.
    fn keep(&mut self, number: u64, kept: Kept) -> Option<Arc<Kept>> {
        let replaced = self.take(&kept.info.id);
        self.kept.insert(number, Arc::new(kept));
        replaced
    }

    fn take(&mut self, id: &str) -> Option<Arc<Kept>> {
        let mut found = self.kept.iter().filter(|(_, kept)| kept.info.id == id);
        let number = *found.next()?.0;
        let taken = self.kept.remove(&number)?;
        taken.is_dropped.store(true, Ordering::Relaxed);
        Some(taken)
    }
}

fn name(number: u64, id: &str) -> String {
    format!("{number:020}-{id}")
}

fn read_dir(dir: &Path) -> io::Result<Contents> {
    fs::create_dir_all(dir)?;
    let mut contents = Contents::default();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.split_once('-')?.0.parse().ok());
        let found = number.zip(read_kept(&path));
        let Some((number, kept)) = found else {
            tracing::info!(path = %path.display(), "an unfinished snapshot is removed");
            fs::remove_dir_all(&path)?;
            continue;
        };
        contents.next = contents.next.max(number + 1);
        drop(contents.keep(number, kept));
    }
    Ok(contents)
}

fn read_kept(path: &Path) -> Option<Kept> {
    let frame = fs::read(path.join(MANIFEST)).ok()?;
    let (manifest, frame_bytes) = Manifest::decode(&frame).ok()??;
    let are_whole = manifest.files.iter().enumerate().all(|(number, part)| {
        let file = File::open(path.join(super::stream::file_name(number)));
        let metadata = file.and_then(|file| file.metadata());
        metadata.is_ok_and(|metadata| metadata.len() == part.bytes)
    });
    are_whole.then(|| Kept {
        info: manifest.info(frame_bytes),
        manifest,
        path: path.to_owned(),
        is_checked: AtomicBool::new(false),
        is_dropped: AtomicBool::new(false),
    })
}
