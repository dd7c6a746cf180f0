//! Who asks the service: the same clients as the cluster's, over HTTP.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use load::client::{Ask, Client};
use load::world::pair;
use load::{Node, Sizes, Trouble, Work};

use super::schema::id;

/// What is asked of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// A like in five round trips.
    Like,
    /// A like in one.
    LikeByProcedure,
    /// The newest page, with a viewer.
    Feed,
    /// The same with Redis.
    CachedFeed,
}

impl Deed {
    pub(crate) const ALL: [Self; 4] = [
        Self::Like,
        Self::LikeByProcedure,
        Self::Feed,
        Self::CachedFeed,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Like => "mariadb-like",
            Self::LikeByProcedure => "mariadb-like-procedure",
            Self::Feed => "mariadb-feed",
            Self::CachedFeed => "redis-feed",
        }
    }
}

/// What is in the tables, and which like is the next: every like changes something.
pub(crate) struct Rows {
    sizes: Sizes,
    likes: AtomicU64,
}

impl Rows {
    pub(super) fn of(sizes: Sizes) -> Self {
        Self {
            sizes,
            likes: AtomicU64::new(sizes.likes),
        }
    }

    fn next_like(&self) -> String {
        let Sizes { users, videos, .. } = self.sizes;
        let number = self.likes.fetch_add(1, Ordering::Relaxed);
        let (user, video, is_on) = pair(number, users, videos - 1);
        let action = if is_on { 1 } else { 2 };
        let (user, video) = (id(user as u64), id(video as u64));
        format!("?user={user}&video={video}&action={action}")
    }

    fn viewer(&self, client: &mut Client) -> String {
        let user = client.dice.below(self.sizes.users);
        format!("?user={}", id(user as u64))
    }
}

/// Clients of the service.
#[derive(Clone)]
pub(crate) struct Asking {
    pub(crate) nodes: Vec<Node>,
    pub(crate) rows: Arc<Rows>,
    pub(crate) deed: Deed,
}

impl Work for Asking {
    type Client = Client;

    fn name(&self) -> &str {
        self.deed.name()
    }

    async fn connect(&self, index: usize, seed: u64) -> Result<Client, Trouble> {
        let node = self.nodes.get(index % self.nodes.len().max(1));
        let node = node.ok_or_else(|| Trouble::Broken("no service to ask".to_owned()))?;
        let mut client = Client::new(index, node.clone(), seed);
        client.connect().await?;
        Ok(client)
    }

    async fn perform(&self, client: &mut Client) -> Result<(), Trouble> {
        let ask = match self.deed {
            Deed::Like => Ask::post(format!("/like{}", self.rows.next_like())),
            Deed::LikeByProcedure => Ask::post(format!("/like-procedure{}", self.rows.next_like())),
            Deed::Feed => Ask::get(format!("/feed{}", self.rows.viewer(client))),
            Deed::CachedFeed => Ask::get(format!("/cached-feed{}", self.rows.viewer(client))),
        };
        client.send(ask).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likes_go_on_where_loading_ended_and_are_then_taken_back() {
        let rows = Rows::of(Sizes {
            users: 2,
            videos: 2,
            likes: 1,
            follows: 0,
        });
        let next: Vec<String> = (0..3).map(|_| rows.next_like()).collect();
        assert_eq!(
            next,
            [
                "?user=2&video=1&action=1",
                "?user=1&video=1&action=2",
                "?user=2&video=1&action=2",
            ]
        );
    }
}
