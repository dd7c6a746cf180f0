//! Chat between two users.
use serde::{Deserialize, Serialize};

use crate::cluster;
use crate::command::Reply;
use crate::error::{Fault, Rejection};
use crate::event::Event;
use crate::id::{MessageId, UserId};
use crate::key::{self, Key, Newest};
use crate::read::Read;
use crate::record;
use crate::relation;
use crate::slot;
use crate::time::Timestamp;
use crate::transaction::{Answer, Transaction};
use crate::user;
use crate::view::View;

/// The actor sends a message. The text is already checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendMessage {
    pub to: UserId,
    pub text: String,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub id: MessageId,
    pub from: UserId,
    pub to: UserId,
    pub text: String,
    pub created: Timestamp,
}

/// Which part of a conversation is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Both directions, the latest ones.
    Latest,
    /// Created strictly after, oldest first.
    After { time: Timestamp, includes_own: bool },
}

/// What a poll finds is mostly this little: read one by one, since to begin a scan costs more.
const FEW: u64 = 8;

/// Messages between `me` and `peer` in ascending time, at most `limit`; `None` when there is no
/// such peer.
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn between(
    view: &impl View,
    me: UserId,
    peer: UserId,
    part: Part,
    limit: usize,
) -> Result<Option<Vec<Message>>, Fault> {
    if !user::exists(view, peer)? {
        return Ok(None);
    }
    let pair = Pair::of(me, peer);
    let Some(head) = view.read(&pair.head())? else {
        return Ok(Some(Vec::new()));
    };
    let (first, includes_own) = match part {
        Part::Latest => {
            let skipped = head
                .messages
                .saturating_sub(u64::try_from(limit).unwrap_or(u64::MAX));
            (skipped + 1, true)
        }
        Part::After { time, includes_own } => (first_after(view, pair, head, time)?, includes_own),
    };
    if first > head.messages {
        return Ok(Some(Vec::new()));
    }
    let is_wanted = |message: &Message| includes_own || message.from != me;
    if head.messages - first < FEW {
        let numbers = first..=head.messages;
        let stored = view.read_many(numbers.clone().map(|number| pair.message(number)))?;
        let few = numbers.zip(stored).map(|(number, message)| {
            let message = message.ok_or_else(|| pair.lacks(number))?;
            Ok(pair.face(message))
        });
        let few = few.collect::<Result<Vec<_>, _>>()?.into_iter();
        return Ok(Some(few.filter(is_wanted).take(limit).collect()));
    }
    let from = pair.message(first).encode();
    let stored = view.list_from::<key::MessageIn>((pair.low, pair.high), from);
    let wanted = stored
        .map(|entry| entry.map(|(_, message)| pair.face(message)))
        .filter(|entry| entry.as_ref().map_or(true, is_wanted))
        .take(limit);
    wanted.collect::<Result<Vec<_>, _>>().map(Some)
}

/// The heads of the conversations that `user` has with each of `peers`, in their order.
pub(crate) fn heads_of(
    view: &impl View,
    user: UserId,
    peers: &[UserId],
) -> Result<Vec<Option<record::Conversation>>, Fault> {
    view.read_many(peers.iter().map(|&peer| Pair::of(user, peer).head()))
}

/// The last message that `user` has with each of `peers`, in their order.
pub(crate) fn last_of(
    view: &impl View,
    user: UserId,
    peers: &[UserId],
) -> Result<Vec<Option<record::Message>>, Fault> {
    let pairs: Vec<_> = peers.iter().map(|&peer| Pair::of(user, peer)).collect();
    let heads = heads_of(view, user, peers)?;
    // No message has the number 0, so it stands for none.
    let numbers = heads
        .iter()
        .map(|head| head.map_or(0, |head| head.messages));
    view.read_many(
        pairs
            .iter()
            .zip(numbers)
            .map(|(pair, number)| pair.message(number)),
    )
}

