//! The shapes on the wire, frozen: names, units and quirks are what the clients need.
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderValue;
use jiff::tz::TimeZone;
use model::comment::CommentItem;
use model::id::VideoId;
use model::message::Message;
use model::relation::FriendItem;
use model::time::Timestamp;
use model::user::Profile;
use model::video::{BlobRef, VideoItem};
use serde::Serialize;

use crate::base::Base;
use crate::error::Code;
use crate::json::Json;

#[cfg(test)]
mod shapes;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// What every answer that went well begins with.
const SUCCESS: &str = r#"{"status_code":0,"status_msg":"success""#;

/// Nobody can write one yet, and clients show it: never empty.
const SIGNATURE: &str = "Nothing written here yet.";

/// What absolute URLs begin with; see [`Base`] for why it needs no escaping.
#[derive(Clone, Debug)]
pub(crate) struct Urls(pub(crate) Base);

/// What shapes need besides the element.
#[derive(Clone)]
pub(crate) struct Looks {
    pub(crate) urls: Urls,
    pub(crate) zone: TimeZone,
}

/// Something that has a shape on the wire.
///
/// Written piece by piece into one buffer: URLs and numbers go there without texts of their own in
/// between. `shapes.rs` declares the same shapes for serde, and a test compares.
pub(crate) trait Shape {
    fn write(&self, looks: &Looks, json: &mut Json);
}

impl Urls {
    /// Names the content, so that other content has another URL and caches may keep it for ever.
    fn write_blob(&self, kind: &str, id: VideoId, blob: &BlobRef, json: &mut Json) {
        json.raw(self.0.as_str());
        json.raw("/media/");
        json.raw(kind);
        json.raw("/");
        json.number(id.0);
        json.raw("-");
        for byte in &blob.sha256[..TAG_BYTES] {
            json.hex(*byte);
        }
        json.raw(".");
        json.raw(extension(&blob.content_type));
    }
}

/// How much of a blob's hash its URLs carry.
const TAG_BYTES: usize = 6;

/// The part of a blob's hash that its URLs carry.
pub(crate) fn tag(blob: &BlobRef) -> String {
    let mut json = Json::with_capacity(2 * TAG_BYTES);
    for byte in &blob.sha256[..TAG_BYTES] {
        json.hex(*byte);
    }
    String::from_utf8_lossy(&json.into_bytes()).into_owned()
}

fn extension(content_type: &str) -> &'static str {
    match content_type {
        "video/mp4" => "mp4",
        "video/quicktime" => "mov",
        "video/webm" => "webm",
        "image/jpeg" => "jpg",
        "image/png" => "png",
        _ => "bin",
    }
}

impl Shape for Profile {
    fn write(&self, looks: &Looks, json: &mut Json) {
        json.raw("{");
        write_user(self, looks, json, Json::flag);
        json.raw("}");
    }
}

/// The fields of a user, without the braces; `flag` writes whether the viewer follows them.
fn write_user(
    profile: &Profile,
    looks: &Looks,
    json: &mut Json,
    flag: impl FnOnce(&mut Json, bool),
) {
    let base = looks.urls.0.as_str();
    json.raw("\"id\":");
    json.number(profile.id.0);
    json.raw(",\"name\":");
    json.text(&profile.name);
    json.raw(",\"follow_count\":");
    json.number(profile.follow_count);
    json.raw(",\"follower_count\":");
    json.number(profile.follower_count);
    json.raw(",\"is_follow\":");
    flag(json, profile.is_follow);
    json.raw(",\"avatar\":\"");
    json.raw(base);
    json.raw("/static/avatar/");
    json.number(profile.id.0);
    json.raw(".png\",\"background_image\":\"");
    json.raw(base);
    json.raw("/static/background/");
    json.number(profile.id.0);
    json.raw(".jpg\",\"signature\":\"");
    json.raw(SIGNATURE);
    json.raw("\",\"total_favorited\":");
    json.number(profile.total_favorited);
    json.raw(",\"work_count\":");
    json.number(profile.work_count);
    json.raw(",\"favorite_count\":");
    json.number(profile.favorite_count);
}

/// `msgType` 0: the viewer received the message, 1: the viewer sent it.
impl Shape for FriendItem {
    fn write(&self, looks: &Looks, json: &mut Json) {
        json.raw("{");
        write_user(&self.profile, looks, json, Json::flag);
        json.raw(",\"message\":");
        json.text(&self.message);
        json.raw(",\"msgType\":");
        json.number(u64::from(self.is_sent));
        json.raw("}");
    }
}

impl Shape for VideoItem {
    fn write(&self, looks: &Looks, json: &mut Json) {
        write_video(self, looks, json, Json::flag);
    }
}

/// `flag` writes what is the viewer's own: whether they follow the author, then whether they like
/// the video.
pub(crate) fn write_video(
    item: &VideoItem,
    looks: &Looks,
    json: &mut Json,
    mut flag: impl FnMut(&mut Json, bool),
) {
    json.raw("{\"id\":");
    json.number(item.id.0);
    json.raw(",\"author\":{");
    write_user(&item.author, looks, json, &mut flag);
    json.raw("},\"play_url\":\"");
    looks.urls.write_blob("video", item.id, &item.video, json);
    json.raw("\",\"cover_url\":\"");
    looks.urls.write_blob("cover", item.id, &item.cover, json);
    json.raw("\",\"favorite_count\":");
    json.number(item.favorite_count);
    json.raw(",\"comment_count\":");
    json.number(item.comment_count);
    json.raw(",\"is_favorite\":");
    flag(json, item.is_favorite);
    json.raw(",\"title\":");
    json.text(&item.title);
    json.raw("}");
}

