//! Conversations: messages without gaps, in time; heads and inboxes that agree with them.
use super::Audit;
use super::cursor::Cursor;
use crate::error::Fault;
use crate::id::UserId;
use crate::key::{self, Newest};
use crate::read::Read;
use crate::record::{Conversation, Message};
use crate::slot;
use crate::view::View;

pub(super) fn recount<'v, V: View>(audit: &mut Audit<'v, V>) -> Result<(), Fault> {
    let view = audit.view;
    let mut messages = Cursor::new(view, |key: &key::MessageIn| (key.low, key.high));
    for entry in view.list((), None) {
        let (key, head): (key::ConversationOf, Conversation) = entry?;
        let key::ConversationOf { low, high } = key;
        for (user, peer) in [(low, high), (high, low)] {
            audit.expect(
                &key,
                &key::Inbox {
                    user,
                    last: Newest(head.last),
                },
                peer,
            )?;
        }
        let mut last: Option<(u64, Message)> = None;
        messages.of(&(low, high), audit, |audit, key, message| {
            audit.report.messages += 1;
            audit.seen.messages += 1;
            check_order(audit, &key, last.as_ref(), &message);
            last = Some((key.number, message));
            Ok(())
        })?;
        let recounted = last.map(|(number, message)| Conversation {
            messages: number,
            last: message.id,
            last_created: message.created,
        });
        audit.compare(
            || key::describe(&key::Key::encode(&key)),
            &Some(head),
            &recounted,
        );
    }
    messages.finish(audit)
}

fn check_order<V: View>(
    audit: &mut Audit<'_, V>,
    key: &key::MessageIn,
    before: Option<&(u64, Message)>,
    message: &Message,
) {
    let what = |name: &'static str| {
        let key::MessageIn { low, high, number } = *key;
        move || format!("message {number} of {low} and {high} {name}")
    };
    let expected = before.map_or(0, |(number, _)| *number) + 1;
    audit.compare(what("number"), &key.number, &expected);
    let is_between: fn(&key::MessageIn, UserId) -> bool =
        |key, user| user == key.low || user == key.high;
    audit.compare(
        what("is from one of both"),
        &is_between(key, message.from),
        &true,
    );
    // An id has no index; its slot at least is that of the pair.
    let slot = slot::of_pair(key.low, key.high);
    audit.compare(what("slot of its id"), &slot::of_id(message.id.0), &slot);
    let is_later =
        before.is_none_or(|(_, before)| before.created < message.created && before.id < message.id);
    audit.compare(what("is later than the one before"), &is_later, &true);
}
