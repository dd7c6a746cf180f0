//! What stands under the keys: one version byte, then postcard.
//!
//! A record that changes its shape gets the next version and a [`Record::migrate`] that still reads
//! the older ones, so that no upgrade rewrites the store. `tests/formats.rs` freezes the bytes.
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cluster::{Identity, Node};
use crate::command::Reply;
use crate::error::Fault;
use crate::id::{MessageId, UserId, VideoId};
use crate::time::Timestamp;
use crate::video::BlobRef;

/// A value as it is stored.
pub trait Record: Serialize + DeserializeOwned {
    /// What is written today.
    const VERSION: u8 = 1;

    /// Reads a record of an older version; there is none yet by default.
    ///
    /// # Errors
    /// [`Fault`] when the version is not known here, as after a downgrade.
    fn migrate(version: u8, _body: &[u8]) -> Result<Self, Fault> {
        Err(Fault(format!(
            "a record has version {version}, but this program knows {} at most: was it downgraded?",
            Self::VERSION
        )))
    }

    /// The stored form.
    fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![Self::VERSION])
            .expect("our records are plain data, which postcard always encodes")
    }

    /// Reads the stored form, of whatever version.
    ///
    /// # Errors
    /// [`Fault`] when the bytes are not such a record.
    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let (version, body) = bytes
            .split_first()
            .ok_or_else(|| Fault("a record is empty, without even its version".to_owned()))?;
        if *version != Self::VERSION {
            return Self::migrate(*version, body);
        }
        read_body(body)
    }
}

/// Reads a postcard body to its last byte.
///
/// # Errors
/// [`Fault`] when it is cut off, too long or not of this shape.
pub fn read_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Fault(format!("a record has {} bytes too many", rest.len()))),
        Err(error) => Err(Fault(format!("a record is damaged: {error}"))),
    }
}

/// Declares which types are records.
macro_rules! records {
    ($($type:ty),* $(,)?) => { $( impl Record for $type {} )* };
}

records! {
    (), u64, UserId, VideoId, Timestamp, Reply, Identity, Node,
    Account, Comment, Conversation, Expiring, JoinToken, Message, Setting, SettingChange,
    Token, Totals, User, UserCounts, Video, VideoCounts,
}

/// What nearly every command moves; one record, so that it costs one put.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// The log's clock: the latest stamp of a command that was not rejected.
    pub clock: Timestamp,
    /// How many ids of each noun were given out.
    pub users: u64,
    pub videos: u64,
    pub comments: u64,
    pub messages: u64,
    pub nodes: u64,
    /// Orders the edges of all lists: follows and likes.
    pub sequence: u64,
    /// Counts changes of settings.
    pub revision: u64,
    /// Publish time of the newest video.
    pub newest: Timestamp,
    /// All remembered requests that were issued before this are swept.
    pub requests_swept: Timestamp,
    /// All that expired before this is swept.
    pub expiries_swept: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    pub registered: Timestamp,
}

/// Each is the size of a set that is stored too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserCounts {
    pub follow_count: u64,
    pub follower_count: u64,
    /// Likes received on own videos.
    pub total_favorited: u64,
    pub work_count: u64,
    /// Videos that this user likes.
    pub favorite_count: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// PHC string.
    pub password_hash: String,
    /// How many session tokens there are.
    pub tokens: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub user: UserId,
    pub expires: Timestamp,
}

/// Which kind of token expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiring {
    Session,
    Joining,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Video {
    pub author: UserId,
    pub title: String,
    pub video: BlobRef,
    pub cover: BlobRef,
    pub published: Timestamp,
}

/// Each is the size of a set that is stored too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoCounts {
    pub favorite_count: u64,
    pub comment_count: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    pub author: UserId,
    pub text: String,
    pub created: Timestamp,
}

/// The head of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Number of the last message, and so how many there are.
    pub messages: u64,
    pub last: MessageId,
    pub last_created: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub id: MessageId,
    pub from: UserId,
    pub text: String,
    pub created: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    pub expires: Timestamp,
    /// How many more nodes may join.
    pub uses: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub value: String,
    pub revision: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChange {
    pub name: String,
    /// `None`: the default.
    pub old: Option<String>,
    pub new: String,
    pub changed: Timestamp,
}
