//! What the cluster itself keeps in its own log: its identity, settings, join tokens, nodes.
use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::command::Reply;
use crate::error::{Error, Fault, Rejection};
use crate::event::Event;
use crate::id::NodeId;
use crate::key::{self, Newest};
use crate::read::Read;
use crate::record::{self, Expiring};
use crate::time::Timestamp;
use crate::token::{self, TokenHash};
use crate::transaction::{Answer, Transaction};
use crate::view::View;

/// The first command of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub identity: Identity,
    /// The founding node, which gets the first node id (1).
    pub node: NodeInfo,
}

/// What makes this cluster this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Lower-case hexadecimal, 32 digits.
    pub cluster_id: String,
    /// Rises when the cluster is restored from a backup, so that old positions fail loudly.
    pub epoch: u32,
    /// Key of the MAC of session positions.
    pub position_key: [u8; 32],
    /// Certificate of the cluster's CA, DER.
    pub ca_certificate: Vec<u8>,
    /// The CA's key, sealed under a key that only voters hold.
    pub sealed_ca_key: Vec<u8>,
}

/// What is known of an admitted node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Made at random when the data directory was made.
    pub incarnation: [u8; 16],
    /// Zone label, may be empty.
    pub zone: String,
}

/// Allows up to `uses` nodes to join until `expires` (log time).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateJoinToken {
    /// SHA-256 of the token's secret.
    pub token: TokenHash,
    pub expires: Timestamp,
    pub uses: u32,
}

/// Gives a node id that was never used before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmitNode {
    /// By what right: a join token, or else the certificate of the node that is replaced.
    pub token: Option<TokenHash>,
    pub replaces: Option<NodeId>,
    pub node: NodeInfo,
}

/// Marks a node id as gone for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetireNode {
    pub node: NodeId,
}

/// Changes one replicated setting; see [`Settings`] for the names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    pub name: String,
    pub value: String,
}

/// The replicated settings, by their names in [`Configure`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `chat.friends_only`: messages need friendship. Default false.
    pub chat_friends_only: bool,
    /// `cluster.voters`: how many nodes vote, 1, 3 or 5. Default 3.
    pub voters: u32,
    /// `token.lifetime_days`: how long a session token lives, 1..=3650. Default 90.
    pub token_lifetime_days: u32,
}

/// A node as the log knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub info: NodeInfo,
    pub admitted: Timestamp,
    pub is_retired: bool,
    pub replaced_by: Option<NodeId>,
}

/// One change of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// Counted from 1 over all settings.
    pub revision: u64,
    pub name: String,
    /// `None`: the default.
    pub old: Option<String>,
    pub new: String,
    pub changed: Timestamp,
}

/// The cluster's identity; `None` before it is founded.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn identity(view: &impl View) -> Result<Option<Identity>, Fault> {
    view.read(&key::Founded {})
}

/// The settings in force.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn settings(view: &impl View) -> Result<Settings, Fault> {
    Ok(Settings {
        chat_friends_only: chat_friends_only(view)?,
        voters: setting(view, VOTERS, 3)?,
        token_lifetime_days: token_lifetime_days(view)?,
    })
}

/// The changes of settings, latest first, at most `limit`.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn history(view: &impl View, limit: usize) -> Result<Vec<SettingChange>, Fault> {
    let listed = view.list::<key::ConfiguredAt>((), None).take(limit);
    let changes = listed.map(|entry| {
        let (
            key,
            record::SettingChange {
                name,
                old,
                new,
                changed,
            },
        ) = entry?;
        Ok(SettingChange {
            revision: key.revision.0,
            name,
            old,
            new,
            changed,
        })
    });
    changes.collect()
}

/// Every node that was ever admitted.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn nodes(view: &impl View) -> Result<BTreeMap<NodeId, Node>, Fault> {
    let listed = view.list::<key::Member>((), None);
    listed
        .map(|entry| entry.map(|(key, node)| (key.node, node)))
        .collect()
}

/// `chat.friends_only` alone, as a message needs it.
pub(crate) fn chat_friends_only(view: &impl View) -> Result<bool, Fault> {
    setting(view, CHAT_FRIENDS_ONLY, false)
}

/// `token.lifetime_days` alone, as a login needs it.
pub(crate) fn token_lifetime_days(view: &impl View) -> Result<u32, Fault> {
    setting(view, TOKEN_LIFETIME_DAYS, 90)
}

const CHAT_FRIENDS_ONLY: &str = "chat.friends_only";
const VOTERS: &str = "cluster.voters";
const TOKEN_LIFETIME_DAYS: &str = "token.lifetime_days";

fn setting<T: FromStr>(view: &impl View, name: &str, default: T) -> Result<T, Fault> {
    let Some(stored) = view.read(&key::Configured {
        name: name.to_owned(),
    })?
    else {
        return Ok(default);
    };
    let value = stored.value.parse();
    value.map_err(|_| Fault(format!("the setting {name} cannot be {}", stored.value)))
}

