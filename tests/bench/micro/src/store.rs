//! A state that takes commands as the replicated state machine has it take them: a round of them is
//! applied to the view since the last commit, and committed at once.
use std::path::Path;

use anyhow::{Result, ensure};
use bytes::Bytes;
use model::apply::apply_all;
use model::command::{Command, Operation, Reply, RequestId};
use model::key::{Key as _, Watermarks};
use model::overlay::Changes;
use model::read::Read as _;
use model::record::Record as _;
use model::sweep::Sweep;
use model::time::{Timestamp, log_time};
use model::token::TokenHash;
use storage::owner::Owner;
use storage::state::{Options, RocksState, SharedView, StateStore as _};

use crate::dice::Dice;

/// So many commands a millisecond of log time: a cluster that takes 1,000 writes a second. It
/// decides how many requests are remembered: those of one hour.
const COMMANDS_PER_MS: u64 = 1;
/// The node sweeps what has expired every 30 s, 1,000 at a time.
const SWEEP_EVERY_MS: u64 = 30_000;
const SWEEP_LIMIT: u32 = 1_000;
/// There is less than one sweep for so many commands; beside that, a minute for what is around it.
const SWEEP_SHARE: u64 = 100;
const MARGIN_MS: u64 = 60_000;
/// Of a state of our own: about as long as where the log stands and who is in the cluster.
const MARKER: &[u8] = &[7; 64];
/// When the log begins: November 2026.
const BEGIN: Timestamp = Timestamp(1_795_000_000_000);

/// A state with a clock and a sequence of requests.
pub struct Store {
    state: RocksState,
    marker: Bytes,
    /// When the count of commands was 0.
    begin: Timestamp,
    /// Commands so far.
    count: u64,
    requests: Dice,
    swept: Timestamp,
}

impl Store {
    /// An empty one in `dir`.
    ///
    /// # Errors
    /// When there is one, or the disk fails.
    pub fn create(dir: &Path, options: Options) -> Result<Self> {
        let state = RocksState::create(dir, &owner(), options)?;
        Self::with(state, Bytes::from_static(MARKER))
    }

    /// One that is there.
    ///
    /// # Errors
    /// When it is not whole, or the disk fails.
    pub fn open(dir: &Path, options: Options) -> Result<Self> {
        let state = RocksState::open(dir, &owner(), options)?;
        Self::with(state, Bytes::from_static(MARKER))
    }

    /// The state of a node that stands still. It keeps where the node's log stands, so that the
    /// node goes on with whatever was done here. Log time is set back so far that `commands`, with
    /// the sweeps between them, end before `now`: what they leave to be remembered is what a cluster
    /// remembers that took them at this pace, and the node's clock is ahead of them.
    ///
    /// # Errors
    /// When the node was never started, or the disk fails.
    pub fn adopt(state: RocksState, now: Timestamp, commands: usize) -> Result<Self> {
        let reading = state.read()?;
        ensure!(!reading.marker.is_empty(), "the node was never started");
        let commands = commands as u64;
        let length = (commands + commands / SWEEP_SHARE) / COMMANDS_PER_MS + MARGIN_MS;
        let clock = Timestamp(now.0.saturating_sub(length));
        let mut totals = reading.view.read(&Watermarks {})?.unwrap_or_default();
        ensure!(totals.users == 0, "the node has users already");
        totals.clock = clock;
        let changes = Changes::from([(Watermarks {}.encode(), Some(totals.encode()))]);
        state.commit(changes, reading.marker.clone())?;
        Ok(Self {
            state,
            marker: reading.marker,
            begin: clock,
            count: COMMANDS_PER_MS,
            requests: Dice::new(clock.0),
            swept: clock,
        })
    }

    fn with(state: RocksState, marker: Bytes) -> Result<Self> {
        let now = log_time(&state.read()?.view)?.max(BEGIN);
        let count = (now.0 - BEGIN.0 + 1) * COMMANDS_PER_MS;
        Ok(Self {
            state,
            marker,
            begin: BEGIN,
            count,
            requests: Dice::new(count),
            swept: now,
        })
    }

