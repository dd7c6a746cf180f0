//! Who stays with a node that was taken out of the membership: a connection outlives that, and the
//! node hears of nothing that is written from then on.
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::Client;

/// Writes and reads of one visit: a read that the node cannot serve takes as long as it may.
const ROUNDS: usize = 12;

impl Client {
    /// Writes at other nodes and looks for it at `node`, with its position and without.
    pub(crate) async fn linger(self, node: u64, visit: usize) {
        let mark = format!("{}-visit{visit}", self.me.id);
        let mut me = Self {
            mark,
            ..self.guest()
        };
        for _ in 0..ROUNDS {
            me.visit(node).await;
        }
    }

    async fn visit(&mut self, node: u64) {
        if self.lobby.is_over.load(Ordering::Relaxed) {
            return;
        }
        let (low, high) = self.lobby.shape.think_ms;
        sleep(Duration::from_millis(self.dice.between(low, high))).await;
        let mut others = self.lobby.doors.nodes();
        others.retain(|other| *other != node);
        let other = self.dice.pick(&others).copied();
        let video = self.dice.pick(&self.stage.videos).copied();
        if let (Some(other), Some(video)) = (other, video) {
            self.comment_on(other, video).await;
            let fresh = self.freshness();
            self.read_comments_of(node, video, fresh).await;
        }
    }
}
