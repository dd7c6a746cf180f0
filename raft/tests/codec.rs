//! The bytes of every format, held: a change of any is a new version, never an edit here.
use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;
use model::command::{Command, Operation, Reply, RequestId};
use model::error::Rejection;
use model::id::UserId;
use model::relation::Follow;
use model::time::Timestamp;
use model::token::TokenHash;
use openraft::entry::RaftEntry;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};

use crate::codec::{self, Malformed, SequenceBuilder};
use crate::message::{
    Admin, AdminOutcome, Appended, AskVote, GiveVote, Peek, ReadIndex, SnapshotHead, SnapshotTaken,
    Transfer, Transferred, Write, WriteOutcome, decode_append, encode_append,
};
use crate::types::{Batch, Entry, Member, Membership, StoredMembership, Types, Vote, log_id};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn operation() -> Operation {
    Operation::Follow(Follow { user: UserId(5) })
}

fn batch() -> Batch {
    let mut builder = SequenceBuilder::new();
    builder.push(&Command {
        request: RequestId([7; 16]),
        issued: Timestamp(300),
        stamp: Timestamp(301),
        actor: Some(TokenHash([3; 32])),
        operation: operation(),
    });
    Batch(builder.finish())
}

fn membership() -> Membership {
    let address: SocketAddr = "10.0.0.1:7".parse().unwrap();
    let voters = BTreeSet::from([1]);
    let nodes = std::collections::BTreeMap::from([(1, Member { address })]);
    Membership::new(vec![voters], nodes).unwrap()
}

const BATCH: &str = "0107070707070707070707070707070707ac02ad0201\
    0303030303030303030303030303030303030303030303030303030303030303\
    0805";

#[test]
fn entries_votes_and_markers_keep_their_bytes() {
    assert_eq!(hex(&codec::encode_log_id(log_id(2, 300))), "0102ac02");
    assert_eq!(
        hex(&codec::encode_vote(Vote::new_committed(2, 3))),
        "01020301"
    );
    assert_eq!(hex(&batch().0), BATCH);
    let blank = codec::encode_entry(&Entry::new_blank(log_id(2, 5)));
    assert_eq!(hex(&blank), "01020500");
    let normal = codec::encode_entry(&Entry::new_normal(log_id(2, 5), batch()));
    assert_eq!(
        hex(&normal),
        format!("01020501{:02x}{BATCH}", BATCH.len() / 2)
    );
    let members = codec::encode_entry(&Entry::new_membership(log_id(2, 5), membership()));
    assert_eq!(hex(&members), "010205020101010101000a00000107");
    let stored = StoredMembership::new(Some(log_id(1, 4)), membership());
    let marker = codec::encode_marker(Some(log_id(2, 300)), &stored);
    assert_eq!(hex(&marker), "010102ac020101040101010101000a00000107");
}

#[test]
fn entries_votes_and_markers_come_back() {
    for entry in [
        Entry::new_blank(log_id(2, 5)),
        Entry::new_normal(log_id(2, 6), batch()),
        Entry::new_membership(log_id(2, 7), membership()),
    ] {
        let bytes = codec::encode_entry(&entry);
        assert_eq!(codec::decode_entry(&bytes).unwrap(), entry);
    }
    for vote in [Vote::new(3, 4), Vote::new_committed(5, 6)] {
        assert_eq!(codec::decode_vote(&codec::encode_vote(vote)).unwrap(), vote);
    }
    let stored = StoredMembership::new(Some(log_id(1, 4)), membership());
    let marker = codec::encode_marker(Some(log_id(2, 300)), &stored);
    let meta = codec::decode_marker(&marker).unwrap();
    assert_eq!(meta.last_log_id, Some(log_id(2, 300)));
    assert_eq!(meta.last_membership, stored);
    assert_eq!(codec::marker_index(&marker), Ok(300));
    assert_eq!(codec::marker_index(b""), Ok(0));
    assert_eq!(codec::decode_batch(&batch()).unwrap().len(), 1);
}

#[test]
fn a_batch_in_an_entry_is_not_copied() {
    let bytes = codec::encode_entry(&Entry::new_normal(log_id(2, 6), batch()));
    let entry = codec::decode_entry(&bytes).unwrap();
    let openraft::EntryPayload::Normal(Batch(inner)) = &entry.payload else {
        panic!("{entry:?}");
    };
    assert!(bytes.as_ptr_range().contains(&inner.as_ptr()));
}

