//! What a viewer likes and follows, asked by single keys and by whole lists.
use std::collections::BTreeMap;

use model::adjacency::{Adjacency, EDGES_MAX, KINDS, list_of};
use model::command::Operation;
use model::error::Fault;
use model::favorite::Like;
use model::id::{UserId, VideoId};
use model::marks;
use model::relation::Follow;
use proptest::prelude::*;

use crate::world::World;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

fn packed(pairs: &Pairs) -> Option<Adjacency> {
    let pairs = pairs.iter().map(|(key, value)| {
        let key = [b"prefix", key.as_slice()].concat();
        Ok((key, value.clone()))
    });
    Adjacency::pack(pairs, 6).unwrap()
}

fn rest() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..4_u8, 0..3)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..20)
}

proptest! {
    #[test]
    fn a_changed_list_is_that_of_the_changed_pairs(
        mut pairs in prop::collection::btree_map(rest(), value(), 0..20),
        changes in prop::collection::btree_map(rest(), prop::option::of(value()), 0..20),
    ) {
        let before = packed(&pairs).unwrap();
        let edges: Vec<_> = changes
            .iter()
            .map(|(rest, value)| (rest.as_slice(), value.as_deref()))
            .collect();
        let after = before.changed(&edges).unwrap();
        for (rest, value) in changes.clone() {
            match value {
                Some(value) => pairs.insert(rest, value),
                None => pairs.remove(&rest),
            };
        }
        prop_assert_eq!(Some(after.clone()), packed(&pairs));
        prop_assert!(after.values().eq(pairs.values()));
        prop_assert_eq!(Adjacency::from_bytes(after.clone().into_bytes()), after);
    }
}

#[test]
fn what_is_too_long_is_not_packed() {
    let mut pairs: Pairs = (0..EDGES_MAX)
        .map(|number| (number.to_be_bytes().to_vec(), vec![1]))
        .collect();
    let full = packed(&pairs).unwrap();
    assert_eq!(full.values().count(), EDGES_MAX);
    assert_eq!(full.changed(&[(b"one more", Some(b"1"))]), None);
    assert_eq!(full.changed(&[(b"long", Some(&[0; 256]))]), None);
    let first = 0_usize.to_be_bytes();
    let swapped = full.changed(&[(&first, None), (b"one more", Some(b"1"))]);
    assert_eq!(swapped.unwrap().values().count(), EDGES_MAX);

    pairs.insert(b"one more".to_vec(), vec![1]);
    assert_eq!(packed(&pairs), None);
    let long = Pairs::from([(b"long".to_vec(), vec![0; 256])]);
    assert_eq!(packed(&long), None);
    let broken = [Err(Fault("broken".to_owned()))];
    Adjacency::pack(broken.into_iter(), 0).unwrap_err();
}

#[test]
fn only_keys_of_a_list_belong_to_one() {
    let [kind, _] = KINDS;
    let key = [&[kind], [7; 8].as_slice(), b"rest"].concat();
    let (prefix, rest) = list_of(&key).unwrap();
    assert_eq!((prefix.as_slice(), rest), (&key[..9], b"rest".as_slice()));
    assert_eq!(list_of(&key[..8]), None);
    assert_eq!(list_of(&[0x30; 17]), None);
}

/// Compares pages of all lengths with what is known of each video or user.
fn check<T: Copy>(known: &[(T, bool)], ask: impl Fn(&[T]) -> Vec<bool>) {
    for length in [0, 1, 7, 8, 9, 30, known.len()] {
        for page in known.chunks(length.max(1)) {
            let page = &page[..length.min(page.len())];
            let (asked, expected): (Vec<T>, Vec<bool>) = page.iter().copied().unzip();
            assert_eq!(ask(&asked), expected);
        }
    }
}

#[test]
fn a_list_and_single_keys_say_the_same() {
    let mut world = World::at(1_000);
    let viewer = world.register("viewer");
    let mut videos: Vec<(VideoId, bool)> = Vec::new();
    let mut users: Vec<(UserId, bool)> = Vec::new();
    for number in 0..EDGES_MAX + 200 {
        let name = format!("author{number}");
        let user = world.register(&name);
        let video = world.publish(&name, &name);
        // Some, at first; then so many that there is no list.
        let is_tied = number % 3 == 0 || number > 100;
        if is_tied {
            world.ask("viewer", Operation::Like(Like { video }));
            world.ask("viewer", Operation::Follow(Follow { user }));
        }
        videos.push((video, is_tied));
        users.push((user, is_tied));
        if [100, EDGES_MAX + 199].contains(&number) {
            let view = &world.memory;
            check(&videos, |page| marks::likes(view, viewer, page).unwrap());
            check(&users, |page| marks::follows(view, viewer, page).unwrap());
            assert_eq!(marks::follows(view, viewer, &[viewer]).unwrap(), [false]);
            // Somebody else's are not theirs.
            let other = users[0].0;
            let page: Vec<_> = videos.iter().map(|(video, _)| *video).take(30).collect();
            assert_eq!(marks::likes(view, other, &page).unwrap(), [false; 30]);
        }
    }
}
