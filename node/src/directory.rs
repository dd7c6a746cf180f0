//! The data directory: whose it is, and what lies where in it.
//!
//! One directory belongs to one (cluster, node, incarnation). `identity.json` says which; log and
//! state repeat it, so that a mixed-up or wiped directory is noticed before it can do harm.
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage::owner::Owner;
use transport::identity::{Identity, SealKey};
use transport::network::PeerId;

/// Bytes as base64 text in JSON.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Base64(pub(crate) Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64
            .decode(text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// Who this node is; kept in `identity.json`, readable by its owner only.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Who {
    pub(crate) cluster_id: String,
    pub(crate) node: u64,
    pub(crate) incarnation: Base64,
    pub(crate) zone: String,
    pub(crate) ca_certificate: Base64,
    pub(crate) certificate: Base64,
    pub(crate) key: Base64,
    /// Set once log and state exist: from then on their absence is a loss.
    pub(crate) is_established: bool,
    /// Where the cluster's nodes were when this one joined, `host:port`.
    pub(crate) peers: Vec<(u64, String)>,
}

impl Who {
    pub(crate) fn owner(&self) -> Result<Owner> {
        Ok(Owner {
            cluster_id: self.cluster_id.clone(),
            node: self.node,
            incarnation: array(&self.incarnation)?,
        })
    }

    /// The other nodes, where they were when this was written.
    pub(crate) fn peers(&self) -> Vec<(PeerId, SocketAddr)> {
        let others = self.peers.iter().filter(|(peer, _)| *peer != self.node);
        others
            .filter_map(|(peer, address)| Some((PeerId(*peer), address.parse().ok()?)))
            .collect()
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity {
            cluster_id: self.cluster_id.clone(),
            peer: PeerId(self.node),
            ca_certificate: self.ca_certificate.0.clone(),
            certificate: self.certificate.0.clone(),
            key: self.key.0.clone(),
        }
    }
}

/// What `yin init` prepares for the first start; removed once the cluster is founded.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Founding {
    pub(crate) request: Base64,
    pub(crate) epoch: u32,
    pub(crate) position_key: Base64,
    pub(crate) sealed_ca_key: Base64,
    pub(crate) token_hash: Base64,
    pub(crate) token_uses: u32,
    pub(crate) token_ttl_hours: u32,
}

/// A join that has begun: kept so that a lost answer leads to the same node id, not to two.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Joining {
    pub(crate) request: Base64,
    pub(crate) incarnation: Base64,
    pub(crate) key: Base64,
    pub(crate) csr: Base64,
}

/// Exactly `N` bytes.
pub(crate) fn array<const N: usize>(bytes: &Base64) -> Result<[u8; N]> {
    let length = bytes.0.len();
    bytes.0.as_slice().try_into().with_context(|| {
        format!("expected {N} bytes, found {length}: the file was changed by hand")
    })
}

