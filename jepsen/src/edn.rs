//! Histories in Jepsen's own format, for Knossos and Elle.
use std::fmt::Write as _;

use checkers::history::{Action, Event, Grant, Kind, Level, View};

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
        let error = event
            .error
            .as_ref()
            .map_or(String::new(), |error| format!(", :error {}", string(error)));
        // Writing into a string cannot fail.
        writeln!(
            text,
            "{{:index {}, :time {}, :type :{kind}, :process {}, :f :{f}, :value {value}, :node {}{error}}}",
            event.index,
            event.time_ns,
            event.process,
            string(&event.node)
        )
        .expect("a string takes all");
    }
    text
}

/// A string as EDN reads it back. Control characters are no part of EDN's escapes beyond these.
fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other if other.is_control() => quoted.push(' '),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn maybe(text: Option<&String>) -> String {
    text.map_or("nil".to_owned(), |text| string(text))
}

fn number(value: Option<i64>) -> String {
    value.map_or("nil".to_owned(), |value| value.to_string())
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

fn set(texts: Option<&Vec<String>>) -> String {
    // A set literal with doubles cannot be read: then it is shown as the list it was.
    let is_set = texts.is_none_or(|texts| {
        texts
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            == texts.len()
    });
    if is_set {
        list(texts, "#{", "}")
    } else {
        list(texts, "[", "]")
    }
}

fn grant(granted: Option<&Grant>) -> String {
    match granted {
        None => "nil".into(),
        Some(Grant::Refused) => ":refused".into(),
        Some(Grant::To(user)) => string(user),
    }
}

/// The function and its value; keyed ones are `[key value]` tuples.
fn action(action: &Action) -> (&'static str, String) {
    let keyed = |key: &str, value: String| format!("[{} {value}]", string(key));
    match action {
        Action::Add { key, element } => ("add", keyed(key, string(element))),
        Action::Remove { key, element } => ("remove", keyed(key, string(element))),
        Action::ReadSet { key, elements } => ("read", keyed(key, set(elements.as_ref()))),
        Action::ReadMember {
            key,
            element,
            is_in,
        } => {
            let is_in = is_in.map_or("nil".to_owned(), |is_in| is_in.to_string());
            (
                "member",
                keyed(key, format!("[{} {is_in}]", string(element))),
            )
        }
        Action::ReadCount { key, count } => ("count", keyed(key, number(*count))),
        Action::Write { key, value } => ("write", keyed(key, value.to_string())),
        Action::Read { key, value } => ("read", keyed(key, number(*value))),
        Action::Append { key, text, .. } => ("send", keyed(key, string(text))),
        Action::ReadLog { key, texts, .. } => ("poll", keyed(key, list(texts.as_ref(), "[", "]"))),
        Action::Follow { from, to } => ("follow", keyed(from, string(to))),
        Action::Unfollow { from, to } => ("unfollow", keyed(from, string(to))),
        Action::ReadGraph { of, view, users } => {
            let f = match view {
                View::Follows => "follows",
                View::Followers => "followers",
                View::Friends => "friends",
            };
            (f, keyed(of, list(users.as_ref(), "[", "]")))
        }
        Action::ReadDegree {
            of,
            follows,
            followers,
        } => {
            let degrees = format!("[{} {}]", number(*follows), number(*followers));
            ("degree", keyed(of, degrees))
        }
        Action::SessionAppend { .. }
        | Action::SessionRead { .. }
        | Action::Register { .. }
        | Action::Login { .. }
        | Action::ReadPages { .. }
        | Action::Upload { .. }
        | Action::Download { .. } => named(action),
    }
}

/// Those whose value is a map.
fn named(action: &Action) -> (&'static str, String) {
    match action {
        Action::SessionAppend { session, key, text } => map(
            "session-append",
            &[
                ("session", string(session)),
                ("key", string(key)),
                ("text", string(text)),
            ],
        ),
        Action::SessionRead {
            session,
            key,
            level,
            texts,
        } => {
            let level = match level {
                Level::Local => ":local",
                Level::Session => ":session",
                Level::Fresh => ":fresh",
            };
            let texts = list(texts.as_ref(), "[", "]");
            let (session, key) = (string(session), string(key));
            let fields = [
                ("session", session),
                ("key", key),
                ("level", level.to_owned()),
            ];
            map("session-read", &[&fields[..], &[("texts", texts)]].concat())
        }
        Action::Register {
            name,
            password,
            granted,
        } => map("register", &claim(name, password, granted.as_ref())),
        Action::Login {
            name,
            password,
            granted,
        } => map("login", &claim(name, password, granted.as_ref())),
        _ => listed(action),
    }
}

/// Pages and clips.
fn listed(action: &Action) -> (&'static str, String) {
    match action {
        Action::ReadPages {
            key,
            is_fresh,
            is_whole,
            pages,
        } => {
            let fields = [
                ("key", string(key)),
                ("fresh", is_fresh.to_string()),
                ("whole", is_whole.to_string()),
                ("pages", lists(pages.as_ref())),
            ];
            map("pages", &fields)
        }
        Action::Upload { key, name, digest } => map(
            "upload",
            &[
                ("key", string(key)),
                ("name", string(name)),
                ("digest", string(digest)),
            ],
        ),
        Action::Download {
            key,
            name,
            part,
            digest,
        } => {
            let fields = [
                ("key", string(key)),
                ("name", string(name)),
                ("part", string(part)),
                ("digest", maybe(digest.as_ref())),
            ];
            map("download", &fields)
        }
        _ => ("other", "nil".into()),
    }
}

fn map(f: &'static str, fields: &[(&str, String)]) -> (&'static str, String) {
    let fields = fields
        .iter()
        .map(|(name, value)| format!(":{name} {value}"));
    (f, format!("{{{}}}", fields.collect::<Vec<_>>().join(", ")))
}

fn claim(name: &str, password: &str, granted: Option<&Grant>) -> [(&'static str, String); 3] {
    let granted = grant(granted);
    [
        ("name", string(name)),
        ("password", string(password)),
        ("granted", granted),
    ]
}

fn lists(pages: Option<&Vec<Vec<String>>>) -> String {
    pages.map_or("nil".to_owned(), |pages| {
        let inner: Vec<String> = pages
            .iter()
            .map(|page| list(Some(page), "[", "]"))
            .collect();
        format!("[{}]", inner.join(" "))
    })
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
            error: None,
        };
        assert_eq!(
            history(&[event]),
            "{:index 0, :time 5, :type :invoke, :process 2, :f :add, \
             :value [\"s\" \"a \\\"b\\\"\"], :node \"n1\"}\n"
        );
    }

    #[test]
    fn a_set_with_doubles_is_no_set_literal() {
        let doubled = vec!["a".to_owned(), "a".to_owned()];
        assert_eq!(set(Some(&doubled)), "[\"a\" \"a\"]");
        assert_eq!(set(Some(&doubled[..1].to_vec())), "#{\"a\"}");
    }
}
