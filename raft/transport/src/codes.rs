//! Why a connection or stream was closed, as numbers that the other end sees. They are for ever.
use quinn::VarInt;

/// The node stops.
pub(crate) const BYE: VarInt = VarInt::from_u32(0);
/// Who dialled showed no certificate of this cluster, or this node's own.
pub(crate) const STRANGER: VarInt = VarInt::from_u32(1);
/// The other end broke the rules of frames.
pub(crate) const MALFORMED: VarInt = VarInt::from_u32(2);
/// Requests timed out and nothing else arrived either.
pub(crate) const SILENT: VarInt = VarInt::from_u32(3);
/// The peer lives elsewhere now.
pub(crate) const MOVED: VarInt = VarInt::from_u32(4);
/// Too many at once; come again.
pub(crate) const BUSY: VarInt = VarInt::from_u32(5);
/// A long-lived stream ended, so its connection is of no use.
pub(crate) const LANE_ENDED: VarInt = VarInt::from_u32(6);
/// On a stream: the sender gave the request or transfer up.
pub(crate) const CANCELLED: VarInt = VarInt::from_u32(16);
/// On a stream: nothing more is read.
pub(crate) const STOPPED: VarInt = VarInt::from_u32(17);
