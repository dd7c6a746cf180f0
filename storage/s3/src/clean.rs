//! What an earlier run left behind, removed before the server listens.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::place::{Beside, Place};

/// An upload in parts that nobody added to for so long has lost its writer.
pub(crate) const UPLOAD_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How much was removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cleaned {
    pub(crate) sidecars: u64,
    pub(crate) upload_files: u64,
}

/// Removes metadata whose object is gone and the files of uploads older than an age. Blocking.
pub(crate) fn clean(root: &Path, upload_age_max: Duration) -> io::Result<Cleaned> {
    let mut cleaned = Cleaned::default();
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        match Beside::of(&name) {
            Beside::Sidecar { bucket, key } => {
                // A name that no object can have was not written by us: leave it alone.
                let Ok(place) = Place::of(root, &bucket, &key) else {
                    continue;
                };
                if !place.object.try_exists()? {
                    std::fs::remove_file(entry.path())?;
                    cleaned.sidecars += 1;
                }
            }
            Beside::Upload { .. } => {
                // A clock that was set back makes a file young, not old.
                let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
                if age >= upload_age_max {
                    std::fs::remove_file(entry.path())?;
                    cleaned.upload_files += 1;
                }
            }
            Beside::Other => {}
        }
    }
    Ok(cleaned)
}

/// Removes every file of one upload. Blocking.
pub(crate) fn remove_upload(root: &Path, upload: &str) -> io::Result<()> {
    let ours = Beside::Upload { id: upload.into() };
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| Beside::of(name) == ours)
        {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file; one that is not there is removed already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Cleaned, clean};
    use crate::place::{Place, upload_info, upload_part};

    #[test]
    fn orphans_go_and_the_living_stay() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let kept = Place::of(root, "bucket", "kept").unwrap();
        let gone = Place::of(root, "bucket", "gone").unwrap();
        std::fs::create_dir(&kept.bucket).unwrap();
        for path in kept
            .sidecars
            .iter()
            .chain(&gone.sidecars)
            .chain([&kept.object])
        {
            std::fs::write(path, b"x").unwrap();
        }
        let upload = [upload_info(root, "1"), upload_part(root, "1", 1)];
        for path in &upload {
            std::fs::write(path, b"x").unwrap();
        }
        let young = clean(root, Duration::from_secs(3600)).unwrap();
        assert_eq!(
            young,
            Cleaned {
                sidecars: 2,
                upload_files: 0
            }
        );
        let old = clean(root, Duration::ZERO).unwrap();
        assert_eq!(
            old,
            Cleaned {
                sidecars: 0,
                upload_files: 2
            }
        );
        assert!(kept.to_sync().iter().all(|path| path.exists()));
        assert!(!gone.sidecars[0].exists() && !upload[0].exists());
    }
}
