//! What one sync costs on the disk that the nodes write to.
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

const BLOCK: usize = 4_096;
const COUNT: usize = 300;

/// Medians, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sync {
    /// 4 KiB appended to a growing file, and `fdatasync`.
    pub(crate) growing_us: f64,
    /// The same within a file that has its blocks already.
    pub(crate) preallocated_us: f64,
}

/// Measures in `folder`.
pub(crate) fn measure(folder: &Path) -> Result<Sync> {
    let path = folder.join("sync-probe");
    let measured = probe(&path);
    std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    measured
}

fn probe(path: &Path) -> Result<Sync> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))?;
    // The first pass makes the file grow; the second one goes over the same blocks.
    Ok(Sync {
        growing_us: pass(&file)?,
        preallocated_us: pass(&file)?,
    })
}

fn pass(file: &File) -> Result<f64> {
    let block = [7; BLOCK];
    let mut times = Vec::with_capacity(COUNT);
    for number in 0..COUNT {
        let began = Instant::now();
        file.write_all_at(&block, (number * BLOCK) as u64)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort();
    Ok(micros(times[COUNT / 2]))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
