//! Session tokens: opaque to the client, stored as a hash, valid on every node, revocable.
use serde::{Deserialize, Serialize};

use crate::error::{Error, Fault, Rejection};
use crate::id::UserId;
use crate::key;
use crate::read::{Questions, Read};
use crate::record::{Expiring, Token};
use crate::time::Timestamp;
use crate::transaction::Transaction;
use crate::view::View;

/// How many sessions a user may have at a time. One more ends the one that would expire first, so
/// that a client which logs in for every request fills no disk.
pub const SESSIONS_PER_USER_MAX: u32 = 1000;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// SHA-256 of a token's secret bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenHash(pub [u8; 32]);

/// Whose token this is, if it is valid in `view`: known, and not expired by log time.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn user(view: &impl View, token: TokenHash) -> Result<Option<UserId>, Fault> {
    let mut questions = Questions::default();
    let session = questions.ask([key::Session { token }]);
    let totals = questions.ask([key::Watermarks {}]);
    let mut answers = questions.answers(view)?;
    let session = answers.take(session)?.pop().flatten();
    let clock = answers
        .take(totals)?
        .pop()
        .flatten()
        .unwrap_or_default()
        .clock;
    Ok(session
        .filter(|session| session.expires > clock)
        .map(|session| session.user))
}

/// Refuses a token that exists: its secret was not random.
pub(crate) fn check_unused(at: &Transaction<'_, impl View>, token: TokenHash) -> Result<(), Error> {
    if at.db.has(&key::Session { token })? || at.db.has(&key::Joining { token })? {
        return Err(Rejection::InvalidToken.into());
    }
    Ok(())
}

/// Gives `user`, who has `count` sessions, one more; answers how many there are now.
pub(crate) fn grant(
    at: &mut Transaction<'_, impl View>,
    user: UserId,
    token: TokenHash,
    count: u32,
    lifetime_days: u32,
) -> Result<u32, Fault> {
    let mut count = count;
    if count >= SESSIONS_PER_USER_MAX {
        let first = at
            .db
            .list::<key::SessionOf>(user, None)
            .next()
            .transpose()?;
        if let Some((session, ())) = first {
            remove(
                at,
                session.token,
                &Token {
                    user,
                    expires: session.expires,
                },
            );
            count -= 1;
        }
    }
    let expires = Timestamp(at.now.0.saturating_add(u64::from(lifetime_days) * DAY_MS));
    at.db.put(&key::Session { token }, &Token { user, expires });
    at.db.put(
        &key::SessionOf {
            user,
            expires,
            token,
        },
        &(),
    );
    at.db
        .put(&key::Expiry { expires, token }, &Expiring::Session);
    Ok(count + 1)
}

/// Removes one session; the caller counts it.
pub(crate) fn remove(at: &mut Transaction<'_, impl View>, token: TokenHash, session: &Token) {
    let Token { user, expires } = *session;
    at.db.delete(&key::Session { token });
    at.db.delete(&key::SessionOf {
        user,
        expires,
        token,
    });
    at.db.delete(&key::Expiry { expires, token });
}
