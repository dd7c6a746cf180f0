//! Who follows whom. Friends are users who follow each other.
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::command::Reply;
use crate::error::{Fault, Rejection};
use crate::id::UserId;
use crate::key::{self, Newest};
use crate::message;
use crate::read::Read;
use crate::transaction::{Answer, Transaction, down, up};
use crate::user::{self, Profile};
use crate::view::View;

/// How many conversations are looked at together for whether they are with a friend.
const INBOX_STEP: usize = 64;
/// Whoever has more friends is listed by their inbox. It is in order, but each message moves its
/// conversation there, and an engine steps over all places that it left until they are compacted
/// away: a million messages with one friend made a list of one take 14 ms.
const FRIENDS_SORTED_MAX: usize = 512;

/// The actor follows `user`. Following twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    pub user: UserId,
}

/// The actor no longer follows `user`. Doing so twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfollow {
    pub user: UserId,
}

/// A friend with the latest message, as the owner of the list sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FriendItem {
    pub profile: Profile,
    /// Text of the latest message with this friend, empty if none or not the viewer's to see.
    pub message: String,
    /// Did the viewer send that message?
    pub is_sent: bool,
}

/// Whom `user` follows, latest first; `None` when there is no such user.
///
/// `after` is the last user of the page before. If that edge is gone, its place is lost and the
/// list begins anew: better shown twice than skipped.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn following(
    view: &impl View,
    viewer: Option<UserId>,
    user: UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Option<Vec<Profile>>, Fault> {
    if !user::exists(view, user)? {
        return Ok(None);
    }
    let place = match after {
        Some(followee) => view.read(&key::Follows {
            follower: user,
            followee,
        })?,
        None => None,
    };
    let after = place.map(|sequence| key::Following {
        user,
        sequence: Newest(sequence),
    });
    let listed = view.list(user, after.as_ref()).take(limit);
    let users = listed.map(|entry| entry.map(|(_, followee)| followee));
    let users = users.collect::<Result<Vec<_>, _>>()?;
    user::named_profiles(view, viewer, &users).map(Some)
}

/// Who follows `user`, latest first; `None` when there is no such user. `after`: as for
/// [`following`].
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn followers(
    view: &impl View,
    viewer: Option<UserId>,
    user: UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Option<Vec<Profile>>, Fault> {
    if !user::exists(view, user)? {
        return Ok(None);
    }
    let place = match after {
        Some(follower) => view.read(&key::Follows {
            follower,
            followee: user,
        })?,
        None => None,
    };
    let after = place.map(|sequence| key::Follower {
        user,
        sequence: Newest(sequence),
    });
    let listed = view.list(user, after.as_ref()).take(limit);
    let users = listed.map(|entry| entry.map(|(_, follower)| follower));
    let users = users.collect::<Result<Vec<_>, _>>()?;
    user::named_profiles(view, viewer, &users).map(Some)
}

/// The friends of `user`. One's own: latest message first, then latest relation, with messages.
/// Another's: latest relation first, without messages. `None` when there is no such user.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn friends(
    view: &impl View,
    viewer: UserId,
    user: UserId,
    limit: usize,
) -> Result<Option<Vec<FriendItem>>, Fault> {
    if !user::exists(view, user)? {
        return Ok(None);
    }
    let mut friends = Vec::new();
    if viewer == user {
        friends = friends_who_talk(view, user, limit)?;
    }
    let talking: BTreeSet<_> = friends.iter().copied().collect();
    let listed = view.list::<key::Friend>(user, None);
    for entry in listed {
        if friends.len() >= limit {
            break;
        }
        let (_, friend) = entry?;
        if !talking.contains(&friend) {
            friends.push(friend);
        }
    }

    let profiles = user::named_profiles(view, Some(viewer), &friends)?;
    let last = if viewer == user {
        message::last_of(view, user, &friends)?
    } else {
        vec![None; friends.len()]
    };
    let items = profiles
        .into_iter()
        .zip(last)
        .map(|(profile, last)| match last {
            Some(last) => FriendItem {
                profile,
                is_sent: last.from == viewer,
                message: last.text,
            },
            None => FriendItem {
                profile,
                message: String::new(),
                is_sent: false,
            },
        });
    Ok(Some(items.collect()))
}

