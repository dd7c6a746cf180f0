//! The recount finds what is damaged: every key that goes missing, every record that changes,
//! every key that stands where none should.
use std::collections::BTreeSet;

use expect_test::expect;
use model::cluster::{AdmitNode, Configure, CreateJoinToken, Found};
use model::command::Operation;
use model::comment::AddComment;
use model::favorite::Like;
use model::key::{self, Key, TABLE};
use model::memory::Memory;
use model::message::SendMessage;
use model::overlay::Changes;
use model::record::{Conversation, Record, UserCounts, VideoCounts};
use model::relation::Follow;
use model::sweep::RetireBlob;
use model::time::Timestamp;
use model::verify::{self, Report};

use crate::samples::{identity, node};
use crate::world::{World, token};

/// A state in which every kind of key stands, more than once where it can.
fn world() -> World {
    let mut world = World::at(1000);
    world.ask(
        "",
        Operation::Found(Found {
            identity: identity(),
            node: node(1),
        }),
    );
    let (expires, uses) = (Timestamp(1_000_000), 3);
    let create = CreateJoinToken {
        token: token("join"),
        expires,
        uses,
    };
    world.ask("", Operation::CreateJoinToken(create));
    let admit = AdmitNode {
        token: Some(token("join")),
        replaces: None,
        node: node(2),
    };
    world.ask("", Operation::AdmitNode(admit));
    for value in ["true", "false"] {
        let (name, value) = ("chat.friends_only".to_owned(), value.to_owned());
        world.ask("", Operation::Configure(Configure { name, value }));
    }
    world.ask(
        "",
        Operation::RetireBlob(RetireBlob {
            key: "gone".to_owned(),
        }),
    );
    let names = ["alice", "bob", "carol"];
    let users: Vec<_> = names.iter().map(|name| world.register(name)).collect();
    let mut videos = Vec::new();
    for name in names {
        videos.push(world.publish(name, &format!("{name}-1")));
        videos.push(world.publish(name, &format!("{name}-2")));
    }
    for name in names {
        for user in &users {
            world.ask(name, Operation::Follow(Follow { user: *user }));
            for text in ["one", "two"] {
                let (to, text) = (*user, text.to_owned());
                world.ask(name, Operation::SendMessage(SendMessage { to, text }));
            }
        }
        for video in &videos {
            world.ask(name, Operation::Like(Like { video: *video }));
            let (video, text) = (*video, "hm".to_owned());
            world.ask(name, Operation::AddComment(AddComment { video, text }));
        }
    }
    world
}

/// Kinds of which nothing else tells: there is only this one place.
const ALONE: [&str; 3] = ["Founded", "Request", "RetiredBlob"];

fn found(memory: &Memory, change: (Vec<u8>, Option<Vec<u8>>)) -> Option<Report> {
    let mut damaged = memory.clone();
    damaged.commit(Changes::from([change]));
    // A record that cannot be read is told as a fault: found as well.
    verify::recount(&damaged)
        .ok()
        .filter(|report| report.difference_count == 0)
}

#[test]
fn a_sound_state_has_no_differences_and_every_kind_of_key() {
    let world = world();
    let report = world.recount();
    let expected = Report {
        users: 3,
        videos: 6,
        comments: 18,
        follows: 6,
        favorites: 18,
        messages: 12,
        differences: Vec::new(),
        difference_count: 0,
    };
    assert_eq!(report, expected);
    let kinds: BTreeSet<_> = world
        .memory
        .pairs()
        .map(|(key, _)| key::row(key).unwrap().name)
        .collect();
    for row in TABLE {
        assert!(
            kinds.contains(row.name),
            "no {} stands, so its damage is not tested",
            row.name
        );
    }
}

#[test]
fn every_missing_key_is_found() {
    let memory = world().memory;
    for (key, _) in memory.pairs() {
        if !ALONE.contains(&key::row(key).unwrap().name) {
            let missed = found(&memory, (key.to_vec(), None));
            assert!(
                missed.is_none(),
                "{} went missing unnoticed",
                key::describe(key)
            );
        }
    }
}

