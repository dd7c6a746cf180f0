//! What is measured: which operation, at whom, with how many connections, how fast.
use load::Scenario;

use crate::Run;
use crate::yardstick::etcd::Deed;
use crate::yardstick::stack::client as stack;

/// Open loops and whatever is compared without naming a number run with so many.
pub(crate) const USUAL: usize = 64;
/// Those who disturb a measured open loop.
pub(crate) const BESIDE: usize = 16;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Cluster,
    /// Bare axum.
    Web,
    /// The bare replicated append.
    Append,
    Etcd,
    /// A service with hiqlite in it.
    Hiqlite,
    /// A service on MariaDB and Redis.
    Stack,
}

/// The operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Http(Scenario),
    Etcd(Deed),
    Stack(stack::Deed),
}

/// How operations are started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Speed {
    Closed,
    /// An open loop at a part of what the case of this name reached in the closed one.
    PartOf(&'static str, f64),
}

/// One line of the result.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) what: What,
    pub(crate) connections: usize,
    pub(crate) speed: Speed,
    /// At the same time, in an open loop at half of what it reaches alone.
    pub(crate) beside: Option<Scenario>,
}

impl Case {
    /// A closed loop at the cluster with the usual number of connections.
    pub(crate) fn closed(scenario: Scenario) -> Self {
        Self {
            name: scenario.name().to_owned(),
            target: Target::Cluster,
            what: What::Http(scenario),
            connections: USUAL,
            speed: Speed::Closed,
            beside: None,
        }
    }
}

const HELLO: Scenario = plain("axum-hello", "/hello", false);
const PAGE: Scenario = plain("axum-page", "/page", false);
const APPEND: Scenario = plain("append", "/put", true);
pub(crate) const HIQLITE: &str = "hiqlite-insert";
const YARDSTICKS: [(Target, Scenario); 3] = [
    (Target::Web, HELLO),
    (Target::Web, PAGE),
    (Target::Append, APPEND),
];

const fn plain(name: &'static str, path: &'static str, is_post: bool) -> Scenario {
    Scenario::Plain {
        name,
        path,
        is_post,
    }
}

/// An open loop.
struct Open {
    name: &'static str,
    target: Target,
    scenario: Scenario,
    /// So much of what this case reached in the closed loop.
    part: f64,
    base: &'static str,
    beside: Option<Scenario>,
}

const fn half(name: &'static str, scenario: Scenario, base: &'static str) -> Open {
    Open {
        name,
        target: Target::Cluster,
        scenario,
        part: 0.5,
        base,
        beside: None,
    }
}

const OPEN: [Open; 6] = [
    Open {
        target: Target::Web,
        ..half("hello-open", HELLO, "read")
    },
    half("read-open", Scenario::Read, "read"),
    Open {
        beside: Some(Scenario::Like),
        ..half("read+like", Scenario::Read, "read")
    },
    Open {
        beside: Some(Scenario::Login),
        ..half("read+login", Scenario::Read, "read")
    },
    half("like-open", Scenario::Like, "like"),
    // How long a message takes, not how many the cluster can take.
    Open {
        part: 0.1,
        ..half("chat-wait-open", Scenario::ChatWait, "chat")
    },
];

/// In the order in which a round goes through them: closed loops first, since open ones go by what
/// they reached.
pub(crate) fn cases(run: &Run, has_etcd: bool, has_stack: bool) -> Vec<Case> {
    let ours = Scenario::ALL.map(|scenario| (Target::Cluster, scenario));
    let http = YARDSTICKS
        .into_iter()
        .chain(ours)
        .map(|(target, scenario)| (target, What::Http(scenario), scenario.name()));
    let hiqlite = run.hiqlite.iter().map(|_| {
        let insert = What::Http(plain(HIQLITE, "/put", true));
        (Target::Hiqlite, insert, HIQLITE)
    });
    let etcd = Deed::ALL.map(|deed| (Target::Etcd, What::Etcd(deed), deed.name()));
    let stack = stack::Deed::ALL.map(|deed| (Target::Stack, What::Stack(deed), deed.name()));
    let mut cases: Vec<Case> = http
        .chain(hiqlite)
        .chain(etcd.into_iter().filter(|_| has_etcd))
        .chain(stack.into_iter().filter(|_| has_stack))
        .filter(|(.., name)| is_wanted(run, name))
        .flat_map(|(target, what, name)| {
            run.connections.iter().map(move |&connections| Case {
                name: name.to_owned(),
                target,
                what,
                connections,
                speed: Speed::Closed,
                beside: None,
            })
        })
        .filter(|case| is_sensible(&case.name, case.connections))
        .collect();
    for open in OPEN {
        let is_there = |name: &str| has_base(&cases, name);
        if is_wanted(run, open.name)
            && is_there(open.base)
            && open.beside.is_none_or(|scenario| is_there(scenario.name()))
        {
            cases.push(Case {
                name: open.name.to_owned(),
                target: open.target,
                what: What::Http(open.scenario),
                connections: USUAL,
                speed: Speed::PartOf(open.base, open.part),
                beside: open.beside,
            });
        }
    }
    cases
}

