//! One command of each operation, and one reply of each kind, for the tests of formats.
use model::cluster::{
    AdmitNode, Configure, CreateJoinToken, Found, Identity, NodeInfo, RetireNode,
};
use model::command::{Command, Operation, Reply, RequestId};
use model::comment::{AddComment, Comment, DeleteComment};
use model::error::Rejection;
use model::favorite::{Like, Unlike};
use model::id::{CommentId, MessageId, NodeId, UserId, VideoId};
use model::message::SendMessage;
use model::relation::{Follow, Unfollow};
use model::sweep::{RetireBlob, Sweep};
use model::time::Timestamp;
use model::token::TokenHash;
use model::user::{Login, Logout, Register};
use model::video::{BlobRef, Publish};

/// The word of an operation in scripts. Exhaustive: a new operation does not compile without one.
pub(crate) fn word(operation: &Operation) -> &'static str {
    match operation {
        Operation::Register(_) => "register",
        Operation::Login(_) => "login",
        Operation::Logout(_) => "logout",
        Operation::Publish(_) => "publish",
        Operation::Like(_) => "like",
        Operation::Unlike(_) => "unlike",
        Operation::AddComment(_) => "add_comment",
        Operation::DeleteComment(_) => "delete_comment",
        Operation::Follow(_) => "follow",
        Operation::Unfollow(_) => "unfollow",
        Operation::SendMessage(_) => "send_message",
        Operation::RetireBlob(_) => "retire_blob",
        Operation::Sweep(_) => "sweep",
        Operation::Found(_) => "found",
        Operation::CreateJoinToken(_) => "create_join_token",
        Operation::AdmitNode(_) => "admit_node",
        Operation::RetireNode(_) => "retire_node",
        Operation::Configure(_) => "configure",
    }
}

pub(crate) fn blob(key: &str, content_type: &str) -> BlobRef {
    BlobRef {
        key: key.to_owned(),
        bytes: 300,
        sha256: [7; 32],
        content_type: content_type.to_owned(),
    }
}

pub(crate) fn node(number: u8) -> NodeInfo {
    NodeInfo {
        incarnation: [number; 16],
        zone: "z".to_owned(),
    }
}

pub(crate) fn identity() -> Identity {
    Identity {
        cluster_id: "0123456789abcdef0123456789abcdef".to_owned(),
        epoch: 1,
        position_key: [2; 32],
        ca_certificate: vec![3, 3],
        sealed_ca_key: vec![4],
    }
}

/// One of each, in the order of variants.
pub(crate) fn operations() -> Vec<Operation> {
    let token = TokenHash([5; 32]);
    let (user, video, comment) = (UserId(1025), VideoId(2049), CommentId(3073));
    vec![
        Operation::Register(Register {
            name: "Al".to_owned(),
            password_hash: "$h".to_owned(),
            token,
        }),
        Operation::Login(Login {
            user,
            verified_hash: "$h".to_owned(),
            rehashed: Some("$i".to_owned()),
            token,
        }),
        Operation::Logout(Logout { everywhere: true }),
        Operation::Publish(Publish {
            title: "t".to_owned(),
            video: blob("v", "video/mp4"),
            cover: blob("c", "image/jpeg"),
        }),
        Operation::Like(Like { video }),
        Operation::Unlike(Unlike { video }),
        Operation::AddComment(AddComment {
            video,
            text: "hé".to_owned(),
        }),
        Operation::DeleteComment(DeleteComment { video, comment }),
        Operation::Follow(Follow { user }),
        Operation::Unfollow(Unfollow { user }),
        Operation::SendMessage(SendMessage {
            to: user,
            text: "m".to_owned(),
        }),
        Operation::RetireBlob(RetireBlob {
            key: "v".to_owned(),
        }),
        Operation::Sweep(Sweep { limit: 300 }),
        Operation::Found(Found {
            identity: identity(),
            node: node(1),
        }),
        Operation::CreateJoinToken(CreateJoinToken {
            token,
            expires: Timestamp(9),
            uses: 2,
        }),
        Operation::AdmitNode(AdmitNode {
            token: None,
            replaces: Some(NodeId(3)),
            node: node(6),
        }),
        Operation::RetireNode(RetireNode { node: NodeId(3) }),
        Operation::Configure(Configure {
            name: "n".to_owned(),
            value: "v".to_owned(),
        }),
    ]
}

/// One of each, in the order of variants.
pub(crate) fn replies() -> Vec<Reply> {
    let comment = Comment {
        id: CommentId(3073),
        video: VideoId(2049),
        author: UserId(1025),
        text: "hé".to_owned(),
        created: Timestamp(9),
    };
    vec![
        Reply::Done,
        Reply::Rejected(Rejection::NameTaken),
        Reply::Registered { user: UserId(1025) },
        Reply::LoggedIn { user: UserId(1025) },
        Reply::Published {
            video: VideoId(2049),
            published: Timestamp(9),
        },
        Reply::Commented { comment },
        Reply::Sent {
            message: MessageId(4097),
            created: Timestamp(9),
        },
        Reply::Admitted { node: NodeId(3) },
        Reply::Swept { removed: 300 },
    ]
}

/// One of each, in the order of variants.
pub(crate) fn rejections() -> Vec<Rejection> {
    vec![
        Rejection::InvalidToken,
        Rejection::NameTaken,
        Rejection::UserNotFound,
        Rejection::VideoNotFound,
        Rejection::CommentNotFound,
        Rejection::NotTheAuthor,
        Rejection::CannotFollowSelf,
        Rejection::CannotMessageSelf,
        Rejection::FriendsOnly,
        Rejection::PasswordChanged,
        Rejection::BlobRetired,
        Rejection::RequestExpired,
        Rejection::InvalidJoinToken,
        Rejection::NodeNotFound,
        Rejection::AlreadyFounded,
        Rejection::InvalidSetting("x".to_owned()),
    ]
}

pub(crate) fn command(operation: Operation) -> Command {
    Command {
        request: RequestId([1; 16]),
        issued: Timestamp(1_000),
        stamp: Timestamp(1_001),
        actor: Some(TokenHash([5; 32])),
        operation,
    }
}
