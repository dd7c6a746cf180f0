//! Bytes that are for ever: records, commands, the folding of names.
use std::fmt::Write as _;

use expect_test::{expect, expect_file};
use model::command::{Command, Operation, Reply};
use model::error::{Fault, Rejection};
use model::id::{CommentId, MessageId, NodeId, UserId, VideoId};
use model::key::{TABLE, row};
use model::record::{self, Record, read_body};
use model::time::Timestamp;
use model::user::fold_name;
use serde::{Deserialize, Serialize};

use crate::samples;

/// Frozen: the log of a running cluster is written in it. Append variants, change none.
#[test]
fn commands_are_encoded_as_ever() {
    let mut out = String::new();
    for operation in samples::operations() {
        let command = samples::command(operation);
        let bytes = postcard::to_stdvec(&command).unwrap();
        assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), command);
        writeln!(
            out,
            "{:18}{}",
            samples::word(&command.operation),
            hex(&bytes)
        )
        .unwrap();
    }
    expect_file!["../commands.hex"].assert_eq(&out);
}

#[test]
fn there_is_a_sample_of_each_variant() {
    all_variants(&samples::operations());
    all_variants(&samples::replies());
    all_variants(&samples::rejections());
}

/// Their discriminants count from 0, and there is no further variant: zeros would decode as it.
fn all_variants<T: Serialize + for<'a> Deserialize<'a>>(samples: &[T]) {
    let next = u8::try_from(samples.len()).unwrap();
    for (number, sample) in (0..next).zip(samples) {
        assert_eq!(postcard::to_stdvec(sample).unwrap()[0], number);
    }
    let zeros = [vec![next], vec![0; 256]].concat();
    assert!(
        postcard::take_from_bytes::<T>(&zeros).is_err(),
        "variant {next} has no sample"
    );
    let known = [vec![next - 1], vec![0; 256]].concat();
    assert!(
        postcard::take_from_bytes::<T>(&known).is_ok(),
        "zeros do not decode: no test at all"
    );
}

/// Frozen: stores are full of them. A changed shape needs a new version and a migration.
#[test]
fn records_are_encoded_as_ever() {
    let mut out = String::new();
    for reply in samples::replies() {
        line(&mut out, "Reply", &reply);
    }
    for rejection in samples::rejections() {
        line(&mut out, "Reply", &Reply::Rejected(rejection));
    }
    line(&mut out, "()", &());
    line(&mut out, "u64", &300_u64);
    line(&mut out, "UserId", &UserId(1025));
    line(&mut out, "VideoId", &VideoId(2049));
    line(&mut out, "Timestamp", &Timestamp(1_700_000_000_000));
    line(&mut out, "Identity", &samples::identity());
    let node = model::cluster::Node {
        info: samples::node(6),
        admitted: Timestamp(9),
        is_retired: true,
        replaced_by: Some(NodeId(3)),
    };
    line(&mut out, "Node", &node);
    people(&mut out);
    things(&mut out);
    for row in TABLE {
        let has_line = out
            .lines()
            .any(|line| line.starts_with(&format!("{} ", row.value)));
        assert!(has_line, "{} has no frozen bytes", row.value);
    }
    expect_file!["../records.hex"].assert_eq(&out);
}

fn people(out: &mut String) {
    let totals = record::Totals {
        clock: Timestamp(1),
        users: 2,
        videos: 3,
        comments: 4,
        messages: 5,
        nodes: 6,
        sequence: 7,
        revision: 8,
        newest: Timestamp(9),
        requests_swept: Timestamp(10),
        expiries_swept: Timestamp(11),
    };
    line(out, "Totals", &totals);
    line(
        out,
        "User",
        &record::User {
            name: "Al".to_owned(),
            registered: Timestamp(9),
        },
    );
    let counts = record::UserCounts {
        follow_count: 1,
        follower_count: 2,
        total_favorited: 300,
        work_count: 4,
        favorite_count: 5,
    };
    line(out, "UserCounts", &counts);
    line(
        out,
        "Account",
        &record::Account {
            password_hash: "$h".to_owned(),
            tokens: 2,
        },
    );
    line(
        out,
        "Token",
        &record::Token {
            user: UserId(1025),
            expires: Timestamp(9),
        },
    );
    line(out, "Expiring", &record::Expiring::Session);
    line(out, "Expiring", &record::Expiring::Joining);
    rights(out);
}

fn rights(out: &mut String) {
    line(
        out,
        "JoinToken",
        &record::JoinToken {
            expires: Timestamp(9),
            uses: 2,
        },
    );
    line(
        out,
        "Setting",
        &record::Setting {
            value: "v".to_owned(),
            revision: 1,
        },
    );
    let change = record::SettingChange {
        name: "n".to_owned(),
        old: None,
        new: "v".to_owned(),
        changed: Timestamp(9),
    };
    line(out, "SettingChange", &change);
}

