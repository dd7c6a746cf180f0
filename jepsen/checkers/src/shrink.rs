//! Makes a contradiction small enough to look at.
//!
//! Only what cannot explain anything may be left out: a history that has an order still has one
//! without a read, without a write whose value nobody reads, and without a write that another
//! certainly overwrote before anybody looked. So what is left contradicts itself.
use crate::register::{NEVER, Operation, is_linearizable};

/// So many tries; then it stays as small as it got.
const TRIES_MAX: usize = 600;

/// A small part of a history that has no order. The history must have none.
pub(crate) fn shrink(operations: &[Operation], initial: i64) -> Vec<Operation> {
    let mut tries = TRIES_MAX;
    let mut is_bad = |operations: &[Operation]| {
        tries = tries.saturating_sub(1);
        tries > 0 && is_linearizable(operations, initial) == Some(false)
    };
    let mut kept = shortest_prefix(operations, &mut is_bad);
    let mut size = kept.len().div_ceil(2);
    while size >= 1 {
        let mut from = 0;
        while from < kept.len() {
            let fewer = without(&kept, from, size);
            if fewer.len() < kept.len() && is_bad(&fewer) {
                kept = fewer;
            } else {
                from += size;
            }
        }
        if size == 1 {
            break;
        }
        size = size.div_ceil(2);
    }
    kept
}

/// The history up to the first end at which it contradicts itself.
fn shortest_prefix(
    operations: &[Operation],
    is_bad: &mut impl FnMut(&[Operation]) -> bool,
) -> Vec<Operation> {
    let mut ends: Vec<usize> = operations.iter().map(|one| one.ended).collect();
    ends.retain(|end| *end != NEVER);
    ends.sort_unstable();
    let (mut low, mut high) = (0, ends.len().saturating_sub(1));
    while low < high {
        let middle = low + (high - low) / 2;
        if is_bad(&prefix(operations, ends[middle])) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    match ends.get(high) {
        Some(end) => prefix(operations, *end),
        None => operations.to_vec(),
    }
}

/// What was known at the index `end`: later ends are not known yet, so such reads are none.
fn prefix(operations: &[Operation], end: usize) -> Vec<Operation> {
    let begun = operations.iter().filter(|one| one.invoked < end);
    let known = begun.map(|one| Operation {
        ended: if one.ended > end { NEVER } else { one.ended },
        ..*one
    });
    known
        .filter(|one| one.is_write || one.ended != NEVER)
        .collect()
}

/// Without those of the `size` operations from `from` on that may be left out.
fn without(operations: &[Operation], from: usize, size: usize) -> Vec<Operation> {
    let mut left = operations.to_vec();
    let chunk = operations[from..].iter().take(size);
    // Reads first: a write may go when nobody reads it any more.
    let mut chunk: Vec<&Operation> = chunk.collect();
    chunk.sort_by_key(|one| one.is_write);
    for one in chunk {
        let rest: Vec<Operation> = left.iter().filter(|kept| *kept != one).copied().collect();
        if may_go(one, &rest) {
            left = rest;
        }
    }
    left
}

fn may_go(one: &Operation, rest: &[Operation]) -> bool {
    let reads = || rest.iter().filter(|other| !other.is_write);
    if !one.is_write || reads().all(|read| read.value != one.value || read.ended < one.invoked) {
        return true;
    }
    let covers = |other: &&Operation| {
        other.is_write
            && one.ended < other.invoked
            && reads().all(|read| other.ended < read.invoked)
    };
    rest.iter().any(|other| covers(&other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_history_the_contradiction_is_left() {
        let mut operations = Vec::new();
        for n in 0..60_usize {
            let value = i64::from(n % 2 == 0);
            for (k, is_write) in [(0, true), (2, false)] {
                operations.push(Operation {
                    invoked: n * 4 + k,
                    ended: n * 4 + k + 1,
                    value,
                    is_write,
                });
            }
        }
        assert_eq!(is_linearizable(&operations, 0), Some(true));
        operations[61].value = 1 - operations[61].value;
        assert_eq!(is_linearizable(&operations, 0), Some(false));
        let few = shrink(&operations, 0);
        assert_eq!(is_linearizable(&few, 0), Some(false));
        assert!(few.len() <= 3, "{few:?}");
        assert!(few.contains(&operations[61]), "{few:?}");
    }
}