/// Checks a new value and brings it into its one spelling.
fn normalised(name: &str, value: &str) -> Result<String, Rejection> {
    let refuse = |rule: &str| Rejection::InvalidSetting(format!("{name} {rule}"));
    let number = || value.trim().parse::<u32>().ok();
    match name {
        CHAT_FRIENDS_ONLY => match value.trim() {
            it @ ("true" | "false") => Ok(it.to_owned()),
            _ => Err(refuse("is true or false")),
        },
        VOTERS => match number() {
            Some(it @ (1 | 3 | 5)) => Ok(it.to_string()),
            _ => Err(refuse("is 1, 3 or 5")),
        },
        TOKEN_LIFETIME_DAYS => match number() {
            Some(it @ 1..=3650) => Ok(it.to_string()),
            _ => Err(refuse("is 1 to 3650")),
        },
        _ => Err(refuse("is no setting")),
    }
}

impl Found {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        if at.db.has(&key::Founded {})? {
            return Err(Rejection::AlreadyFounded.into());
        }

        at.db.put(&key::Founded {}, &self.identity);
        admit(at, self.node)
    }
}

impl CreateJoinToken {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let Self {
            token,
            expires,
            uses,
        } = self;
        if uses == 0 || expires <= at.now {
            return Err(Rejection::InvalidJoinToken.into());
        }
        token::check_unused(at, token)?;

        at.db.put(
            &key::Joining { token },
            &record::JoinToken { expires, uses },
        );
        at.db
            .put(&key::Expiry { expires, token }, &Expiring::Joining);
        Ok(Reply::Done)
    }
}

impl AdmitNode {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let ticket = match self.token {
            Some(token) => Some((token, valid_ticket(at, token)?)),
            None => None,
        };
        let replaced = match self.replaces {
            Some(node) => Some((
                node,
                at.db
                    .read(&key::Member { node })?
                    .ok_or(Rejection::NodeNotFound)?,
            )),
            None => None,
        };
        let may_replace = replaced.as_ref().is_some_and(|(_, node)| !node.is_retired);
        if ticket.is_none() && !may_replace {
            return Err(Rejection::InvalidJoinToken.into());
        }

        if let Some((token, ticket)) = ticket {
            use_once(at, token, ticket);
        }
        if let Some((node, mut old)) = replaced {
            old.is_retired = true;
            old.replaced_by = Some(NodeId(at.totals.nodes + 1));
            at.db.put(&key::Member { node }, &old);
            at.emit(Event::NodeRetired);
        }
        admit(at, self.node)
    }
}

impl RetireNode {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let key = key::Member { node: self.node };
        let mut node = at.db.read(&key)?.ok_or(Rejection::NodeNotFound)?;
        if node.is_retired {
            return Ok(Reply::Done);
        }

        node.is_retired = true;
        at.db.put(&key, &node);
        at.emit(Event::NodeRetired);
        Ok(Reply::Done)
    }
}

impl Configure {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let new = normalised(&self.name, &self.value)?;
        let name = self.name;
        let key = key::Configured { name: name.clone() };
        let old = at.db.read(&key)?.map(|setting| setting.value);
        if old.as_ref() == Some(&new) {
            return Ok(Reply::Done);
        }

        at.totals.revision += 1;
        let revision = at.totals.revision;
        at.db.put(
            &key,
            &record::Setting {
                value: new.clone(),
                revision,
            },
        );
        let change = record::SettingChange {
            name,
            old,
            new,
            changed: at.stamp,
        };
        at.db.put(
            &key::ConfiguredAt {
                revision: Newest(revision),
            },
            &change,
        );
        at.emit(Event::SettingsChanged);
        Ok(Reply::Done)
    }
}

fn valid_ticket(
    at: &Transaction<'_, impl View>,
    token: TokenHash,
) -> Result<record::JoinToken, Error> {
    let ticket = at.db.read(&key::Joining { token })?;
    let valid = ticket.filter(|ticket| ticket.uses > 0 && ticket.expires > at.now);
    Ok(valid.ok_or(Rejection::InvalidJoinToken)?)
}

fn use_once(at: &mut Transaction<'_, impl View>, token: TokenHash, ticket: record::JoinToken) {
    let record::JoinToken { expires, uses } = ticket;
    if uses > 1 {
        at.db.put(
            &key::Joining { token },
            &record::JoinToken {
                expires,
                uses: uses - 1,
            },
        );
    } else {
        at.db.delete(&key::Joining { token });
        at.db.delete(&key::Expiry { expires, token });
    }
}

/// Gives a node the next id. Node ids are counted from 1, carry no slot and never come back.
fn admit(at: &mut Transaction<'_, impl View>, info: NodeInfo) -> Answer {
    at.totals.nodes += 1;
    let node = NodeId(at.totals.nodes);
    let admitted = at.stamp;
    let record = Node {
        info,
        admitted,
        is_retired: false,
        replaced_by: None,
    };
    at.db.put(&key::Member { node }, &record);
    at.emit(Event::NodeAdmitted);
    Ok(Reply::Admitted { node })
}
