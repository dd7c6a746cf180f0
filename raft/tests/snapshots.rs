//! Which of the snapshots on a disk counts, and which of them go.
use std::sync::Arc;

use bytes::Bytes;
use model::overlay::Changes;
use storage::owner::Owner;
use storage::state::memory::MemoryState;
use storage::state::{RocksState, SnapshotInfo, StateStore};
use tokio::sync::mpsc;

use crate::codec;
use crate::options::Blocking;
use crate::snapshot::{self, Builder, Durability};
use crate::types::{LogId, StoredMembership, log_id};

fn marker(applied: LogId) -> Bytes {
    codec::encode_marker(Some(applied), &StoredMembership::default())
}

fn apply(state: &dyn StateStore, applied: LogId) {
    let change = (vec![1], Some(applied.index().to_be_bytes().to_vec()));
    state
        .commit(Changes::from([change]), marker(applied))
        .unwrap();
}

fn durability(state: &Arc<dyn StateStore>) -> Arc<Durability> {
    Arc::new(Durability::new(Arc::clone(state), Blocking::InPlace))
}

/// What a peer that applied so much sends.
async fn come(to: &Arc<Durability>, applied: LogId) -> SnapshotInfo {
    let peer = MemoryState::new();
    apply(&peer, applied);
    come_from(&peer, to).await
}

async fn come_from(peer: &dyn StateStore, to: &Arc<Durability>) -> SnapshotInfo {
    let sent = peer.build_snapshot().unwrap();
    let (sender, chunks) = mpsc::channel(100);
    for chunk in peer.snapshot_chunks(&sent.id).unwrap() {
        sender.send(Ok(chunk.unwrap())).await.unwrap();
    }
    drop(sender);
    snapshot::receive(to, sent.marker, sent.bytes, chunks)
        .await
        .unwrap()
}

async fn build(durability: &Arc<Durability>) {
    use openraft::storage::RaftSnapshotBuilder as _;
    let mut builder = Builder {
        durability: Arc::clone(durability),
        alive: crate::life::life().0,
    };
    builder.build_snapshot().await.unwrap();
}

async fn current(durability: &Arc<Durability>) -> Option<LogId> {
    durability.current().await.unwrap()?.meta.last_log_id
}

/// The log behind the newer one is gone: with the older one openraft would not start again, and a
/// leader would send it for ever to who lacks entries after it.
#[tokio::test]
async fn a_snapshot_that_was_long_under_way_does_not_take_the_place_of_a_newer_one() {
    let state: Arc<dyn StateStore> = Arc::new(MemoryState::new());
    let disk = durability(&state);
    apply(&*state, log_id(5, 98));
    build(&disk).await;
    come(&disk, log_id(4, 92)).await;
    assert_eq!(current(&disk).await, Some(log_id(5, 98)));
    assert_eq!(state.snapshots().unwrap().len(), 1, "it goes at once");
    apply(&*state, log_id(5, 102));
    snapshot::finish_interrupted(&disk).await.unwrap();
    assert_eq!(state.read().unwrap().marker, marker(log_id(5, 102)));
}

#[tokio::test]
async fn a_snapshot_that_is_coming_in_outlives_one_that_is_built_behind_it() {
    let state: Arc<dyn StateStore> = Arc::new(MemoryState::new());
    let disk = durability(&state);
    apply(&*state, log_id(1, 10));
    let coming = come(&disk, log_id(2, 90)).await;
    build(&disk).await;
    assert_eq!(current(&disk).await, Some(log_id(2, 90)));
    // The log may go up to there: a start installs it first.
    disk.ensure(90).await.unwrap();
    assert_eq!(state.snapshots().unwrap(), [coming]);
    snapshot::finish_interrupted(&disk).await.unwrap();
    assert_eq!(state.read().unwrap().marker, marker(log_id(2, 90)));
}

/// The vote of the first sender was refused, say. The second snapshot does not reach as far, and is
/// about to be installed.
#[tokio::test]
async fn what_is_about_to_be_installed_stays_beside_what_reaches_further() {
    let state: Arc<dyn StateStore> = Arc::new(MemoryState::new());
    let disk = durability(&state);
    apply(&*state, log_id(1, 10));
    let further = come(&disk, log_id(2, 90)).await;
    let refused = come(&disk, log_id(2, 70)).await;
    let second = come(&disk, log_id(2, 80)).await;
    assert_eq!(state.snapshots().unwrap(), [further.clone(), second]);
    assert_ne!(refused, further);
    assert_eq!(current(&disk).await, Some(log_id(2, 90)));
    apply(&*state, log_id(2, 100));
    build(&disk).await;
    assert_eq!(current(&disk).await, Some(log_id(2, 100)));
    assert_eq!(state.snapshots().unwrap().len(), 1);
}

/// A kill came between the end of one and the removal of the other.
#[tokio::test]
async fn a_start_lets_go_of_what_a_kill_left() {
    let dir = tempfile::tempdir().unwrap();
    let [owner, other] = [1, 2].map(|node| Owner {
        cluster_id: "0123456789abcdef0123456789abcdef".to_owned(),
        node,
        incarnation: [1; 16],
    });
    let options = storage::state::Options::default;
    let peer = RocksState::create(&dir.path().join("peer"), &other, options()).unwrap();
    apply(&peer, log_id(4, 92));
    let path = dir.path().join("state");
    let state = RocksState::create(&path, &owner, options()).unwrap();
    apply(&state, log_id(5, 98));
    let newer = state.build_snapshot().unwrap();
    let sent = peer.build_snapshot().unwrap();
    let mut sink = state.receive_snapshot().unwrap();
    for chunk in peer.snapshot_chunks(&sent.id).unwrap() {
        sink.write(&chunk.unwrap()).unwrap();
    }
    sink.finish().unwrap();
    drop(state);
    let state: Arc<dyn StateStore> = Arc::new(RocksState::open(&path, &owner, options()).unwrap());
    assert_eq!(state.snapshots().unwrap().len(), 2);
    let disk = durability(&state);
    assert_eq!(current(&disk).await, Some(log_id(5, 98)));
    snapshot::finish_interrupted(&disk).await.unwrap();
    assert_eq!(state.snapshots().unwrap(), [newer]);
    // The same once more, now by way of a peer.
    come_from(&peer, &disk).await;
    assert_eq!(current(&disk).await, Some(log_id(5, 98)));
    let left = std::fs::read_dir(path.join("snapshots")).unwrap();
    assert_eq!(left.count(), 1);
}