fn things(out: &mut String) {
    let video = record::Video {
        author: UserId(1025),
        title: "t".to_owned(),
        video: samples::blob("v", "video/mp4"),
        cover: samples::blob("c", "image/jpeg"),
        published: Timestamp(9),
    };
    line(out, "Video", &video);
    line(
        out,
        "VideoCounts",
        &record::VideoCounts {
            favorite_count: 300,
            comment_count: 2,
        },
    );
    let (author, created) = (UserId(1025), Timestamp(9));
    line(
        out,
        "Comment",
        &record::Comment {
            author,
            text: "hé".to_owned(),
            created,
        },
    );
    let head = record::Conversation {
        messages: 3,
        last: MessageId(4097),
        last_created: Timestamp(9),
    };
    line(out, "Conversation", &head);
    let message = record::Message {
        id: MessageId(4097),
        from: UserId(1025),
        text: "m".to_owned(),
        created: Timestamp(9),
    };
    line(out, "Message", &message);
}

fn line<R: Record + PartialEq + std::fmt::Debug>(out: &mut String, name: &str, record: &R) {
    let bytes = record.encode();
    assert_eq!(&R::decode(&bytes).unwrap(), record);
    R::decode(&[&bytes[..], &[0]].concat()).unwrap_err();
    if bytes.len() > 1 {
        R::decode(&bytes[..bytes.len() - 1]).unwrap_err();
    }
    R::decode(&[&[R::VERSION + 1], &bytes[1..]].concat()).unwrap_err();
    R::decode(&[]).unwrap_err();
    writeln!(out, "{name} {}", hex(&bytes)).unwrap();
}

/// A record in its second version, as one will look some day.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Second {
    name: String,
    likes: u64,
}

impl Record for Second {
    const VERSION: u8 = 2;

    fn migrate(version: u8, body: &[u8]) -> Result<Self, Fault> {
        match version {
            1 => Ok(Self {
                name: read_body(body)?,
                likes: 0,
            }),
            _ => Err(Fault(format!("version {version}"))),
        }
    }
}

#[test]
fn an_older_record_migrates_when_it_is_read() {
    let first = [vec![1], postcard::to_stdvec("old").unwrap()].concat();
    let migrated = Second::decode(&first).unwrap();
    assert_eq!(
        migrated,
        Second {
            name: "old".to_owned(),
            likes: 0
        }
    );
    assert_eq!(migrated.encode()[0], 2);
    Second::decode(&[3]).unwrap_err();
}

#[test]
fn a_newer_record_says_so() {
    let newer = record::VideoCounts::decode(&[9, 1, 1]).unwrap_err();
    expect!["this replica cannot read its state: a record has version 9, but this program knows 1 at most: was it downgraded?"]
        .assert_eq(&newer.to_string());
}

#[test]
fn values_can_be_told_in_words() {
    let key = [0x21, 0, 0, 0, 0, 0, 0, 8, 1];
    let words = (row(&key).unwrap().describe_value)(&[1, 2, 3]);
    expect!["VideoCounts { favorite_count: 2, comment_count: 3 }"].assert_eq(&words.unwrap());
    assert_eq!((row(&key).unwrap().describe_value)(&[1, 2]), None);
}

#[test]
fn names_fold() {
    let same = [
        ("Alice", "alice"),
        ("ＡＬＩＣＥ", "alice"),
        ("Straße", "STRASSE"),
        ("ﬁn", "FIN"),
        ("Ωmega", "ωMEGA"),
        ("e\u{301}", "É"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("①", "1"),
        ("한", "\u{1112}\u{1161}\u{11ab}"),
    ];
    for (one, other) in same {
        assert_eq!(fold_name(one), fold_name(other), "{one} and {other}");
    }
    for (one, other) in [
        ("alice", "alıce"),
        ("李雷", "李蕾"),
        ("a b", "ab"),
        ("é", "e"),
    ] {
        assert_ne!(fold_name(one), fold_name(other), "{one} and {other}");
    }
}

/// Frozen: every character's folding, as one hash. If a newer Unicode table changes it, names that
/// are stored would no longer be found: keep the table, or migrate the names in one command.
#[test]
fn folding_is_frozen() {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut is_stable = true;
    for char in '\0'..=char::MAX {
        let folded = fold_name(&char.to_string());
        is_stable &= fold_name(&folded) == folded;
        for byte in folded.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    expect!["5f62e14e3696c993"].assert_eq(&format!("{hash:016x}"));
    assert!(is_stable, "folding twice is not folding once");
}

/// Clients keep every id exactly.
#[test]
fn the_largest_id_is_exact_in_float64() {
    for id in [model::id::ID_MAX, CommentId(model::id::ID_MAX).0] {
        #[allow(
            clippy::cast_precision_loss,
            reason = "the loss is what is asked about"
        )]
        let float = id as f64;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the loss is what is asked about"
        )]
        let back = float as u64;
        assert_eq!(back, id);
    }
}

/// What a person reads must say what to do; the words are no format.
#[test]
fn rejections_speak() {
    for rejection in samples::rejections() {
        assert!(rejection.to_string().len() > 10, "{rejection:?}");
    }
    let setting = Rejection::InvalidSetting("x".to_owned());
    assert!(setting.to_string().ends_with(": x"));
    assert!(matches!(samples::operations()[0], Operation::Register(_)));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}
