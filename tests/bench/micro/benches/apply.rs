//! Commands applied to a RocksDB state and committed, in rounds of one and of what 64 clients have
//! on the way: what a write costs each replica beside its log.
use divan::Bencher;
use divan::counter::ItemsCount;
use micro::world::World;
use model::command::Operation;
use model::comment::AddComment;
use model::favorite::Like;
use model::message::SendMessage;
use model::relation::Follow;

use crate::stage::{Stage, USERS, VIDEOS};

const ROUNDS: [usize; 2] = [1, 32];
const SAMPLES: u32 = 500;

#[divan::bench(args = ROUNDS, sample_count = SAMPLES)]
fn like(bencher: Bencher, round: usize) {
    apply(bencher, round, |world, number, _| {
        let video = number / USERS;
        assert!(video < VIDEOS, "everybody likes everything");
        Operation::Like(Like {
            video: world.videos[video],
        })
    });
}

#[divan::bench(args = ROUNDS, sample_count = SAMPLES)]
fn follow(bencher: Bencher, round: usize) {
    apply(bencher, round, |world, number, user| {
        let distance = number / USERS + 1;
        assert!(distance < USERS, "everybody follows everybody");
        Operation::Follow(Follow {
            user: world.users[(user + distance) % USERS],
        })
    });
}

#[divan::bench(args = ROUNDS, sample_count = SAMPLES)]
fn comment(bencher: Bencher, round: usize) {
    apply(bencher, round, |world, number, _| {
        Operation::AddComment(AddComment {
            video: world.videos[number % VIDEOS],
            text: "a comment as long as most of them are".to_owned(),
        })
    });
}

#[divan::bench(args = ROUNDS, sample_count = SAMPLES)]
fn message(bencher: Bencher, round: usize) {
    apply(bencher, round, |world, _, user| {
        Operation::SendMessage(SendMessage {
            to: world.users[(user + 1) % USERS],
            text: "a message as long as most of them are".to_owned(),
        })
    });
}

fn apply(
    bencher: Bencher,
    round: usize,
    operation: impl Fn(&World, usize, usize) -> Operation + Copy,
) {
    let stage = Stage::new();
    bencher
        .counter(ItemsCount::new(round))
        .with_inputs(|| stage.commands(round, operation))
        .bench_local_values(|commands| {
            let applied = stage.store.borrow().apply(commands);
            applied.expect("what is new is not refused")
        });
}
