//! Counts for the operator's dashboards, and the count of what this node asked of its peers.
//!
//! Handles are made once per endpoint: a recorder must be installed before [`Endpoint::bind`]
//! (without one, counting costs nothing and goes nowhere).
//!
//! [`Endpoint::bind`]: crate::endpoint::Endpoint::bind
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, counter};

use crate::network::{Lane, Sent};

const REQUESTS: &str = "yin_transport_requests_total";
const ERRORS: &str = "yin_transport_request_errors_total";
const HANDLED: &str = "yin_transport_handled_total";
const BYTES: &str = "yin_transport_bytes_total";
const MESSAGES: &str = "yin_transport_messages_total";
const MESSAGES_DROPPED: &str = "yin_transport_messages_dropped_total";
const CONNECTIONS: &str = "yin_transport_connections_total";
const CONNECTIONS_REFUSED: &str = "yin_transport_connections_refused_total";

/// Everything that one endpoint counts.
pub(crate) struct Counters {
    lanes: [LaneCounters; 4],
    pub(crate) messages_sent: Counter,
    pub(crate) messages_received: Counter,
    /// Not sent: too many waited, too long, or nobody there.
    pub(crate) messages_unsent: Counter,
    /// Received, but nobody took them in time.
    pub(crate) messages_untaken: Counter,
    pub(crate) connections_dialled: Counter,
    pub(crate) connections_accepted: Counter,
    pub(crate) connections_refused: Counter,
    requests: AtomicU64,
    transfers: AtomicU64,
    messages: AtomicU64,
}

/// The counts of one lane.
pub(crate) struct LaneCounters {
    /// Requests and transfers that this node made.
    pub(crate) requests: Counter,
    /// Those without an answer.
    pub(crate) errors: Counter,
    /// Requests and transfers of peers that this node handled.
    pub(crate) handled: Counter,
    /// Bodies and frame headers.
    pub(crate) bytes_sent: Counter,
    pub(crate) bytes_received: Counter,
}

impl Counters {
    pub(crate) fn new() -> Counters {
        Counters {
            lanes: ["urgent", "log", "forward", "bulk"].map(LaneCounters::new),
            messages_sent: counter!(MESSAGES, "direction" => "sent"),
            messages_received: counter!(MESSAGES, "direction" => "received"),
            messages_unsent: counter!(MESSAGES_DROPPED, "direction" => "sent"),
            messages_untaken: counter!(MESSAGES_DROPPED, "direction" => "received"),
            connections_dialled: counter!(CONNECTIONS, "direction" => "dialled"),
            connections_accepted: counter!(CONNECTIONS, "direction" => "accepted"),
            connections_refused: counter!(CONNECTIONS_REFUSED),
            requests: AtomicU64::new(0),
            transfers: AtomicU64::new(0),
            messages: AtomicU64::new(0),
        }
    }

    pub(crate) fn lane(&self, lane: Lane) -> &LaneCounters {
        match lane {
            Lane::Urgent => &self.lanes[0],
            Lane::Log => &self.lanes[1],
            Lane::Forward => &self.lanes[2],
            Lane::Bulk => &self.lanes[3],
        }
    }

    pub(crate) fn count_request(&self, lane: Lane) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.lane(lane).requests.increment(1);
    }

    pub(crate) fn count_transfer(&self) {
        self.transfers.fetch_add(1, Ordering::Relaxed);
        self.lane(Lane::Bulk).requests.increment(1);
    }

    pub(crate) fn count_message(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self) -> Sent {
        Sent {
            requests: self.requests.load(Ordering::Relaxed),
            transfers: self.transfers.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
        }
    }
}

impl LaneCounters {
    fn new(lane: &'static str) -> LaneCounters {
        LaneCounters {
            requests: counter!(REQUESTS, "lane" => lane),
            errors: counter!(ERRORS, "lane" => lane),
            handled: counter!(HANDLED, "lane" => lane),
            bytes_sent: counter!(BYTES, "lane" => lane, "direction" => "sent"),
            bytes_received: counter!(BYTES, "lane" => lane, "direction" => "received"),
        }
    }
}
