//! One command at work: what it may read, what it has changed so far, and who asks.
use crate::command::Reply;
use crate::error::{Error, Fault, Rejection};
use crate::event::Event;
use crate::id::{UserId, VideoId};
use crate::key;
use crate::overlay::{Changes, Overlay};
use crate::read::Read;
use crate::record::{Totals, UserCounts, VideoCounts};
use crate::slot;
use crate::time::Timestamp;
use crate::token::TokenHash;
use crate::view::View;

/// What a rule answers: the reply, a rejection, or that this machine cannot tell.
pub(crate) type Answer = Result<Reply, Error>;

/// The workplace of one command.
pub(crate) struct Transaction<'a, V> {
    pub(crate) db: Overlay<'a, V>,
    pub(crate) totals: Totals,
    /// The leader's clock as it proposed the command: the time that objects get.
    pub(crate) stamp: Timestamp,
    /// Log time, which never runs backwards: the time by which things expire.
    pub(crate) now: Timestamp,
    pub(crate) events: Vec<Event>,
    actor: Option<TokenHash>,
}

impl<'a, V: View> Transaction<'a, V> {
    pub(crate) fn new(
        view: &'a V,
        totals: Totals,
        stamp: Timestamp,
        actor: Option<TokenHash>,
    ) -> Self {
        let now = stamp.max(totals.clock);
        Self {
            db: Overlay::new(view),
            totals,
            stamp,
            now,
            events: Vec::new(),
            actor,
        }
    }

    /// The token that came with the command, if it is valid.
    pub(crate) fn token(&self) -> Result<(TokenHash, UserId), Error> {
        let token = self.actor.ok_or(Rejection::InvalidToken)?;
        let session = self.db.read(&key::Session { token })?;
        match session {
            Some(session) if session.expires > self.now => Ok((token, session.user)),
            _ => Err(Rejection::InvalidToken.into()),
        }
    }

    /// Who asks.
    pub(crate) fn actor(&self) -> Result<UserId, Error> {
        self.token().map(|(_, user)| user)
    }

    /// Counts an object of one noun and gives it its id.
    pub(crate) fn next_id(
        &mut self,
        noun: impl FnOnce(&mut Totals) -> &mut u64,
        slot: u64,
    ) -> Result<u64, Fault> {
        let count = noun(&mut self.totals);
        *count += 1;
        if plants::is(plants::CHANCE_IN_APPLY) && plants::chance() {
            *count += 1;
        }
        slot::id(*count, slot)
    }

    /// The place of a new edge in all lists.
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.totals.sequence += 1;
        self.totals.sequence
    }

    /// Changes the counters of a user.
    pub(crate) fn count_user(
        &mut self,
        user: UserId,
        change: impl FnOnce(&mut UserCounts) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let key = key::UserCount { user };
        let mut counts = self.db.read(&key)?.unwrap_or_default();
        change(&mut counts)?;
        self.db.put(&key, &counts);
        self.emit(Event::UserChanged { user });
        Ok(())
    }

    /// Changes the counters of a video.
    pub(crate) fn count_video(
        &mut self,
        video: VideoId,
        change: impl FnOnce(&mut VideoCounts) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let key = key::VideoCount { video };
        let mut counts = self.db.read(&key)?.unwrap_or_default();
        change(&mut counts)?;
        self.db.put(&key, &counts);
        self.emit(Event::VideoChanged { video });
        Ok(())
    }

    /// Notes what happened, once.
    pub(crate) fn emit(&mut self, event: Event) {
        if !self.events.contains(&event) {
            self.events.push(event);
        }
    }

    /// All that the command did.
    pub(crate) fn finish(mut self) -> (Changes, Vec<Event>) {
        self.totals.clock = self.now;
        self.db.put(&key::Watermarks {}, &self.totals);
        (self.db.into_changes(), self.events)
    }
}

/// One more in a set.
pub(crate) fn up(count: &mut u64) -> Result<(), Fault> {
    *count = count
        .checked_add(1)
        .ok_or_else(|| Fault("a counter is full".to_owned()))?;
    Ok(())
}

/// One less in a set.
///
/// # Errors
/// [`Fault`] when the counter was zero: it disagreed with its set.
pub(crate) fn down(count: &mut u64) -> Result<(), Fault> {
    *count = count.checked_sub(1).ok_or_else(|| {
        Fault("a counter is below the size of its set: see `yin verify`".to_owned())
    })?;
    Ok(())
}
