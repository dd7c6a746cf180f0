//! One request as its handler sees it: what was sent, who asks, and the three things that can be
//! done about it: read, write, answer.
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::request;
use model::command::{Operation, Reply, RequestId};
use model::id::UserId;
use model::token::TokenHash;
use raft::position::Position;
use raft::replica::Error as ReplicaError;
use raft::replica::{Consistency, Proposal, Written};
use serde::Serialize;

use crate::address::Origin;
use crate::app::App;
use crate::base::Base;
use crate::error::{Answer, Code, Failure};
use crate::json::Json;
use crate::params::Params;
use crate::seam;
use crate::session::{self, Caller, Level, POSITION_HEADER, Reader, Token};
use crate::wire::{self, Looks, Shape, Urls};

/// One request.
pub(crate) struct Call {
    pub(crate) app: App,
    pub(crate) params: Params,
    pub(crate) origin: Origin,
    urls: Urls,
    bearer: Option<String>,
    level: Option<Level>,
    /// The position that the client sent.
    sent: Option<Position>,
    pub(crate) footprint: Footprint,
}

/// What a client says of who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Nobody,
    /// A token that can be nobody's.
    Nonsense,
    Token(Token),
}

impl Call {
    /// A request without its body.
    pub(crate) fn of_head(app: &App, head: &request::Parts) -> Result<Self, Failure> {
        let origin = Origin::of(&head.extensions, &head.headers, &app.understood.proxies);
        let own = Base::of_request(&head.uri, &head.headers, origin.is_proxied);
        let sent = match head.headers.get(POSITION_HEADER) {
            None => None,
            Some(value) => {
                let text = value
                    .to_str()
                    .map_err(|_| Failure::from(Code::PositionForged))?;
                Some(app.parts.replica.decode_position(text.trim())?)
            }
        };
        Ok(Self {
            params: Params::of_query(head.uri.query()),
            origin,
            urls: Urls(app.media_base(own)),
            bearer: Token::bearer(&head.headers).map(str::to_owned),
            level: Level::of(&head.headers)?,
            sent,
            footprint: head.extensions.get().cloned().unwrap_or_default(),
            app: app.clone(),
        })
    }

    pub(crate) fn claim(&self) -> Result<Claim, Failure> {
        let text = match self.params.text("token") {
            Ok(text) => text.or(self.bearer.as_deref()),
            Err(failure) if failure.code == Code::ParameterNotUtf8 => return Ok(Claim::Nonsense),
            Err(failure) => return Err(failure),
        };
        Ok(text.map_or(Claim::Nobody, |text| {
            Token::parse(text).map_or(Claim::Nonsense, Claim::Token)
        }))
    }

    /// A view as fresh as the client asks for; a token that is none makes an anonymous reader.
    pub(crate) async fn read(&self) -> Result<Reader, Failure> {
        match self.claim()? {
            Claim::Token(token) => self.read_with(token).await,
            Claim::Nobody | Claim::Nonsense => self.read_anonymously().await,
        }
    }

    /// As [`Call::read`], for callers only.
    pub(crate) async fn read_as_caller(&self) -> Result<(Reader, Caller), Failure> {
        let reader = self.read_with(self.token()?).await?;
        let caller = reader.caller.ok_or(Code::TokenInvalid)?;
        Ok((reader, caller))
    }

    /// Whose request it is, for a write: the command carries the token along and is checked again.
    pub(crate) async fn authenticate(&self) -> Result<Caller, Failure> {
        let token = self.token()?;
        let reader = self.reader(Consistency::Local).await?;
        let reader = self.recognise(reader, token).await?;
        reader.caller.ok_or_else(|| Code::TokenInvalid.into())
    }

    /// As [`Call::authenticate`], and counts against the limits of writes.
    pub(crate) async fn authenticate_writer(&self) -> Result<Caller, Failure> {
        self.app.limiter.write(self.origin.address)?;
        let caller = self.authenticate().await?;
        self.app.limiter.write_by(caller.user)?;
        Ok(caller)
    }

    /// What this node knows.
    pub(crate) async fn read_locally(&self) -> Result<Reader, Failure> {
        self.reader(Consistency::Local).await
    }

