//! The table of all keys: what is stored, under which bytes, in which order.
//!
//! A key is its tag and its parts, big-endian, so that bytes sort as the parts do. [`Newest`]
//! inverts a part, so that a forward scan meets the newest first. Where keys belong to an object
//! they begin with its 8-byte id: a 9-byte prefix filter therefore serves nearly every scan.
//!
//! Tags are for ever: never renumber one, never reuse one, never change the parts behind one.
use crate::cluster::{Identity, Node};
use crate::command::{Reply, RequestId};
use crate::error::Fault;
use crate::id::{CommentId, MessageId, NodeId, UserId, VideoId};
use crate::record::{
    Account, Comment, Conversation, Expiring, JoinToken, Message, Record, Setting, SettingChange,
    Token, Totals, User, UserCounts, Video, VideoCounts,
};
use crate::time::Timestamp;
use crate::token::TokenHash;

/// A typed key: its bytes sort as its parts do, and it names the type of its value.
pub trait Key: Sized {
    /// First byte of every such key.
    const TAG: u8;
    /// For people: faults and transcripts name keys by it.
    const NAME: &'static str;
    type Value: Record;

    /// Appends the parts, without the tag.
    fn write_parts(&self, out: &mut Vec<u8>);
    /// Takes the parts from the front of `rest`.
    fn read_parts(rest: &mut &[u8]) -> Option<Self>;

    /// The stored form.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.push(Self::TAG);
        self.write_parts(&mut out);
        out
    }

    /// Reads what [`Key::encode`] wrote.
    ///
    /// # Errors
    /// [`Fault`] when the bytes are not such a key.
    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let parsed = match bytes.split_first() {
            Some((tag, mut rest)) if *tag == Self::TAG => {
                Self::read_parts(&mut rest).filter(|_| rest.is_empty())
            }
            _ => None,
        };
        parsed.ok_or_else(|| {
            Fault(format!(
                "these bytes are no {} key: {bytes:02x?}",
                Self::NAME
            ))
        })
    }

    /// The bytes that all keys of this kind with these first parts begin with; `()` for all keys
    /// of the kind, a tuple for several parts.
    fn prefix(parts: impl Part) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.push(Self::TAG);
        parts.write(&mut out);
        out
    }
}

/// A part of a key, with a fixed width (but for text, which must be the last part).
pub trait Part: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(rest: &mut &[u8]) -> Option<Self>;
}

/// Inverts the order of a part, so that the newest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest<T>(pub T);

/// One line of the key table, for people.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub tag: u8,
    pub name: &'static str,
    /// Name and type of each part.
    pub parts: &'static [(&'static str, &'static str)],
    pub value: &'static str,
    pub purpose: &'static str,
    /// The key in words, if these bytes are one of this kind.
    pub describe: fn(&[u8]) -> Option<String>,
    /// The value under such a key in words.
    pub describe_value: fn(&[u8]) -> Option<String>,
}

/// The row of the kind that `key` belongs to.
#[must_use]
pub fn row(key: &[u8]) -> Option<&'static Row> {
    let tag = key.first()?;
    TABLE.iter().find(|row| row.tag == *tag)
}

/// A key in words, for transcripts and people: `Favorite { video: 1025, user: 2049 }`.
#[must_use]
pub fn describe(key: &[u8]) -> String {
    row(key)
        .and_then(|row| (row.describe)(key))
        .unwrap_or_else(|| format!("unknown key {key:02x?}"))
}

/// Declares the whole key space in one table.
macro_rules! keys {
    ($(
        #[doc = $doc:literal]
        $tag:literal $name:ident { $($part:ident: $type:ty),* } => $value:ty;
    )*) => {
        $(
            #[doc = $doc]
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name { $(pub $part: $type),* }

            impl Key for $name {
                const TAG: u8 = $tag;
                const NAME: &'static str = stringify!($name);
                type Value = $value;

                fn write_parts(&self, _out: &mut Vec<u8>) {
                    $( self.$part.write(_out); )*
                }

                fn read_parts(_rest: &mut &[u8]) -> Option<Self> {
                    Some(Self { $( $part: <$type>::read(_rest)? ),* })
                }
            }
        )*

        /// Every kind of key, in the order of tags.
        pub const TABLE: &[Row] = &[$(
            Row {
                tag: $tag,
                name: stringify!($name),
                parts: &[$((stringify!($part), stringify!($type))),*],
                value: stringify!($value),
                purpose: $doc,
                describe: |bytes| $name::decode(bytes).ok().map(|key| format!("{key:?}")),
                describe_value: |bytes| {
                    <$value as Record>::decode(bytes).ok().map(|value| format!("{value:?}"))
                },
            }
        ),*];
    };
}