/// Two users, in the order of their keys.
#[derive(Clone, Copy)]
struct Pair {
    low: UserId,
    high: UserId,
}

impl Pair {
    fn of(one: UserId, other: UserId) -> Self {
        Self {
            low: one.min(other),
            high: one.max(other),
        }
    }

    fn head(self) -> key::ConversationOf {
        key::ConversationOf {
            low: self.low,
            high: self.high,
        }
    }

    fn message(self, number: u64) -> key::MessageIn {
        key::MessageIn {
            low: self.low,
            high: self.high,
            number,
        }
    }

    fn lacks(self, number: u64) -> Fault {
        Fault(format!(
            "message {number} of {} and {} is missing",
            self.low, self.high
        ))
    }

    fn face(self, message: record::Message) -> Message {
        let record::Message {
            id,
            from,
            text,
            created,
        } = message;
        let to = if from == self.low {
            self.high
        } else {
            self.low
        };
        Message {
            id,
            from,
            to,
            text,
            created,
        }
    }
}

/// The number of the first message that was created strictly after `time`.
///
/// Times increase with the numbers, so it steps back from the end in doubling strides and then
/// halves the last stride: a poll that finds nothing new reads nothing but the head.
fn first_after(
    view: &impl View,
    pair: Pair,
    head: record::Conversation,
    time: Timestamp,
) -> Result<u64, Fault> {
    let is_after = |number: u64| -> Result<bool, Fault> {
        let message = view.read(&pair.message(number))?;
        Ok(message.ok_or_else(|| pair.lacks(number))?.created > time)
    };
    if head.last_created <= time {
        return Ok(head.messages + 1);
    }
    // Always: `after` is after `time`, and `not_after` is not (or is 0, before the first).
    let (mut not_after, mut after, mut stride) = (0, head.messages, 1);
    while after > stride {
        let number = after - stride;
        if !is_after(number)? {
            not_after = number;
            break;
        }
        after = number;
        stride *= 2;
    }
    while after - not_after > 1 {
        let middle = not_after + (after - not_after) / 2;
        if is_after(middle)? {
            after = middle;
        } else {
            not_after = middle;
        }
    }
    Ok(after)
}

impl SendMessage {
    pub(crate) fn apply(self, at: &mut Transaction<'_, impl View>) -> Answer {
        let Self { to, text } = self;
        let from = at.actor()?;
        if from == to {
            return Err(Rejection::CannotMessageSelf.into());
        }
        if !user::exists(&at.db, to)? {
            return Err(Rejection::UserNotFound.into());
        }
        if cluster::chat_friends_only(&at.db)? && !relation::are_friends(&at.db, from, to)? {
            return Err(Rejection::FriendsOnly.into());
        }
        let pair = Pair::of(from, to);
        let head = at.db.read(&pair.head())?;

        let mut watermark = head.map_or(0, |head| head.last_created.0.saturating_add(1));
        if plants::is(plants::ORDER_BY_WALL_CLOCK) {
            watermark = 0;
        }
        let created = Timestamp(at.stamp.0.max(watermark));
        let number = head.map_or(0, |head| head.messages) + 1;
        let slot = slot::of_pair(from, to);
        let id = MessageId(at.next_id(|totals| &mut totals.messages, slot)?);
        for (user, peer) in [(from, to), (to, from)] {
            if let Some(head) = head {
                at.db.delete(&key::Inbox {
                    user,
                    last: Newest(head.last),
                });
            }
            at.db.put(
                &key::Inbox {
                    user,
                    last: Newest(id),
                },
                &peer,
            );
        }
        at.db.put(
            &pair.message(number),
            &record::Message {
                id,
                from,
                text,
                created,
            },
        );
        let head = record::Conversation {
            messages: number,
            last: id,
            last_created: created,
        };
        at.db.put(&pair.head(), &head);
        at.emit(Event::MessagePosted {
            message: id,
            from,
            to,
        });
        Ok(Reply::Sent {
            message: id,
            created,
        })
    }
}
