//! Accounts and profiles.
use caseless::default_case_fold_str;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::cluster;
use crate::command::Reply;
use crate::error::{Fault, Rejection};
use crate::event::Event;
use crate::id::UserId;
use crate::key;
use crate::marks;
use crate::read::{Questions, Read};
use crate::record;
use crate::slot;
use crate::token::{self, TokenHash};
use crate::transaction::{Answer, Transaction};
use crate::view::View;

/// A new account with its first token. The name is already trimmed and checked for length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    pub name: String,
    /// PHC string (argon2id), made at the entry node.
    pub password_hash: String,
    pub token: TokenHash,
}

/// One more token for `user`, whose password was checked against `verified_hash` at the entry node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    pub user: UserId,
    /// The hash that the password was checked against; refused when it is no longer the stored one.
    pub verified_hash: String,
    /// A hash with today's parameters, to be stored in its place.
    pub rehashed: Option<String>,
    pub token: TokenHash,
}

/// Revokes the actor's token, or all of the actor's tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logout {
    pub everywhere: bool,
}

/// A user as somebody sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub id: UserId,
    pub name: String,
    pub follow_count: u64,
    pub follower_count: u64,
    /// Does the viewer follow this user? False for oneself and for anonymous viewers.
    pub is_follow: bool,
    pub total_favorited: u64,
    pub work_count: u64,
    pub favorite_count: u64,
}

/// What a login needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: UserId,
    pub password_hash: String,
}

/// The form under which names are unique: NFKC, case folded, NFKC again.
///
/// Frozen: names are stored under it. A newer Unicode table changes the log's meaning, so a test
/// holds today's.
#[must_use]
pub fn fold_name(name: &str) -> String {
    let composed: String = name.nfkc().collect();
    default_case_fold_str(&composed).nfkc().collect()
}

/// The profile of `user` as `viewer` sees it.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn profile(
    view: &impl View,
    viewer: Option<UserId>,
    user: UserId,
) -> Result<Option<Profile>, Fault> {
    Ok(profiles(view, viewer, &[user])?.pop().flatten())
}

/// The profiles of `users` as `viewer` sees them, in their order, read in one go.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn profiles(
    view: &impl View,
    viewer: Option<UserId>,
    users: &[UserId],
) -> Result<Vec<Option<Profile>>, Fault> {
    let mut questions = Questions::default();
    let records = questions.ask(users.iter().map(|&user| key::UserById { user }));
    let counts = questions.ask(users.iter().map(|&user| key::UserCount { user }));
    let mut answers = questions.answers(view)?;
    let records = answers.take(records)?;
    let counts = answers.take(counts)?;
    let follows = match viewer {
        Some(viewer) => marks::follows(view, viewer, users)?,
        None => vec![false; users.len()],
    };
    let rows = users.iter().zip(records).zip(counts).zip(follows);
    Ok(rows
        .map(|(((&id, record), counts), is_follow)| {
            let counts = counts.unwrap_or_default();
            record.map(|record| Profile {
                id,
                name: record.name,
                follow_count: counts.follow_count,
                follower_count: counts.follower_count,
                is_follow,
                total_favorited: counts.total_favorited,
                work_count: counts.work_count,
                favorite_count: counts.favorite_count,
            })
        })
        .collect())
}

/// The profiles of users whom other records name, so that they must be there.
pub(crate) fn named_profiles(
    view: &impl View,
    viewer: Option<UserId>,
    users: &[UserId],
) -> Result<Vec<Profile>, Fault> {
    let profiles = profiles(view, viewer, users)?;
    let named = users.iter().zip(profiles).map(|(user, profile)| {
        profile.ok_or_else(|| Fault(format!("user {user} is named but not stored")))
    });
    named.collect()
}

/// The account with this name, however it is written.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn account(view: &impl View, name: &str) -> Result<Option<Account>, Fault> {
    let Some(id) = view.read(&key::UserByName {
        folded: fold_name(name),
    })?
    else {
        return Ok(None);
    };
    let account = view
        .read(&key::AccountOf { user: id })?
        .ok_or_else(|| Fault(format!("user {id} has a name but no account")))?;
    Ok(Some(Account {
        id,
        password_hash: account.password_hash,
    }))
}

/// Is there such a user?
pub(crate) fn exists(view: &impl View, user: UserId) -> Result<bool, Fault> {
    view.has(&key::UserById { user })
}

impl Register {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let folded = fold_name(&self.name);
        let slot = slot::of_name(&folded);
        let by_name = key::UserByName { folded };
        if at.db.has(&by_name)? {
            return Err(Rejection::NameTaken.into());
        }
        token::check_unused(at, self.token)?;
        let lifetime_days = cluster::token_lifetime_days(&at.db)?;

        let user = UserId(at.next_id(|totals| &mut totals.users, slot)?);
        let tokens = token::grant(at, user, self.token, 0, lifetime_days)?;
        at.db.put(&by_name, &user);
        let registered = at.stamp;
        at.db.put(
            &key::UserById { user },
            &record::User {
                name: self.name,
                registered,
            },
        );
        let account = record::Account {
            password_hash: self.password_hash,
            tokens,
        };
        at.db.put(&key::AccountOf { user }, &account);
        at.emit(Event::UserChanged { user });
        Ok(Reply::Registered { user })
    }
}

impl Login {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let user = self.user;
        let key = key::AccountOf { user };
        let account = at.db.read(&key)?.ok_or(Rejection::UserNotFound)?;
        if account.password_hash != self.verified_hash {
            return Err(Rejection::PasswordChanged.into());
        }
        token::check_unused(at, self.token)?;
        let lifetime_days = cluster::token_lifetime_days(&at.db)?;

        let tokens = token::grant(at, user, self.token, account.tokens, lifetime_days)?;
        let password_hash = self.rehashed.unwrap_or(account.password_hash);
        at.db.put(
            &key,
            &record::Account {
                password_hash,
                tokens,
            },
        );
        Ok(Reply::LoggedIn { user })
    }
}

impl Logout {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let (token, user) = at.token()?;
        let key = key::AccountOf { user };
        let mut account = at
            .db
            .read(&key)?
            .ok_or_else(|| Fault(format!("user {user} has a session but no account")))?;
        let sessions = at.db.list::<key::SessionOf>(user, None);
        let ended = sessions
            .filter(|session| {
                let is_ours = |(session, ()): &(key::SessionOf, ())| session.token == token;
                self.everywhere || session.as_ref().map_or(true, is_ours)
            })
            .collect::<Result<Vec<_>, _>>()?;

        for (session, ()) in ended {
            let expires = session.expires;
            token::remove(at, session.token, &record::Token { user, expires });
            account.tokens = account.tokens.saturating_sub(1);
        }
        at.db.put(&key, &account);
        Ok(Reply::Done)
    }
}