/// The answer with a page of the feed, which is not empty. `flag`: see [`write_video`].
pub(crate) fn write_feed(
    items: &[VideoItem],
    looks: &Looks,
    json: &mut Json,
    mut flag: impl FnMut(&mut Json, bool),
) {
    start("video_list", json);
    json.raw("[");
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            json.raw(",");
        }
        write_video(item, looks, json, &mut flag);
    }
    let next_time = items.last().map_or(Timestamp(0), |item| item.published);
    end_feed(next_time, json);
}

/// The rest of an answer with a page of the feed, behind its last video.
pub(crate) fn end_feed(next_time: Timestamp, json: &mut Json) {
    json.raw("],\"next_time\":");
    json.number(next_time.0);
    json.raw("}");
}

impl Shape for CommentItem {
    fn write(&self, looks: &Looks, json: &mut Json) {
        json.raw("{\"id\":");
        json.number(self.id.0);
        json.raw(",\"user\":");
        self.author.write(looks, json);
        json.raw(",\"content\":");
        json.text(&self.text);
        json.raw(",\"create_date\":\"");
        json.raw(&month_and_day(self.created, &looks.zone));
        json.raw("\"}");
    }
}

/// `create_time` is in milliseconds.
impl Shape for Message {
    fn write(&self, _looks: &Looks, json: &mut Json) {
        json.raw("{\"id\":");
        json.number(self.id.0);
        json.raw(",\"to_user_id\":");
        json.number(self.to.0);
        json.raw(",\"from_user_id\":");
        json.number(self.from.0);
        json.raw(",\"content\":");
        json.text(&self.text);
        json.raw(",\"create_time\":");
        json.number(self.created.0);
        json.raw("}");
    }
}

/// Elements separated by commas.
pub(crate) fn write_all<'a, S: Shape + 'a>(
    items: impl IntoIterator<Item = &'a S>,
    looks: &Looks,
    json: &mut Json,
) {
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            json.raw(",");
        }
        item.write(looks, json);
    }
}

/// `MM-DD` as people in `zone` see it.
fn month_and_day(time: Timestamp, zone: &TimeZone) -> String {
    let millis = i64::try_from(time.0).unwrap_or(i64::MAX);
    // A stamp beyond the calendar's end can only come from a broken clock; any date will do.
    let instant = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    let day = instant.to_zoned(zone.clone());
    format!("{:02}-{:02}", day.month(), day.day())
}

/// The body of an answer that went well: the status, then the fields of `fields`.
pub(crate) fn success(fields: &impl Serialize) -> Result<Bytes, serde_json::Error> {
    let mut body = BytesMut::with_capacity(1 << 10);
    body.put(SUCCESS.as_bytes());
    let start = body.len();
    serde_json::to_writer((&mut body).writer(), fields)?;
    // What was written is `{…}` or `{}`: its brace becomes a comma, or goes.
    if body[start..] == *b"{}" {
        body.truncate(start);
        body.put_u8(b'}');
    } else {
        body[start] = b',';
    }
    Ok(body.freeze())
}

/// The beginning of an answer that went well, up to the value of its first field.
pub(crate) fn start(name: &str, json: &mut Json) {
    json.raw(SUCCESS);
    json.raw(",\"");
    json.raw(name);
    json.raw("\":");
}

pub(crate) const LIST_END: &str = "]}";

/// About what an element takes; a buffer that is too small grows.
pub(crate) const ITEM_BYTES: usize = 768;

/// The body of an answer that says no. `blank`: this endpoint's other fields with nothing in them,
/// each led by a comma.
pub(crate) fn failure_body(code: Code, message: &str, blank: &str) -> String {
    let message = serde_json::Value::from(message);
    format!(
        r#"{{"status_code":{},"status_msg":{message}{blank}}}"#,
        code.number()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_told_in_the_zone() {
        let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
        let time = Timestamp(1_704_038_399_999); // 2023-12-31T15:59:59.999Z
        assert_eq!(month_and_day(time, &shanghai), "12-31");
        assert_eq!(month_and_day(Timestamp(time.0 + 1), &shanghai), "01-01");
        assert_eq!(month_and_day(time, &TimeZone::UTC), "12-31");
        assert_eq!(month_and_day(Timestamp(u64::MAX), &TimeZone::UTC), "12-30");
    }

    #[test]
    fn answers_begin_with_their_status() {
        #[derive(Serialize)]
        struct Nothing {}
        #[derive(Serialize)]
        struct Something {
            next_time: u64,
        }
        assert_eq!(
            success(&Nothing {}).unwrap(),
            r#"{"status_code":0,"status_msg":"success"}"#
        );
        assert_eq!(
            success(&Something { next_time: 7 }).unwrap(),
            r#"{"status_code":0,"status_msg":"success","next_time":7}"#
        );
        assert_eq!(
            failure_body(Code::NameTaken, "a \"b\"", r#","user_id":0"#),
            r#"{"status_code":2004,"status_msg":"a \"b\"","user_id":0}"#
        );
    }

    #[test]
    fn urls_name_their_content() {
        let urls = Urls(Base::parse("http://h:1").unwrap());
        let blob = BlobRef {
            key: "v/secret".to_owned(),
            bytes: 1,
            sha256: [0xab; 32],
            content_type: "video/mp4".to_owned(),
        };
        let mut json = Json::with_capacity(0);
        urls.write_blob("video", VideoId(7), &blob, &mut json);
        assert_eq!(
            json.into_bytes(),
            "http://h:1/media/video/7-abababababab.mp4"
        );
        assert_eq!(tag(&blob), "abababababab");
    }
}
