//! `yin verify` tells the truth: it finds a counter that was damaged on purpose.
use std::path::Path;

use base64::Engine as _;
use model::id::VideoId;
use model::key::{Key as _, VideoCount};
use model::overlay::Changes;
use model::read::Read as _;
use model::record::{Record as _, VideoCounts};
use storage::owner::Owner;
use storage::state::{Options, RocksState, StateStore as _};
use tests::client::answered;
use tests::cluster::{Cluster, path, words};
use tests::process::run;

use crate::load::Load;

fn owner(data: &Path) -> Owner {
    let text = std::fs::read_to_string(data.join("identity.json")).expect("an identity");
    let identity: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let incarnation = identity["incarnation"].as_str().expect("base64");
    let incarnation = base64::engine::general_purpose::STANDARD
        .decode(incarnation)
        .expect("base64");
    Owner {
        cluster_id: identity["cluster_id"].as_str().expect("an id").to_owned(),
        node: identity["node"].as_u64().expect("a number"),
        incarnation: incarnation.try_into().expect("sixteen bytes"),
    }
}

/// Adds one to the stored count of favorites, and to nothing else.
fn damage(data: &Path, video: VideoId) {
    let state = RocksState::open(&data.join("state"), &owner(data), Options::default())
        .expect("the node is stopped");
    let reading = state.read().expect("readable");
    let key = VideoCount { video };
    let counts = reading.view.read(&key).expect("readable").expect("counted");
    let damaged = VideoCounts {
        favorite_count: counts.favorite_count + 1,
        ..counts
    };
    let changes = Changes::from([(key.encode(), Some(damaged.encode()))]);
    let marker = reading.marker.clone();
    drop(reading);
    state.commit(changes, marker).expect("written");
    drop(state.make_durable().expect("durable"));
}

#[tokio::test]
async fn a_damaged_counter_is_found() {
    let mut cluster = Cluster::start(1).await;
    let mut load = Load::begin(&cluster, "verify").await;
    let client = cluster.nodes[0].client();
    answered(
        "like",
        client.favorite(&load.author, load.video, true).await,
    );
    load.end().await;
    cluster.verify().await;

    let process = cluster.nodes[0].process.take().expect("it runs");
    let status = process.terminate(tests::cluster::PATIENCE).await;
    assert!(status.success(), "a clean end");
    damage(&cluster.nodes[0].data, VideoId(load.video));
    cluster.run(0);
    cluster.nodes[0].ready().await;

    let report = cluster.nodes[0].ask("verify").expect("verify answers");
    assert_eq!(report["difference_count"], 1, "{report:#}");
    let difference = &report["differences"][0];
    assert_eq!(difference["stored"], "2", "{difference}");
    assert_eq!(difference["recounted"], "1", "{difference}");
    let data = path(&cluster.nodes[0].data).to_owned();
    let (status, printed, _) = run(&words(&["verify", "--data", &data]));
    assert!(!status.success(), "its exit code says so too");
    assert!(printed.contains("favorite"), "{printed}");
}
