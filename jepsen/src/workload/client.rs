//! One client: one operation at a time, every one on the record.
use std::pin::Pin;

use checkers::history::{Action, Kind};
use serde_json::Value;

use crate::dice::Dice;
use crate::record::Recorder;
use crate::target::{Answer, Body, Request, Target};

/// A future behind a function pointer.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A client.
pub(crate) struct Client {
    pub(crate) target: Target,
    recorder: Recorder,
    pub(crate) dice: Dice,
    /// Among the clients of its workload, from 0.
    pub(crate) number: usize,
    process: u64,
    /// The node it asks.
    pub(crate) node: usize,
    /// Never leaves its node.
    is_bound: bool,
    count: u64,
}

impl Client {
    pub(crate) fn new(target: Target, recorder: Recorder, number: usize, seed: u64) -> Self {
        Self {
            process: recorder.new_process(),
            target,
            recorder,
            dice: Dice::new(seed),
            number,
            node: 0,
            is_bound: false,
            count: 0,
        }
    }

    /// One that only asks this node.
    pub(crate) fn at(target: Target, recorder: Recorder, node: usize) -> Self {
        Self {
            node,
            is_bound: true,
            ..Self::new(target, recorder, node, node as u64)
        }
    }

    /// Another client of the same history, that acts at the same time.
    pub(crate) fn fork(&mut self) -> Self {
        let seed = self.dice.roll(u64::MAX);
        let target = self.target.clone();
        Self::new(target, self.recorder.clone(), self.number, seed)
    }

    /// Goes to a node of the dice's choice; rather not to one where many requests are stuck.
    pub(crate) fn roam(&mut self) {
        const TRIES: usize = 4;
        if self.is_bound {
            return;
        }
        for _ in 0..TRIES {
            self.node = self.dice.index(self.target.node_count());
            if !self.target.is_stuck(self.node) {
                return;
            }
        }
    }

    /// A number that this client never used before.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// A text that nobody else uses in this history.
    pub(crate) fn unique(&mut self, run: &str) -> String {
        let number = self.next_number();
        format!("{run}-{}-{number}", self.number)
    }

    /// Notes that an operation begins.
    pub(crate) fn invoke(&mut self, action: Action) {
        let node = self.target.name(self.node);
        self.recorder
            .note(self.process, Kind::Invoke, action, node, None);
    }

    /// Notes how it ended; after `Info` this client goes on as another process.
    pub(crate) fn end(&mut self, kind: Kind, action: Action, error: Option<String>) {
        let node = self.target.name(self.node);
        self.recorder
            .note(self.process, kind, action, node, error.map(shorten));
        if kind == Kind::Info {
            self.process = self.recorder.new_process();
        }
    }

    /// Sends a write and records it; the body if it was done.
    pub(crate) async fn write(&mut self, request: &Request, action: Action) -> Option<Body> {
        self.invoke(action.clone());
        let answer = self.target.post(self.node, request).await;
        self.wrote(answer, action)
    }

    /// Records what came of a write.
    pub(crate) fn wrote(&mut self, answer: Answer, action: Action) -> Option<Body> {
        match answer {
            Answer::Done(body) => {
                self.end(Kind::Ok, action, None);
                return Some(body);
            }
            Answer::Refused(code, why) => {
                self.end(Kind::Fail, action, Some(format!("{code} {why}")));
            }
            Answer::NotDone(why) => self.end(Kind::Fail, action, Some(why)),
            Answer::Unknown(why) => self.end(Kind::Info, action, Some(why)),
        }
        None
    }

    /// Asks and records; `action` makes the record from the body (`None`: before, or it failed).
    /// A read that failed changed nothing, whatever became of it.
    pub(crate) async fn read(
        &mut self,
        request: &Request,
        action: impl Fn(Option<&Value>) -> Action,
    ) -> Option<Body> {
        self.invoke(action(None));
        match self.target.get(self.node, request).await {
            Answer::Done(body) => {
                self.end(Kind::Ok, action(Some(&body.json)), None);
                Some(body)
            }
            Answer::Refused(code, why) => {
                self.end(Kind::Fail, action(None), Some(format!("{code} {why}")));
                None
            }
            Answer::NotDone(why) | Answer::Unknown(why) => {
                self.end(Kind::Fail, action(None), Some(why));
                None
            }
        }
    }
}

/// Errors are for a person; the rest of a long one says no more.
fn shorten(error: String) -> String {
    const CHARACTERS_MAX: usize = 200;
    match error.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &error[..end]),
        None => error,
    }
}

/// The objects of a list.
pub(crate) fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[][..], Vec::as_slice)
}

/// The video of this id in the body's list.
pub(crate) fn find<'a>(body: &'a Value, video: &str) -> Option<&'a Value> {
    let mut videos = items(&body["video_list"]).iter();
    videos.find(|listed| id(&listed["id"]) == video)
}

/// A number as text, as ids go into queries.
pub(crate) fn id(value: &Value) -> String {
    value.to_string()
}
