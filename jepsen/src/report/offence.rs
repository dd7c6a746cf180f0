//! A violation, drawn: the few operations that contradict each other as bars from invocation to
//! end, by process, with the faults of that time behind them.
//!
//! The order of beginnings and ends is what matters, and the operations may lie minutes apart with
//! milliseconds between some of them. So time is bent: every stretch between two moments at which
//! something begins or ends has a width by the logarithm of its length, written beneath.
use std::collections::BTreeMap;

use checkers::history::Outcome;
use checkers::verdict::Verdict;
use serde_json::Value;

use super::faults::{Family, Fault};
use super::operations::{self, Operation};
use super::scatter::class;
use super::text::{clip, duration, escape, moment, precise, targets};
use super::view::View;
use crate::evidence::Judged;

/// Operations drawn of one violation.
const SHOWN_MAX: usize = 40;
/// Writes of the same key around them, drawn faintly.
const CONTEXT_MAX: usize = 10;
/// Faults drawn behind them.
const FAULTS_MAX: usize = 12;
/// Elements of a list that are written out.
const ELEMENTS_MAX: usize = 5;
/// Characters of one operation's full text.
const TEXT_MAX: usize = 4_000;

/// An operation of the picture.
struct Shown<'a> {
    operation: &'a Operation<'a>,
    /// Its parts by name, as histories write them.
    parts: BTreeMap<String, Value>,
    is_context: bool,
}

/// Draws all violations of workloads.
pub(super) fn all(view: &View<'_>) -> String {
    let workloads = view.evidence.judgement.workloads.iter();
    workloads.map(|judged| one(judged, view)).collect()
}

fn one(judged: &Judged, view: &View<'_>) -> String {
    let Verdict::Invalid { why, operations } = &judged.verdict else {
        return String::new();
    };
    let shown = choose(judged, operations, view);
    let head = format!(
        "<article class=\"offence\"><h3>{}</h3><p class=\"why\">{}</p>\n",
        escape(&judged.workload),
        escape(why)
    );
    if shown.is_empty() {
        return head
            + "<p class=\"quiet\">The checker names no single operations, or their history is not here.</p></article>\n";
    }
    let left_out = operations.len().saturating_sub(SHOWN_MAX);
    let note = if left_out > 0 {
        format!("<p class=\"quiet\">{left_out} more operations are not drawn.</p>\n")
    } else {
        String::new()
    };
    let bend = Bend::of(&shown);
    head + &note + &picture(&shown, &bend, view) + &texts(&shown) + "</article>\n"
}

/// The operations that the checker names, and writes of the same keys around them.
fn choose<'a>(judged: &Judged, named: &[usize], view: &'a View<'_>) -> Vec<Shown<'a>> {
    let named: Vec<usize> = named.iter().copied().take(SHOWN_MAX).collect();
    let all = view.operations.iter();
    let all = all.filter(|operation| operation.workload == judged.workload);
    let mut shown: Vec<Shown<'a>> = all
        .clone()
        .filter(|operation| named.contains(&operation.index))
        .map(|operation| Shown {
            operation,
            parts: parts(operation),
            is_context: false,
        })
        .collect();
    let key = |parts: &BTreeMap<String, Value>| parts.get("key").cloned();
    let keys: Vec<Value> = shown.iter().filter_map(|one| key(&one.parts)).collect();
    let Some(last_ns) = shown.iter().map(|one| end(one.operation)).max() else {
        return shown;
    };
    // Nearest to the end of the story: what came just before is what should have been seen.
    let mut around: Vec<&Operation<'_>> = all
        .filter(|one| one.is_write && one.invoked_ns < last_ns && !named.contains(&one.index))
        .collect();
    around.sort_by_key(|one| std::cmp::Reverse(one.invoked_ns));
    let context = around.into_iter().filter_map(|operation| {
        let parts = parts(operation);
        let is_same = key(&parts).is_some_and(|key| keys.contains(&key));
        is_same.then_some(Shown {
            operation,
            parts,
            is_context: true,
        })
    });
    shown.extend(context.take(CONTEXT_MAX));
    shown
}

fn parts(operation: &Operation<'_>) -> BTreeMap<String, Value> {
    let whole = serde_json::to_value(operation.action).unwrap_or_default();
    let Value::Object(whole) = whole else {
        return BTreeMap::new();
    };
    let parts = whole.into_iter().next().map(|(_, parts)| parts);
    match parts {
        Some(Value::Object(parts)) => parts.into_iter().collect(),
        _ => BTreeMap::new(),
    }
}

fn end(operation: &Operation<'_>) -> u64 {
    operation.ended_ns.unwrap_or(operation.invoked_ns)
}

/// Bent time: moments and where they stand, from 0 to 100.
struct Bend {
    moments: Vec<(u64, f64)>,
}

