//! A like: the row that says it, and the counters of the video, of who likes, and of the author, in
//! one transaction. It begins with the row: whether that changed decides about the rest.
//!
//! Everybody locks the video before users, and users by their id, so that nobody waits in a circle.
use anyhow::{Context, Result};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Error, TxOpts};

use super::service::Service;

const ADD: &str = "INSERT IGNORE INTO favorite (user_id, video_id) VALUES (?, ?)";
const REMOVE: &str = "DELETE FROM favorite WHERE user_id = ? AND video_id = ?";
const COUNT_VIDEO: &str = "UPDATE video SET favorite_count = favorite_count + ? WHERE id = ?";
const COUNT_USERS: &str = "UPDATE user \
    SET favorite_count = favorite_count + ? * (id = ?), \
        total_favorited = total_favorited + ? * (id = ?) \
    WHERE id IN (?, ?)";
const CALL: &str = "CALL set_favorite(?, ?, ?)";

/// The state of an error that the procedure raises itself (see [`super::schema`]).
const UNCHANGED: &str = "45000";

/// Who likes what (`step` 1), or takes it back (-1).
#[derive(Clone, Copy)]
pub(super) struct Like {
    pub(super) user: i64,
    pub(super) video: i64,
    pub(super) step: i64,
}

impl Service {
    /// Five round trips: begin, the row, the video's counter, the users', commit. Says whether it
    /// changed anything.
    pub(super) async fn like(&self, like: Like) -> Result<bool> {
        let Like { user, video, step } = like;
        let author = *self.authors.get(&video).context("no such video")?;
        let mut connection = self.mariadb.get_conn().await?;
        let mut transaction = connection.start_transaction(TxOpts::default()).await?;
        let row = if step > 0 { ADD } else { REMOVE };
        transaction.exec_drop(row, (user, video)).await?;
        if transaction.affected_rows() == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        transaction.exec_drop(COUNT_VIDEO, (step, video)).await?;
        let counted = (step, user, step, author, user, author);
        transaction.exec_drop(COUNT_USERS, counted).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The same in one round trip.
    pub(super) async fn like_by_procedure(&self, like: Like) -> Result<bool> {
        let mut connection = self.mariadb.get_conn().await?;
        let called = connection.exec_drop(CALL, (like.user, like.video, like.step));
        match called.await {
            Ok(()) => Ok(true),
            Err(Error::Server(error)) if error.state == UNCHANGED => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
