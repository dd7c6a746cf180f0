//! Laws that hold for every history.
use model::apply::{Outcome, apply, apply_all};
use model::command::{Command, Operation, Reply};
use model::error::Rejection;
use model::feed;
use model::id::VideoId;
use model::key::{self, Key};
use model::memory::Memory;
use model::message::{self, Part};
use model::record::Record;
use model::sweep::Sweep;
use model::time::Timestamp;
use model::video::Publish;
use proptest::prelude::*;

use crate::agree::{ALL, agree, count};
use crate::reference::{Reference, Timed, steps};
use crate::samples::blob;
use crate::world::World;

/// Plays steps on the model and the reference; fails where they answer differently.
fn play(timed: &[Timed]) -> Result<(World, Reference), TestCaseError> {
    let mut world = World::at(1_000_000);
    let mut reference = Reference::new();
    for (step, pause, skew) in timed {
        world.now += pause;
        let (actor, operation) = reference.operation(step);
        let mut command = world.command(actor.as_deref(), operation);
        command.stamp = Timestamp(world.now.saturating_add_signed(*skew));
        let before = world.memory.clone();
        let stamp = command.stamp;
        let outcome = world.apply(command.clone());
        check_rejection(&command, &outcome)?;
        check_repeat(&world.memory, &command, &outcome)?;
        prop_assert_eq!(
            &apply(&before, command).unwrap(),
            &outcome,
            "not a function"
        );
        reference.follow(step, stamp, &outcome)?;
    }
    Ok((world, reference))
}

/// A rejection changes nothing but the memory of its own request.
fn check_rejection(command: &Command, outcome: &Outcome) -> Result<(), TestCaseError> {
    if matches!(outcome.reply, Reply::Rejected(_)) {
        let Command {
            request, issued, ..
        } = *command;
        let memory = key::Request { issued, request }.encode();
        let remembered = [(memory, Some(outcome.reply.encode()))].into();
        prop_assert_eq!(&outcome.changes, &remembered);
        prop_assert!(outcome.events.is_empty());
    }
    Ok(())
}

