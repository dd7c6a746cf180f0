//! A feed page as the contract has it, and what fills one here: as long as a real one.
use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// On a page.
pub(super) const VIDEOS: i64 = 30;
pub(super) const TITLE: &str = "under load";
pub(super) const SIGNATURE: &str = "Nothing written here yet.";

#[derive(Serialize)]
pub(super) struct Page<'a> {
    status_code: i32,
    status_msg: &'static str,
    video_list: Vec<Video<'a>>,
    next_time: i64,
}

impl<'a> Page<'a> {
    pub(super) fn success(video_list: Vec<Video<'a>>, next_time: i64) -> Self {
        Self {
            status_code: 0,
            status_msg: "success",
            video_list,
            next_time,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Video<'a> {
    pub(super) id: i64,
    #[serde(borrow)]
    pub(super) author: User<'a>,
    #[serde(borrow)]
    pub(super) play_url: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) cover_url: Cow<'a, str>,
    pub(super) favorite_count: u64,
    pub(super) comment_count: u64,
    pub(super) is_favorite: bool,
    #[serde(borrow)]
    pub(super) title: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct User<'a> {
    pub(super) id: i64,
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    pub(super) follow_count: u64,
    pub(super) follower_count: u64,
    pub(super) is_follow: bool,
    #[serde(borrow)]
    pub(super) avatar: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) background_image: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) signature: Cow<'a, str>,
    pub(super) total_favorited: u64,
    pub(super) work_count: u64,
    pub(super) favorite_count: u64,
}

pub(super) fn avatar(user: i64) -> String {
    format!("http://127.0.0.1:40000/static/avatar/{user}.png")
}

pub(super) fn background(user: i64) -> String {
    format!("http://127.0.0.1:40000/static/background/{user}.jpg")
}

pub(super) fn play_url(video: i64) -> String {
    format!("http://127.0.0.1:40000/media/video/{video}-0123456789ab.mp4")
}

pub(super) fn cover_url(video: i64) -> String {
    format!("http://127.0.0.1:40000/media/cover/{video}-0123456789ab.jpg")
}
