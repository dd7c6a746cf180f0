//! Bounds, and what stops a replica.
use model::apply::apply;
use model::command::{Operation, Reply};
use model::error::Fault;
use model::favorite::{Like, Unlike};
use model::id::UserId;
use model::key::{self, Key};
use model::overlay::Changes;
use model::read::Read;
use model::record::{Record, Totals, VideoCounts};
use model::sweep::{SWEEP_MAX, Sweep};
use model::token::{self, SESSIONS_PER_USER_MAX};
use model::user::Login;

use crate::world::{World, token as token_of};

fn login(world: &mut World, user: UserId, label: &str) -> Reply {
    let login = Login {
        user,
        verified_hash: "$h".to_owned(),
        rehashed: None,
        token: token_of(label),
    };
    world.ask("nobody", Operation::Login(login))
}

#[test]
fn one_session_too_many_ends_the_first() {
    let mut world = World::default();
    let (alice, bob) = (world.register("alice"), world.register("bob"));
    let is_valid = |world: &World, label: &str| {
        token::user(&world.memory, token_of(label))
            .unwrap()
            .is_some()
    };
    for number in 1..SESSIONS_PER_USER_MAX {
        assert_eq!(
            login(&mut world, alice, &format!("l{number}")),
            Reply::LoggedIn { user: alice }
        );
    }
    assert!(is_valid(&world, "alice"));
    login(&mut world, bob, "bob's second");
    for number in 0..3 {
        login(&mut world, alice, &format!("more{number}"));
    }
    assert!(
        !is_valid(&world, "alice"),
        "the session that expires first must end"
    );
    assert!(!is_valid(&world, "l2") && is_valid(&world, "l3") && is_valid(&world, "more2"));
    assert!(is_valid(&world, "bob"));
    let account = world
        .memory
        .read(&key::AccountOf { user: alice })
        .unwrap()
        .unwrap();
    assert_eq!(account.tokens, SESSIONS_PER_USER_MAX);
    assert_eq!(world.recount().differences, []);
}

#[test]
fn a_sweep_is_bounded_and_ends() {
    let mut world = World::at(1);
    for _ in 0..SWEEP_MAX + 5 {
        world.ask(
            "nobody",
            Operation::Like(Like {
                video: model::id::VideoId(1),
            }),
        );
    }
    world.now += 4_000_000;
    let mut sweep = || world.ask("nobody", Operation::Sweep(Sweep { limit: u32::MAX }));
    assert_eq!(
        sweep(),
        Reply::Swept {
            removed: u64::from(SWEEP_MAX)
        }
    );
    assert_eq!(sweep(), Reply::Swept { removed: 5 });
    assert_eq!(sweep(), Reply::Swept { removed: 0 });
}

#[test]
fn a_counter_below_its_set_stops_the_replica() {
    let mut world = World::default();
    world.register("alice");
    let video = world.publish("alice", "one");
    world.ask("alice", Operation::Like(Like { video }));
    let wrong = VideoCounts {
        favorite_count: 0,
        comment_count: 0,
    };
    let key = key::VideoCount { video }.encode();
    world
        .memory
        .commit(Changes::from([(key, Some(wrong.encode()))]));
    let command = world.command(Some("alice"), Operation::Unlike(Unlike { video }));
    let Fault(why) = apply(&world.memory, command).unwrap_err();
    assert!(why.contains("counter"), "{why}");
}

#[test]
fn used_up_ids_stop_the_replica() {
    let mut world = World::default();
    world.register("alice");
    let totals = Totals {
        videos: (1 << 43) - 2,
        ..Totals::default()
    };
    world.memory.commit(Changes::from([(
        key::Watermarks {}.encode(),
        Some(totals.encode()),
    )]));
    let last = world.publish("alice", "last");
    assert!(last.0 < 1 << 53 && last.0 >= (1 << 53) - 1024);
    let mut publish = world.log.last().unwrap().clone();
    publish.request.0[0] = 1;
    if let Operation::Publish(publish) = &mut publish.operation {
        publish.video.key = "other".to_owned();
        publish.cover.key = "another".to_owned();
    }
    let Fault(why) = apply(&world.memory, publish).unwrap_err();
    assert!(why.contains("used up"), "{why}");
}

#[test]
fn a_damaged_record_stops_the_replica_and_names_its_kind() {
    let mut world = World::default();
    let alice = world.register("alice");
    let key = key::UserById { user: alice }.encode();
    world
        .memory
        .commit(Changes::from([(key, Some(vec![1, 200]))]));
    let Fault(why) = model::user::profile(&world.memory, None, alice).unwrap_err();
    assert!(why.starts_with("UserById: "), "{why}");
}
