//! The laws of views: an overlay is what will be, and a scan is what the gets say.
use std::collections::BTreeMap;

use model::error::Fault;
use model::memory::Memory;
use model::overlay::{Changes, Overlay};
use model::view::{Pair, View};
use proptest::prelude::*;

/// Keys over two letters, so that they collide, nest and share prefixes.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255)], 1..4)
}

fn changes() -> impl Strategy<Value = Changes> {
    let change = prop::option::of(prop::collection::vec(any::<u8>(), 0..3));
    prop::collection::btree_map(key(), change, 0..12)
}

fn scan(view: &impl View, prefix: &[u8], from: &[u8]) -> Vec<Pair> {
    view.scan(prefix, from).map(Result::unwrap).collect()
}

/// What a scan must give, said as simply as can be.
fn expected(view: &Memory, prefix: &[u8], from: &[u8]) -> Vec<Pair> {
    let all = view
        .pairs()
        .filter(|(key, _)| key.starts_with(prefix) && *key >= from);
    all.map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect()
}

proptest! {
    #[test]
    fn an_overlay_is_the_view_after_the_commit(
        stored in changes(),
        pending in changes(),
        more in changes(),
        prefix in prop_oneof![Just(Vec::new()), key()],
        below in prop::option::of(key()),
        keys in prop::collection::vec(key(), 0..4),
    ) {
        let mut memory = Memory::default();
        memory.commit(stored);
        let from = below.map_or_else(Vec::new, |tail| [prefix.clone(), tail].concat());
        prop_assert_eq!(scan(&memory, &prefix, &from), expected(&memory, &prefix, &from));

        let mut overlay = Overlay::new(&memory);
        overlay.absorb(pending);
        let mut upper = Overlay::new(&overlay);
        upper.absorb(more);

        let scanned = scan(&upper, &prefix, &from);
        let many = upper.get_many(&keys).unwrap();
        let changes = upper.into_changes();
        overlay.absorb(changes);
        prop_assert_eq!(scan(&overlay, &prefix, &from), scanned.clone());
        let all = overlay.into_changes();
        memory.commit(all);
        prop_assert_eq!(expected(&memory, &prefix, &from), scanned);
        prop_assert_eq!(memory.get_many(&keys).unwrap(), many);
    }

    #[test]
    fn gets_and_scans_agree(
        stored in changes(),
        pending in changes(),
        keys in prop::collection::vec(key(), 0..8),
    ) {
        let mut memory = Memory::default();
        memory.commit(stored);
        let mut overlay = Overlay::new(&memory);
        overlay.absorb(pending);
        let all: BTreeMap<_, _> = scan(&overlay, &[], &[]).into_iter().collect();
        let many = overlay.get_many(&keys).unwrap();
        for (key, value) in keys.iter().zip(many) {
            prop_assert_eq!(overlay.get(key).unwrap(), all.get(key).cloned());
            prop_assert_eq!(overlay.get_once(key).unwrap(), all.get(key).cloned());
            prop_assert_eq!(value, all.get(key).cloned());
        }
    }
}

/// A disk that fails after some reads.
struct Broken;

impl View for Broken {
    fn get(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Err(Fault("broken".to_owned()))
    }
    fn scan<'a>(
        &'a self,
        _prefix: &[u8],
        _from: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Pair, Fault>> + 'a> {
        let one = (vec![1], vec![1]);
        Box::new([Ok(one), Err(Fault("broken".to_owned()))].into_iter())
    }
}

#[test]
fn a_fault_below_is_not_hidden() {
    let mut overlay = Overlay::new(&Broken);
    overlay.absorb(Changes::from([
        (vec![0], Some(vec![])),
        (vec![9], Some(vec![])),
    ]));
    assert!(overlay.get(&[0]).unwrap().is_some());
    overlay.get(&[1]).unwrap_err();
    overlay.get_many(&[vec![0], vec![1]]).unwrap_err();
    let read: Result<Vec<_>, _> = overlay.scan(&[], &[]).collect();
    assert_eq!(read, Err(Fault("broken".to_owned())));

    let command = crate::samples::command(crate::samples::operations().remove(0));
    assert!(model::apply::apply(&overlay, command).is_err());
}
