//! The database of the usual stack: tables, the procedure, and what is put into them.
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use load::world::{AUTHORS_MAX, pair, two_of};
use load::{Progress, Sizes};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use redis::aio::MultiplexedConnection;

use super::{favorites, follows};
use crate::yardstick::page::{SIGNATURE, TITLE, avatar, background, cover_url, play_url};

pub(super) const DATABASE: &str = "douyin";

/// Rows in one INSERT; sets in one pipeline.
const BATCH: u64 = 1_000;

/// Milliseconds between two videos.
const PUBLISH_EVERY_MS: u64 = 1_000;
const PUBLISHED_FIRST_MS: u64 = 1_700_000_000_000;

/// Rows lie in the order in which they are asked for, and there are no foreign keys, whose checks
/// would cost every like two look-ups and locks.
const TABLES: [&str; 4] = [
    "CREATE TABLE user (
        id BIGINT NOT NULL PRIMARY KEY,
        name VARCHAR(64) NOT NULL UNIQUE,
        avatar VARCHAR(255) NOT NULL,
        background_image VARCHAR(255) NOT NULL,
        signature VARCHAR(255) NOT NULL,
        follow_count BIGINT NOT NULL DEFAULT 0,
        follower_count BIGINT NOT NULL DEFAULT 0,
        total_favorited BIGINT NOT NULL DEFAULT 0,
        work_count BIGINT NOT NULL DEFAULT 0,
        favorite_count BIGINT NOT NULL DEFAULT 0)",
    "CREATE TABLE video (
        id BIGINT NOT NULL PRIMARY KEY,
        author_id BIGINT NOT NULL,
        title VARCHAR(255) NOT NULL,
        play_url VARCHAR(255) NOT NULL,
        cover_url VARCHAR(255) NOT NULL,
        favorite_count BIGINT NOT NULL DEFAULT 0,
        comment_count BIGINT NOT NULL DEFAULT 0,
        published_at BIGINT NOT NULL,
        KEY by_time (published_at), KEY by_author (author_id))",
    "CREATE TABLE favorite (
        user_id BIGINT NOT NULL,
        video_id BIGINT NOT NULL,
        PRIMARY KEY (user_id, video_id))",
    "CREATE TABLE relation (
        follower BIGINT NOT NULL,
        followee BIGINT NOT NULL,
        PRIMARY KEY (follower, followee), KEY by_followee (followee))",
];

/// The same transaction as the five trips of [`super::like`]. Who changes nothing is told by an
/// error, so that a like that does brings no result set back.
const PROCEDURE: &str = "
    CREATE PROCEDURE set_favorite(IN liker BIGINT, IN liked BIGINT, IN step BIGINT)
    BEGIN
        DECLARE author BIGINT;
        DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
        START TRANSACTION;
        IF step > 0 THEN
            INSERT IGNORE INTO favorite (user_id, video_id) VALUES (liker, liked);
        ELSE
            DELETE FROM favorite WHERE user_id = liker AND video_id = liked;
        END IF;
        IF ROW_COUNT() = 0 THEN
            SIGNAL SQLSTATE '45000';
        END IF;
        UPDATE video SET favorite_count = favorite_count + step WHERE id = liked;
        SELECT author_id INTO author FROM video WHERE id = liked;
        UPDATE user
            SET favorite_count = favorite_count + step * (id = liker),
                total_favorited = total_favorited + step * (id = author)
            WHERE id IN (liker, author);
        COMMIT;
    END";

/// Counters by counting: the sets are there first.
const COUNTS: [&str; 6] = [
    "UPDATE video JOIN
        (SELECT video_id AS id, COUNT(*) AS n FROM favorite GROUP BY video_id) AS counted
        USING (id) SET favorite_count = n",
    "UPDATE user JOIN
        (SELECT user_id AS id, COUNT(*) AS n FROM favorite GROUP BY user_id) AS counted
        USING (id) SET favorite_count = n",
    "UPDATE user JOIN
        (SELECT author_id AS id, SUM(favorite_count) AS liked, COUNT(*) AS n
         FROM video GROUP BY author_id) AS counted
        USING (id) SET total_favorited = liked, work_count = n",
    "UPDATE user JOIN
        (SELECT follower AS id, COUNT(*) AS n FROM relation GROUP BY follower) AS counted
        USING (id) SET follow_count = n",
    "UPDATE user JOIN
        (SELECT followee AS id, COUNT(*) AS n FROM relation GROUP BY followee) AS counted
        USING (id) SET follower_count = n",
    // The optimiser goes by what it was told of the tables last.
    "ANALYZE TABLE user, video, favorite, relation",
];

