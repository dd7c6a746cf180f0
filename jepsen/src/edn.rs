//! Histories in Jepsen's own format, for Knossos and Elle.
use std::fmt::Write as _;

use checkers::history::{Action, Event, Kind};

/// One map a line, as Jepsen's `history.edn`.
pub(crate) fn history(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        let kind = match event.kind {
            Kind::Invoke => "invoke",
            Kind::Ok => "ok",
            Kind::Fail => "fail",
            Kind::Info => "info",
        };
        let (f, value) = action(&event.action);
        // Writing into a string cannot fail.
        writeln!(
            text,
            "{{:index {}, :time {}, :type :{kind}, :process {}, :f :{f}, :value {value}, :node {}}}",
            event.index,
            event.time_ns,
            event.process,
            string(&event.node)
        )
        .expect("a string takes all");
    }
    text
}

fn string(text: &str) -> String {
    format!("{text:?}")
}

fn list(texts: Option<&Vec<String>>, open: &str, close: &str) -> String {
    match texts {
        None => "nil".into(),
        Some(texts) => {
            let inner: Vec<String> = texts.iter().map(|text| string(text)).collect();
            format!("{open}{}{close}", inner.join(" "))
        }
    }
}

/// The function and its value; keyed ones are `[key value]` tuples.
fn action(action: &Action) -> (&'static str, String) {
    let number = |value: &Option<i64>| value.map_or("nil".to_owned(), |value| value.to_string());
    let keyed = |key: &str, value: String| format!("[{} {value}]", string(key));
    match action {
        Action::Add { key, element } => ("add", keyed(key, string(element))),
        Action::Remove { key, element } => ("remove", keyed(key, string(element))),
        Action::ReadSet { key, elements } => {
            ("read", keyed(key, list(elements.as_ref(), "#{", "}")))
        }
        Action::Write { key, value } => ("write", keyed(key, value.to_string())),
        Action::Read { key, value } => ("read", keyed(key, number(value))),
        Action::Append { key, text } => ("send", keyed(key, string(text))),
        Action::ReadLog { key, texts, .. } => ("poll", keyed(key, list(texts.as_ref(), "[", "]"))),
        Action::ReadCount { key, count } => ("count", keyed(key, number(count))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_map_that_jepsen_reads() {
        let action = Action::Add {
            key: "s".into(),
            element: "a \"b\"".into(),
        };
        let event = Event {
            index: 0,
            time_ns: 5,
            process: 2,
            kind: Kind::Invoke,
            action,
            node: "n1".into(),
        };
        assert_eq!(
            history(&[event]),
            "{:index 0, :time 5, :type :invoke, :process 2, :f :add, \
             :value [\"s\" \"a \\\"b\\\"\"], :node \"n1\"}\n"
        );
    }
}