keys! {
    /// Log clock, id counters and watermarks: all that every command moves, in one record.
    0x01 Watermarks {} => Totals;
    /// What makes this cluster this one.
    0x02 Founded {} => Identity;
    /// A node that was admitted, for ever.
    0x03 Member { node: NodeId } => Node;
    /// A right to join, by the hash of its secret.
    0x04 Joining { token: TokenHash } => JoinToken;
    /// A replicated setting that was ever changed.
    0x05 Configured { name: String } => Setting;
    /// History of settings, latest first.
    0x06 ConfiguredAt { revision: Newest<u64> } => SettingChange;
    /// The reply to a request, kept for repeats; swept in the order of issue.
    0x08 Request { issued: Timestamp, request: RequestId } => Reply;

    /// A user's public record.
    0x10 UserById { user: UserId } => User;
    /// A user's counters, packed: absent means all zero.
    0x11 UserCount { user: UserId } => UserCounts;
    /// Whose name this is, in its folded form.
    0x12 UserByName { folded: String } => UserId;
    /// What a login needs; apart, so that profiles never touch a password hash.
    0x13 AccountOf { user: UserId } => Account;
    /// A session token, by its hash.
    0x14 Session { token: TokenHash } => Token;
    /// A user's session tokens, first to expire first.
    0x15 SessionOf { user: UserId, expires: Timestamp, token: TokenHash } => ();
    /// What expires when, for the sweep.
    0x16 Expiry { expires: Timestamp, token: TokenHash } => Expiring;

    /// A video's record.
    0x20 VideoById { video: VideoId } => Video;
    /// A video's counters, packed: absent means all zero.
    0x21 VideoCount { video: VideoId } => VideoCounts;
    /// What an author published, newest first.
    0x22 PublishedBy { author: UserId, video: Newest<VideoId> } => ();
    /// The global feed, newest first; publish times are unique.
    0x23 Feed { published: Newest<Timestamp> } => VideoId;
    /// A blob that a video names: no second video may.
    0x24 UsedBlob { key: String } => VideoId;
    /// A blob that no video may ever name.
    0x25 RetiredBlob { key: String } => Timestamp;

    /// `user` likes `video`; the value is the edge's sequence.
    0x30 Favorite { video: VideoId, user: UserId } => u64;
    /// What a user likes, latest first.
    0x31 FavoriteBy { user: UserId, sequence: Newest<u64> } => VideoId;
    /// A comment under a video, newest first.
    0x38 CommentOn { video: VideoId, comment: Newest<CommentId> } => Comment;

    /// `follower` follows `followee`; the value is the edge's sequence.
    0x40 Follows { follower: UserId, followee: UserId } => u64;
    /// Whom a user follows, latest first.
    0x41 Following { user: UserId, sequence: Newest<u64> } => UserId;
    /// Who follows a user, latest first.
    0x42 Follower { user: UserId, sequence: Newest<u64> } => UserId;
    /// Who is a friend of a user; the sequence is that of the later of both edges.
    0x43 Friend { user: UserId, sequence: Newest<u64> } => UserId;

    /// Where a conversation stands; `low` is the smaller id of the two.
    0x50 ConversationOf { low: UserId, high: UserId } => Conversation;
    /// The messages of a conversation, counted from 1 without gaps.
    0x51 MessageIn { low: UserId, high: UserId, number: u64 } => Message;
    /// A user's conversations by their last message, latest first.
    0x52 Inbox { user: UserId, last: Newest<MessageId> } => UserId;
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (part, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*part)
}

impl Part for u64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
    fn read(rest: &mut &[u8]) -> Option<Self> {
        take(rest).map(Self::from_be_bytes)
    }
}

/// Implements [`Part`] for newtypes by what they wrap, and for their inverse.
macro_rules! wrapped {
    ($($wrapper:ident)*) => {$(
        impl Part for $wrapper {
            fn write(&self, out: &mut Vec<u8>) {
                self.0.write(out);
            }
            fn read(rest: &mut &[u8]) -> Option<Self> {
                u64::read(rest).map($wrapper)
            }
        }

        impl Part for Newest<$wrapper> {
            fn write(&self, out: &mut Vec<u8>) {
                (!self.0.0).write(out);
            }
            fn read(rest: &mut &[u8]) -> Option<Self> {
                u64::read(rest).map(|inverted| Self($wrapper(!inverted)))
            }
        }
    )*};
}

wrapped! { CommentId MessageId NodeId Timestamp UserId VideoId }

impl Part for Newest<u64> {
    fn write(&self, out: &mut Vec<u8>) {
        (!self.0).write(out);
    }
    fn read(rest: &mut &[u8]) -> Option<Self> {
        u64::read(rest).map(|inverted| Self(!inverted))
    }
}

impl Part for TokenHash {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn read(rest: &mut &[u8]) -> Option<Self> {
        take(rest).map(Self)
    }
}

impl Part for RequestId {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn read(rest: &mut &[u8]) -> Option<Self> {
        take(rest).map(Self)
    }
}

impl Part for String {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    fn read(rest: &mut &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(std::mem::take(rest)).ok()?;
        Some(text.to_owned())
    }
}

impl Part for () {
    fn write(&self, _out: &mut Vec<u8>) {}
    fn read(_rest: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

impl<A: Part, B: Part> Part for (A, B) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }
    fn read(rest: &mut &[u8]) -> Option<Self> {
        Some((A::read(rest)?, B::read(rest)?))
    }
}