/// Do they follow each other?
pub(crate) fn are_friends(view: &impl View, one: UserId, other: UserId) -> Result<bool, Fault> {
    let there = key::Follows {
        follower: one,
        followee: other,
    };
    let back = key::Follows {
        follower: other,
        followee: one,
    };
    Ok(view.read_many([there, back])?.iter().all(Option::is_some))
}

/// The friends with whom `user` has a conversation, latest message first.
fn friends_who_talk(view: &impl View, user: UserId, limit: usize) -> Result<Vec<UserId>, Fault> {
    let listed = view.list::<key::Friend>(user, None);
    let few = listed
        .take(FRIENDS_SORTED_MAX + 1)
        .map(|entry| entry.map(|(_, friend)| friend));
    let few = few.collect::<Result<Vec<_>, _>>()?;
    if few.len() > FRIENDS_SORTED_MAX {
        return friends_in_inbox(view, user, limit);
    }
    friends_by_head(view, user, &few, limit)
}

/// Those of `friends` with whom `user` has a conversation, latest message first.
fn friends_by_head(
    view: &impl View,
    user: UserId,
    friends: &[UserId],
    limit: usize,
) -> Result<Vec<UserId>, Fault> {
    let heads = message::heads_of(view, user, friends)?;
    let both = friends.iter().zip(heads);
    let mut talking: Vec<_> = both
        .filter_map(|(&friend, head)| Some((head?.last, friend)))
        .collect();
    talking.sort_unstable_by(|one, other| other.cmp(one));
    talking.truncate(limit);
    Ok(talking.into_iter().map(|(_, friend)| friend).collect())
}

/// Those of the inbox who are friends, latest message first.
fn friends_in_inbox(view: &impl View, user: UserId, limit: usize) -> Result<Vec<UserId>, Fault> {
    let mut friends = Vec::new();
    let mut inbox = view.list::<key::Inbox>(user, None);
    while friends.len() < limit {
        let some = inbox
            .by_ref()
            .take(INBOX_STEP)
            .map(|entry| entry.map(|(_, peer)| peer));
        let peers = some.collect::<Result<Vec<_>, _>>()?;
        if peers.is_empty() {
            break;
        }
        let edges = peers.iter().flat_map(|&peer| {
            [
                key::Follows {
                    follower: user,
                    followee: peer,
                },
                key::Follows {
                    follower: peer,
                    followee: user,
                },
            ]
        });
        let edges = view.read_many(edges)?;
        let both = peers.iter().zip(edges.chunks(2));
        friends.extend(
            both.filter(|(_, edges)| edges.iter().all(Option::is_some))
                .map(|(&peer, _)| peer),
        );
    }
    friends.truncate(limit);
    Ok(friends)
}

impl Follow {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let followee = self.user;
        let follower = at.actor()?;
        if follower == followee {
            return Err(Rejection::CannotFollowSelf.into());
        }
        if !user::exists(&at.db, followee)? {
            return Err(Rejection::UserNotFound.into());
        }
        let edge = key::Follows { follower, followee };
        if let Some(sequence) = at.db.read(&edge)? {
            if plants::is(plants::FOLLOW_IN_TWO) {
                be_followed(at, follower, followee, sequence)?;
            }
            return Ok(Reply::Done);
        }

        let sequence = at.next_sequence();
        at.db.put(&edge, &sequence);
        at.db.put(
            &key::Following {
                user: follower,
                sequence: Newest(sequence),
            },
            &followee,
        );
        at.count_user(follower, |counts| up(&mut counts.follow_count))?;
        if !plants::is(plants::FOLLOW_IN_TWO) {
            be_followed(at, follower, followee, sequence)?;
        }
        Ok(Reply::Done)
    }
}

