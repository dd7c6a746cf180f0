//! What the demo remembers between runs, so that a second `make demo` goes on where the first one
//! ended instead of founding another cluster.
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::layout::Ports;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Members know each other by address, so the ports of a cluster stay.
    pub(crate) ports: Ports,
    /// Keys of the demo's own S3, made at random. The file is readable by its owner only.
    pub(crate) s3_access_key: String,
    pub(crate) s3_secret_key: String,
    pub(crate) is_seeded: bool,
}

impl State {
    /// A new cluster's state, with keys from the system's random source.
    pub(crate) fn new(ports: Ports) -> anyhow::Result<Self> {
        Ok(Self {
            ports,
            s3_access_key: random_hex()?,
            s3_secret_key: random_hex()?,
            is_seeded: false,
        })
    }

    /// `None` if there was no earlier run.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("{} is damaged", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Replaces the file as a whole: a crash leaves the old one or the new one.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec_pretty(self)?;
        let partial = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&partial)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&partial, path)
        };
        write().with_context(|| format!("writing {}", path.display()))
    }
}

fn random_hex() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("reading random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn state_survives_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo").join("state.json");
        assert_eq!(State::load(&path).unwrap(), None);

        let ports = Ports {
            http: [1, 2, 3],
            cluster: [4, 5, 6],
            s3: 7,
        };
        let mut state = State::new(ports.clone()).unwrap();
        assert_ne!(
            state.s3_secret_key,
            State::new(ports).unwrap().s3_secret_key
        );
        state.is_seeded = true;
        state.save(&path).unwrap();
        assert_eq!(State::load(&path).unwrap(), Some(state));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );

        fs::write(&path, "{").unwrap();
        assert!(
            State::load(&path)
                .unwrap_err()
                .to_string()
                .contains("is damaged")
        );
    }
}
