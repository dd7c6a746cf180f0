//! The last reads: everything, at every node, when all is quiet.
use std::time::Duration;

use http::Method;
use tokio::time::sleep;

use super::{Client, Fresh, Reply};

/// Attempts, a moment apart: a leader may just be changing.
const TRIES: usize = 5;

impl Client {
    /// Logs in: a write that no checker looks at, so that it may be repeated.
    ///
    /// # Errors
    /// When a cluster in which all is well does not take it.
    pub(crate) async fn write_at_last(&mut self, node: u64) -> Result<(), String> {
        let path = "/douyin/user/login/?username=user0&password=secret";
        for _ in 0..TRIES {
            if let Reply::Done(_) = self.ask(node, Method::POST, path, Fresh::Newest).await {
                return Ok(());
            }
            sleep(Duration::from_millis(500)).await;
        }
        Err(format!("node {node} takes no writes when all is well"))
    }

    /// Reads all that this client can read, at one node.
    pub(crate) async fn read_everything(&mut self, node: u64) {
        let stage = std::sync::Arc::clone(&self.stage);
        for video in &stage.videos {
            self.read_comments_of(node, *video, Fresh::Newest).await;
        }
        for user in &stage.users {
            if user.id != self.me.id {
                self.listen_to(node, user.id, Fresh::Newest).await;
            }
        }
        for _ in 0..8 {
            self.read_likes(node).await;
            self.read_follows(node).await;
        }
    }
}
