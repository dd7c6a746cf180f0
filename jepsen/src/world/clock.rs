//! A wall clock per node that can jump and drift: a small library loaded into the node shows it the
//! time by an offset that stands in a file.
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

const SOURCE: &str = include_str!("clock.c");

/// Builds the library into `dir`.
///
/// # Errors
/// When the compiler fails.
pub(crate) async fn build(dir: &Path) -> Result<PathBuf> {
    let (source, library) = (dir.join("clock.c"), dir.join("clock.so"));
    std::fs::write(&source, SOURCE).context("writing the source of the clock")?;
    let (from, to) = (super::text(&source), super::text(&library));
    super::run("cc", &["-O2", "-shared", "-fPIC", "-o", to, from]).await?;
    Ok(library)
}

/// What one node's clock shows.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    pub(crate) library: PathBuf,
    pub(crate) setting: PathBuf,
}

impl Clock {
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn new(library: PathBuf, setting: PathBuf) -> Result<Self> {
        let clock = Self { library, setting };
        clock.set(0, 0)?;
        Ok(clock)
    }

    /// From now on it is `offset_ns` ahead and gains `rate_ppm` microseconds a second.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn set(&self, offset_ns: i64, rate_ppm: i64) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.context("this machine's clock is before 1970")?;
        let since = i64::try_from(now.as_nanos()).context("this machine's clock is off")?;
        let bytes: Vec<u8> = [offset_ns, rate_ppm, since]
            .iter()
            .flat_map(|number| number.to_ne_bytes())
            .collect();
        // In place: the node has the file mapped. It may see half of it for a moment, which is
        // another odd time.
        use std::os::unix::fs::FileExt as _;
        let mut options = std::fs::File::options();
        let file = options.write(true).create(true).truncate(false);
        let file = file.open(&self.setting).context("opening the clock")?;
        file.write_all_at(&bytes, 0).context("setting the clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `date` under the clock, in seconds.
    fn shown(clock: &Clock) -> i64 {
        let output = std::process::Command::new("date")
            .arg("+%s")
            .env("LD_PRELOAD", &clock.library)
            .env("JEPSEN_CLOCK", &clock.setting)
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    fn real() -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_secs()).unwrap()
    }

    #[tokio::test]
    async fn it_jumps_drifts_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let library = build(dir.path()).await.unwrap();
        let clock = Clock::new(library, dir.path().join("setting")).unwrap();
        assert!((shown(&clock) - real()).abs() <= 2);
        clock.set(-262_000_000_000, 0).unwrap();
        assert!((shown(&clock) - real() + 262).abs() <= 2);
        clock.set(0, 1_000_000_000).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(shown(&clock) - real() > 50, "a thousand times as fast");
        clock.set(0, 0).unwrap();
        assert!((shown(&clock) - real()).abs() <= 2);
    }
}
