//! `/douyin/message/…`: chat between two users.
use std::time::Duration;

use model::command::Operation;
use model::id::UserId;
use model::message::{self, Message, Part, SendMessage};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::arrivals::Way;
use crate::call::Call;
use crate::error::{Answer, Code, Failure};
use crate::list;
use crate::params::check_text;
use crate::seam;
use crate::session::Reader;

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

/// `GET /douyin/message/chat/`: ascending; with `pre_msg_time` only what came in after it. With
/// `wait_ms` an answer without messages waits so long for one.
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
    let wait = call.params.number("wait_ms")?.map(Duration::from_millis);
    let (reader, caller) = call.read_as_caller().await?;
    let wanted = Wanted {
        user: caller.user,
        peer,
        part,
        limit,
    };
    let mut messages = wanted.find(&call, reader).await?;
    if let Some(wait) = wait
        && messages.is_empty()
    {
        messages = wanted.wait(&call, wait).await?;
    }
    call.answer_list("message_list", &messages)
}

/// Which messages somebody asks for.
#[derive(Clone, Copy)]
struct Wanted {
    user: UserId,
    peer: UserId,
    part: Part,
    limit: usize,
}

impl Wanted {
    async fn find(self, call: &Call, reader: Reader) -> Result<Vec<Message>, Failure> {
        let Self {
            user,
            peer,
            part,
            limit,
        } = self;
        let few = limit.min(INLINE_MAX);
        let mut found = message::between(&reader.view, user, peer, part, few)?;
        if limit > few && found.as_ref().is_some_and(|messages| messages.len() == few) {
            found = seam::run(&call.app.parts.blocking, move || {
                message::between(&reader.view, user, peer, part, limit)
            })
            .await??;
        }
        Ok(found.ok_or(Code::UserNotFound)?)
    }

    /// Looks whenever something arrived, until there is something to tell, the time is up, or this
    /// node goes away. No view is held meanwhile.
    async fn wait(self, call: &Call, wait: Duration) -> Result<Vec<Message>, Failure> {
        let app = &call.app;
        let way = Way {
            from: self.peer,
            to: self.user,
        };
        let most = app.options.chat_waiting_max;
        let Some(mut waiter) = app.arrivals.wait(&app.parts.replica, way, most) else {
            return Ok(Vec::new());
        };
        let began = Instant::now();
        let end = began + wait.min(app.options.chat_wait());
        let mut draining = app.parts.draining.clone();
        loop {
            let messages = self.find(call, call.read_locally().await?).await?;
            let looking = Instant::now();
            let is_over = !messages.is_empty()
                || tokio::select! {
                    () = waiter.woken() => false,
                    () = tokio::time::sleep_until(end) => true,
                    () = told(&mut draining) => true,
                };
            call.footprint.waited(looking.elapsed());
            if is_over {
                return Ok(messages);
            }
        }
    }
}

/// Until this node is going away.
async fn told(draining: &mut watch::Receiver<bool>) {
    if draining.wait_for(|is_draining| *is_draining).await.is_err() {
        // Nobody is left to tell it.
        std::future::pending::<()>().await;
    }
}