    /// A view with at least what was committed when this began.
    pub(crate) async fn read_behind_barrier(&self) -> Result<Reader, Failure> {
        self.reader(Consistency::Session(None)).await
    }

    /// A view that sees what this request wrote.
    pub(crate) async fn read_after(&self, written: &Written) -> Result<Reader, Failure> {
        self.reader(Consistency::Session(Some(written.position)))
            .await
    }

    /// Changes something. A rejection comes back as a failure.
    pub(crate) async fn write(
        &self,
        actor: Option<TokenHash>,
        operation: Operation,
    ) -> Result<Written, Failure> {
        let parts = &self.app.parts;
        let proposal = Proposal {
            request: RequestId(seam::id(&*parts.random)),
            issued: parts.clock.now(),
            actor,
            operation,
        };
        self.footprint.set_fate(Fate::Open);
        let result = parts
            .replica
            .write(proposal, self.app.options.write_timeout())
            .await;
        match result {
            Ok(written) => {
                self.footprint.saw(written.position);
                if let Reply::Rejected(rejection) = written.reply {
                    self.footprint.set_fate(Fate::NotApplied);
                    return Err(rejection.into());
                }
                self.footprint.set_fate(Fate::Applied);
                Ok(written)
            }
            Err(error) => {
                if matches!(error, ReplicaError::Unavailable { .. }) {
                    self.footprint.set_fate(Fate::NotApplied);
                    // The one cause that trying again here does not mend.
                    if parts.replica.status().is_disk_low {
                        return Err(Code::DiskLow.into());
                    }
                }
                Err(error.into())
            }
        }
    }

    /// What became of the write so far.
    pub(crate) fn fate(&self) -> Fate {
        self.footprint.steps().fate
    }

    /// As [`Call::write`] for a caller, answered with nothing but success.
    pub(crate) async fn write_and_answer(&self, caller: Caller, operation: Operation) -> Answer {
        self.write(Some(caller.token), operation).await?;
        self.answer(&Nothing {})
    }

    /// An answer that went well.
    pub(crate) fn answer(&self, fields: &impl Serialize) -> Answer {
        let body = wire::success(fields).map_err(|error| {
            tracing::error!(%error, "an answer could not be written");
            Failure::from(Code::Internal)
        })?;
        Ok(json(body))
    }

    /// As [`Call::answer`], with one field whose value `write` writes.
    pub(crate) fn answer_with(&self, name: &str, write: impl FnOnce(&Looks, &mut Json)) -> Answer {
        let mut text = Json::with_capacity(2 * wire::ITEM_BYTES);
        wire::start(name, &mut text);
        write(&self.looks(), &mut text);
        text.raw("}");
        Ok(json(text.into_bytes()))
    }

    /// As [`Call::answer`], with one list.
    pub(crate) fn answer_list(&self, name: &str, items: &[impl Shape]) -> Answer {
        let mut text = Json::with_capacity((items.len() + 1) * wire::ITEM_BYTES);
        wire::start(name, &mut text);
        text.raw("[");
        wire::write_all(items, &self.looks(), &mut text);
        text.raw(wire::LIST_END);
        Ok(json(text.into_bytes()))
    }

    /// What absolute URLs begin with for this client.
    pub(crate) fn base(&self) -> &Base {
        &self.urls.0
    }

    /// How this client is shown things.
    pub(crate) fn looks(&self) -> Looks {
        Looks {
            urls: self.urls.clone(),
            zone: self.app.understood.zone.clone(),
        }
    }

    /// A reply that does not fit its command: this node and the leader speak different versions.
    pub(crate) fn unexpected(&self, reply: &Reply) -> Failure {
        tracing::error!(?reply, "the log answered something else than was asked");
        Code::Internal.into()
    }

    async fn read_anonymously(&self) -> Result<Reader, Failure> {
        self.reader(session::consistency(self.level, self.sent, false))
            .await
    }

    async fn read_with(&self, token: Token) -> Result<Reader, Failure> {
        let wanted = session::consistency(self.level, self.sent, true);
        // A made-up token must not cost a barrier: where this node can tell, it tells.
        if wanted == Consistency::Session(None) && self.level.is_none() {
            let local = self.reader(Consistency::Local).await?;
            let user = model::token::user(&local.view, token.hash)?;
            if user.is_none() && token.birth <= local.position.index {
                return Ok(local);
            }
        }
        let reader = self.reader(wanted).await?;
        self.recognise(reader, token).await
    }

