//! openraft's own test suite on the adapters.
use std::sync::Arc;

use openraft::testing::log::{StoreBuilder, Suite};
use storage::log::memory::{MemoryLog, Syncing};
use storage::log::{LogStore, SegmentLog};
use storage::owner::Owner;
use storage::state::memory::MemoryState;
use storage::state::{RocksState, StateStore};
use tempfile::TempDir;
use tokio::sync::broadcast;

use crate::life::life;
use crate::log_store::Log;
use crate::machine::{Bench, Machine};
use crate::options::Blocking;
use crate::snapshot::Durability;
use crate::types::Types;

/// The adapters on `log` and `state`.
fn adapters(log: Arc<dyn LogStore>, state: Arc<dyn StateStore>) -> (Log, Machine) {
    let (alive, _) = life();
    let bench = Arc::new(Bench {
        durability: Arc::new(Durability::new(Arc::clone(&state), Blocking::Threads)),
        state,
        progress: Default::default(),
        events: broadcast::Sender::new(1),
        room: None,
        applied_bytes: Default::default(),
    });
    let machine = Machine::open(bench, alive.clone()).unwrap();
    // The suite purges what no state has seen.
    (Log::new(log, None, 1 << 20, alive), machine)
}

struct Memory;

impl StoreBuilder<Types, Log, Machine> for Memory {
    async fn build(&self) -> Result<((), Log, Machine), openraft::StorageError<Types>> {
        let log = Arc::new(MemoryLog::new(Syncing::AtOnce));
        let (log, machine) = adapters(log, Arc::new(MemoryState::new()));
        Ok(((), log, machine))
    }
}

#[tokio::test]
async fn openrafts_suite_passes_in_memory() {
    Suite::test_all(Memory).await.unwrap();
}

struct Disk;

impl StoreBuilder<Types, Log, Machine, TempDir> for Disk {
    async fn build(&self) -> Result<(TempDir, Log, Machine), openraft::StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let owner = Owner {
            cluster_id: "0123456789abcdef0123456789abcdef".to_owned(),
            node: 1,
            incarnation: [1; 16],
        };
        let options = storage::log::Options {
            segment_bytes: 64 << 10,
            ..storage::log::Options::default()
        };
        let log = SegmentLog::create(&dir.path().join("log"), &owner, options).unwrap();
        let options = storage::state::Options::default();
        let state = RocksState::create(&dir.path().join("state"), &owner, options).unwrap();
        let (log, machine) = adapters(Arc::new(log), Arc::new(state));
        Ok((dir, log, machine))
    }
}

#[tokio::test]
async fn openrafts_suite_passes_on_disk() {
    Suite::test_all(Disk).await.unwrap();
}
