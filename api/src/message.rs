//! `/douyin/message/…`: chat between two users.
use model::command::Operation;
use model::id::UserId;
use model::message::{self, Part, SendMessage};

use crate::call::Call;
use crate::error::{Answer, Code, Failure};
use crate::list;
use crate::params::check_text;
use crate::seam;

const TEXT_CHARACTERS_MAX: usize = 500;

/// Polls usually find nothing new: so many are read without leaving the async thread.
const INLINE_MAX: usize = 50;

/// `POST /douyin/message/action/`: 1 sends.
pub(crate) async fn action(call: Call) -> Answer {
    let caller = call.authenticate_writer().await?;
    let to = call.params.id("to_user_id", UserId)?;
    if !call.params.is_first_action()? {
        return Err(Failure::new(Code::ActionUnknown, "action_type must be 1"));
    }
    let text = call.params.required("content")?;
    check_text("content", text, TEXT_CHARACTERS_MAX)?;
    let operation = Operation::SendMessage(SendMessage {
        to,
        text: text.to_owned(),
    });
    call.write_and_answer(caller, operation).await
}

/// `GET /douyin/message/chat/`: ascending; with `pre_msg_time` only what came in after it.
pub(crate) async fn chat(call: Call) -> Answer {
    let peer = call.params.id("to_user_id", UserId)?;
    let part = match call.params.moment("pre_msg_time") {
        None => Part::Latest,
        Some(moment) => Part::After {
            time: moment.last,
            includes_own: call.app.options.chat_poll_includes_own,
        },
    };
    let limit = list::limit(&call, call.app.options.chat_messages_max)?;
    let (reader, caller) = call.read_as_caller().await?;
    let few = limit.min(INLINE_MAX);
    let mut found = message::between(&reader.view, caller.user, peer, part, few)?;
    if limit > few && found.as_ref().is_some_and(|messages| messages.len() == few) {
        found = seam::run(&call.app.parts.blocking, move || {
            message::between(&reader.view, caller.user, peer, part, limit)
        })
        .await??;
    }
    let messages = found.ok_or(Code::UserNotFound)?;
    call.answer_list("message_list", &messages)
}
