//! `/douyin/publish/…`: videos by their authors.
use std::time::Duration;

use axum::extract::{Request, State};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use model::command::Operation;
use model::error::Fault;
use model::id::{UserId, VideoId};
use model::video::{self, Publish, VideoItem};
use storage::state::SharedView;
use tokio::time;

use crate::app::App;
use crate::body::{declared, too_large};
use crate::call::{Call, Claim, Fate, Nothing};
use crate::error::{Answer, Code, Failure};
use crate::incoming::{Broke, Incoming};
use crate::list::{self, Listing, Page};
use crate::multipart::{self, Multipart};
use crate::params::check_text;
use crate::session::Caller;
use crate::upload::{Spooled, Tee};

const TITLE_CHARACTERS_MAX: usize = 100;
/// Of a field that is a text.
const FIELD_BYTES_MAX: usize = 4 << 10;
/// What a form may add to the bytes of its video.
const FORM_BYTES_MAX: u64 = 1 << 20;

/// `POST /douyin/publish/action/`: a form with `data`, `token` and `title` in any order.
pub(crate) async fn action(State(app): State<App>, request: Request) -> Answer {
    let (head, body) = request.into_parts();
    let options = &app.options.upload;
    let bytes_max = options.bytes_max.saturating_add(FORM_BYTES_MAX);
    let stall = Duration::from_millis(options.stall_ms);
    let body = Incoming::new(&head.headers, body, bytes_max, stall, app.drain.clone());
    let call = Call::of_head(&app, &head)?;
    app.limiter.upload(call.origin.address)?;
    if declared(&head.headers).is_some_and(|size| size > bytes_max) {
        return Err(too_large(options.bytes_max));
    }
    if !(app.parts.room)() {
        return Err(Code::DiskLow.into());
    }
    let boundary = multipart::boundary(&head.headers)
        .map_err(|why| Failure::new(Code::BodyMalformed, why))?
        .ok_or_else(|| Failure::missing("data"))?;
    let mut form = Form {
        call,
        caller: None,
        video: None,
    };
    form.authenticate().await?;
    let turn = app.intake.enter().await?;
    let patience = Duration::from_millis(options.timeout_ms);
    let received = form.receive(Multipart::new(body, &boundary));
    let received = time::timeout(patience, received)
        .await
        .unwrap_or_else(|_| Err(Code::TooSlow.into()));
    if let Err(failure) = received {
        form.abort().await;
        return Err(failure);
    }
    // A client that goes away now does not leave a half published video behind.
    let finished = tokio::spawn(async move {
        let answer = form.publish().await;
        drop(turn);
        answer
    });
    finished.await.unwrap_or_else(|error| {
        tracing::error!(%error, "an upload was given up");
        Err(Code::Internal.into())
    })
}

/// What has come of the form.
struct Form {
    call: Call,
    caller: Option<Caller>,
    video: Option<Spooled>,
}

impl Form {
    async fn receive<S>(&mut self, mut multipart: Multipart<S>) -> Result<(), Failure>
    where
        S: Stream<Item = Result<Bytes, Broke>> + Unpin,
    {
        let bytes_max = self.call.app.options.upload.bytes_max;
        let broke = |error| broke(error, bytes_max);
        while let Some(name) = multipart.next_field().await.map_err(broke)? {
            match name.as_str() {
                "data" if self.video.is_none() => {
                    self.video = Some(self.take_video(&mut multipart).await?);
                }
                "token" | "title" => {
                    let mut value = BytesMut::new();
                    while let Some(chunk) = multipart.chunk().await.map_err(broke)? {
                        if value.len() + chunk.len() > FIELD_BYTES_MAX {
                            let why = format!("{name} is far too long");
                            return Err(Failure::new(Code::TextInvalid, why));
                        }
                        value.extend_from_slice(&chunk);
                    }
                    self.call.params.push(&name, value.freeze());
                    self.authenticate().await?;
                }
                // Unknown fields are ignored.
                _ => {}
            }
        }
        Ok(())
    }

    async fn take_video<S>(&mut self, multipart: &mut Multipart<S>) -> Result<Spooled, Failure>
    where
        S: Stream<Item = Result<Bytes, Broke>> + Unpin,
    {
        let app = &self.call.app;
        let mut tee = Tee::new(app, self.caller.is_some())?;
        let taken = async {
            let broke = |error| broke(error, app.options.upload.bytes_max);
            while let Some(chunk) = multipart.chunk().await.map_err(broke)? {
                tee.write(chunk).await?;
            }
            Ok(())
        };
        match taken.await {
            Ok(()) => tee.end().await,
            Err(failure) => {
                tee.abort().await;
                Err(failure)
            }
        }
    }

    /// As soon as there is a token to look at; wrong ones end it before the video has come.
    async fn authenticate(&mut self) -> Result<(), Failure> {
        if self.caller.is_none() && self.call.claim()? != Claim::Nobody {
            let caller = self.call.authenticate().await?;
            self.call.app.limiter.upload_by(caller.user)?;
            self.caller = Some(caller);
        }
        Ok(())
    }

    async fn abort(self) {
        if let Some(video) = self.video {
            video.abort().await;
        }
    }

    async fn publish(mut self) -> Answer {
        let (caller, title) = match self.check() {
            Ok(checked) => checked,
            Err(failure) => {
                self.abort().await;
                return Err(failure);
            }
        };
        let video = self.video.take().ok_or_else(|| Failure::missing("data"))?;
        let app = self.call.app.clone();
        let stored = video.store(&app).await?;
        let operation = Operation::Publish(Publish {
            title,
            video: stored.video.clone(),
            cover: stored.cover.clone(),
        });
        match self.call.write(Some(caller.token), operation).await {
            Ok(_) => self.call.answer(&Nothing {}),
            Err(failure) => {
                // With an unknown fate, a video may name them already.
                if self.call.fate() == Fate::NotApplied {
                    stored.remove(&app).await;
                }
                Err(failure)
            }
        }
    }

    fn check(&self) -> Result<(Caller, String), Failure> {
        let caller = self.caller.ok_or(Code::TokenMissing)?;
        let title = self.call.params.required("title")?.trim();
        check_text("title", title, TITLE_CHARACTERS_MAX)?;
        Ok((caller, title.to_owned()))
    }
}

fn broke(error: multipart::Error<Broke>, bytes_max: u64) -> Failure {
    match error {
        multipart::Error::Broken(why) => Failure::new(Code::BodyMalformed, why),
        multipart::Error::Stream(Broke::TooLarge) => too_large(bytes_max),
        multipart::Error::Stream(Broke::Stalled) => Code::TooSlow.into(),
        multipart::Error::Stream(Broke::Cut) => Failure::new(
            Code::BodyMalformed,
            "the upload broke off before its end: send it again",
        ),
    }
}

/// `GET /douyin/publish/list/`: what a user published, newest first.
pub(crate) async fn list(call: Call) -> Answer {
    let author = call.params.id("user_id", UserId)?;
    let reader = call.read().await?;
    let viewer = reader.viewer();
    list::answer(&call, reader.view, Published { author, viewer }).await
}

struct Published {
    author: UserId,
    viewer: Option<UserId>,
}

impl Listing for Published {
    type Item = VideoItem;
    const NAME: &'static str = "video_list";
    const MISSING: Code = Code::UserNotFound;

    fn page(&self, view: &SharedView, page: Page) -> Result<Option<Vec<VideoItem>>, Fault> {
        let after = page.after.map(VideoId);
        video::published_by(view, self.viewer, self.author, after, page.limit)
    }

    fn id(item: &VideoItem) -> u64 {
        item.id.0
    }
}
