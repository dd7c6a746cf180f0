//! Histories: what clients invoked, and what came of it.
//!
//! The rules that make a history checkable are Jepsen's: a process has one operation under way at a
//! time; an operation whose outcome is not known ends in `Info` and its process is never used again;
//! `Fail` means that it certainly did not happen.
use serde::{Deserialize, Serialize};

/// How an event stands to its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Invoke,
    Ok,
    Fail,
    Info,
}

/// What an operation does, and to what. Fields that only the answer tells are `None` until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Adds an element to the set `key`.
    Add { key: String, element: String },
    /// Removes an element from the set `key`.
    Remove { key: String, element: String },
    /// Reads the set `key`.
    ReadSet {
        key: String,
        elements: Option<Vec<String>>,
    },
    /// Asks whether one element is in the set `key`.
    ReadMember {
        key: String,
        element: String,
        is_in: Option<bool>,
    },
    /// Reads the count `key`: how many elements the set `key` has.
    ReadCount { key: String, count: Option<i64> },
    /// Writes the register `key`.
    Write { key: String, value: i64 },
    /// Reads the register `key`.
    Read { key: String, value: Option<i64> },
    /// Appends a unique text to the log `key`.
    Append {
        key: String,
        sender: String,
        text: String,
    },
    /// Reads the log `key` strictly after `after` (a text, or from the start); `from` names the
    /// sender whose texts alone are asked for.
    ReadLog {
        key: String,
        after: Option<String>,
        from: Option<String>,
        texts: Option<Vec<String>>,
    },
    /// Appends a unique text to the log `key` within a session.
    SessionAppend {
        session: String,
        key: String,
        text: String,
    },
    /// Reads the whole log `key` within a session, at a level of freshness.
    SessionRead {
        session: String,
        key: String,
        level: Level,
        texts: Option<Vec<String>>,
    },
    /// Makes an edge of the graph.
    Follow { from: String, to: String },
    /// Ends an edge of the graph.
    Unfollow { from: String, to: String },
    /// Reads one view of the graph around `of`.
    ReadGraph {
        of: String,
        view: View,
        users: Option<Vec<String>>,
    },
    /// Reads how many edges go out of `of` and into it.
    ReadDegree {
        of: String,
        follows: Option<i64>,
        followers: Option<i64>,
    },
    /// Claims a unique name under a password; `granted` is the id of the winner.
    Register {
        name: String,
        password: String,
        granted: Option<Grant>,
    },
    /// Asks to be let in by that name and password.
    Login {
        name: String,
        password: String,
        granted: Option<Grant>,
    },
    /// Walks a list page by page, newest first; `is_whole`: to its end.
    ReadPages {
        key: String,
        /// The first page was promised to hold all that was acknowledged before.
        is_fresh: bool,
        is_whole: bool,
        pages: Option<Vec<Vec<String>>>,
    },
    /// Stores bytes of this digest under a unique name in the list `key`.
    Upload {
        key: String,
        name: String,
        digest: String,
    },
    /// Fetches one part (`play`, `cover`) of what is listed under a name; the digest of what came,
    /// or [`ABSENT`] when it is certainly not there.
    Download {
        key: String,
        name: String,
        part: String,
        digest: Option<String>,
    },
}

/// In place of a digest: the bytes are certainly not there.
pub const ABSENT: &str = "absent";

/// What a read promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A state that once was.
    Local,
    /// All that this session wrote or saw.
    Session,
    /// All that was acknowledged to anybody before it began.
    Fresh,
}

/// A list that the graph is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Whom the user follows.
    Follows,
    /// Who follows the user.
    Followers,
    /// Both.
    Friends,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// Yes, as this user.
    To(String),
    /// No: the name is taken, or name and password do not fit.
    Refused,
}

