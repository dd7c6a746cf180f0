//! What happened, line by line: hashed always, so that two runs can be compared, and written to a
//! file when asked for.
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::clock;

/// Lines that are told with a violation.
const LAST: usize = 60;

/// Clones share it.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    hasher: DefaultHasher,
    lines: u64,
    last: VecDeque<String>,
    file: Option<BufWriter<File>>,
    broken: Option<io::Error>,
}

impl Trace {
    /// Also written to this file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        let inner = Inner {
            file: Some(BufWriter::new(File::create(path)?)),
            ..Inner::default()
        };
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    /// Adds a line; the time comes first.
    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:>7} {what}", clock::now_ms());
        let mut inner = self.lock();
        inner.hasher.write(line.as_bytes());
        inner.hasher.write_u8(b'\n');
        inner.lines += 1;
        if let Some(file) = &mut inner.file
            && let Err(error) = writeln!(file, "{line}")
        {
            inner.broken.get_or_insert(error);
        }
        if inner.last.len() == LAST {
            inner.last.pop_front();
        }
        inner.last.push_back(line);
    }

    /// How many lines, and the hash of them all.
    pub fn digest(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.lines, inner.hasher.finish())
    }

    /// The end of it.
    pub(crate) fn last(&self) -> Vec<String> {
        self.lock().last.iter().cloned().collect()
    }

    /// Writes out what is not written yet.
    ///
    /// # Errors
    /// When a line could not be written.
    pub fn finish(&self) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(error) = inner.broken.take() {
            return Err(error);
        }
        inner.file.as_mut().map_or(Ok(()), Write::flush)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A line is added whole or not at all, as far as anybody looks.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a formatted line to a [`Trace`].
macro_rules! note {
    ($trace:expr, $($what:tt)*) => { $trace.note(format_args!($($what)*)) };
}
pub(crate) use note;

/// A short stamp of some bytes, the same in every process.
pub(crate) fn stamp(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
