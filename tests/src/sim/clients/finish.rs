//! The last reads: everything, at every node, when all is quiet.
use super::{Client, Fresh};

impl Client {
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
