//! What is measured: which scenario, at whom, with how many connections.
use load::{Pace, Scenario};

use crate::Run;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Cluster,
    /// Bare axum.
    Web,
    /// The bare replicated append.
    Append,
}

/// One line of the result.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) target: Target,
    pub(crate) scenario: Scenario,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
}

const HELLO: Scenario = Scenario::Plain {
    name: "axum-hello",
    path: "/hello",
    is_post: false,
};
const PAGE: Scenario = Scenario::Plain {
    name: "axum-page",
    path: "/page",
    is_post: false,
};
const APPEND: Scenario = Scenario::Plain {
    name: "append",
    path: "/put",
    is_post: true,
};
const YARDSTICKS: [(Target, Scenario); 3] = [
    (Target::Web, HELLO),
    (Target::Web, PAGE),
    (Target::Append, APPEND),
];

/// In the order in which a round goes through them.
pub(crate) fn cases(run: &Run) -> Vec<Case> {
    let ours = Scenario::ALL.map(|scenario| (Target::Cluster, scenario));
    let wanted = YARDSTICKS.into_iter().chain(ours).filter(|(_, scenario)| {
        run.only.is_empty() || run.only.iter().any(|name| name == scenario.name())
    });
    wanted
        .flat_map(|(target, scenario)| {
            run.connections.iter().map(move |&connections| Case {
                target,
                scenario,
                connections,
                pace: Pace::Closed,
            })
        })
        .collect()
}

/// Names that nothing is called.
pub(crate) fn unknown(only: &[String]) -> Vec<&str> {
    let known = |name: &str| {
        Scenario::parse(name).is_some()
            || YARDSTICKS
                .iter()
                .any(|(_, scenario)| scenario.name() == name)
    };
    only.iter()
        .map(String::as_str)
        .filter(|name| !known(name))
        .collect()
}
