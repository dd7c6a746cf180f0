//! Keys: the table as it is printed in DESIGN.md, order kept, round trips.
use std::fmt::Write as _;

use expect_test::expect_file;
use model::command::RequestId;
use model::id::{CommentId, MessageId, NodeId, UserId, VideoId};
use model::key::{self, Key, Newest, TABLE};
use model::time::Timestamp;
use model::token::TokenHash;
use proptest::prelude::*;

/// The table in DESIGN.md is this print-out; `UPDATE_EXPECT=1` rewrites the copy that is compared.
#[test]
fn the_table_is_as_printed() {
    let mut out = String::from("| tag | key | value | what for |\n|---|---|---|---|\n");
    for row in TABLE {
        let parts: Vec<_> = row
            .parts
            .iter()
            .map(|(name, kind)| format!("{name}: {kind}"))
            .collect();
        let parts = match parts.join(", ") {
            parts if parts.is_empty() => String::new(),
            parts => format!(" {{ {parts} }}"),
        };
        let purpose = row.purpose.trim();
        writeln!(
            out,
            "| {:02x} | {}{parts} | {} | {purpose} |",
            row.tag, row.name, row.value
        )
        .unwrap();
    }
    expect_file!["../keys.md"].assert_eq(&out);
    let design = include_str!("../../DESIGN.md");
    assert!(
        design.contains(&out),
        "DESIGN.md shows another key table than tests/keys.md"
    );
}

#[test]
fn tags_are_unique_and_in_order() {
    assert!(TABLE.windows(2).all(|rows| rows[0].tag < rows[1].tag));
}

#[test]
fn text_is_only_ever_the_last_part() {
    for row in TABLE {
        let texts = row
            .parts
            .iter()
            .filter(|(_, kind)| *kind == "String")
            .count();
        let last = row
            .parts
            .last()
            .filter(|(_, kind)| *kind == "String")
            .into_iter()
            .count();
        assert_eq!(
            texts, last,
            "{}: a text in front would swallow what follows",
            row.name
        );
    }
}

#[test]
fn foreign_bytes_are_no_key() {
    let good = key::Favorite {
        video: VideoId(1),
        user: UserId(2),
    }
    .encode();
    key::Favorite::decode(&good).unwrap();
    key::Favorite::decode(&good[..16]).unwrap_err();
    key::Favorite::decode(&[&good[..], &[0]].concat()).unwrap_err();
    key::Favorite::decode(&[]).unwrap_err();
    key::Follows::decode(&good).unwrap_err();
    key::UserByName::decode(&[key::UserByName::TAG, 0xff]).unwrap_err();
    assert_eq!(
        key::describe(&good),
        "Favorite { video: VideoId(1), user: UserId(2) }"
    );
    assert_eq!(key::describe(&[0xfe, 1]), "unknown key [fe, 01]");
}

fn round_trip<K: Key + PartialEq + std::fmt::Debug>(key: &K) -> Result<(), TestCaseError> {
    let bytes = key.encode();
    prop_assert_eq!(bytes[0], K::TAG);
    prop_assert_eq!(&K::decode(&bytes).unwrap(), key);
    prop_assert_eq!(key::row(&bytes).unwrap().name, K::NAME);
    Ok(())
}

proptest! {
    /// Numbers near each other and near the ends meet every carry of a byte.
    #[test]
    fn bytes_sort_as_parts_do(a in edgy(), b in edgy(), c in edgy(), d in edgy()) {
        let one = key::Follows { follower: UserId(a), followee: UserId(b) }.encode();
        let other = key::Follows { follower: UserId(c), followee: UserId(d) }.encode();
        prop_assert_eq!(one.cmp(&other), (a, b).cmp(&(c, d)));

        let one = key::CommentOn { video: VideoId(a), comment: Newest(CommentId(b)) }.encode();
        let other = key::CommentOn { video: VideoId(c), comment: Newest(CommentId(d)) }.encode();
        prop_assert_eq!(one.cmp(&other), a.cmp(&c).then(d.cmp(&b)));

        let one = key::MessageIn { low: UserId(1), high: UserId(a), number: b }.encode();
        let other = key::MessageIn { low: UserId(1), high: UserId(c), number: d }.encode();
        prop_assert_eq!(one.cmp(&other), (a, b).cmp(&(c, d)));
    }

    #[test]
    fn a_prefix_holds_exactly_its_keys(a in edgy(), b in edgy(), c in edgy()) {
        let key = key::FavoriteBy { user: UserId(a), sequence: Newest(b) }.encode();
        prop_assert_eq!(key.starts_with(&key::FavoriteBy::prefix(UserId(c))), a == c);
        prop_assert!(key.starts_with(&key::FavoriteBy::prefix(())));
        let key = key::MessageIn { low: UserId(a), high: UserId(b), number: 1 }.encode();
        let prefix = key::MessageIn::prefix((UserId(a), UserId(c)));
        prop_assert_eq!(key.starts_with(&prefix), b == c);
    }

    #[test]
    fn every_kind_of_key_comes_back(
        (a, b, c) in (edgy(), edgy(), edgy()),
        text in ".{0,12}",
        hash in any::<[u8; 32]>(),
        id in any::<[u8; 16]>(),
    ) {
        let (user, video, time) = (UserId(a), VideoId(b), Timestamp(c));
        let token = TokenHash(hash);
        round_trip(&key::Watermarks {})?;
        round_trip(&key::Founded {})?;
        round_trip(&key::Member { node: NodeId(a) })?;
        round_trip(&key::Joining { token })?;
        round_trip(&key::Configured { name: text.clone() })?;
        round_trip(&key::ConfiguredAt { revision: Newest(a) })?;
        round_trip(&key::Request { issued: time, request: RequestId(id) })?;
        round_trip(&key::UserById { user })?;
        round_trip(&key::UserCount { user })?;
        round_trip(&key::UserByName { folded: text.clone() })?;
        round_trip(&key::AccountOf { user })?;
        round_trip(&key::Session { token })?;
        round_trip(&key::SessionOf { user, expires: time, token })?;
        round_trip(&key::Expiry { expires: time, token })?;
        round_trip(&key::VideoById { video })?;
        round_trip(&key::VideoCount { video })?;
        round_trip(&key::PublishedBy { author: user, video: Newest(video) })?;
        round_trip(&key::Feed { published: Newest(time) })?;
        round_trip(&key::UsedBlob { key: text.clone() })?;
        round_trip(&key::RetiredBlob { key: text })?;
        round_trip(&key::Favorite { video, user })?;
        round_trip(&key::FavoriteBy { user, sequence: Newest(c) })?;
        round_trip(&key::CommentOn { video, comment: Newest(CommentId(c)) })?;
        round_trip(&key::Follows { follower: user, followee: UserId(b) })?;
        round_trip(&key::Following { user, sequence: Newest(c) })?;
        round_trip(&key::Follower { user, sequence: Newest(c) })?;
        round_trip(&key::Friend { user, sequence: Newest(c) })?;
        round_trip(&key::ConversationOf { low: user, high: UserId(b) })?;
        round_trip(&key::MessageIn { low: user, high: UserId(b), number: c })?;
        round_trip(&key::Inbox { user, last: Newest(MessageId(c)) })?;
    }
}

fn edgy() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4_u64,
        254..258_u64,
        65_534..65_538_u64,
        Just(u64::MAX),
        any::<u64>()
    ]
}
