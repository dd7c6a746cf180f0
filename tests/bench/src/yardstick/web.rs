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

use super::page::{
    Page, SIGNATURE, TITLE, User, VIDEOS, Video, avatar, background, cover_url, play_url,
};

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
    static PAGE: LazyLock<Page<'static>> = LazyLock::new(page);
    Router::new()
        .route("/hello", get(hello))
        .route("/page", get(async || Json(&*PAGE)))
}

async fn hello() -> Json<Hello> {
    Json(Hello::SUCCESS)
}

fn page() -> Page<'static> {
    Page::success((0..VIDEOS).map(video).collect(), 1_700_000_000_000)
}

fn video(n: i64) -> Video<'static> {
    let (id, author) = (4_611_686_018_427 + n, 1_000_000 + n);
    Video {
        id,
        author: User {
            id: author,
            name: format!("a1b2c3d4u{author}").into(),
            follow_count: 50,
            follower_count: 50,
            is_follow: false,
            avatar: avatar(author).into(),
            background_image: background(author).into(),
            signature: SIGNATURE.into(),
            total_favorited: 2_000,
            work_count: 5,
            favorite_count: 100,
        },
        play_url: play_url(id).into(),
        cover_url: cover_url(id).into(),
        favorite_count: 20,
        comment_count: 3,
        is_favorite: n % 2 == 0,
        title: TITLE.into(),
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