impl Bend {
    fn of(shown: &[Shown<'_>]) -> Self {
        let ends = shown
            .iter()
            .flat_map(|one| [one.operation.invoked_ns, end(one.operation)]);
        let mut times: Vec<u64> = ends.collect();
        times.sort_unstable();
        times.dedup();
        let width = |pair: &[u64]| 1.0 + (1.0 + (pair[1] - pair[0]) as f64 / 1e5).log10();
        let total: f64 = times.windows(2).map(width).sum();
        let mut at = 0.0;
        let mut moments = vec![(times[0], 0.0)];
        for pair in times.windows(2) {
            at += width(pair) * 100.0 / total;
            moments.push((pair[1], at));
        }
        Self { moments }
    }

    fn place(&self, ns: u64) -> f64 {
        let next = self.moments.partition_point(|&(moment, _)| moment < ns);
        let Some(&(after, right)) = self.moments.get(next) else {
            return 100.0;
        };
        let Some(&(before, left)) = next.checked_sub(1).and_then(|n| self.moments.get(n)) else {
            return 0.0;
        };
        left + (right - left) * (ns - before) as f64 / (after - before) as f64
    }

    /// Puts text where its bar begins, or, when that leaves little room, where the bar ends.
    fn beside(&self, from_ns: u64, until_ns: u64) -> String {
        let (from, until) = (self.place(from_ns), self.place(until_ns));
        if from <= 45.0 {
            format!("margin-left:{from:.2}%")
        } else {
            format!("margin-right:{:.2}%;text-align:right", 100.0 - until)
        }
    }

    fn bar(&self, from_ns: u64, until_ns: u64) -> String {
        let (from, until) = (self.place(from_ns), self.place(until_ns));
        format!("left:{from:.2}%;width:{:.2}%", until - from)
    }
}

fn picture(shown: &[Shown<'_>], bend: &Bend, view: &View<'_>) -> String {
    let (first, last) = (bend.moments[0].0, bend.moments[bend.moments.len() - 1].0);
    let during: Vec<_> = view
        .installed()
        .filter(|fault| fault.from_ns <= last && fault.until_ns(view.end_ns) >= first)
        .take(FAULTS_MAX)
        .collect();
    let band = |kind: &str, text: &str, fault: &Fault<'_>| {
        let until = fault.until_ns(view.end_ns);
        format!(
            "<i class=\"{kind} {}\" style=\"{}\" title=\"{} {}, {} to {}\">{text}</i>",
            fault.family.class(),
            bend.bar(fault.from_ns, until),
            escape(fault.name),
            escape(&targets(fault.targets)),
            moment(fault.from_ns),
            moment(until),
        )
    };
    let behind: String = during
        .iter()
        .map(|fault| band("behind", "", fault))
        .collect();
    let mut rows = String::new();
    for family in Family::ALL {
        let bars = during.iter().filter(|fault| fault.family == family);
        let bars: String = bars
            .map(|fault| {
                let text = format!("{} {}", fault.name, targets(fault.targets));
                band("bar", &format!("<b>{}</b>", escape(&text)), fault)
            })
            .collect();
        if !bars.is_empty() {
            let name = family.title();
            rows.push_str(&format!(
                "<div class=\"row lane\"><div class=\"gutter\">{name}</div><div class=\"field\">{bars}</div></div>\n"
            ));
        }
    }
    for (process, shown) in by_process(shown) {
        let bars: String = shown
            .iter()
            .map(|(one, mentioned)| bar(one, mentioned, bend))
            .collect();
        rows.push_str(&format!(
            "<div class=\"row process\"><div class=\"gutter\">process {process}</div><div class=\"field\">{behind}{bars}</div></div>\n"
        ));
    }
    format!("<div class=\"bent\">{rows}{}</div>\n", stretches(bend))
}

type Mentioned = Vec<(String, String)>;

/// Operations by process, those that are named first, else in order of time; with each what the others
/// wrote, so that a list can say whether it has it.
fn by_process<'s, 'a>(shown: &'s [Shown<'a>]) -> Vec<(u64, Vec<(&'s Shown<'a>, Mentioned)>)> {
    let mentioned: Mentioned = shown
        .iter()
        .filter(|one| one.operation.is_write && !one.is_context)
        .flat_map(|one| one.parts.iter())
        .filter(|(name, _)| matches!(name.as_str(), "element" | "text" | "name" | "to"))
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect();
    let mut sorted: Vec<&Shown<'a>> = shown.iter().collect();
    sorted.sort_by_key(|one| one.operation.invoked_ns);
    let mut processes: Vec<(u64, Vec<(&Shown<'a>, Mentioned)>)> = Vec::new();
    for one in sorted {
        let process = one.operation.process;
        let held = processes.iter_mut().find(|(known, _)| *known == process);
        match held {
            Some((_, bars)) => bars.push((one, mentioned.clone())),
            None => processes.push((process, vec![(one, mentioned.clone())])),
        }
    }
    // Those that the checker names stand together, before their surroundings.
    processes.sort_by_key(|(_, bars)| bars.iter().all(|(one, _)| one.is_context));
    processes
}

/// One operation: what it is, and beneath it from when to when.
fn bar(one: &Shown<'_>, mentioned: &Mentioned, bend: &Bend) -> String {
    let operation = one.operation;
    let (open, until) = match operation.ended_ns {
        Some(ended) if operation.outcome != Outcome::Unknown => ("", ended),
        // It may take effect at any later time.
        _ => (" open", u64::MAX),
    };
    let lasted = operation
        .latency_ns()
        .map_or_else(|| "never ended".to_owned(), duration);
    let outcome = match operation.outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "failed: certainly not done",
        Outcome::Unknown => "outcome unknown",
    };
    let error = operation.error.map_or_else(String::new, |error| {
        format!(" · {}", escape(&clip(error, 160)))
    });
    format!(
        "<div class=\"operation{context}\"><div class=\"what\" style=\"{beside}\"><b>{what}</b> <span class=\"quiet\">at {node} · {from} · {lasted} · {outcome}{error}</span></div>\
         <div class=\"track\"><i class=\"span {class}{open}\" style=\"{style}\"></i></div></div>",
        beside = bend.beside(operation.invoked_ns, until),
        context = if one.is_context { " context" } else { "" },
        what = escape(&describe(one, mentioned)),
        node = escape(operation.node),
        from = precise(operation.invoked_ns),
        class = class(operation.outcome),
        style = bend.bar(operation.invoked_ns, until),
    )
}

/// `add element 7 to key k`, more or less: the action's name and its parts.
fn describe(one: &Shown<'_>, mentioned: &Mentioned) -> String {
    let mut text = words(&operations::name(one.operation.action));
    let key = one.parts.get_key_value("key");
    let others = one.parts.iter().filter(|(name, _)| *name != "key");
    for (name, value) in key.into_iter().chain(others) {
        let said = match value {
            Value::Null => continue,
            Value::Array(list) => list_of(list, mentioned),
            value => clip(&plain(value), 60),
        };
        if name == "key" {
            text.push_str(&format!(" {said}"));
        } else {
            text.push_str(&format!(", {name} {said}"));
        }
    }
    text
}

/// `ReadSet` as `read set`.
fn words(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// A list by its length, its end, and whether it has what the picture is about.
fn list_of(list: &[Value], mentioned: &Mentioned) -> String {
    let flat: Vec<String> = list
        .iter()
        .flat_map(|value| match value {
            Value::Array(inner) => inner.iter().map(plain).collect(),
            value => vec![plain(value)],
        })
        .collect();
    let begin = flat.len().saturating_sub(ELEMENTS_MAX);
    let dots = if begin > 0 { "… " } else { "" };
    let mut text = format!(
        "{} [{dots}{}]",
        flat.len(),
        clip(&flat[begin..].join(", "), 160)
    );
    for (_, value) in mentioned {
        let verb = if flat.contains(value) { "has" } else { "lacks" };
        text.push_str(&format!(", {verb} {}", clip(value, 60)));
    }
    text
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// How long each stretch of bent time is in truth.
fn stretches(bend: &Bend) -> String {
    let stretches: String = bend
        .moments
        .windows(2)
        .map(|pair| {
            let ((from, left), (until, right)) = (pair[0], pair[1]);
            let (width, length) = (right - left, duration(until - from));
            // A label that has no room is left to hovering.
            let text = if width >= 5.0 { length.as_str() } else { "" };
            format!(
                "<i style=\"left:{left:.2}%;width:{width:.2}%\" title=\"{} to {}: {length}\">{text}</i>",
                precise(from),
                precise(until),
            )
        })
        .collect();
    format!(
        "<div class=\"row stretches\"><div class=\"gutter\">lasts</div><div class=\"field\">{stretches}</div></div>\
         <p class=\"quiet\">The order of beginnings and ends is exact; widths are not to scale, the row above tells how long each stretch was. Faint: writes of the same key around it.</p>\n"
    )
}

/// The operations as the history has them.
fn texts(shown: &[Shown<'_>]) -> String {
    let mut named: Vec<&Shown<'_>> = shown.iter().filter(|one| !one.is_context).collect();
    named.sort_by_key(|one| one.operation.invoked_ns);
    let lines: String = named
        .iter()
        .map(|one| {
            let operation = one.operation;
            let action = serde_json::to_string(operation.action).unwrap_or_default();
            let line = format!(
                "#{} process {} at {}: {} to {} {:?} {}",
                operation.index,
                operation.process,
                operation.node,
                precise(operation.invoked_ns),
                operation.ended_ns.map_or_else(|| "?".into(), precise),
                operation.outcome,
                clip(&action, TEXT_MAX),
            );
            escape(&line) + "\n"
        })
        .collect();
    format!(
        "<details><summary>The operations, word for word</summary><pre>{lines}</pre></details>\n"
    )
}
