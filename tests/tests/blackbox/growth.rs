//! A further node joins a loaded cluster with one command and serves correct reads.
use tests::cluster::{Cluster, words};
use tests::process::Process;

use crate::load::Load;

#[tokio::test]
async fn a_fourth_node_joins_under_load() {
    let mut cluster = Cluster::start(3).await;
    let mut load = Load::begin(&cluster, "growth").await;
    let fourth = cluster.add();
    cluster.nodes[fourth].ready().await;
    load.end().await;
    let client = cluster.nodes[fourth].client();
    load.check(&client).await;
    cluster.verify().await;
    let status = cluster.nodes[fourth].ask("status").expect("status answers");
    assert_eq!(status["node"], 4);
    assert_eq!(status["role"], "learner", "three voters are enough");
}

#[tokio::test]
async fn strangers_do_not_get_in() {
    let mut cluster = Cluster::start(1).await;
    let token = cluster.token.clone();
    let (prefix, secret) = token.rsplit_once('-').expect("a token has parts");
    let other_secret: String = secret.chars().rev().collect();
    // Another cluster's token pins another CA.
    let stranger = cluster.dir.path().join("stranger");
    let (_, foreign, _) =
        tests::process::run(&words(&["init", "--data", tests::cluster::path(&stranger)]));
    for (name, token, says) in [
        ("wrong-secret", format!("{prefix}-{other_secret}"), "token"),
        ("wrong-pin", foreign.trim().to_owned(), ""),
        ("nonsense", "hello".to_owned(), "token"),
    ] {
        cluster.token = token;
        let n = cluster.add();
        let mut process: Process = cluster.nodes[n].process.take().expect("it was started");
        let status = process.ended(tests::cluster::PATIENCE * 2).await;
        assert!(!status.success(), "{name} got in");
        let printed = process.printed();
        assert!(
            printed.contains(says) && printed.contains("error"),
            "{name}: {printed}"
        );
        assert!(!cluster.nodes[n].data.join("identity.json").exists());
    }
    let status = cluster.nodes[0].ask("status").expect("status answers");
    assert_eq!(status["learners"].as_array().map(Vec::len), Some(0));
}
