//! Background work is a command too: no replica expires anything by its own clock.
use serde::{Deserialize, Serialize};

use crate::apply::{REPEAT_HORIZON_MS, is_forgotten};
use crate::command::Reply;
use crate::error::Fault;
use crate::event::Event;
use crate::key::{self, Key};
use crate::read::Read;
use crate::record::{Expiring, Token};
use crate::token;
use crate::transaction::{Answer, Transaction};
use crate::view::View;

/// How much one sweep removes at most, whatever it was asked: a batch must stay small.
pub const SWEEP_MAX: u32 = 10_000;

/// Removes what has expired by log time: remembered requests, tokens, join tokens. At most `limit`
/// (and never more than [`SWEEP_MAX`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    pub limit: u32,
}

/// Bars a blob key for ever, so that a late `Publish` of it is refused and it can be deleted.
/// Refused (`BlobInUse` is no rejection: the reply is `Swept { removed: 0 }`) when a video uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetireBlob {
    pub key: String,
}

impl RetireBlob {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let key = self.key;
        if at.db.has(&key::UsedBlob { key: key.clone() })? {
            return Ok(Reply::Swept { removed: 0 });
        }
        // Said again for one that is retired already: whoever asks may not have deleted it yet.
        let retired = key::RetiredBlob { key: key.clone() };
        if !at.db.has(&retired)? {
            let now = at.now;
            at.db.put(&retired, &now);
        }
        at.emit(Event::BlobRetired { key });
        Ok(Reply::Swept { removed: 1 })
    }
}

impl Sweep {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let limit = usize::try_from(self.limit.min(SWEEP_MAX))
            .expect("ten thousand fits whatever a machine counts with");
        let requests = sweep_requests(at, limit)?;
        let tokens = sweep_tokens(at, limit - requests)?;
        let removed = u64::try_from(requests + tokens).expect("at most ten thousand");
        Ok(Reply::Swept { removed })
    }
}

/// Removes remembered replies that no repeat can ask for any more.
///
/// It begins where the last sweep ended, since an engine that deletes by marks would else step over
/// all marks from the beginning of time.
fn sweep_requests(at: &mut Transaction<'_, impl View>, limit: usize) -> Result<usize, Fault> {
    let from = key::Request::prefix(at.totals.requests_swept);
    let mut now = at.now;
    if plants::is(plants::MEMORY_FORGETS_EARLY) {
        now.0 += REPEAT_HORIZON_MS - 1_000;
    }
    let due = at
        .db
        .list_from::<key::Request>((), from)
        .map(|entry| entry.map(|(key, _)| key))
        .take_while(|key| {
            key.as_ref()
                .map_or(true, |key| is_forgotten(key.issued, now))
        })
        .take(limit)
        .collect::<Result<Vec<_>, _>>()?;
    for key in &due {
        at.db.delete(key);
    }
    if let Some(last) = due.last() {
        at.totals.requests_swept = last.issued;
    }
    Ok(due.len())
}

/// Removes session tokens and join tokens that have expired.
fn sweep_tokens(at: &mut Transaction<'_, impl View>, limit: usize) -> Result<usize, Fault> {
    let from = key::Expiry::prefix(at.totals.expiries_swept);
    let due = at
        .db
        .list_from::<key::Expiry>((), from)
        .take_while(|entry| {
            entry
                .as_ref()
                .map_or(true, |(key, _)| key.expires <= at.now)
        })
        .take(limit)
        .collect::<Result<Vec<_>, _>>()?;
    for (key, kind) in &due {
        match kind {
            Expiring::Session => end_session(at, key)?,
            Expiring::Joining => {
                at.db.delete(&key::Joining { token: key.token });
                at.db.delete(key);
            }
        }
    }
    if let Some((last, _)) = due.last() {
        at.totals.expiries_swept = last.expires;
    }
    Ok(due.len())
}

fn end_session(at: &mut Transaction<'_, impl View>, key: &key::Expiry) -> Result<(), Fault> {
    let key::Expiry { expires, token } = *key;
    let session: Token = at.db.read(&key::Session { token })?.ok_or_else(|| {
        Fault(format!(
            "a session that expires at {} is missing",
            expires.0
        ))
    })?;
    let account_key = key::AccountOf { user: session.user };
    let mut account = at.db.read(&account_key)?.ok_or_else(|| {
        Fault(format!(
            "user {} has a session but no account",
            session.user
        ))
    })?;
    token::remove(at, token, &session);
    account.tokens = account.tokens.saturating_sub(1);
    at.db.put(&account_key, &account);
    Ok(())
}