/// A password hash takes tens of milliseconds of a whole processor, an upload a process of its own:
/// at 256 connections all would be refused, as they should. And many who wait at once tell of the
/// sender's rate only.
fn is_sensible(name: &str, connections: usize) -> bool {
    if name == Scenario::ChatWait.name() {
        return connections == 1;
    }
    connections <= USUAL || !["register", "login", "publish"].contains(&name)
}

fn has_base(cases: &[Case], name: &str) -> bool {
    let mut bases = cases.iter().filter(|case| case.connections == USUAL);
    bases.any(|case| case.name == name)
}

fn is_wanted(run: &Run, name: &str) -> bool {
    run.only.is_empty() || run.only.iter().any(|wanted| wanted == name)
}

/// Is anything to be measured for which MariaDB and Redis have to be started and filled?
pub(crate) fn has_stack(run: &Run) -> bool {
    let mut deeds = stack::Deed::ALL.iter();
    deeds.any(|deed| is_wanted(run, deed.name()))
}

/// Is hiqlite to be measured, where it was built?
pub(crate) fn has_hiqlite(run: &Run) -> bool {
    is_wanted(run, HIQLITE)
}

/// Names that nothing is called.
pub(crate) fn unknown(only: &[String]) -> Vec<&str> {
    let known = |name: &str| {
        Scenario::parse(name).is_some()
            || YARDSTICKS
                .iter()
                .any(|(_, scenario)| scenario.name() == name)
            || Deed::ALL.iter().any(|deed| deed.name() == name)
            || stack::Deed::ALL.iter().any(|deed| deed.name() == name)
            || OPEN.iter().any(|open| open.name == name)
            || [
                FAILOVER, HIQLITE, INSTALL, LASTING, SCALING, DEPTH, TCP, UPLOAD,
            ]
            .contains(&name)
    };
    only.iter()
        .map(String::as_str)
        .filter(|name| !known(name))
        .collect()
}

/// No cases, but they can be asked for.
const FAILOVER: &str = "failover";
const INSTALL: &str = "install";
const SCALING: &str = "scaling";
const DEPTH: &str = "depth";
const TCP: &str = "tcp";
const UPLOAD: &str = "upload";
/// Likes that go on for minutes, once.
pub(crate) const LASTING: &str = "like-lasting";

/// Are bytes to be counted for minutes?
pub(crate) fn has_lasting(run: &Run) -> bool {
    is_wanted(run, LASTING)
}

/// Is a large video to be sent?
pub(crate) fn has_upload(run: &Run) -> bool {
    is_wanted(run, UPLOAD)
}

/// Is the leader to be killed at the end?
pub(crate) fn has_failover(run: &Run) -> bool {
    is_wanted(run, FAILOVER) && run.nodes >= 3
}

/// Are further nodes to join at the end? In a smaller cluster they would get a vote.
pub(crate) fn has_install(run: &Run) -> bool {
    is_wanted(run, INSTALL) && run.nodes >= 3
}

/// Are clusters of other sizes to be started at the end?
pub(crate) fn has_scaling(run: &Run) -> bool {
    is_wanted(run, SCALING)
}

/// Are nodes with much data to be started at the end?
pub(crate) fn has_depth(run: &Run) -> bool {
    is_wanted(run, DEPTH)
}

/// Is QUIC between nodes to be compared with TCP at the end?
pub(crate) fn has_tcp(run: &Run) -> bool {
    is_wanted(run, TCP)
}
