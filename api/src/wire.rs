//! The shapes on the wire, frozen: names, units and quirks are what the clients need.
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderValue;
use jiff::tz::TimeZone;
use model::comment::CommentItem;
use model::id::{UserId, VideoId};
use model::relation::FriendItem;
use model::time::Timestamp;
use model::user::Profile;
use model::video::{BlobRef, VideoItem};
use serde::Serialize;

use crate::base::Base;
use crate::error::Code;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// What every answer that went well begins with.
const SUCCESS: &str = r#"{"status_code":0,"status_msg":"success""#;

/// Nobody can write one yet, and clients show it: never empty.
const SIGNATURE: &str = "Nothing written here yet.";

/// Makes the absolute URLs of pictures and videos.
#[derive(Clone, Debug)]
pub(crate) struct Urls(pub(crate) Base);

impl Urls {
    /// Names the content, so that other content has another URL and caches may keep it for ever.
    fn blob(&self, kind: &str, id: VideoId, blob: &BlobRef) -> String {
        let extension = extension(&blob.content_type);
        format!(
            "{}/media/{kind}/{id}-{}.{extension}",
            self.0.as_str(),
            tag(blob)
        )
    }

    fn avatar(&self, user: UserId) -> String {
        format!("{}/static/avatar/{user}.png", self.0.as_str())
    }

    fn background(&self, user: UserId) -> String {
        format!("{}/static/background/{user}.jpg", self.0.as_str())
    }
}

/// The part of a blob's hash that its URLs carry.
pub(crate) fn tag(blob: &BlobRef) -> String {
    let [a, b, c, d, e, f, ..] = blob.sha256;
    format!("{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}")
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

#[derive(Debug, Serialize)]
pub(crate) struct User<'a> {
    id: UserId,
    name: &'a str,
    follow_count: u64,
    follower_count: u64,
    is_follow: bool,
    avatar: String,
    background_image: String,
    signature: &'static str,
    total_favorited: u64,
    work_count: u64,
    favorite_count: u64,
}

impl<'a> User<'a> {
    pub(crate) fn of(profile: &'a Profile, urls: &Urls) -> Self {
        Self {
            id: profile.id,
            name: &profile.name,
            follow_count: profile.follow_count,
            follower_count: profile.follower_count,
            is_follow: profile.is_follow,
            avatar: urls.avatar(profile.id),
            background_image: urls.background(profile.id),
            signature: SIGNATURE,
            total_favorited: profile.total_favorited,
            work_count: profile.work_count,
            favorite_count: profile.favorite_count,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct FriendUser<'a> {
    #[serde(flatten)]
    user: User<'a>,
    message: &'a str,
    /// 0: the viewer received it, 1: the viewer sent it.
    #[serde(rename = "msgType")]
    msg_type: u8,
}

impl<'a> FriendUser<'a> {
    pub(crate) fn of(friend: &'a FriendItem, urls: &Urls) -> Self {
        Self {
            user: User::of(&friend.profile, urls),
            message: &friend.message,
            msg_type: u8::from(friend.is_sent),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Video<'a> {
    id: VideoId,
    author: User<'a>,
    play_url: String,
    cover_url: String,
    favorite_count: u64,
    comment_count: u64,
    is_favorite: bool,
    title: &'a str,
}

impl<'a> Video<'a> {
    pub(crate) fn of(item: &'a VideoItem, urls: &Urls) -> Self {
        Self {
            id: item.id,
            author: User::of(&item.author, urls),
            play_url: urls.blob("video", item.id, &item.video),
            cover_url: urls.blob("cover", item.id, &item.cover),
            favorite_count: item.favorite_count,
            comment_count: item.comment_count,
            is_favorite: item.is_favorite,
            title: &item.title,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Comment<'a> {
    id: model::id::CommentId,
    user: User<'a>,
    content: &'a str,
    create_date: String,
}

impl<'a> Comment<'a> {
    pub(crate) fn of(item: &'a CommentItem, urls: &Urls, zone: &TimeZone) -> Self {
        Self {
            id: item.id,
            user: User::of(&item.author, urls),
            content: &item.text,
            create_date: month_and_day(item.created, zone),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Message<'a> {
    id: model::id::MessageId,
    to_user_id: UserId,
    from_user_id: UserId,
    content: &'a str,
    /// Milliseconds.
    create_time: Timestamp,
}

impl<'a> Message<'a> {
    pub(crate) fn of(message: &'a model::message::Message) -> Self {
        Self {
            id: message.id,
            to_user_id: message.to,
            from_user_id: message.from,
            content: &message.text,
            create_time: message.created,
        }
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

/// What a list begins with; elements separated by commas follow, then [`LIST_END`].
pub(crate) fn list_start(name: &str) -> String {
    format!("{SUCCESS},\"{name}\":[")
}

pub(crate) const LIST_END: &str = "]}";

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
        assert_eq!(
            urls.blob("video", VideoId(7), &blob),
            "http://h:1/media/video/7-abababababab.mp4"
        );
        assert_eq!(urls.avatar(UserId(9)), "http://h:1/static/avatar/9.png");
        assert_eq!(
            urls.background(UserId(9)),
            "http://h:1/static/background/9.jpg"
        );
    }
}