#[test]
fn votes_and_appends_keep_their_bytes() {
    let mut ask = VoteRequest::<Types>::new(Vote::new(2, 3), Some(log_id(1, 9)));
    ask.leadership_transfer = true;
    let give = VoteResponse::<Types>::new(Vote::new(2, 3), Some(log_id(1, 9)), true);
    let append = AppendEntriesRequest::<Types> {
        vote: Vote::new_committed(2, 3),
        prev_log_id: Some(log_id(1, 4)),
        entries: vec![Entry::new_blank(log_id(2, 5))],
        leader_commit: None,
    };
    let vote = Vote::new_committed(2, 3);
    let held = [
        (
            codec::encode(&AskVote::from(ask)),
            "0102030001010901".to_owned(),
        ),
        (
            codec::encode(&GiveVote::from(give)),
            "0102030001010901".to_owned(),
        ),
        (
            encode_append(&append),
            "01020301010104000104010205 00".replace(' ', ""),
        ),
        (codec::encode(&Appended::All), "0100".to_owned()),
        (codec::encode(&Appended::Conflict), "0102".to_owned()),
        (
            codec::encode(&Appended::HigherVote(vote.into())),
            "0103020301".to_owned(),
        ),
        (
            codec::encode(&SnapshotHead {
                vote: vote.into(),
                bytes: 300,
                marker: codec::Raw(&[8, 9]),
            }),
            "01020301ac02020809".to_owned(),
        ),
        (
            codec::encode(&SnapshotTaken { vote: vote.into() }),
            "01020301".to_owned(),
        ),
        (
            codec::encode(&Transfer {
                from: vote.into(),
                to: 4,
                last: None,
            }),
            "010203010400".to_owned(),
        ),
        (codec::encode(&Transferred::Done), "0100".to_owned()),
    ];
    assert_held(&held);
}

#[test]
fn questions_and_outcomes_keep_their_bytes() {
    let write = Write {
        request: RequestId([7; 16]),
        issued: Timestamp(300),
        actor: None,
        operation: operation(),
    };
    let mut two = SequenceBuilder::new();
    two.push(&write);
    two.push(&write);
    let address: SocketAddr = "10.0.0.1:7".parse().unwrap();
    let seven = "07070707070707070707070707070707";
    let held = [
        (
            two.finish(),
            format!("01{seven}ac02000805{seven}ac02000805"),
        ),
        (
            codec::encode(&Vec::<WriteOutcome>::new()),
            "0100".to_owned(),
        ),
        (
            codec::encode(&WriteOutcome::Done {
                reply: Reply::Rejected(Rejection::NameTaken),
                index: 300,
            }),
            "01000101ac02".to_owned(),
        ),
        (
            codec::encode(&WriteOutcome::NotLeader { leader: Some(3) }),
            "01010103".to_owned(),
        ),
        (
            codec::encode(&WriteOutcome::Refused {
                why: "no".to_owned(),
                retry_after_ms: 200,
            }),
            "0102026e6fc801".to_owned(),
        ),
        (codec::encode(&ReadIndex::At(300)), "0100ac02".to_owned()),
        (codec::encode(&ReadIndex::NoQuorum), "0102".to_owned()),
        (
            codec::encode(&Admin::AddLearner { node: 4, address }),
            "010004000a00000107".to_owned(),
        ),
        (
            codec::encode(&Admin::TransferLeader { to: None }),
            "010400".to_owned(),
        ),
        (codec::encode(&AdminOutcome::Done), "0100".to_owned()),
        (
            codec::encode(&Peek {
                now: Timestamp(300),
                is_disk_low: true,
            }),
            "01ac0201".to_owned(),
        ),
    ];
    assert_held(&held);
}

fn assert_held(held: &[(Bytes, String)]) {
    for (number, (bytes, expected)) in held.iter().enumerate() {
        assert_eq!(&hex(bytes), expected, "message {number}");
    }
}

#[test]
fn appends_come_back() {
    let append = AppendEntriesRequest::<Types> {
        vote: Vote::new_committed(2, 3),
        prev_log_id: Some(log_id(1, 4)),
        entries: vec![
            Entry::new_blank(log_id(2, 5)),
            Entry::new_normal(log_id(2, 6), batch()),
        ],
        leader_commit: Some(log_id(1, 3)),
    };
    let back = decode_append(&encode_append(&append)).unwrap();
    assert_eq!(back.leader, 3);
    assert_eq!(back.request.vote, append.vote);
    assert_eq!(back.request.prev_log_id, append.prev_log_id);
    assert_eq!(back.request.leader_commit, append.leader_commit);
    assert_eq!(back.request.entries, append.entries);
    for answer in [
        AppendEntriesResponse::Success,
        AppendEntriesResponse::PartialSuccess(Some(log_id(1, 2))),
        AppendEntriesResponse::Conflict,
        AppendEntriesResponse::HigherVote(Vote::new(9, 1)),
    ] {
        let bytes = codec::encode(&Appended::from(answer.clone()));
        let back: Appended = codec::decode("an answer", &bytes).unwrap();
        assert_eq!(AppendEntriesResponse::from(back), answer);
    }
}

#[test]
fn strange_bytes_are_refused_in_words() {
    let newer = Bytes::from_static(&[2, 0, 0, 0]);
    let what = codec::decode_entry(&newer).unwrap_err();
    assert!(
        matches!(what, Malformed::Version { found: 2, .. }),
        "{what}"
    );
    for bad in [&[][..], &[1], &[1, 2, 5, 9], &[1, 2, 5, 0, 0]] {
        let what = codec::decode_entry(&Bytes::copy_from_slice(bad)).unwrap_err();
        assert!(matches!(what, Malformed::Bytes { .. }), "{what}");
    }
    let mut cut = batch().0.to_vec();
    cut.pop();
    assert!(codec::decode_batch(&Batch(cut.into())).is_err());
}