/// The followee's side of a follow, and that they are friends if they are now.
fn be_followed(
    at: &mut Transaction<'_, impl View>,
    follower: UserId,
    followee: UserId,
    sequence: u64,
) -> Result<(), Fault> {
    let sequence = Newest(sequence);
    let entry = key::Follower {
        user: followee,
        sequence,
    };
    if at.db.has(&entry)? {
        return Ok(());
    }
    at.db.put(&entry, &follower);
    let back = key::Follows {
        follower: followee,
        followee: follower,
    };
    if at.db.has(&back)? {
        for (user, friend) in [(follower, followee), (followee, follower)] {
            at.db.put(&key::Friend { user, sequence }, &friend);
        }
    }
    at.count_user(followee, |counts| up(&mut counts.follower_count))
}

impl Unfollow {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let followee = self.user;
        let follower = at.actor()?;
        if follower == followee {
            return Err(Rejection::CannotFollowSelf.into());
        }
        if !user::exists(&at.db, followee)? {
            return Err(Rejection::UserNotFound.into());
        }
        let edge = key::Follows { follower, followee };
        let Some(sequence) = at.db.read(&edge)? else {
            return Ok(Reply::Done);
        };
        let back = at.db.read(&key::Follows {
            follower: followee,
            followee: follower,
        })?;

        at.db.delete(&edge);
        at.db.delete(&key::Following {
            user: follower,
            sequence: Newest(sequence),
        });
        at.db.delete(&key::Follower {
            user: followee,
            sequence: Newest(sequence),
        });
        if let Some(back) = back {
            let friends_since = Newest(sequence.max(back));
            at.db.delete(&key::Friend {
                user: follower,
                sequence: friends_since,
            });
            at.db.delete(&key::Friend {
                user: followee,
                sequence: friends_since,
            });
        }
        at.count_user(follower, |counts| down(&mut counts.follow_count))?;
        at.count_user(followee, |counts| down(&mut counts.follower_count))?;
        Ok(Reply::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;
    use crate::memory::Memory;
    use crate::overlay::Overlay;
    use crate::record::Conversation;
    use crate::time::Timestamp;

    /// A user with friends, strangers, and conversations with every other of both; the later ones'
    /// are older.
    fn town(me: UserId) -> (Memory, Vec<UserId>) {
        let empty = Memory::default();
        let mut changes = Overlay::new(&empty);
        let mut friends = Vec::new();
        for number in 1..=200_u64 {
            let peer = UserId(me.0 - 100 + number + u64::from(number >= 100));
            if number % 3 != 0 {
                friends.push(peer);
                let sequence = Newest(number);
                changes.put(&key::Friend { user: me, sequence }, &peer);
                for (follower, followee) in [(me, peer), (peer, me)] {
                    changes.put(&key::Follows { follower, followee }, &number);
                }
            }
            if number % 2 == 0 {
                let last = MessageId(1_000_003 * number % 1_009);
                let head = Conversation {
                    messages: 1,
                    last,
                    last_created: Timestamp(1),
                };
                let (low, high) = (me.min(peer), me.max(peer));
                changes.put(&key::ConversationOf { low, high }, &head);
                let last = Newest(last);
                changes.put(&key::Inbox { user: me, last }, &peer);
            }
        }
        let mut memory = Memory::default();
        memory.commit(changes.into_changes());
        (memory, friends)
    }

    #[test]
    fn few_friends_are_in_the_order_of_the_inbox() {
        let me = UserId(5_000);
        let (town, friends) = town(me);
        for limit in [0, 1, 7, 66, 67, 500] {
            let sorted = friends_by_head(&town, me, &friends, limit).unwrap();
            assert_eq!(sorted, friends_in_inbox(&town, me, limit).unwrap());
            assert_eq!(sorted, friends_who_talk(&town, me, limit).unwrap());
        }
        let all = friends_by_head(&town, me, &friends, 500).unwrap();
        assert!(all.len() > 60 && all.len() < friends.len());
    }
}
