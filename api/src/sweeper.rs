//! Deletes blobs that no video names: what uploads left that broke off at a bad moment.
//!
//! A key is first retired through the log, so that a late `Publish` of it is refused; only then it
//! is deleted. To be run on the leader, now and then.
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use model::command::{Operation, Reply, RequestId};
use model::key::{Key, UsedBlob};
use model::sweep::RetireBlob;
use raft::clock::Clock;
use raft::replica::{self, Consistency, Proposal, Replica};
use storage::blob::{self, Blobs};

use crate::seam::{self, Random};
use crate::upload::{COVER_PREFIX, VIDEO_PREFIX};

/// What the log and the bucket may take for one key.
const WITHIN: Duration = Duration::from_secs(10);

/// Sweeps orphaned blobs.
#[derive(Clone)]
pub struct Sweeper {
    pub replica: Replica,
    pub blobs: Arc<dyn Blobs>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// Younger blobs may belong to an upload that is under way.
    pub age_min: Duration,
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Keys that were looked at.
    pub seen: u64,
    pub deleted: u64,
}

/// Why a sweep ended early. What it deleted until then is deleted; the next one goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Blob(#[from] blob::Error),
    #[error(transparent)]
    Replica(#[from] replica::Error),
    #[error(transparent)]
    Fault(#[from] model::error::Fault),
}

impl Sweeper {
    /// Goes through the bucket once.
    ///
    /// # Errors
    /// [`Error`] when the bucket or the log does not answer.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        for prefix in [VIDEO_PREFIX, COVER_PREFIX] {
            let mut keys = self.blobs.list(prefix);
            while let Some(entry) = keys.next().await {
                let (key, age_s) = entry?;
                swept.seen += 1;
                if Duration::from_secs(age_s) >= self.age_min && self.retire(&key).await? {
                    self.blobs.delete(&key).await?;
                    swept.deleted += 1;
                    tracing::info!(key, age_s, "an orphaned blob was deleted");
                }
            }
        }
        Ok(swept)
    }

    /// Bars the key, unless a video names it.
    async fn retire(&self, key: &str) -> Result<bool, Error> {
        // Most blobs have their video: that costs no log entry.
        let reading = self.replica.read(Consistency::Local, WITHIN).await?;
        let used = UsedBlob {
            key: key.to_owned(),
        };
        if reading.view.get(&used.encode())?.is_some() {
            return Ok(false);
        }
        drop(reading);
        let proposal = Proposal {
            request: RequestId(seam::random(&*self.random)),
            issued: self.clock.now(),
            actor: None,
            operation: Operation::RetireBlob(RetireBlob {
                key: key.to_owned(),
            }),
        };
        let written = self.replica.write(proposal, WITHIN).await?;
        Ok(matches!(written.reply, Reply::Swept { removed } if removed > 0))
    }
}