/// The same command twice is once, also when another leader stamps it.
fn check_repeat(after: &Memory, command: &Command, outcome: &Outcome) -> Result<(), TestCaseError> {
    for stamp in [
        command.stamp,
        Timestamp(command.stamp.0 + 5000),
        Timestamp(0),
    ] {
        let again = apply(
            after,
            Command {
                stamp,
                ..command.clone()
            },
        )
        .unwrap();
        prop_assert_eq!(&again.reply, &outcome.reply);
        prop_assert!(again.changes.is_empty() && again.events.is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn the_model_answers_as_the_reference(timed in steps(120)) {
        let (world, reference) = play(&timed)?;
        agree(&world.memory, &reference)?;
        let report = world.recount();
        prop_assert_eq!(&report.differences, &vec![]);
        prop_assert_eq!(report.users, count(&reference.users));
        prop_assert_eq!(report.videos, count(&reference.videos));
        prop_assert_eq!(report.comments, count(&reference.comments));
        prop_assert_eq!(report.follows, count(&reference.follows));
        prop_assert_eq!(report.favorites, count(&reference.likes));
        prop_assert_eq!(report.messages, count(&reference.messages));
    }

    #[test]
    fn a_replay_gives_the_same_bytes_in_whatever_batches(
        timed in steps(80),
        sizes in prop::collection::vec(1..9_usize, 1..8),
    ) {
        let (world, _) = play(&timed)?;
        let mut one_by_one = Memory::default();
        let mut outcomes = Vec::new();
        for command in &world.log {
            let outcome = apply(&one_by_one, command.clone()).unwrap();
            one_by_one.commit(outcome.changes.clone());
            outcomes.push(outcome);
        }
        prop_assert_eq!(&one_by_one, &world.memory);

        let mut batched = Memory::default();
        let (mut replies, mut events) = (Vec::new(), Vec::new());
        let mut log = world.log.as_slice();
        for size in sizes.iter().cycle() {
            let (now, later) = log.split_at((*size).min(log.len()));
            let batch = apply_all(&batched, now.to_vec()).unwrap();
            prop_assert_eq!(batch.replies.len(), now.len());
            batched.commit(batch.changes);
            replies.extend(batch.replies);
            events.extend(batch.events);
            log = later;
            if log.is_empty() {
                break;
            }
        }
        prop_assert_eq!(&batched, &world.memory);
        prop_assert_eq!(&replies, &outcomes.iter().map(|it| it.reply.clone()).collect::<Vec<_>>());
        let told: Vec<_> = outcomes.into_iter().flat_map(|it| it.events).collect();
        prop_assert_eq!(events, told);
    }

    /// Somebody pages through the feed while others publish, with clocks that run back and forth.
    #[test]
    fn paging_the_feed_shows_each_video_once(
        stamps in prop::collection::vec(0..300_u64, 1..60),
        page in 1..7_usize,
        between in 0..3_usize,
    ) {
        let mut world = World::default();
        world.register("alice");
        let mut stamps = stamps.into_iter().enumerate();
        let mut published = Vec::new();
        let mut publish = |world: &mut World, stamp: (usize, u64)| {
            world.now = stamp.1;
            published.push(world.publish("alice", &format!("{}", stamp.0)));
        };
        for _ in 0..30 {
            if let Some(stamp) = stamps.next() {
                publish(&mut world, stamp);
            }
        }
        let (mut seen, mut bound) = (Vec::new(), None);
        loop {
            let items = feed::before(&world.memory, None, bound, page).unwrap();
            let Some(last) = items.last() else { break };
            bound = Some(last.published);
            prop_assert!(items.windows(2).all(|pair| pair[0].published > pair[1].published));
            seen.extend(items.into_iter().map(|item| item.id));
            for _ in 0..between {
                if let Some(stamp) = stamps.next() {
                    publish(&mut world, stamp);
                }
            }
        }
        let mut expected: Vec<VideoId> = published;
        expected.reverse();
        let start = expected.iter().position(|it| *it == seen[0]).unwrap();
        prop_assert_eq!(&seen, &expected[start..]);
    }

    /// Whatever polls with the time of the last message it got misses none and gets none twice.
    #[test]
    fn polling_a_chat_shows_each_message_once(
        timed in prop::collection::vec((0..50_u64, any::<bool>()), 0..60),
        limit in 1..9_usize,
    ) {
        let mut world = World::default();
        let (alice, bob) = (world.register("alice"), world.register("bob"));
        let mut sent = Vec::new();
        for (number, (now, is_alice)) in timed.into_iter().enumerate() {
            world.now = now;
            let (from, to) = if is_alice { ("alice", bob) } else { ("bob", alice) };
            let text = format!("{number}");
            let send = message::SendMessage { to, text: text.clone() };
            world.ask(from, Operation::SendMessage(send));
            sent.push((is_alice, text));
        }
        for includes_own in [false, true] {
            let (mut got, mut time) = (Vec::new(), Timestamp(0));
            loop {
                let part = Part::After { time, includes_own };
                let some = message::between(&world.memory, alice, bob, part, limit).unwrap().unwrap();
                let Some(last) = some.last() else { break };
                prop_assert!(some.len() <= limit);
                time = last.created;
                got.extend(some.into_iter().map(|it| (it.from == alice, it.text)));
            }
            let wanted: Vec<_> =
                sent.iter().filter(|(is_alice, _)| includes_own || !is_alice).cloned().collect();
            prop_assert_eq!(got, wanted);
        }
        let latest = message::between(&world.memory, bob, alice, Part::Latest, limit).unwrap();
        let texts: Vec<_> = latest.unwrap().into_iter().map(|it| it.text).collect();
        let skipped = sent.len().saturating_sub(limit);
        prop_assert_eq!(texts, sent[skipped..].iter().map(|it| it.1.clone()).collect::<Vec<_>>());
    }

    /// Requests are remembered for an hour of log time, refused from then on, and swept: none of
    /// them ever runs twice, or after it was refused, whenever its repeats come and however the
    /// clocks of successive leaders differ.
    #[test]
    fn no_request_runs_twice(
        repeats in prop::collection::vec((0..10_usize, 0..900_000_u64, 0..5_000_000_u64), 1..60),
    ) {
        let mut world = World::at(10_000_000);
        world.register("alice");
        let commands: Vec<Command> = (0..10).map(|number| late_publish(&mut world, number)).collect();
        let mut first: Vec<Option<Reply>> = vec![None; 10];
        for (number, pause, behind) in repeats {
            world.now += pause;
            let mut command = commands[number].clone();
            command.stamp = Timestamp(world.now - behind);
            let reply = world.apply(command).reply;
            let expired = Reply::Rejected(Rejection::RequestExpired);
            match &first[number] {
                None => first[number] = Some(reply),
                // Once forgotten, it is refused; but never does it run.
                Some(first) => prop_assert!(reply == *first || reply == expired),
            }
            let sweep = Sweep { limit: 3 };
            world.ask("nobody", Operation::Sweep(sweep));
        }
        let ran = first.iter().flatten().filter(|it| matches!(it, Reply::Published { .. })).count();
        let listed = feed::before(&world.memory, None, None, ALL).unwrap();
        prop_assert_eq!(listed.len(), ran);
    }
}

/// A publish that is issued now and proposed later.
fn late_publish(world: &mut World, number: usize) -> Command {
    world.now += 200_000;
    let publish = Publish {
        title: "late".to_owned(),
        video: blob(&format!("{number}.mp4"), "video/mp4"),
        cover: blob(&format!("{number}.jpg"), "image/jpeg"),
    };
    world.command(Some("alice"), Operation::Publish(publish))
}

/// One entry may carry a request, what came after it, and its repeat.
#[test]
fn a_repeat_in_the_same_batch_does_nothing() {
    let mut world = World::default();
    world.register("alice");
    let publish = late_publish(&mut world, 1);
    let batch = apply_all(&world.memory, [publish.clone(), publish]).unwrap();
    assert!(matches!(batch.replies[0], Reply::Published { .. }));
    assert_eq!(batch.replies[0], batch.replies[1]);
    world.memory.commit(batch.changes);
    assert_eq!(
        feed::before(&world.memory, None, None, ALL).unwrap().len(),
        1
    );
}
