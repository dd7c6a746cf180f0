//! The usual stack, where it is installed: a service with an async MySQL client, one MariaDB that
//! is durable (every commit synced) and not replicated, and a Redis as its cache.
//!
//! As its owner would run it on one machine: Unix sockets, prepared statements, kept connections,
//! rows that lie as they are asked for. In its favour: nobody is authenticated, and likes do not
//! keep the cache up to date. Read [`schema`] for the data, [`like`] and [`feed`] for what the
//! service does, [`client`] for who asks it.
pub(crate) mod client;
mod feed;
mod like;
mod schema;
pub(crate) mod service;

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use load::{Node, Progress, Sizes};
use mysql_async::{Conn, OptsBuilder};
use ports::free_address;

use self::client::Rows;
use super::{Site, ourselves, program};
use crate::process::{Process, run};

/// How to get both.
pub(crate) const PACKAGES: &str = "apt-get install mariadb-server redis-server";

/// All of the data fits: at full size it is 150 MB.
const MARIADB: [&str; 10] = [
    "--innodb-buffer-pool-size=512M",
    "--innodb-log-file-size=256M",
    // A commit is acknowledged when it is synced.
    "--innodb-flush-log-at-trx-commit=1",
    // Nobody replicates.
    "--skip-log-bin",
    "--skip-networking",
    "--skip-name-resolve",
    // No gap locks: likes of different videos do not wait for each other.
    "--transaction-isolation=READ-COMMITTED",
    "--character-set-server=utf8mb4",
    "--max-connections=200",
    // Few threads for many connections: a thread each would cost a like a third more.
    "--thread-handling=pool-of-threads",
];

/// A cache: what it loses is read again from the database.
const REDIS: [&str; 6] = ["--save", "", "--appendonly", "no", "--port", "0"];

/// Where its programs are.
pub(crate) struct Programs {
    mariadbd: PathBuf,
    install: PathBuf,
    redis: PathBuf,
}

impl Programs {
    /// `$MARIADBD`, `$MARIADB_INSTALL_DB` and `$REDIS`, or the first in the path; else the name of
    /// what is missing.
    pub(crate) fn find() -> Result<Self, &'static str> {
        Ok(Self {
            mariadbd: program("MARIADBD", "mariadbd").ok_or("MariaDB")?,
            install: program("MARIADB_INSTALL_DB", "mariadb-install-db").ok_or("MariaDB")?,
            redis: program("REDIS", "redis-server").ok_or("Redis")?,
        })
    }
}

/// The running stack: its processes, and what is in it.
pub(crate) struct Stack {
    pub(crate) site: Site,
    pub(crate) rows: Arc<Rows>,
}

impl Stack {
    /// Starts all three and fills them.
    pub(crate) fn start(
        programs: &Programs,
        sizes: Sizes,
        dir: &Path,
        logs: &Path,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let sizes = schema::within_pairs(sizes);
        let sockets = Sockets::within(logs);
        let mut processes = start_servers(programs, &sockets, dir, logs)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let filled = runtime.block_on(sockets.fill(sizes, progress));
        filled.context("filling MariaDB and Redis")?;
        let listen = free_address()?;
        let mut command = ourselves()?;
        command.args(["stack", "--listen", &listen.to_string(), "--mariadb"]);
        command.arg(&sockets.mariadb);
        command.arg("--redis").arg(&sockets.redis);
        let mut process = Process::start("stack", command, logs.join("stack.log"))?;
        process.await_port(listen)?;
        processes.push(process);
        Ok(Self {
            site: Site {
                nodes: vec![Node::at(listen)],
                processes,
            },
            rows: Arc::new(Rows::of(sizes)),
        })
    }
}

/// Where both listen.
struct Sockets {
    mariadb: PathBuf,
    redis: PathBuf,
}

impl Sockets {
    /// In a folder with a short path: a socket's has 107 bytes at most.
    fn within(folder: &Path) -> Self {
        Self {
            mariadb: folder.join("mariadb.sock"),
            redis: folder.join("redis.sock"),
        }
    }

    async fn fill(&self, sizes: Sizes, progress: &dyn Progress) -> Result<()> {
        let mut connection = Conn::new(options(&self.mariadb)).await?;
        schema::fill(&mut connection, sizes, progress).await?;
        connection.disconnect().await?;
        let mut cache = service::cache(&self.redis).await?;
        schema::fill_cache(&mut cache, sizes, progress).await
    }
}

fn start_servers(
    programs: &Programs,
    sockets: &Sockets,
    dir: &Path,
    logs: &Path,
) -> Result<Vec<Process>> {
    Ok(vec![
        start_mariadb(programs, &sockets.mariadb, dir, logs)?,
        start_redis(programs, &sockets.redis, dir, logs)?,
    ])
}

