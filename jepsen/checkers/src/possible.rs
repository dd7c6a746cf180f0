//! What a flag that comes and goes may be while somebody looks: both bounds of every count.
use crate::history::{Call, Outcome};

/// The writes of one flag, which begins as *out*.
#[derive(Default)]
pub(crate) struct Flag {
    writes: Vec<Write>,
}

struct Write {
    invoked: usize,
    /// `None`: may take effect at any later time, or never.
    ended: Option<usize>,
    is_in: bool,
}

/// What may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Possible {
    pub(crate) is_in: bool,
    pub(crate) is_out: bool,
}

impl Flag {
    /// Takes a write; one that failed is none.
    pub(crate) fn write(&mut self, call: &Call, is_in: bool) {
        if call.outcome == Outcome::Fail {
            return;
        }
        self.writes.push(Write {
            invoked: call.invoked,
            ended: call.ended.filter(|_| call.outcome == Outcome::Ok),
            is_in,
        });
    }

    /// What it may be at some moment from the index `from` to the index `until`.
    pub(crate) fn between(&self, from: usize, until: usize) -> Possible {
        // The latest beginning of a write of each kind that was certainly over by then.
        let over = |is_in| {
            let writes = self.writes.iter().filter(move |write| write.is_in == is_in);
            let over = writes.filter(|write| write.ended.is_some_and(|ended| ended < from));
            over.map(|write| write.invoked).max()
        };
        let (last_in, last_out) = (over(true), over(false));
        let may_last = |write: &&Write| {
            let opposite = if write.is_in { last_out } else { last_in };
            let is_overwritten = match (write.ended, opposite) {
                (Some(ended), Some(opposite)) => ended < opposite,
                _ => false,
            };
            write.invoked < until && !is_overwritten
        };
        let mut possible = Possible {
            is_in: false,
            is_out: last_in.is_none(),
        };
        for write in self.writes.iter().filter(may_last) {
            if write.is_in {
                possible.is_in = true;
            } else {
                possible.is_out = true;
            }
        }
        possible
    }

    /// Operations that bear on what it is by `until`: the latest few.
    pub(crate) fn latest(&self, until: usize, count: usize) -> Vec<usize> {
        let begun = self.writes.iter().map(|write| write.invoked);
        let mut begun: Vec<usize> = begun.filter(|invoked| *invoked < until).collect();
        begun.sort_unstable();
        begun.split_off(begun.len().saturating_sub(count))
    }
}

/// A lower and an upper bound of a count of flags, for a look from `from` to `until`.
pub(crate) fn bounds<'a>(
    flags: impl Iterator<Item = &'a Flag>,
    from: usize,
    until: usize,
) -> (i64, i64) {
    let (mut lower, mut upper) = (0, 0);
    for flag in flags {
        let possible = flag.between(from, until);
        lower += i64::from(!possible.is_out);
        upper += i64::from(possible.is_in);
    }
    (lower, upper)
}
