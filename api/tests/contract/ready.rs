//! Health that tells the truth.
use crate::support::node::Cluster;

#[tokio::test]
async fn a_ready_node_says_how_it_stands() {
    let cluster = Cluster::one().await;
    let got = cluster.client().get("/readyz").await;
    assert_eq!(got.status, 200, "{}", got.text);
    let ready = got.json();
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["reasons"], serde_json::json!([]));
    assert_eq!(
        (&ready["role"], &ready["leader"], &ready["node"]),
        (&"leader".into(), &1.into(), &1.into())
    );
    assert!(ready["applied_index"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_draining_node_is_not_ready_and_still_serves() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    cluster.first().draining.send_replace(true);
    let got = client.get("/readyz").await;
    assert_eq!(got.status, 503);
    assert!(
        got.json()["reasons"][0]
            .as_str()
            .unwrap()
            .contains("draining")
    );
    client.get("/douyin/feed/").await.ok();
    assert_eq!(client.get("/healthz").await.status, 200);
}