/// Makes the tables and fills them.
pub(super) async fn fill(mariadb: &mut Conn, sizes: Sizes, progress: &dyn Progress) -> Result<()> {
    let database = format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4");
    mariadb.query_drop(database).await?;
    mariadb.query_drop(format!("USE {DATABASE}")).await?;
    for table in TABLES.into_iter().chain([PROCEDURE]) {
        mariadb.query_drop(table).await.context("making tables")?;
    }
    let authors = sizes.users.clamp(1, AUTHORS_MAX) as u64;
    let mut filling = Filling { mariadb, progress };
    let columns = "user (id, name, avatar, background_image, signature)";
    let user = |n| {
        let id = id(n);
        let (avatar, background) = (avatar(id), background(id));
        format!("({id},'a1b2c3d4u{id}','{avatar}','{background}','{SIGNATURE}')")
    };
    filling.insert(columns, sizes.users as u64, user).await?;
    let columns = "video (id, author_id, title, play_url, cover_url, published_at)";
    let video = |n| {
        let (id, author) = (id(n), id(n % authors));
        let (play, cover) = (play_url(id), cover_url(id));
        let at = PUBLISHED_FIRST_MS + n * PUBLISH_EVERY_MS;
        format!("({id},{author},'{TITLE}','{play}','{cover}',{at})")
    };
    filling.insert(columns, sizes.videos as u64, video).await?;
    let favorite = |n| {
        let (user, video) = liked(n, sizes);
        format!("({user},{video})")
    };
    let columns = "favorite (user_id, video_id)";
    filling.insert(columns, sizes.likes, favorite).await?;
    let relation = |n| {
        let (follower, followee) = followed(n, sizes);
        format!("({follower},{followee})")
    };
    let columns = "relation (follower, followee)";
    filling.insert(columns, sizes.follows, relation).await?;
    for statement in COUNTS {
        mariadb.query_drop(statement).await.context("counting")?;
    }
    Ok(())
}

/// What a viewer likes and follows, as sets.
pub(super) async fn fill_cache(
    redis: &mut MultiplexedConnection,
    sizes: Sizes,
    progress: &dyn Progress,
) -> Result<()> {
    let mut sets = vec![(Vec::new(), Vec::new()); sizes.users];
    for n in 0..sizes.likes {
        let (user, video, _) = pair(n, sizes.users, sizes.videos - 1);
        sets[user].0.push(id(video as u64));
    }
    for n in 0..sizes.follows {
        let (follower, followee, _) = two_of(n, sizes.users);
        sets[follower].1.push(id(followee as u64));
    }
    let done = Arc::default();
    progress.stage("users' sets in Redis", sizes.users as u64, &done);
    for (n, (liked, followed)) in sets.into_iter().enumerate() {
        let user = id(n as u64);
        let mut pipeline = redis::pipe();
        for (key, members) in [(favorites(user), liked), (follows(user), followed)] {
            if !members.is_empty() {
                pipeline.sadd(key, members).ignore();
            }
        }
        let filled = pipeline.exec_async(redis).await;
        filled.context("filling Redis")?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// No more likes and follows than there are pairs: what comes after would be taken back.
pub(super) fn within_pairs(sizes: Sizes) -> Sizes {
    let pairs = |lefts: usize, rights: usize| lefts as u64 * rights as u64;
    Sizes {
        likes: sizes.likes.min(pairs(sizes.users, sizes.videos - 1)),
        follows: sizes.follows.min(pairs(sizes.users, sizes.users - 1)),
        ..sizes
    }
}

/// Of the `n`th user or video, from 0.
pub(super) fn id(n: u64) -> i64 {
    i64::try_from(n + 1).expect("there are not so many")
}

fn liked(n: u64, sizes: Sizes) -> (i64, i64) {
    let (user, video, _) = pair(n, sizes.users, sizes.videos - 1);
    (id(user as u64), id(video as u64))
}

fn followed(n: u64, sizes: Sizes) -> (i64, i64) {
    let (follower, followee, _) = two_of(n, sizes.users);
    (id(follower as u64), id(followee as u64))
}

struct Filling<'a> {
    mariadb: &'a mut Conn,
    progress: &'a dyn Progress,
}

impl Filling<'_> {
    /// Inserts `count` rows of `row(0)`, `row(1)`, …, many at once.
    async fn insert(
        &mut self,
        columns: &str,
        count: u64,
        row: impl Fn(u64) -> String,
    ) -> Result<()> {
        let (table, _) = columns.split_once(' ').unwrap_or((columns, ""));
        let done = Arc::new(AtomicU64::new(0));
        let name = format!("rows of MariaDB's {table}");
        self.progress.stage(&name, count, &done);
        let mut first = 0;
        while first < count {
            let end = (first + BATCH).min(count);
            let mut statement = format!("INSERT INTO {columns} VALUES ");
            for n in first..end {
                let comma = if n == first { "" } else { "," };
                write!(statement, "{comma}{}", row(n))?;
            }
            let inserted = self.mariadb.query_drop(statement).await;
            inserted.with_context(|| format!("filling {table}"))?;
            done.store(end, Ordering::Relaxed);
            first = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_loaded_is_never_taken_back() {
        let sizes = within_pairs(Sizes {
            users: 3,
            videos: 5,
            likes: 1_000,
            follows: 1_000,
        });
        assert_eq!((sizes.likes, sizes.follows), (12, 6));
        let count = |pairs: Vec<(i64, i64)>| {
            let pairs: std::collections::BTreeSet<_> = pairs.into_iter().collect();
            pairs.len() as u64
        };
        let likes = (0..sizes.likes).map(|n| liked(n, sizes)).collect();
        let follows = (0..sizes.follows).map(|n| followed(n, sizes)).collect();
        assert_eq!((count(likes), count(follows)), (12, 6));
    }
}
