//! The start page and the metrics.
use crate::support::node::Cluster;

#[tokio::test]
async fn the_start_page_is_there_and_closed_to_the_outside() {
    let cluster = Cluster::one().await;
    let got = cluster.client().get("/").await;
    assert_eq!(got.status, 200);
    assert_eq!(got.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        got.header("content-security-policy")
            .unwrap()
            .starts_with("default-src 'none'")
    );
    assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
    assert!(got.text.contains("<main"));
}

#[tokio::test]
async fn metrics_render() {
    let cluster = Cluster::one().await;
    let got = cluster.client().get("/metrics").await;
    assert_eq!(got.status, 200);
    assert!(
        got.header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
}
