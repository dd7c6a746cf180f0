//! A request is applied at one place in the log and nowhere else: its memory is written once.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use model::key::{Key, Request};
use model::overlay::Changes;

#[derive(Default)]
pub(super) struct Once {
    /// By request: the indexes among which it was applied.
    seen: BTreeMap<Vec<u8>, (u64, u64)>,
}

impl Once {
    pub(super) fn on_commit(
        &mut self,
        node: u64,
        from: u64,
        to: u64,
        changes: &Changes,
    ) -> Result<(), String> {
        let remembered = changes
            .iter()
            .filter(|(key, value)| key.first() == Some(&Request::TAG) && value.is_some());
        for (key, _) in remembered {
            match self.seen.entry(key.clone()) {
                Entry::Vacant(place) => {
                    place.insert((from, to));
                }
                Entry::Occupied(mut place) => {
                    let (first, last) = *place.get();
                    if to < first || last < from {
                        return Err(format!(
                            "{} was applied within {first}..={last}, and on node {node} within {from}..={to}",
                            model::key::describe(key)
                        ));
                    }
                    place.insert((first.max(from), last.min(to)));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::command::RequestId;
    use model::time::Timestamp;

    use super::*;

    #[test]
    fn a_second_place_is_found() {
        let key = Request {
            issued: Timestamp(5),
            request: RequestId([1; 16]),
        };
        let changes = Changes::from([(key.encode(), Some(vec![1]))]);
        let mut it = Once::default();
        assert!(it.on_commit(1, 4, 9, &changes).is_ok());
        assert!(it.on_commit(2, 6, 6, &changes).is_ok());
        assert!(it.on_commit(3, 5, 7, &changes).is_ok());
        assert!(it.on_commit(1, 8, 9, &changes).is_err());
        let sweep = Changes::from([(key.encode(), None)]);
        assert!(it.on_commit(1, 20, 21, &sweep).is_ok());
    }
}