    pub fn state(&self) -> &RocksState {
        &self.state
    }

    /// What is committed now.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn view(&self) -> Result<SharedView> {
        Ok(self.state.read()?.view)
    }

    /// The next command: a request of its own, at its own time.
    pub fn command(&mut self, actor: Option<TokenHash>, operation: Operation) -> Command {
        self.count += 1;
        let now = self.now();
        let mut request = [0; 16];
        for half in request.chunks_exact_mut(8) {
            half.copy_from_slice(&self.requests.roll().to_be_bytes());
        }
        Command {
            request: RequestId(request),
            issued: now,
            stamp: now,
            actor,
            operation,
        }
    }

    /// Applies `commands` as one round.
    ///
    /// # Errors
    /// When one is refused, since what is measured should happen, or the disk fails.
    pub fn apply(&self, commands: Vec<Command>) -> Result<Vec<Reply>> {
        let batch = apply_all(&self.state.read()?.view, commands)?;
        self.state.commit(batch.changes, self.marker.clone())?;
        let refused = batch
            .replies
            .iter()
            .find(|reply| matches!(reply, Reply::Rejected(_)));
        ensure!(refused.is_none(), "a command was refused: {refused:?}");
        Ok(batch.replies)
    }

    /// Applies one command in a round of its own.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn apply_one(&mut self, actor: Option<TokenHash>, operation: Operation) -> Result<Reply> {
        let command = self.command(actor, operation);
        let replies = self.apply(vec![command])?;
        let [reply] = <[Reply; 1]>::try_from(replies)
            .map_err(|replies| anyhow::anyhow!("one command, but {} replies", replies.len()))?;
        Ok(reply)
    }

    /// Removes what has expired, as often as a leader does; to be called now and then.
    ///
    /// # Errors
    /// As [`Store::apply`].
    pub fn sweep_if_due(&mut self) -> Result<()> {
        if self.now().0 < self.swept.0 + SWEEP_EVERY_MS {
            return Ok(());
        }
        self.swept = self.now();
        let sweep = Operation::Sweep(Sweep { limit: SWEEP_LIMIT });
        let all = Reply::Swept {
            removed: u64::from(SWEEP_LIMIT),
        };
        while self.apply_one(None, sweep.clone())? == all {}
        Ok(())
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.begin.0 + self.count / COMMANDS_PER_MS)
    }
}

fn owner() -> Owner {
    Owner {
        cluster_id: "0123456789abcdef0123456789abcdef".to_owned(),
        node: 1,
        incarnation: [1; 16],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fill::{Filler, by_plan};
    use crate::plan::Plan;
    use crate::roster::Roster;

    #[test]
    fn a_node_keeps_its_place_in_the_log_and_its_clock_is_ahead() {
        let dir = tempfile::tempdir().unwrap();
        let state = RocksState::create(dir.path(), &owner(), Options::default()).unwrap();
        let plan = Plan::of(10_000);
        let now = BEGIN;
        assert!(Store::adopt(state.clone(), now, plan.objects()).is_err());
        let marker = Bytes::from_static(b"entry 5");
        state.commit(Changes::new(), marker.clone()).unwrap();
        let store = Store::adopt(state.clone(), now, plan.objects()).unwrap();
        let mut filler = Filler::new(store, plan.objects()).unwrap();
        let world = by_plan(&mut filler, &plan).unwrap();
        filler.flush().unwrap();
        let reading = state.read().unwrap();
        assert_eq!(reading.marker, marker);
        let clock = log_time(&reading.view).unwrap();
        assert!((now.0 - 2 * MARGIN_MS..now.0).contains(&clock.0));
        // Whoever is on the roster is known by the token that stands there.
        let roster = Roster::of(&plan, &world);
        assert_eq!((roster.users.len(), roster.videos.len()), (50, 250));
        assert!(roster.users.iter().all(|user| user.likes_from < 250));
        let found = model::token::user(&reading.view, crate::world::token(0)).unwrap();
        assert_eq!(found.map(|user| user.0), Some(roster.users[0].id));
        // It is filled once.
        assert!(Store::adopt(state, now, plan.objects()).is_err());
    }
}
