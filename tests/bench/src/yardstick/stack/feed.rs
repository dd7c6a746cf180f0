//! The newest page, with each video's author and counts, and whether the viewer likes and follows.
//!
//! From MariaDB in three round trips: videos joined with their authors, then which of these videos
//! the viewer likes, then which of these authors he follows.
//!
//! With Redis in two: the videos with authors and counts, which are the same for everybody, are
//! kept for a second as one value (who finds none reads it anew for all who wait); then, sent
//! together, which of them are in the sets of what the viewer likes and follows.
use std::borrow::Cow;
use std::collections::HashSet;

use anyhow::{Context, Result};
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use mysql_async::prelude::{FromValue, Queryable as _};
use mysql_async::{Conn, Row, Value};
use redis::AsyncCommands as _;
use serde::{Deserialize, Serialize};

use super::service::Service;
use super::{favorites, follows};
use crate::yardstick::page::{Page, User, VIDEOS, Video};

const NEWEST: &str = "SELECT video.id, play_url, cover_url, video.favorite_count, comment_count, \
    title, published_at, user.id, name, follow_count, follower_count, avatar, background_image, \
    signature, total_favorited, work_count, user.favorite_count \
    FROM video STRAIGHT_JOIN user ON user.id = author_id \
    ORDER BY published_at DESC LIMIT 30";
const LIKED: &str = "SELECT video_id FROM favorite WHERE user_id = ? AND video_id IN \
    (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
const FOLLOWED: &str = "SELECT followee FROM relation WHERE follower = ? AND followee IN \
    (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";

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
        let mut newest = newest(&mut connection).await?;
        let videos = newest.videos.iter().map(|video| video.id);
        let liked = which(&mut connection, LIKED, viewer, videos).await?;
        let authors = newest.videos.iter().map(|video| video.author.id);
        let followed = which(&mut connection, FOLLOWED, viewer, authors).await?;
        for video in &mut newest.videos {
            video.is_favorite = liked.contains(&video.id);
            video.author.is_follow = followed.contains(&video.author.id);
        }
        Ok(newest.answer())
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
        let bytes = serde_json::to_vec(&newest(&mut connection).await?)?;
        let () = redis.pset_ex(CACHED, &bytes, CACHED_MS).await?;
        Ok(bytes)
    }
}

impl Newest<'_> {
    fn answer(self) -> Response {
        Json(Page::success(self.videos, self.next_time)).into_response()
    }
}

/// The newest videos with their authors, as somebody sees them who likes and follows nobody.
async fn newest(connection: &mut Conn) -> Result<Newest<'static>> {
    let rows: Vec<Row> = connection.exec(NEWEST, ()).await?;
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
        is_favorite: false,
        title: text(row, 5)?,
        author: User {
            id: take(row, 7)?,
            name: text(row, 8)?,
            follow_count: take(row, 9)?,
            follower_count: take(row, 10)?,
            is_follow: false,
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

/// Which of these the viewer has; fewer than a page's are filled up with what nobody has.
async fn which(
    connection: &mut Conn,
    statement: &str,
    viewer: i64,
    of: impl Iterator<Item = i64>,
) -> Result<HashSet<i64>> {
    let page = usize::try_from(VIDEOS)?;
    let of = of.chain(std::iter::repeat(0)).take(page);
    let values: Vec<Value> = std::iter::once(viewer).chain(of).map(Value::from).collect();
    let found: Vec<i64> = connection.exec(statement, values).await?;
    Ok(found.into_iter().collect())
}
