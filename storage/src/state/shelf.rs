//! The snapshots on this disk: the newest complete one, those being read, those not yet installed.
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
    /// By when they came; the last one is the newest.
    kept: BTreeMap<u64, Arc<Kept>>,
    next: u64,
}

/// A complete snapshot. Its directory stays until the last holder lets go of it.
pub(super) struct Kept {
    pub(super) manifest: Manifest,
    pub(super) info: SnapshotInfo,
    /// Renamed when it is installed, so holders find it under their lock only.
    path: Mutex<PathBuf>,
    /// Received, and the state does not come from it yet.
    waits: AtomicBool,
    /// Received and checked by this process, and nobody has tried to install it yet.
    is_checked: AtomicBool,
    is_dropped: AtomicBool,
}

impl Kept {
    pub(super) fn path(&self) -> PathBuf {
        lock(&self.path).clone()
    }

    /// Was it checked as it came? Says so once: what lay on the disk for a while is not trusted.
    pub(super) fn take_checked(&self) -> bool {
        self.is_checked.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.is_dropped.load(Ordering::Relaxed)
            && let Err(error) = fs::remove_dir_all(self.path())
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
            path: Mutex::new(path),
            waits: AtomicBool::new(was_received),
            is_checked: AtomicBool::new(was_received),
            is_dropped: AtomicBool::new(false),
        };
        let mut contents = lock(&self.shelf.contents);
        contents.kept.insert(self.number, Arc::new(kept));
        let dropped = contents.drop_old();
        drop(contents);
        drop(dropped);
        Ok(info)
    }
}

impl Shelf {
    /// Opens the directory; removes what is unfinished, and all but the newest.
    pub(super) fn open(dir: PathBuf) -> Result<Shelf, Fault> {
        let contents =
            read_dir(&dir).map_err(|error| fault("snapshots cannot be listed", &error))?;
        Ok(Shelf {
            dir,
            contents: Arc::new(Mutex::new(contents)),
        })
    }

    pub(super) fn current(&self) -> Option<SnapshotInfo> {
        let contents = lock(&self.contents);
        let newest = contents.kept.last_key_value();
        newest.map(|(_, kept)| kept.info.clone())
    }

    /// The snapshot with this id, which stays as long as it is held.
    pub(super) fn find(&self, id: &str) -> Result<Arc<Kept>, Fault> {
        let contents = lock(&self.contents);
        let mut newest_first = contents.kept.values().rev();
        newest_first
            .find(|kept| kept.info.id == id)
            .cloned()
            .ok_or_else(|| Fault(format!("there is no snapshot {id}")))
    }

    /// A new directory for a snapshot. The later it is asked for, the newer the snapshot.
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

    /// The state comes from this snapshot now: it is the newest.
    pub(super) fn promote(&self, kept: &Arc<Kept>) -> Result<(), Fault> {
        let mut contents = lock(&self.contents);
        let number = contents.take_number();
        let renamed = self.dir.join(name(number, &kept.info.id));
        {
            let mut path = lock(&kept.path);
            fs::rename(&*path, &renamed)
                .and_then(|()| sync_dir(&self.dir))
                .map_err(|error| fault("the snapshot cannot be kept", &error))?;
            *path = renamed;
        }
        kept.waits.store(false, Ordering::Relaxed);
        contents.kept.retain(|_, other| !Arc::ptr_eq(other, kept));
        contents.kept.insert(number, Arc::clone(kept));
        let dropped = contents.drop_old();
        drop(contents);
        drop(dropped);
        Ok(())
    }
}

impl Contents {
    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Lets go of all but the newest and the newest that waits to be installed.
    fn drop_old(&mut self) -> Vec<Arc<Kept>> {
        let newest = self.kept.last_key_value().map(|(number, _)| *number);
        let waits = |kept: &Arc<Kept>| kept.waits.load(Ordering::Relaxed);
        let waiting = self.kept.iter().rfind(|(_, kept)| waits(kept));
        let waiting = waiting.map(|(number, _)| *number);
        let dropped: Vec<u64> = self
            .kept
            .keys()
            .copied()
            .filter(|number| Some(*number) != newest && Some(*number) != waiting)
            .collect();
        let dropped = dropped.iter().filter_map(|number| self.kept.remove(number));
        dropped
            .inspect(|kept| kept.is_dropped.store(true, Ordering::Relaxed))
            .collect()
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
        contents.kept.insert(number, Arc::new(kept));
    }
    drop(contents.drop_old());
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
        path: Mutex::new(path.to_owned()),
        waits: AtomicBool::new(false),
        is_checked: AtomicBool::new(false),
        is_dropped: AtomicBool::new(false),
    })
}
