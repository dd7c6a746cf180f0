//! The newest page, with each video's author and counts, and whether the viewer likes and follows.
//!
//! From MariaDB in one round trip: the index of times is read backwards, and each of the thirty
//! videos is joined by primary keys with its author, and with the rows that say that the viewer
//! likes the one and follows the other.
//!
//! With Redis in two: the videos with authors and counts, which are the same for everybody, are
//! kept for a second as one value (who finds none reads it anew for all who wait); then, sent
//! together, which of them are in the sets of what the viewer likes and follows.
use std::borrow::Cow;

use anyhow::{Context, Result};
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use mysql_async::prelude::{FromValue, Queryable as _};
use mysql_async::{Conn, Row};
use redis::AsyncCommands as _;
use serde::{Deserialize, Serialize};

use super::service::Service;
use super::{favorites, follows};
use crate::yardstick::page::{Page, User, Video};

/// Who is no user likes nothing and follows nobody. The index and the order of the joins are said,
/// since the optimiser would rather read and sort the whole of a small table.
const NEWEST: &str = "SELECT video.id, play_url, cover_url, video.favorite_count, comment_count, \
    title, published_at, user.id, name, follow_count, follower_count, avatar, background_image, \
    signature, total_favorited, work_count, user.favorite_count, \
    favorite.user_id IS NOT NULL, relation.follower IS NOT NULL \
    FROM video FORCE INDEX (by_time) STRAIGHT_JOIN user ON user.id = author_id \
    LEFT JOIN favorite ON favorite.user_id = ? AND favorite.video_id = video.id \
    LEFT JOIN relation ON relation.follower = ? AND relation.followee = author_id \
    ORDER BY published_at DESC LIMIT 30";
const NOBODY: i64 = 0;

const CACHED: &str = "feed:newest";
const CACHED_MS: u64 = 1_000;

/// A page without a viewer.
#[derive(Serialize, Deserialize)]
struct Newest<'a> {
    #[serde(borrow)]
    videos: Vec<Video<'a>>,
    next_time: i64,
}

impl Service {
    /// From the database alone.
    pub(super) async fn feed(&self, viewer: i64) -> Result<Response> {
        let mut connection = self.mariadb.get_conn().await?;
        Ok(newest(&mut connection, viewer).await?.answer())
    }

    /// From the cache, as long as it has it.
    pub(super) async fn cached_feed(&self, viewer: i64) -> Result<Response> {
        let kept = self.cached_newest().await?;
        let mut newest: Newest<'_> = serde_json::from_slice(&kept).context("in the cache")?;
        let videos: Vec<i64> = newest.videos.iter().map(|video| video.id).collect();
        let authors: Vec<i64> = newest.videos.iter().map(|video| video.author.id).collect();
        let mut ask = redis::pipe();
        ask.smismember(favorites(viewer), videos);
        ask.smismember(follows(viewer), authors);
        let mut redis = self.redis.clone();
        let (liked, followed): (Vec<bool>, Vec<bool>) = ask.query_async(&mut redis).await?;
        let flags = liked.into_iter().zip(followed);
        for (video, (is_liked, is_followed)) in newest.videos.iter_mut().zip(flags) {
            video.is_favorite = is_liked;
            video.author.is_follow = is_followed;
        }
        Ok(newest.answer())
    }

    async fn cached_newest(&self) -> Result<Vec<u8>> {
        let mut redis = self.redis.clone();
        if let Some(kept) = redis.get(CACHED).await? {
            return Ok(kept);
        }
        let _one = self.refreshing.lock().await;
        // Another may have been first.
        if let Some(kept) = redis.get(CACHED).await? {
            return Ok(kept);
        }
        let mut connection = self.mariadb.get_conn().await?;
        let bytes = serde_json::to_vec(&newest(&mut connection, NOBODY).await?)?;
        let () = redis.pset_ex(CACHED, &bytes, CACHED_MS).await?;
        Ok(bytes)
    }
}

impl Newest<'_> {
    fn answer(self) -> Response {
        Json(Page::success(self.videos, self.next_time)).into_response()
    }
}

/// The newest videos with their authors, as the viewer sees them.
async fn newest(connection: &mut Conn, viewer: i64) -> Result<Newest<'static>> {
    let rows: Vec<Row> = connection.exec(NEWEST, (viewer, viewer)).await?;
    let mut newest = Newest {
        videos: Vec::with_capacity(rows.len()),
        next_time: 0,
    };
    for mut row in rows {
        newest.next_time = take(&mut row, 6)?;
        newest.videos.push(video(&mut row)?);
    }
    Ok(newest)
}

/// Columns are [`NEWEST`]'s.
fn video(row: &mut Row) -> Result<Video<'static>> {
    Ok(Video {
        id: take(row, 0)?,
        play_url: text(row, 1)?,
        cover_url: text(row, 2)?,
        favorite_count: take(row, 3)?,
        comment_count: take(row, 4)?,
        is_favorite: take(row, 17)?,
        title: text(row, 5)?,
        author: User {
            id: take(row, 7)?,
            name: text(row, 8)?,
            follow_count: take(row, 9)?,
            follower_count: take(row, 10)?,
            is_follow: take(row, 18)?,
            avatar: text(row, 11)?,
            background_image: text(row, 12)?,
            signature: text(row, 13)?,
            total_favorited: take(row, 14)?,
            work_count: take(row, 15)?,
            favorite_count: take(row, 16)?,
        },
    })
}

fn take<T: FromValue>(row: &mut Row, column: usize) -> Result<T> {
    row.take(column)
        .with_context(|| format!("column {column} is missing"))
}

fn text(row: &mut Row, column: usize) -> Result<Cow<'static, str>> {
    take::<String>(row, column).map(Cow::Owned)
}