fn start_mariadb(programs: &Programs, socket: &Path, dir: &Path, logs: &Path) -> Result<Process> {
    let data = dir.join("mariadb");
    let mut install = Command::new(&programs.install);
    install.args(["--no-defaults", "--skip-test-db"]);
    install.arg("--auth-root-authentication-method=normal");
    let mut server = Command::new(&programs.mariadbd);
    server.arg("--no-defaults").args(MARIADB);
    for command in [&mut install, &mut server] {
        command.arg(flag("--datadir", &data));
        if rustix::process::geteuid().is_root() {
            // It refuses to run as root unless it is told to.
            command.arg("--user=root");
        }
    }
    run(install).context("making MariaDB's folder")?;
    server.arg(flag("--socket", socket));
    server.arg(flag("--pid-file", &data.join("pid")));
    listening("mariadb", server, socket, logs)
}

fn start_redis(programs: &Programs, socket: &Path, dir: &Path, logs: &Path) -> Result<Process> {
    let mut server = Command::new(&programs.redis);
    server.args(REDIS).arg("--unixsocket").arg(socket);
    server.arg("--dir").arg(dir);
    listening("redis", server, socket, logs)
}

/// Starts it and waits for its socket.
fn listening(name: &str, server: Command, socket: &Path, logs: &Path) -> Result<Process> {
    let mut process = Process::start(name, server, logs.join(format!("{name}.log")))?;
    process.await_that("listening", || UnixStream::connect(socket).ok())?;
    Ok(process)
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

/// How MariaDB is reached.
fn options(socket: &Path) -> OptsBuilder {
    OptsBuilder::default()
        .socket(Some(socket.display().to_string()))
        .user(Some("root"))
}

/// Redis' key of the videos that a user likes.
fn favorites(user: i64) -> String {
    format!("favorite:{user}")
}

/// Redis' key of those whom a user follows.
fn follows(user: i64) -> String {
    format!("follow:{user}")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use axum::body::to_bytes;
    use axum::response::Response;
    use mysql_async::prelude::Queryable as _;
    use serde_json::Value;

    use super::like::Like;
    use super::service::Service;
    use super::*;

    const SIZES: Sizes = Sizes {
        users: 8,
        videos: 40,
        likes: 200,
        follows: 20,
    };

    /// Rows that are counted wrong.
    const MISCOUNTED: [&str; 3] = [
        "SELECT COUNT(*) FROM video WHERE favorite_count <>
            (SELECT COUNT(*) FROM favorite WHERE video_id = id)",
        "SELECT COUNT(*) FROM user WHERE favorite_count <>
            (SELECT COUNT(*) FROM favorite WHERE user_id = id)",
        "SELECT COUNT(*) FROM user WHERE total_favorited <>
            (SELECT COUNT(*) FROM favorite JOIN video ON video.id = video_id
             WHERE author_id = user.id)",
    ];

    struct Silent;

    impl Progress for Silent {
        fn stage(&self, _: &str, _: u64, _: &Arc<AtomicU64>) {}
    }

    #[tokio::test]
    async fn likes_count_once_and_both_feeds_show_the_same() {
        let programs = match Programs::find() {
            Ok(programs) => programs,
            Err(lacking) => {
                eprintln!("{lacking} is not installed ({PACKAGES}): nothing to test");
                return;
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let sockets = Sockets::within(folder.path());
        let _servers = start_servers(&programs, &sockets, folder.path(), folder.path()).unwrap();
        sockets.fill(SIZES, &Silent).await.unwrap();
        let service = Service::connect(&sockets.mariadb, &sockets.redis)
            .await
            .unwrap();

        let cached = videos(service.cached_feed(3).await.unwrap()).await;
        assert_eq!(videos(service.feed(3).await.unwrap()).await, cached);
        assert_eq!(cached.len(), 30);
        for flag in ["/is_favorite", "/author/is_follow"] {
            let set = cached
                .iter()
                .filter(|video| video.pointer(flag).unwrap() == true);
            assert!((1..30).contains(&set.count()), "{flag}");
        }

        // The last video is nobody's yet; its author is the last user.
        let like = |step| Like {
            user: 3,
            video: 40,
            step,
        };
        assert!(service.like(like(1)).await.unwrap());
        assert!(!service.like(like(1)).await.unwrap());
        assert!(!service.like_by_procedure(like(1)).await.unwrap());
        let newest = &videos(service.feed(3).await.unwrap()).await[0];
        assert_eq!(
            (&newest["id"], &newest["favorite_count"]),
            (&40.into(), &1.into())
        );
        assert_eq!(newest["is_favorite"], true);
        assert!(service.like_by_procedure(like(-1)).await.unwrap());
        assert!(!service.like(like(-1)).await.unwrap());
        assert!(service.like_by_procedure(like(1)).await.unwrap());
        assert!(
            service
                .like_by_procedure(Like { user: 8, ..like(1) })
                .await
                .unwrap()
        );
        let mut connection = service.mariadb.get_conn().await.unwrap();
        for question in MISCOUNTED {
            let count: Option<u64> = connection.query_first(question).await.unwrap();
            assert_eq!(count, Some(0), "{question}");
        }
    }

    async fn videos(answer: Response) -> Vec<Value> {
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["status_code"], 0);
        body["video_list"].as_array().unwrap().clone()
    }
}
