//! Uploads under way, on this disk: a file that is gone when nobody holds it any more.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

const BUFFER_BYTES: usize = 256 << 10;

/// The directory of uploads under way.
#[derive(Clone, Debug)]
pub(crate) struct Spool(PathBuf);

impl Spool {
    /// Makes the directory, or empties it of what a crash left.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        for entry in std::fs::read_dir(path)? {
            let left = entry?.path();
            if left
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
            {
                std::fs::remove_file(left)?;
            }
        }
        // A child process of another directory gets these paths.
        Ok(Self(path.canonicalize()?))
    }

    /// A new, empty file.
    pub(crate) fn create(&self) -> io::Result<Receiving> {
        let (file, path) = self.new_file()?.into_parts();
        Ok(Receiving {
            file: BufWriter::with_capacity(BUFFER_BYTES, File::from_std(file)),
            path,
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    /// A path to write to, gone when it is dropped.
    pub(crate) fn scratch(&self) -> io::Result<TempPath> {
        Ok(self.new_file()?.into_temp_path())
    }

    fn new_file(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new()
            .suffix(&format!(".{EXTENSION}"))
            .tempfile_in(&self.0)
    }
}

const EXTENSION: &str = "upload";

/// A file that is being received.
pub(crate) struct Receiving {
    file: BufWriter<File>,
    path: TempPath,
    hash: Sha256,
    bytes: u64,
}

impl Receiving {
    pub(crate) async fn write(&mut self, chunk: &Bytes) -> io::Result<()> {
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        self.file.write_all(chunk).await
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All of it has come.
    pub(crate) async fn finish(mut self) -> io::Result<Received> {
        self.file.flush().await?;
        Ok(Received {
            path: self.path,
            sha256: self.hash.finalize().into(),
            bytes: self.bytes,
        })
    }
}

/// A file that was received whole.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) path: TempPath,
    pub(crate) sha256: [u8; 32],
    pub(crate) bytes: u64,
}

/// A number of bytes that many share.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    left: Arc<AtomicU64>,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            left: Arc::new(AtomicU64::new(bytes)),
        }
    }

    pub(crate) fn share(&self) -> Share {
        Share {
            budget: self.clone(),
            taken: 0,
        }
    }
}

/// What one has of a budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    taken: u64,
}

impl Share {
    /// Takes so much more, if it is there.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let left = &self.budget.left;
        let is_taken = left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .is_ok();
        if is_taken {
            self.taken += bytes;
        }
        is_taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_in_is_counted_and_hashed_and_goes_away() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path()).unwrap();
        let mut incoming = spool.create().unwrap();
        incoming
            .write(&Bytes::from_static(b"hello "))
            .await
            .unwrap();
        incoming.write(&Bytes::from_static(b"world")).await.unwrap();
        assert_eq!(incoming.bytes(), 11);
        let received = incoming.finish().await.unwrap();
        assert_eq!(std::fs::read(&received.path).unwrap(), b"hello world");
        let expected: [u8; 32] = Sha256::digest(b"hello world").into();
        assert_eq!(received.sha256, expected);
        drop(received);
        drop(spool.create().unwrap());
        drop(spool.scratch().unwrap());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_crash_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.upload"), "x").unwrap();
        std::fs::write(directory.path().join("b.keep"), "x").unwrap();
        Spool::open(directory.path()).unwrap();
        let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn a_budget_is_never_overdrawn_and_comes_back() {
        let budget = Budget::new(10);
        let mut one = budget.share();
        let mut other = budget.share();
        assert!(one.take(6) && !other.take(5) && other.take(4) && !one.take(1));
        drop(one);
        assert!(other.take(6));
    }
}