    fn token(&self) -> Result<Token, Failure> {
        match self.claim()? {
            Claim::Token(token) => Ok(token),
            Claim::Nonsense => Err(Code::TokenInvalid.into()),
            Claim::Nobody => Err(Code::TokenMissing.into()),
        }
    }

    /// Finds out whose token it is; a node that is older than the token catches up first.
    async fn recognise(&self, mut reader: Reader, token: Token) -> Result<Reader, Failure> {
        let mut user = model::token::user(&reader.view, token.hash)?;
        if user.is_none() && token.birth > reader.position.index {
            let birth = Position {
                index: token.birth,
                ..reader.position
            };
            match self.reader(Consistency::Session(Some(birth))).await {
                Ok(newer) => {
                    reader = newer;
                    user = model::token::user(&reader.view, token.hash)?;
                }
                // Born beyond the end of the log: the client made it up.
                Err(failure) if failure.code == Code::PositionFuture => {}
                Err(failure) => return Err(failure),
            }
        }
        reader.caller = user.map(|user| Caller {
            user,
            token: token.hash,
        });
        self.footprint.set_user(user);
        Ok(reader)
    }

    async fn reader(&self, consistency: Consistency) -> Result<Reader, Failure> {
        let within = self.app.options.read_timeout();
        let reading = self.app.parts.replica.read(consistency, within).await?;
        // The client's own position stays the least that it is told: a `local` read may be behind.
        let sent = self
            .sent
            .filter(|sent| sent.epoch == reading.position.epoch);
        self.footprint
            .saw(sent.map_or(reading.position, |sent| sent.max(reading.position)));
        Ok(Reader {
            view: reading.view,
            position: reading.position,
            is_behind_barrier: matches!(
                consistency,
                Consistency::Session(None) | Consistency::Linearizable
            ),
            caller: None,
        })
    }
}

impl FromRequest<App> for Call {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let (head, body) = request.into_parts();
        let mut call = match Self::of_head(app, &head) {
            Ok(call) => call,
            Err(failure) => {
                app.drain.leave(&head.headers, body);
                return Err(failure);
            }
        };
        let bytes_max = app.options.body_bytes_max;
        call.params
            .read_body(&head.headers, body, &app.drain, bytes_max)
            .await?;
        Ok(call)
    }
}

/// How many headers an answer has in the end, about.
const HEADERS: usize = 12;

/// A JSON answer. Nobody on the way may keep it.
pub(crate) fn json(body: impl Into<axum::body::Body>) -> Response {
    let mut response = body.into().into_response();
    // Once for all that the layers around add, instead of growing under them.
    response.headers_mut().reserve(HEADERS);
    response.headers_mut().insert(CONTENT_TYPE, wire::JSON);
    response
}

#[derive(Serialize)]
pub(crate) struct Nothing {}

/// What became of this request's write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    /// None was begun.
    #[default]
    None,
    /// Begun, and no answer yet, or an answer that does not tell.
    Open,
    NotApplied,
    Applied,
}

/// What a request did so far, for the frame around its handler: it outlives a handler that was
/// dropped or panicked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Footprint(Arc<Mutex<Steps>>);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steps {
    pub(crate) position: Option<Position>,
    pub(crate) fate: Fate,
    pub(crate) user: Option<UserId>,
    /// As the client asked for: no slowness of this node.
    pub(crate) waited: Duration,
}

impl Footprint {
    pub(crate) fn steps(&self) -> Steps {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Steps)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn saw(&self, position: Position) {
        self.change(|steps| steps.position = steps.position.max(Some(position)));
    }

    /// So much of the request's time went by in waiting for something to happen.
    pub(crate) fn waited(&self, time: Duration) {
        self.change(|steps| steps.waited += time);
    }

    fn set_fate(&self, fate: Fate) {
        self.change(|steps| steps.fate = fate);
    }

    fn set_user(&self, user: Option<UserId>) {
        self.change(|steps| steps.user = user);
    }
}
