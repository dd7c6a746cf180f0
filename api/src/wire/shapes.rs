//! The shapes as they were declared for serde: what is written by hand must be the same bytes.
use model::id::{CommentId, MessageId, UserId};
use model::time::Timestamp;
use proptest::prelude::*;
use serde::Serialize;

use super::*;

#[derive(Serialize)]
struct UserShape<'a> {
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

#[derive(Serialize)]
struct FriendShape<'a> {
    #[serde(flatten)]
    user: UserShape<'a>,
    message: &'a str,
    #[serde(rename = "msgType")]
    msg_type: u8,
}

#[derive(Serialize)]
struct VideoShape<'a> {
    id: VideoId,
    author: UserShape<'a>,
    play_url: String,
    cover_url: String,
    favorite_count: u64,
    comment_count: u64,
    is_favorite: bool,
    title: &'a str,
}

#[derive(Serialize)]
struct CommentShape<'a> {
    id: CommentId,
    user: UserShape<'a>,
    content: &'a str,
    create_date: String,
}

#[derive(Serialize)]
struct MessageShape<'a> {
    id: MessageId,
    to_user_id: UserId,
    from_user_id: UserId,
    content: &'a str,
    create_time: Timestamp,
}

const KINDS: [&str; 6] = [
    "video/mp4",
    "video/quicktime",
    "video/webm",
    "image/png",
    "image/jpeg",
    "what",
];
const BASE: &str = "https://host.example:8443/prefix";

fn user(profile: &Profile) -> UserShape<'_> {
    let id = profile.id;
    UserShape {
        id,
        name: &profile.name,
        follow_count: profile.follow_count,
        follower_count: profile.follower_count,
        is_follow: profile.is_follow,
        avatar: format!("{BASE}/static/avatar/{id}.png"),
        background_image: format!("{BASE}/static/background/{id}.jpg"),
        signature: SIGNATURE,
        total_favorited: profile.total_favorited,
        work_count: profile.work_count,
        favorite_count: profile.favorite_count,
    }
}

fn blob_url(kind: &str, id: VideoId, blob: &BlobRef) -> String {
    let [a, b, c, d, e, f, ..] = blob.sha256;
    let tag = format!("{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}");
    let extension = extension(&blob.content_type);
    format!("{BASE}/media/{kind}/{id}-{tag}.{extension}")
}

fn video(item: &VideoItem) -> VideoShape<'_> {
    VideoShape {
        id: item.id,
        author: user(&item.author),
        play_url: blob_url("video", item.id, &item.video),
        cover_url: blob_url("cover", item.id, &item.cover),
        favorite_count: item.favorite_count,
        comment_count: item.comment_count,
        is_favorite: item.is_favorite,
        title: &item.title,
    }
}

fn any_profile() -> impl Strategy<Value = Profile> {
    let counts = any::<(u64, u64, u64, u64, u64)>();
    (any::<u64>(), any::<String>(), counts, any::<bool>()).prop_map(
        |(id, name, counts, is_follow)| Profile {
            id: UserId(id),
            name,
            follow_count: counts.0,
            follower_count: counts.1,
            is_follow,
            total_favorited: counts.2,
            work_count: counts.3,
            favorite_count: counts.4,
        },
    )
}

fn any_blob() -> impl Strategy<Value = BlobRef> {
    let kind = prop::sample::select(KINDS.as_slice());
    (any::<[u8; 32]>(), kind).prop_map(|(sha256, kind)| BlobRef {
        key: "key".to_owned(),
        bytes: 1,
        sha256,
        content_type: kind.to_owned(),
    })
}

fn any_video() -> impl Strategy<Value = VideoItem> {
    let counts = any::<(u64, u64, bool)>();
    (
        any::<u64>(),
        any_profile(),
        any::<String>(),
        (any_blob(), any_blob()),
        counts,
    )
        .prop_map(|(id, author, title, (video, cover), counts)| VideoItem {
            id: VideoId(id),
            author,
            title,
            video,
            cover,
            published: Timestamp(1),
            favorite_count: counts.0,
            comment_count: counts.1,
            is_favorite: counts.2,
        })
}

fn written(item: &impl Shape) -> Vec<u8> {
    let looks = Looks {
        urls: Urls(Base::parse(BASE).unwrap()),
        zone: TimeZone::UTC,
    };
    let mut json = Json::default();
    item.write(&looks, &mut json);
    json.into_bytes().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_by_hand_is_what_serde_writes(
        item in any_video(),
        text in any::<String>(),
        numbers in any::<(u64, u64, u64)>(),
        is_sent in any::<bool>(),
    ) {
        prop_assert_eq!(written(&item), serde_json::to_vec(&video(&item)).unwrap());
        let profile = item.author;
        prop_assert_eq!(written(&profile), serde_json::to_vec(&user(&profile)).unwrap());

        let created = Timestamp(numbers.1 >> 20);
        let comment = CommentItem {
            id: CommentId(numbers.0),
            author: profile.clone(),
            text: text.clone(),
            created,
        };
        let shape = CommentShape {
            id: comment.id,
            user: user(&profile),
            content: &text,
            create_date: month_and_day(created, &TimeZone::UTC),
        };
        prop_assert_eq!(written(&comment), serde_json::to_vec(&shape).unwrap());

        let friend = FriendItem { profile: profile.clone(), message: text.clone(), is_sent };
        let shape = FriendShape {
            user: user(&profile),
            message: &text,
            msg_type: u8::from(is_sent),
        };
        prop_assert_eq!(written(&friend), serde_json::to_vec(&shape).unwrap());

        let message = Message {
            id: MessageId(numbers.0),
            to: UserId(numbers.1),
            from: UserId(numbers.2),
            text: text.clone(),
            created,
        };
        let shape = MessageShape {
            id: message.id,
            to_user_id: message.to,
            from_user_id: message.from,
            content: &text,
            create_time: created,
        };
        prop_assert_eq!(written(&message), serde_json::to_vec(&shape).unwrap());
    }
}
