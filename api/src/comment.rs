//! `/douyin/comment/…`: comments under videos.
use model::command::{Operation, Reply};
use model::comment::{self, AddComment, CommentItem, DeleteComment};
use model::error::Fault;
use model::id::{CommentId, UserId, VideoId};
use storage::state::SharedView;

use crate::call::Call;
use crate::error::{Answer, Code};
use crate::list::{self, Listing, Page};
use crate::params::check_text;
use crate::session::Caller;
use crate::wire::Shape;

const TEXT_CHARACTERS_MAX: usize = 500;

/// The field of both answers; null after a deletion.
const COMMENT: &str = "comment";

/// `POST /douyin/comment/action/`: 1 adds, 2 deletes.
pub(crate) async fn action(call: Call) -> Answer {
    let caller = call.authenticate_writer().await?;
    let video = call.params.id("video_id", VideoId)?;
    if call.params.is_first_action()? {
        add(&call, caller, video).await
    } else {
        delete(&call, caller, video).await
    }
}

async fn add(call: &Call, caller: Caller, video: VideoId) -> Answer {
    let text = call.params.required("comment_text")?.trim();
    check_text("comment_text", text, TEXT_CHARACTERS_MAX)?;
    let operation = Operation::AddComment(AddComment {
        video,
        text: text.to_owned(),
    });
    let written = call.write(Some(caller.token), operation).await?;
    let Reply::Commented { comment } = &written.reply else {
        return Err(call.unexpected(&written.reply));
    };
    let reader = call.read_after(&written).await?;
    let author = model::user::profile(&reader.view, Some(caller.user), comment.author)?
        .ok_or(Code::UserNotFound)?;
    let item = CommentItem {
        id: comment.id,
        author,
        text: comment.text.clone(),
        created: comment.created,
    };
    call.answer_with(COMMENT, |looks, json| item.write(looks, json))
}

async fn delete(call: &Call, caller: Caller, video: VideoId) -> Answer {
    let comment = call.params.id("comment_id", CommentId)?;
    let operation = Operation::DeleteComment(DeleteComment { video, comment });
    call.write(Some(caller.token), operation).await?;
    call.answer_with(COMMENT, |_, json| json.raw("null"))
}

/// `GET /douyin/comment/list/`: newest first.
pub(crate) async fn list(call: Call) -> Answer {
    let video = call.params.id("video_id", VideoId)?;
    let reader = call.read().await?;
    let viewer = reader.viewer();
    list::answer(&call, reader.view, UnderVideo { video, viewer }).await
}

struct UnderVideo {
    video: VideoId,
    viewer: Option<UserId>,
}

impl Listing for UnderVideo {
    type Item = CommentItem;
    const NAME: &'static str = "comment_list";
    const MISSING: Code = Code::VideoNotFound;

    fn page(&self, view: &SharedView, page: Page) -> Result<Option<Vec<CommentItem>>, Fault> {
        let after = page.after.map(CommentId);
        comment::of_video(view, self.viewer, self.video, after, page.limit)
    }

    fn id(item: &CommentItem) -> u64 {
        item.id.0
    }
}