impl Action {
    /// It changes nothing.
    pub fn is_read(&self) -> bool {
        match self {
            Self::ReadSet { .. }
            | Self::ReadMember { .. }
            | Self::ReadCount { .. }
            | Self::Read { .. }
            | Self::ReadLog { .. }
            | Self::SessionRead { .. }
            | Self::ReadGraph { .. }
            | Self::ReadDegree { .. }
            | Self::Login { .. }
            | Self::ReadPages { .. }
            | Self::Download { .. } => true,
            Self::Add { .. }
            | Self::Remove { .. }
            | Self::Write { .. }
            | Self::Append { .. }
            | Self::SessionAppend { .. }
            | Self::Follow { .. }
            | Self::Unfollow { .. }
            | Self::Register { .. }
            | Self::Upload { .. } => false,
        }
    }
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Dense, from 0.
    pub index: usize,
    /// Nanoseconds since the test began, monotonic.
    pub time_ns: u64,
    pub process: u64,
    pub kind: Kind,
    pub action: Action,
    /// Which node was asked.
    pub node: String,
    /// What the client was told when it did not go well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An operation from its invocation to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Index of the invocation.
    pub invoked: usize,
    /// Index of the end; `None`: never ended, may still take effect.
    pub ended: Option<usize>,
    pub outcome: Outcome,
    /// As completed, if it ended well; as invoked otherwise.
    pub action: Action,
    pub process: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Fail,
    Unknown,
}

/// Pairs invocations with their ends.
///
/// # Errors
/// Says which rule the history breaks: then it is the harness that is wrong.
pub fn calls(history: &[Event]) -> Result<Vec<Call>, String> {
    let mut calls: Vec<Call> = Vec::new();
    let mut under_way: std::collections::BTreeMap<u64, usize> = std::collections::BTreeMap::new();
    let mut retired = std::collections::BTreeSet::new();
    for (position, event) in history.iter().enumerate() {
        if event.index != position {
            return Err(format!("event {position} has index {}", event.index));
        }
        if retired.contains(&event.process) {
            return Err(format!(
                "event {position}: process {} was retired",
                event.process
            ));
        }
        if event.kind == Kind::Invoke {
            if under_way.insert(event.process, calls.len()).is_some() {
                return Err(format!("event {position}: two operations of one process"));
            }
            calls.push(Call {
                invoked: position,
                ended: None,
                outcome: Outcome::Unknown,
                action: event.action.clone(),
                process: event.process,
            });
            continue;
        }
        let Some(call) = under_way.remove(&event.process) else {
            return Err(format!("event {position}: an end without a beginning"));
        };
        let call = &mut calls[call];
        match event.kind {
            Kind::Ok => {
                call.ended = Some(position);
                call.outcome = Outcome::Ok;
                call.action = event.action.clone();
            }
            Kind::Fail => {
                call.ended = Some(position);
                call.outcome = Outcome::Fail;
            }
            Kind::Info | Kind::Invoke => {
                retired.insert(event.process);
            }
        }
    }
    Ok(calls)
}

/// Builds histories by hand, for tests.
#[derive(Default)]
pub struct Builder {
    events: Vec<Event>,
}

impl Builder {
    /// Adds an event at the next index; time follows the index.
    #[must_use]
    pub fn event(mut self, process: u64, kind: Kind, action: Action) -> Self {
        let index = self.events.len();
        self.events.push(Event {
            index,
            time_ns: index as u64 * 1_000,
            process,
            kind,
            action,
            node: String::new(),
            error: None,
        });
        self
    }

    /// An operation that begins and ends well with nothing between.
    #[must_use]
    pub fn ok(self, process: u64, action: Action) -> Self {
        self.event(process, Kind::Invoke, action.clone())
            .event(process, Kind::Ok, action)
    }

    pub fn build(self) -> Vec<Event> {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(element: &str) -> Action {
        Action::Add {
            key: "s".into(),
            element: element.into(),
        }
    }

    #[test]
    fn a_retired_process_may_not_come_back() {
        let history = Builder::default()
            .event(1, Kind::Invoke, add("a"))
            .event(1, Kind::Info, add("a"))
            .event(1, Kind::Invoke, add("b"))
            .build();
        assert!(calls(&history).unwrap_err().contains("retired"));
    }

    #[test]
    fn an_operation_without_end_may_still_take_effect() {
        let history = Builder::default().event(1, Kind::Invoke, add("a")).build();
        let calls = calls(&history).unwrap();
        assert_eq!((calls[0].outcome, calls[0].ended), (Outcome::Unknown, None));
    }
}
