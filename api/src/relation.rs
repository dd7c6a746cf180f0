//! `/douyin/relation/…`: who follows whom, and friends.
use model::command::Operation;
use model::error::Fault;
use model::id::UserId;
use model::relation::{self, Follow, Unfollow};
use model::user::Profile;
use storage::state::SharedView;

use crate::call::Call;
use crate::error::{Answer, Code};
use crate::list::{self, Listing, Page};
use crate::seam;

/// `POST /douyin/relation/action/`: 1 follows, 2 no longer; either may be repeated.
pub(crate) async fn action(call: Call) -> Answer {
    let caller = call.authenticate_writer().await?;
    let user = call.params.id("to_user_id", UserId)?;
    let operation = if call.params.is_first_action()? {
        Operation::Follow(Follow { user })
    } else {
        Operation::Unfollow(Unfollow { user })
    };
    if plants::is(plants::FOLLOW_IN_TWO) && matches!(operation, Operation::Follow(_)) {
        call.write(Some(caller.token), operation.clone()).await?;
    }
    call.write_and_answer(caller, operation).await
}

/// `GET /douyin/relation/follow/list/`: whom a user follows, latest first.
pub(crate) async fn following(call: Call) -> Answer {
    related(call, Side::Following).await
}

/// `GET /douyin/relation/follower/list/`: who follows a user, latest first.
pub(crate) async fn followers(call: Call) -> Answer {
    related(call, Side::Followers).await
}

async fn related(call: Call, side: Side) -> Answer {
    let user = call.params.id("user_id", UserId)?;
    let reader = call.read().await?;
    let viewer = reader.viewer();
    list::answer(&call, reader.view, Related { side, user, viewer }).await
}

/// `GET /douyin/relation/friend/list/`: mutual follows; one's own with the latest messages.
pub(crate) async fn friends(call: Call) -> Answer {
    let user = call.params.id("user_id", UserId)?;
    let (reader, caller) = call.read_as_caller().await?;
    let limit = list::limit(&call, call.app.options.friends_max)?;
    // All of them are looked at to sort them, however few are asked for.
    let found = seam::run(&call.app.parts.blocking, move || {
        relation::friends(&reader.view, caller.user, user, limit)
    })
    .await??;
    let items = found.ok_or(Code::UserNotFound)?;
    call.answer_list("user_list", &items)
}

#[derive(Clone, Copy)]
enum Side {
    Following,
    Followers,
}

struct Related {
    side: Side,
    user: UserId,
    viewer: Option<UserId>,
}

impl Listing for Related {
    type Item = Profile;
    const NAME: &'static str = "user_list";
    const MISSING: Code = Code::UserNotFound;

    fn page(&self, view: &SharedView, page: Page) -> Result<Option<Vec<Profile>>, Fault> {
        let after = page.after.map(UserId);
        match self.side {
            Side::Following => relation::following(view, self.viewer, self.user, after, page.limit),
            Side::Followers => relation::followers(view, self.viewer, self.user, after, page.limit),
        }
    }

    fn id(item: &Profile) -> u64 {
        item.id.0
    }
}
