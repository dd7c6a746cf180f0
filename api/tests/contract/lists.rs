//! Long lists, whole and in pages.
use crate::support::client::{Client, User};
use crate::support::node::{Cluster, options};

async fn many_comments(client: &Client, user: &User, count: u64) -> u64 {
    let video = client.publish(user, "one").await;
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let (client, user) = (client.clone(), user.clone());
        tasks.spawn(async move {
            for number in (worker..count).step_by(8) {
                client.comment(&user, video, &number.to_string()).await.ok();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    video
}

async fn ids(client: &Client, video: u64, paging: &str) -> Vec<u64> {
    let list = client
        .get(&format!("/douyin/comment/list/?video_id={video}{paging}"))
        .await
        .ok();
    list["comment_list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_long_list_comes_whole_or_in_pages() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let video = many_comments(&client, &user, 1_250).await;
    let all = ids(&client, video, "").await;
    assert_eq!(all.len(), 1_250);
    assert!(all.is_sorted_by(|left, right| left > right));
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = ids(&client, video, &format!("&limit=170{cursor}")).await;
        let Some(last) = page.last() else { break };
        cursor = format!("&cursor={last}");
        assert!(page.len() <= 170);
        paged.extend(page);
    }
    assert_eq!(paged, all);
    for limit in [1, 99, 100, 101, 600, 601, 1_249, 1_250, 5_000] {
        assert_eq!(
            ids(&client, video, &format!("&limit={limit}")).await,
            all[..all.len().min(limit)],
            "{limit}"
        );
    }
    client
        .get(&format!("/douyin/comment/list/?video_id={video}&limit=0"))
        .await
        .refused(1003);
}

#[tokio::test]
async fn the_operator_caps_lists() {
    let mut options = options();
    options.list_items_max = 120;
    let cluster = Cluster::with(1, options).await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let video = many_comments(&client, &user, 150).await;
    assert_eq!(ids(&client, video, "").await.len(), 120);
    assert_eq!(ids(&client, video, "&limit=1000").await.len(), 120);
}