/// A data directory that this process holds; the lock goes with it.
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes the directory if it is missing and takes its lock.
    ///
    /// # Errors
    /// When another process holds it, or the disk refuses.
    pub(crate) fn hold(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path)
            .with_context(|| format!("making the data directory {}", path.display()))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .with_context(|| format!("opening {}/lock", path.display()))?;
        if let Err(error) =
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        {
            bail!(
                "the data directory {} is in use by another yin ({error}): stop that one first, or \
                 give this one its own --data",
                path.display()
            );
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// Who this directory belongs to; `None` for a new one.
    ///
    /// # Errors
    /// When there is data without an identity, or the identity cannot be read.
    pub(crate) fn who(&self) -> Result<Option<Who>> {
        let who = self.load("identity.json")?;
        if who.is_none() && (self.log().exists() || self.state().exists()) {
            bail!(
                "{} holds data but no identity.json: it cannot be told whose it is. Restore the \
                 file, or empty the directory and join as a new node",
                self.path.display()
            );
        }
        Ok(who)
    }

    pub(crate) fn save_who(&self, who: &Who) -> Result<()> {
        self.save("identity.json", who)
    }

    /// The identity that is about to take over this directory.
    pub(crate) fn next(&self) -> Result<Option<Who>> {
        self.load("identity.next.json")
    }

    pub(crate) fn save_next(&self, who: &Who) -> Result<()> {
        self.save("identity.next.json", who)
    }

    pub(crate) fn promote_next(&self) -> Result<()> {
        std::fs::rename(
            self.path.join("identity.next.json"),
            self.path.join("identity.json"),
        )
        .context("taking over the data directory")?;
        self.sync()
    }

    pub(crate) fn founding(&self) -> Result<Option<Founding>> {
        self.load("founding.json")
    }

    pub(crate) fn save_founding(&self, founding: &Founding) -> Result<()> {
        self.save("founding.json", founding)
    }

    pub(crate) fn joining(&self) -> Result<Option<Joining>> {
        self.load("joining.json")
    }

    pub(crate) fn save_joining(&self, joining: &Joining) -> Result<()> {
        self.save("joining.json", joining)
    }

    /// The key that seals the CA's key; voters have it.
    pub(crate) fn seal_key(&self) -> Result<Option<SealKey>> {
        let stored: Option<Base64> = self.load("seal.json")?;
        stored.map(|bytes| Ok(SealKey(array(&bytes)?))).transpose()
    }

    pub(crate) fn save_seal_key(&self, key: &SealKey) -> Result<()> {
        self.save("seal.json", &Base64(key.0.to_vec()))
    }

    /// Removes one of the small files; a missing one is fine.
    pub(crate) fn forget(&self, name: &str) -> Result<()> {
        match std::fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {name}"))
            }
            Ok(()) | Err(_) => self.sync(),
        }
    }

    /// Moves log, state and identity into `damaged-N`, so that nothing is lost for a post-mortem.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn set_aside(&self) -> Result<PathBuf> {
        let aside = (1..)
            .map(|n| self.path.join(format!("damaged-{n}")))
            .find(|path| !path.exists())
            .expect("there is a free number");
        std::fs::create_dir(&aside).context("making room for the damaged data")?;
        for name in ["log", "state", "identity.json", "seal.json"] {
            let from = self.path.join(name);
            if from.exists() {
                std::fs::rename(&from, aside.join(name))
                    .with_context(|| format!("moving {name} aside"))?;
            }
        }
        self.sync()?;
        Ok(aside)
    }

    fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path.join(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        serde_json::from_str(&text)
            .map(Some)
            .with_context(|| format!("understanding {}", path.display()))
    }

    /// Writes beside, syncs, renames: whole or not at all.
    fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let beside = self.path.join(format!("{name}.new"));
        let write = || -> Result<()> {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(&serde_json::to_vec_pretty(value)?)?;
            file.sync_all()?;
            std::fs::rename(&beside, self.path.join(name))?;
            self.sync()
        };
        write().with_context(|| format!("writing {name} in {}", self.path.display()))
    }

    fn sync(&self) -> Result<()> {
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_once() {
        let dir = tempfile::tempdir().unwrap();
        let held = Directory::hold(dir.path()).unwrap();
        let error = Directory::hold(dir.path()).err().expect("held").to_string();
        assert!(error.contains("in use"), "{error}");
        drop(held);
        Directory::hold(dir.path()).expect("free again");
    }

    #[test]
    fn data_without_identity_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = Directory::hold(dir.path()).unwrap();
        assert!(held.who().unwrap().is_none());
        std::fs::create_dir(held.log()).unwrap();
        let error = held.who().err().expect("refused").to_string();
        assert!(error.contains("no identity"), "{error}");
    }

    #[test]
    fn secrets_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let held = Directory::hold(dir.path()).unwrap();
        held.save_seal_key(&SealKey([7; 32])).unwrap();
        let mode = std::fs::metadata(dir.path().join("seal.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(held.seal_key().unwrap().is_some_and(|key| key.0 == [7; 32]));
    }
}
