//! What happened, for caches and live streams of every node, and for the leader's deeds outside.
use crate::id::{CommentId, MessageId, UserId, VideoId};

/// The log is the bus: every replica collects the same events in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    UserChanged {
        user: UserId,
    },
    VideoPublished {
        video: VideoId,
        author: UserId,
    },
    VideoChanged {
        video: VideoId,
    },
    CommentAdded {
        video: VideoId,
        comment: CommentId,
    },
    CommentDeleted {
        video: VideoId,
        comment: CommentId,
    },
    MessagePosted {
        message: MessageId,
        from: UserId,
        to: UserId,
    },
    BlobRetired {
        key: String,
    },
    NodeAdmitted,
    NodeRetired,
    SettingsChanged,
}
