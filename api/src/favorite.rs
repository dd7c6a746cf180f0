//! `/douyin/favorite/…`: who likes which video.
use model::command::Operation;
use model::error::Fault;
use model::favorite::{self, Like, Unlike};
use model::id::{UserId, VideoId};
use model::video::VideoItem;
use storage::state::SharedView;

use crate::call::Call;
use crate::error::{Answer, Code};
use crate::list::{self, Listing, Page};

/// `POST /douyin/favorite/action/`: 1 likes, 2 no longer; either may be repeated.
pub(crate) async fn action(call: Call) -> Answer {
    let caller = call.authenticate_writer().await?;
    let video = call.params.id("video_id", VideoId)?;
    let operation = if call.params.is_first_action()? {
        Operation::Like(Like { video })
    } else {
        Operation::Unlike(Unlike { video })
    };
    call.write_and_answer(caller, operation).await
}

/// `GET /douyin/favorite/list/`: what a user likes, most recently liked first.
pub(crate) async fn list(call: Call) -> Answer {
    let user = call.params.id("user_id", UserId)?;
    let reader = call.read().await?;
    let viewer = reader.viewer();
    list::answer(&call, reader.view, Liked { user, viewer }).await
}

struct Liked {
    user: UserId,
    viewer: Option<UserId>,
}

impl Listing for Liked {
    type Item = VideoItem;
    const NAME: &'static str = "video_list";
    const MISSING: Code = Code::UserNotFound;

    fn page(&self, view: &SharedView, page: Page) -> Result<Option<Vec<VideoItem>>, Fault> {
        let after = page.after.map(VideoId);
        favorite::liked_by(view, self.viewer, self.user, after, page.limit)
    }

    fn id(item: &VideoItem) -> u64 {
        item.id.0
    }
}
