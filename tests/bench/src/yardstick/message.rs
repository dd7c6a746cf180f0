//! The few messages of etcd's key-value service (`etcdserverpb`) that are needed, by their tags.
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Put {
    #[prost(bytes, tag = "1")]
    pub(super) key: Vec<u8>,
    #[prost(bytes, tag = "2")]
    pub(super) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Range {
    #[prost(bytes, tag = "1")]
    pub(super) key: Vec<u8>,
    /// From what this node has, without asking the others.
    #[prost(bool, tag = "7")]
    pub(super) serializable: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Txn {
    #[prost(message, repeated, tag = "1")]
    pub(super) compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    pub(super) success: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TxnAnswer {
    #[prost(bool, tag = "2")]
    pub(super) succeeded: bool,
}

/// `EQUAL` (0) on `CREATE` (1) with a revision of 0: the key is not there.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Compare {
    #[prost(int32, tag = "1")]
    result: i32,
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes, tag = "3")]
    key: Vec<u8>,
    #[prost(oneof = "Revision", tags = "5")]
    revision: Option<Revision>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Revision {
    #[prost(int64, tag = "5")]
    Create(i64),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RequestOp {
    #[prost(oneof = "Operation", tags = "2")]
    operation: Option<Operation>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Operation {
    #[prost(message, tag = "2")]
    Put(Put),
}

impl Compare {
    const CREATE: i32 = 1;

    pub(super) fn absent(key: Vec<u8>) -> Self {
        Self {
            result: 0,
            target: Self::CREATE,
            key,
            revision: Some(Revision::Create(0)),
        }
    }
}

impl RequestOp {
    pub(super) fn put(put: Put) -> Self {
        Self {
            operation: Some(Operation::Put(put)),
        }
    }
}
