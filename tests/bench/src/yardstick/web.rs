//! Bare axum: one small JSON (`/hello`), and a page of thirty videos that is serialised anew for
//! each request with no storage behind it (`/page`).
use std::net::SocketAddr;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use axum::Json;
use axum::Router;
use axum::routing::get;
use axum::serve::{Listener, ListenerExt as _};
use serde::Serialize;
use tokio::net::TcpListener;

const VIDEOS: i64 = 30;

#[derive(Clone, Copy, Serialize)]
pub(super) struct Hello {
    status_code: i32,
    status_msg: &'static str,
}

impl Hello {
    pub(super) const SUCCESS: Self = Self {
        status_code: 0,
        status_msg: "success",
    };
}

/// The page's shape is the contract's.
#[derive(Clone, Serialize)]
struct Page {
    status_code: i32,
    status_msg: &'static str,
    video_list: Vec<Video>,
    next_time: i64,
}

#[derive(Clone, Serialize)]
struct Video {
    id: i64,
    author: User,
    play_url: String,
    cover_url: String,
    favorite_count: u64,
    comment_count: u64,
    is_favorite: bool,
    title: String,
}

#[derive(Clone, Serialize)]
struct User {
    id: i64,
    name: String,
    follow_count: u64,
    follower_count: u64,
    is_follow: bool,
    avatar: String,
    background_image: String,
    signature: String,
    total_favorited: u64,
    work_count: u64,
    favorite_count: u64,
}

/// Serves until it is killed.
pub(crate) fn serve(listen: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("starting threads")?;
    runtime.block_on(async {
        let listener = listen_without_delay(listen).await?;
        axum::serve(listener, router()).await.context("serving")
    })
}

/// As the nodes do: an answer is not held back for more to send.
pub(super) async fn listen_without_delay(
    listen: SocketAddr,
) -> Result<impl Listener<Addr = SocketAddr>> {
    let listener = TcpListener::bind(listen).await.context("listening")?;
    Ok(listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("TCP_NODELAY: {error}");
        }
    }))
}

fn router() -> Router {
    static PAGE: LazyLock<Page> = LazyLock::new(page);
    Router::new()
        .route("/hello", get(hello))
        .route("/page", get(async || Json(&*PAGE)))
}

async fn hello() -> Json<Hello> {
    Json(Hello::SUCCESS)
}

fn page() -> Page {
    let user = |id: i64| User {
        id,
        name: format!("a1b2c3d4u{id}"),
        follow_count: 50,
        follower_count: 50,
        is_follow: false,
        avatar: format!("http://127.0.0.1:40000/static/avatar/{id}.png"),
        background_image: format!("http://127.0.0.1:40000/static/background/{id}.jpg"),
        signature: "Nothing written here yet.".to_owned(),
        total_favorited: 2_000,
        work_count: 5,
        favorite_count: 100,
    };
    let video = |n: i64| {
        let id = 4_611_686_018_427 + n;
        Video {
            id,
            author: user(1_000_000 + n),
            play_url: format!("http://127.0.0.1:40000/media/video/{id}-0123456789ab.mp4"),
            cover_url: format!("http://127.0.0.1:40000/media/cover/{id}-0123456789ab.jpg"),
            favorite_count: 20,
            comment_count: 3,
            is_favorite: n % 2 == 0,
            title: "under load".to_owned(),
        }
    };
    Page {
        status_code: 0,
        status_msg: "success",
        video_list: (0..VIDEOS).map(video).collect(),
        next_time: 1_700_000_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_long_as_a_real_one() {
        let bytes = serde_json::to_vec(&page()).unwrap().len();
        assert!((14_000..19_000).contains(&bytes), "{bytes}");
    }
}
