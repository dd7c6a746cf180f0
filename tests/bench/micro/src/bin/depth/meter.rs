//! What work costs: processor time of this thread and of all, files read, values missed.
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use metrics_exporter_prometheus::PrometheusBuilder;
use micro::rest::{process_time, settle, thread_time};
use serde::Serialize;
use storage::state::RocksState;

/// All of one measurement, per operation.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Sample {
    pub(crate) operations: u64,
    /// Processor time of the thread that did it, µs.
    pub(crate) thread_us: f64,
    /// Processor time of all threads meanwhile, µs.
    pub(crate) process_us: f64,
    /// Processor time of all other threads until the state came to rest, µs per write; for writes.
    pub(crate) background_us: Option<f64>,
    /// Lookups that the value cache could not answer.
    pub(crate) misses: f64,
    /// Reads from files, be it from the page cache, by whatever thread.
    pub(crate) file_reads: f64,
}

/// Sums up one measurement that may come in pieces.
pub(crate) struct Meter {
    state: RocksState,
    operations: u64,
    sum: Point,
    /// Before the first piece.
    begin: Point,
}

/// Where the counters stand.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    thread: Duration,
    process: Duration,
    misses: u64,
    file_reads: u64,
}

impl Meter {
    pub(crate) fn new(state: &RocksState) -> Result<Self> {
        Ok(Self {
            state: state.clone(),
            operations: 0,
            sum: Point::default(),
            begin: Point::before(state)?,
        })
    }

    /// Measures `operations` that `work` does.
    pub(crate) fn run<T>(
        &mut self,
        operations: usize,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let before = Point::before(&self.state)?;
        let done = work()?;
        let after = Point::after(&self.state)?;
        self.sum.thread += after.thread - before.thread;
        self.sum.process += after.process - before.process;
        self.sum.misses += after.misses - before.misses;
        self.sum.file_reads += after.file_reads - before.file_reads;
        self.operations += operations as u64;
        Ok(done)
    }

    /// What an operation cost.
    pub(crate) fn sample(&self) -> Sample {
        let per = |sum: f64| sum / self.operations.max(1) as f64;
        Sample {
            operations: self.operations,
            thread_us: per(micros(self.sum.thread)),
            process_us: per(micros(self.sum.process)),
            background_us: None,
            misses: per(self.sum.misses as f64),
            file_reads: per(self.sum.file_reads as f64),
        }
    }

    /// As [`Meter::sample`], after the state came to rest: other threads' time is that of all
    /// `writes` since the meter was made, measured or not.
    pub(crate) fn sample_at_rest(&self, writes: usize) -> Result<Sample> {
        settle();
        let end = Point::after(&self.state)?;
        let process = end.process - self.begin.process;
        let others = process.saturating_sub(end.thread - self.begin.thread);
        Ok(Sample {
            background_us: Some(micros(others) / writes.max(1) as f64),
            ..self.sample()
        })
    }
}

impl Point {
    /// Clocks are read last: what the other counters cost is not counted.
    fn before(state: &RocksState) -> Result<Self> {
        let misses = counter(state, "yin_state_cache_misses_total");
        let file_reads = file_reads()?;
        let process = process_time();
        let thread = thread_time();
        Ok(Self {
            thread,
            process,
            misses,
            file_reads,
        })
    }

    /// Clocks are read first.
    fn after(state: &RocksState) -> Result<Self> {
        let thread = thread_time();
        let process = process_time();
        Ok(Self {
            thread,
            process,
            misses: counter(state, "yin_state_cache_misses_total"),
            file_reads: file_reads()?,
        })
    }
}

/// Bytes of all files below `dir`.
pub(crate) fn bytes_in(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            bytes_in(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// One of the counters that the state tells the metrics.
fn counter(state: &RocksState, name: &str) -> u64 {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || state.report());
    let text = recorder.handle().render();
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(found, _)| *found == name);
    found
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or_default()
}

fn file_reads() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io").context("reading /proc/self/io")?;
    let count = text.lines().find_map(|line| line.strip_prefix("syscr: "));
    count
        .and_then(|count| count.parse().ok())
        .context("/proc/self/io has no syscr")
}

#[cfg(test)]
mod tests {
    use micro::store::Store;
    use storage::state::Options;

    use super::*;

    #[test]
    fn work_misses_and_bytes_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(dir.path(), Options::default()).unwrap();
        let mut meter = Meter::new(store.state()).unwrap();
        let reply = meter.run(1, || store.apply_one(None, micro::world::register(0)));
        reply.unwrap();
        let sample = meter.sample_at_rest(1).unwrap();
        assert!(sample.thread_us > 0.0 && sample.process_us >= sample.thread_us);
        assert!(sample.misses > 1.0, "{sample:?}");
        assert!(sample.background_us.is_some());
        assert!(bytes_in(dir.path()).unwrap() > 0);
    }
}