/// The first number of a record (after its version) is a count, an id or a sequence in all these
/// kinds; the records of text are told by nothing else.
#[test]
fn every_changed_number_is_found() {
    let memory = world().memory;
    let unknown = [
        "Comment",
        "SettingChange",
        "Account",
        "Node",
        "()",
        "Identity",
        "Reply",
    ];
    for (key, value) in memory.pairs() {
        let row = key::row(key).unwrap();
        if unknown.contains(&row.value) || row.name == "RetiredBlob" || row.name == "Watermarks" {
            continue;
        }
        let mut changed = value.to_vec();
        changed[1] ^= 1;
        let missed = found(&memory, (key.to_vec(), Some(changed)));
        assert!(missed.is_none(), "{} changed unnoticed", key::describe(key));
    }
}

#[test]
fn every_stray_key_is_found() {
    let memory = world().memory;
    let unknown = ["Configured", "Node"];
    for (key, value) in memory.pairs() {
        let row = key::row(key).unwrap();
        if ALONE.contains(&row.name) || unknown.contains(&row.name) || row.parts.is_empty() {
            continue;
        }
        // Another owner whom nobody knows, and another last part.
        let last = key.len() - 1;
        for (place, bits) in [(1, 0x40), (last, 0x01)] {
            let mut stray = key.to_vec();
            stray[place] ^= bits;
            if memory.pairs().any(|(key, _)| key == stray) {
                continue;
            }
            let missed = found(&memory, (stray.clone(), Some(value.to_vec())));
            assert!(
                missed.is_none(),
                "{} stands unnoticed",
                key::describe(&stray)
            );
        }
    }
}

/// What a person reads.
#[test]
fn differences_are_told_in_words() {
    let World { mut memory, .. } = world();
    let user = user_named(&memory, "alice");
    let video = first_video(&memory);
    let counts = UserCounts {
        follow_count: 9,
        follower_count: 2,
        total_favorited: 6,
        work_count: 2,
        favorite_count: 6,
    };
    let likes = VideoCounts {
        favorite_count: 2,
        comment_count: 3,
    };
    memory.commit(Changes::from([
        (key::UserCount { user }.encode(), Some(counts.encode())),
        (key::VideoCount { video }.encode(), Some(likes.encode())),
        (key::Favorite { video, user }.encode(), None),
    ]));
    let report = verify::recount(&memory).unwrap();
    let told: Vec<_> = report
        .differences
        .iter()
        .map(|it| format!("{}: {} but {}", it.what, it.stored, it.recounted))
        .collect();
    expect![[r#"
        user 1578 follow_count: 9 but 2
        user 1578 total_favorited: 6 but 5
        Favorite { video: VideoId(1578), user: UserId(1578) }, as of FavoriteBy { user: UserId(1578), sequence: Newest(3) }: nothing but 3"#]].assert_eq(&told.join("\n"));
}

/// A wrong like count of a video is that alone: its author's total is right, and not reported.
#[test]
fn one_damaged_counter_is_one_difference() {
    let World { mut memory, .. } = world();
    let video = first_video(&memory);
    let wrong = VideoCounts {
        favorite_count: 7,
        comment_count: 3,
    };
    memory.commit(Changes::from([(
        key::VideoCount { video }.encode(),
        Some(wrong.encode()),
    )]));
    let report = verify::recount(&memory).unwrap();
    assert_eq!(report.difference_count, 1, "{:?}", report.differences);
    assert_eq!(
        report.differences[0].what,
        format!("video {video} favorite_count")
    );
}

#[test]
fn only_a_thousand_differences_are_told_but_all_are_counted() {
    let mut memory = Memory::default();
    let head = Conversation {
        messages: 1,
        last: model::id::MessageId(1),
        last_created: Timestamp(1),
    };
    let strays = (0..600).map(|number| {
        let (low, high) = (model::id::UserId(number), model::id::UserId(number + 1));
        (
            key::ConversationOf { low, high }.encode(),
            Some(head.encode()),
        )
    });
    memory.commit(strays.collect());
    let report = verify::recount(&memory).unwrap();
    assert_eq!(
        (report.differences.len(), report.difference_count),
        (1000, 1800)
    );
}

fn user_named(memory: &Memory, name: &str) -> model::id::UserId {
    model::user::account(memory, name).unwrap().unwrap().id
}

fn first_video(memory: &Memory) -> model::id::VideoId {
    model::feed::before(memory, None, None, 100)
        .unwrap()
        .pop()
        .unwrap()
        .id
}
