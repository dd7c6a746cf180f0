//! Keys and records to bytes and back.
use divan::{Bencher, black_box};
use micro::world::token;
use model::id::{UserId, VideoId};
use model::key::{Favorite, FavoriteBy, Key as _, Newest, Session};
use model::record::{Record as _, Video};
use model::time::Timestamp;
use model::video::BlobRef;

const FAVORITE: Favorite = Favorite {
    video: VideoId(50_000 << 10),
    user: UserId(10_000 << 10),
};

#[divan::bench]
fn encode_edge() -> Vec<u8> {
    black_box(FAVORITE).encode()
}

#[divan::bench]
fn decode_edge(bencher: Bencher) {
    let bytes = FAVORITE.encode();
    bencher.bench(|| Favorite::decode(black_box(&bytes)).expect("it was just encoded"));
}

#[divan::bench]
fn encode_list_entry() -> Vec<u8> {
    let key = FavoriteBy {
        user: UserId(10_000 << 10),
        sequence: Newest(1_000_000),
    };
    black_box(key).encode()
}

#[divan::bench]
fn encode_session(bencher: Bencher) {
    let session = Session { token: token(1) };
    bencher.bench(|| black_box(&session).encode());
}

#[divan::bench]
fn encode_video(bencher: Bencher) {
    let record = video();
    bencher.bench(|| black_box(&record).encode());
}

#[divan::bench]
fn decode_video(bencher: Bencher) {
    let bytes = video().encode();
    bencher.bench(|| Video::decode(black_box(&bytes)).expect("it was just encoded"));
}

fn video() -> Video {
    let blob = |kind: &str| BlobRef {
        key: format!("{kind}/2026/11/0123456789abcdef0123456789abcdef"),
        bytes: 1_000_000,
        sha256: [7; 32],
        content_type: "video/mp4".to_owned(),
    };
    Video {
        author: UserId(10_000 << 10),
        title: "this is what the video is called".to_owned(),
        video: blob("video"),
        cover: blob("cover"),
        published: Timestamp(1_795_000_000_000),
    }
}
