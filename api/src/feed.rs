//! `/douyin/feed/`: everybody's videos, newest first.
use model::feed;
use model::time::Timestamp;
use model::video::VideoItem;

use crate::call::Call;
use crate::call::json;
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
    let items = before(&call, reader, bound).await?;
    let next_time = items
        .last()
        .map_or_else(|| call.app.parts.clock.now(), |item| item.published);
    let mut text = Json::with_capacity((items.len() + 1) * wire::ITEM_BYTES);
    wire::start("video_list", &mut text);
    text.raw("[");
    wire::write_all(&items, &call.looks(), &mut text);
    text.raw("],\"next_time\":");
    text.number(next_time.0);
    text.raw("}");
    Ok(json(text.into_bytes()))
}

/// A bound beyond what this node has applied asks for videos that it may not know of: it catches up
/// first, since the page would else begin behind them and the next page be older still.
async fn before(
    call: &Call,
    reader: Reader,
    bound: Option<Timestamp>,
) -> Result<Vec<VideoItem>, Failure> {
    let viewer = reader.viewer();
    let is_beyond = match bound {
        Some(bound) => feed::newest(&reader.view)?.is_none_or(|newest| newest < bound),
        None => false,
    };
    let reader = if is_beyond && !reader.is_behind_barrier {
        call.read_behind_barrier().await?
    } else {
        reader
    };
    let head = call.app.feed_head.of(&reader.view)?;
    Ok(feed::before_by(
        &head,
        &reader.view,
        viewer,
        bound,
        VIDEOS_MAX,
    )?)
}
