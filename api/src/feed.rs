//! `/douyin/feed/`: everybody's videos, newest first.
use bytes::Bytes;
use model::feed;
use model::id::UserId;
use model::time::Timestamp;

use crate::call::{Call, json};
use crate::error::{Answer, Failure};
use crate::json::Json;
use crate::session::Reader;
use crate::wire;

const VIDEOS_MAX: usize = 30;

/// `GET /douyin/feed/`: at most 30 videos, strictly older than `latest_time`.
pub(crate) async fn feed(call: Call) -> Answer {
    let bound = call
        .params
        .moment("latest_time")
        .map(|moment| moment.before());
    let reader = call.read().await?;
    let viewer = reader.viewer();
    let (reader, bound) = settle(&call, reader, bound).await?;
    let body = match bound {
        None => first_page(&call, &reader, viewer)?,
        Some(_) => page(&call, &reader, viewer, bound)?,
    };
    Ok(json(body))
}

/// The view to answer from, and the bound unless all videos are older.
///
/// A bound beyond what this node has applied asks for videos that it may not know of: it catches up
/// first, since the page would else begin behind them and the next page be older still.
async fn settle(
    call: &Call,
    reader: Reader,
    bound: Option<Timestamp>,
) -> Result<(Reader, Option<Timestamp>), Failure> {
    let Some(bound) = bound else {
        return Ok((reader, None));
    };
    if !is_beyond(&reader, bound)? {
        return Ok((reader, Some(bound)));
    }
    if reader.is_behind_barrier {
        return Ok((reader, None));
    }
    let reader = call.read_behind_barrier().await?;
    let bound = (!is_beyond(&reader, bound)?).then_some(bound);
    Ok((reader, bound))
}

/// Are all videos older than that?
fn is_beyond(reader: &Reader, bound: Timestamp) -> Result<bool, Failure> {
    let newest = feed::newest(&reader.view)?;
    Ok(newest.is_none_or(|newest| newest < bound))
}

fn first_page(call: &Call, reader: &Reader, viewer: Option<UserId>) -> Result<Bytes, Failure> {
    let newest = || {
        let head = call.app.feed_head.of(&reader.view)?;
        feed::before_by(&head, &reader.view, None, None, VIDEOS_MAX)
    };
    let looks = || call.looks();
    let pages = &call.app.front_pages;
    match pages.of(reader.position, call.base(), looks, newest)? {
        Some(page) => Ok(page.body(&reader.view, viewer)?),
        None => Ok(nothing(call)),
    }
}

fn page(
    call: &Call,
    reader: &Reader,
    viewer: Option<UserId>,
    bound: Option<Timestamp>,
) -> Result<Bytes, Failure> {
    let head = call.app.feed_head.of(&reader.view)?;
    let items = feed::before_by(&head, &reader.view, viewer, bound, VIDEOS_MAX)?;
    if items.is_empty() {
        return Ok(nothing(call));
    }
    let mut text = Json::with_capacity((items.len() + 1) * wire::ITEM_BYTES);
    wire::write_feed(&items, &call.looks(), &mut text, Json::flag);
    Ok(text.into_bytes())
}

/// From here on there are no older videos: the client begins anew, at its present.
fn nothing(call: &Call) -> Bytes {
    let mut text = Json::default();
    wire::start("video_list", &mut text);
    text.raw("[");
    wire::end_feed(call.app.parts.clock.now(), &mut text);
    text.into_bytes()
}
