//! Golden transcripts: `tests/scripts/*.txt`, one file per noun.
//!
//! Lines that begin with `>` are commands, with `?` queries, with `at` set the clock; everything
//! else up to the next blank line is what must come out. `UPDATE=1` rewrites it: read the diff.
//!
//! A command is `> actor: word arguments option=value`. The actor is the label of a token; the
//! token of a user who registered has their name. Users are called by their names, videos `v1`,
//! `v2` in the order of publishing, comments `c1`, messages `m1`. After a command stand its reply,
//! events, and changed keys; the memory of the request and the watermarks are only shown after
//! `show all`. `> again` repeats the last request.
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use model::apply::Outcome;
use model::key;

use crate::samples;

mod line;
mod player;

use line::Line;
use player::Player;

#[test]
fn scripts_play_as_written() {
    let is_update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for (path, text) in scripts() {
        let played = play(&text);
        if is_update {
            // At once, since the other tests read it meanwhile.
            let new = path.with_extension("new");
            fs::write(&new, played).unwrap();
            fs::rename(new, &path).unwrap();
        } else if played != text {
            let first = played
                .lines()
                .zip(text.lines())
                .position(|(now, then)| now != then);
            let line = first.unwrap_or_else(|| played.lines().count().min(text.lines().count()));
            let now = played.lines().nth(line).unwrap_or("<the end>");
            let then = text.lines().nth(line).unwrap_or("<the end>");
            wrong.push(format!(
                "{}:{}\n  was {then}\n  now {now}",
                path.display(),
                line + 1
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nUPDATE=1 rewrites them: read the diff",
        wrong.join("\n")
    );
}

#[test]
fn every_operation_has_a_script() {
    let mut played = BTreeSet::new();
    for (_, text) in scripts() {
        for line in text.lines() {
            if let Some(Line::Command { word, .. }) = Line::parse(line) {
                played.insert(word);
            }
        }
    }
    for operation in samples::operations() {
        let word = samples::word(&operation);
        assert!(played.contains(word), "no script plays `{word}`");
    }
}

#[test]
fn every_rejection_has_a_script() {
    let all: String = scripts().into_iter().map(|(_, text)| text).collect();
    for rejection in samples::rejections() {
        let name = format!("{rejection:?}");
        let name = name.split('(').next().unwrap();
        assert!(
            all.contains(&format!("rejected {name}")),
            "no script is refused as {name}"
        );
    }
}

fn scripts() -> Vec<(PathBuf, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "txt"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The script with what comes out of it.
fn play(text: &str) -> String {
    let mut player = Player::default();
    let mut out = String::new();
    let mut is_output = false;
    for line in text.lines() {
        if line.is_empty() {
            is_output = false;
        }
        match Line::parse(line) {
            Some(line_in) => {
                out.push_str(line);
                out.push('\n');
                out.push_str(&player.play(line_in));
                is_output = true;
            }
            None if is_output => {}
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

/// Reply, events and changed keys, one a line.
fn transcript(outcome: &Outcome, shows_all: bool) -> String {
    let mut lines = Vec::new();
    let reply = format!("{:?}", outcome.reply);
    lines.push(match reply.strip_prefix("Rejected(") {
        Some(rejection) => format!("rejected {}", &rejection[..rejection.len() - 1]),
        None => reply,
    });
    lines.extend(
        outcome
            .events
            .iter()
            .map(|event| format!("  event {event:?}")),
    );
    for (key, value) in &outcome.changes {
        let row = key::row(key).unwrap();
        let is_plain = row.name == "Watermarks" || row.name == "Request";
        if is_plain && !shows_all {
            continue;
        }
        let key = key::describe(key);
        lines.push(match value {
            Some(value) => format!("  put {key} = {}", (row.describe_value)(value).unwrap()),
            None => format!("  delete {key}"),
        });
    }
    lines.join("\n") + "\n"
}
