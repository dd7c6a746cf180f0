//! What every file owes its reader: a reason to exist, a bearable length, nothing left over,
//! links that lead somewhere, tests that run.
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::assert_none;
use crate::source::{self, File, code, split_tests, variants, words};

/// Lines of shipped Rust in one file; its unit tests do not count.
const FILE_LINES_MAX: usize = 500;
const ARCHITECTURE_LINES_MAX: usize = 200;
const DESIGN_LINES_MAX: usize = 150;

fn too_long(path: &str, text: &str) -> Option<String> {
    let (ships, _) = split_tests(text);
    let lines = ships.lines().count();
    (lines > FILE_LINES_MAX).then(|| format!("{path}: {lines} lines, {FILE_LINES_MAX} is the most"))
}

fn left_over(path: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let macros = ["dbg!", "todo!", "unimplemented!"];
    let mut found: Vec<&str> = macros
        .into_iter()
        .filter(|&name| code.contains(name))
        .collect();
    // In two parts, or this line would be found.
    let unfinished = concat!("(being ", "built)");
    if text.contains(unfinished) {
        found.push(unfinished);
    }
    found
        .into_iter()
        .map(|name| format!("{path}: leftover `{name}`"))
        .collect()
}

fn without_reason(path: &str, text: &str) -> Option<String> {
    (!text.starts_with("//!")).then(|| format!("{path}: does not open with `//!` why it exists"))
}

/// Tests that are written and never run.
fn ignored_tests(path: &str, text: &str) -> Option<String> {
    code(text)
        .contains("#[ignore")
        .then(|| format!("{path}: an ignored test"))
}

/// A test that sleeps until something has surely happened is slow on a fast machine and wrong on a
/// slow one: it awaits the condition (`wait.rs`) or runs on paused time. A short sleep that plays a
/// slow party is fine, so only those of a second and more are complained of.
fn sleeping_tests(file: &File) -> Vec<String> {
    let code = code(&file.text);
    let tests = if file.is_test() {
        code.as_str()
    } else {
        split_tests(&code).1
    };
    if file.path.ends_with("/wait.rs") || words(tests).any(|word| word == "start_paused") {
        return Vec::new();
    }
    let dense: String = tests.split_whitespace().collect();
    dense
        .split("sleep(")
        .skip(1)
        .filter_map(|after| {
            let call = after.strip_prefix("Duration::from_")?;
            let (unit, amount) = call.split_once('(')?;
            let amount: u64 = amount.split_once(')')?.0.replace('_', "").parse().ok()?;
            let is_long = unit == "secs" && amount > 0 || unit == "millis" && amount >= 1_000;
            is_long.then(|| format!("{}: a test sleeps {amount} {unit}", file.path))
        })
        .collect()
}

/// Relative links of a Markdown text that lead nowhere. `exists` is asked for paths from the root.
fn broken_links(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        let mut rest = if is_code { "" } else { line };
        while let Some((_, after)) = rest.split_once("](") {
            let Some((link, behind)) = after.split_once(')') else {
                break;
            };
            rest = behind;
            let target = link.split(['#', ' ']).next().unwrap_or_default();
            let is_relative =
                !target.is_empty() && !target.contains(':') && !target.starts_with('/');
            if is_relative && !resolve(path, target).is_some_and(|target| exists(&target)) {
                complaints.push(format!("{path}: the link to {link} leads nowhere"));
            }
        }
    }
    complaints
}

/// The path from the root that `link` in the file at `path` means; `None` if it leaves the tree.
fn resolve(path: &str, link: &str) -> Option<String> {
    let mut resolved: PathBuf = Path::new(path).parent()?.to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir if !resolved.pop() => return None,
            Component::CurDir | Component::ParentDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    resolved.to_str().map(str::to_owned)
}

/// Paths and package sources of one machine, which mean nothing on another one.
fn machine_words(path: &str, text: &str) -> Vec<String> {
    // In two parts each, or these lines would be found.
    let homes = [
        concat!("/ro", "ot/."),
        concat!("/wo", "rk/main"),
        concat!("/wo", "rk/shared"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
    ];
    let sources = [
        concat!("index", "-url"),
        concat!("replace", "-with"),
        concat!("[sour", "ce."),
        concat!("registry+", "http://"),
    ];
    let mut complaints: Vec<String> = homes
        .into_iter()
        .chain(sources)
        .filter(|word| text.contains(word))
        .map(|word| format!("{path}: `{word}` belongs to one machine"))
        .collect();
    if path.ends_with("Cargo.lock") {
        let registry = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
        let strange = text
            .lines()
            .filter(|line| line.starts_with("source = ") && *line != registry);
        complaints.extend(strange.map(|line| format!("{path}: {line}")));
    }
    complaints
}

/// Operations of the log's vocabulary that no golden script runs.
fn operations_without_script(command: &str, scripts: &str) -> Vec<String> {
    let known: BTreeSet<&str> = words(scripts).collect();
    variants(&code(command), "Operation")
        .into_iter()
        .filter(|operation| {
            !known.contains(operation.as_str()) && !known.contains(&*snake(operation))
        })
        .map(|operation| format!("Operation::{operation} is in no script"))
        .collect()
}

/// Rejections that the one map to status codes does not name.
fn rejections_without_code(rejections: &str, map: &str) -> Vec<String> {
    let map = code(map);
    let known: BTreeSet<&str> = words(&map).collect();
    variants(&code(rejections), "Rejection")
        .into_iter()
        .filter(|rejection| !known.contains(rejection.as_str()))
        .map(|rejection| format!("Rejection::{rejection} has no status code"))
        .collect()
}

/// Settings (fields that are read from the configuration file) that the example file does not show,
/// be it as a comment.
fn settings_without_example(path: &str, source: &str, example: &str) -> Vec<String> {
    let code = code(source);
    let structs = code.split("#[derive(").skip(1).filter(|item| {
        let derived = item.split(')').next().unwrap_or_default();
        derived.contains("Deserialize")
    });
    let fields = structs.flat_map(|item| {
        let body = item.split("\n}").next().unwrap_or_default();
        body.lines().filter_map(|line| {
            let field = line
                .trim()
                .strip_prefix("pub")?
                .trim_start_matches("(crate)");
            let (name, _) = field.trim_start().split_once(':')?;
            Some(name.to_owned())
        })
    });
    let is_shown = |name: &str| {
        let is_set = example
            .match_indices(&format!("{name} ="))
            .any(|(at, _)| !ends_in_word(&example[..at]));
        let is_table = |line: &str| line.starts_with('[') && line.ends_with(&format!("{name}]"));
        is_set || example.lines().any(is_table)
    };
    fields
        .filter(|name| !is_shown(name))
        .map(|name| format!("{path}: `{name}` is not in deploy/yin.toml"))
        .collect()
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_')
}

/// `AddComment` as `add_comment`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

fn complaints_of<C: IntoIterator<Item = String>>(
    is_concerned: impl Fn(&File) -> bool,
    rule: impl Fn(&File) -> C,
) -> Vec<String> {
    source::files()
        .iter()
        .filter(|file| is_concerned(file))
        .flat_map(rule)
        .collect()
}

mod rules_can_fail {
    use super::*;

    #[test]
    fn a_long_file() {
        let line = "fn a() {}\n";
        assert_none(
            "short",
            &too_long("a.rs", &line.repeat(500))
                .into_iter()
                .collect::<Vec<_>>(),
        );
        assert!(too_long("a.rs", &line.repeat(501)).is_some());
        let tests = format!("{line}#[cfg(test)]\nmod tests {{\n{}}}\n", line.repeat(501));
        assert!(too_long("a.rs", &tests).is_none());
    }

    #[test]
    fn leftovers() {
        assert_eq!(left_over("a.rs", "fn a() { dbg!(1); todo!() }").len(), 2);
        assert_eq!(left_over("a.rs", concat!("//! (being ", "built)")).len(), 1);
        assert_none("prose", &left_over("a.rs", "// todo!\nlet a = \"dbg!\";"));
    }

    #[test]
    fn a_file_without_reason() {
        assert!(without_reason("a.rs", "use b;\n").is_some());
        assert!(without_reason("a.rs", "//! Why.\nuse b;\n").is_none());
    }

    #[test]
    fn an_ignored_test() {
        assert!(ignored_tests("a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}").is_some());
        assert!(ignored_tests("a.rs", "// #[ignore]\n").is_none());
    }

    #[test]
    fn a_sleeping_test() {
        let naps = |path: &str, text: &str| {
            let (path, text) = (path.to_owned(), text.to_owned());
            sleeping_tests(&File { path, text }).len()
        };
        let long = "tokio::time::sleep(Duration::from_millis(2_000)).await;";
        let unit = "#[cfg(test)]\nmod tests { fn a() { sleep(\n Duration::from_secs(1)); } }";
        assert_eq!(naps("api/src/a.rs", unit), 1);
        assert_eq!(naps("tests/tests/a.rs", &long.repeat(2)), 2);
        assert_eq!(naps("api/src/a.rs", long), 0, "it ships");
        assert_eq!(naps("tests/src/wait.rs", long), 0);
        assert_eq!(
            naps("api/tests/a.rs", "sleep(Duration::from_millis(30)).await;"),
            0
        );
        let paused = format!("#[tokio::test(start_paused = true)] async fn a() {{ {long} }}");
        assert_eq!(naps("gossip/tests/a.rs", &paused), 0);
    }

    #[test]
    fn a_broken_link() {
        let there = |path: &str| path == "api/DESIGN.md" || path == "README.md";
        let text = "[a](DESIGN.md#x) [b](../README.md) [c](https://x.y/z) [d](#e)\n\
                    ```\n[code](nowhere)\n```\n[f](gone.md), [g](../../out.md)";
        let complaints = broken_links("api/NOTES.md", text, there);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].contains("gone.md") && complaints[1].contains("out.md"));
    }

    #[test]
    fn a_word_of_one_machine() {
        assert_eq!(
            machine_words("a.md", concat!("see /ro", "ot/.cargo")).len(),
            1
        );
        let git = "source = \"git+https://example.org/a\"\n";
        assert_eq!(machine_words("Cargo.lock", git).len(), 1);
        let good = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
        assert_none("good lock", &machine_words("Cargo.lock", good));
    }

    #[test]
    fn an_operation_without_script() {
        let command =
            "pub enum Operation {\n    AddComment(AddComment),\n    Like(Like),\n    Sweep,\n}";
        let complaints = operations_without_script(command, "add_comment video=1\n\nSweep\n");
        assert_eq!(complaints, ["Operation::Like is in no script"]);
    }

    #[test]
    fn a_setting_without_example() {
        let source = "#[derive(Clone, Deserialize)]\npub struct A {\n    pub shown: u8,\n    \
                      pub(crate) table: B,\n    pub hidden: u8,\n}\n\
                      #[derive(Clone)]\npub struct C {\n    pub inner: u8,\n}\n";
        let example = "# shown = 1\n[api.table]\nx = 1 # no hidden\n";
        let complaints = settings_without_example("a.rs", source, example);
        assert_eq!(complaints, ["a.rs: `hidden` is not in deploy/yin.toml"]);
    }

    #[test]
    fn a_rejection_without_code() {
        let rejections = "pub enum Rejection {\n #[error(\"A\")]\n A,\n B(String),\n}";
        let complaints = rejections_without_code(rejections, "// B\nRejection::A => 1,");
        assert_eq!(complaints, ["Rejection::B has no status code"]);
    }
}

#[test]
fn files_are_bearably_long() {
    let complaints = complaints_of(
        |file| file.is_rust() && !file.is_test(),
        |file| too_long(&file.path, &file.text),
    );
    assert_none("length", &complaints);
}

#[test]
fn nothing_is_left_over() {
    assert_none(
        "leftovers",
        &complaints_of(File::is_rust, |file| left_over(&file.path, &file.text)),
    );
}

#[test]
fn every_file_says_why_it_exists() {
    let complaints = complaints_of(File::is_rust, |file| without_reason(&file.path, &file.text));
    assert_none("reasons", &complaints);
}

#[test]
fn no_test_is_ignored() {
    assert_none(
        "ignored",
        &complaints_of(File::is_rust, |file| ignored_tests(&file.path, &file.text)),
    );
}

#[test]
fn no_test_sleeps() {
    assert_none("sleeps", &complaints_of(File::is_rust, sleeping_tests));
}

#[test]
fn links_lead_somewhere() {
    let root = source::root();
    let complaints = complaints_of(
        |file| file.has_extension("md"),
        |file| broken_links(&file.path, &file.text, |target| root.join(target).exists()),
    );
    assert_none("links", &complaints);
}

#[test]
fn nothing_belongs_to_one_machine() {
    assert_none(
        "machine",
        &complaints_of(|_| true, |file| machine_words(&file.path, &file.text)),
    );
}

#[test]
fn every_operation_has_a_golden_script() {
    let scripts: String = source::files()
        .into_iter()
        .filter(|file| file.path.starts_with("storage/model/tests/scripts/"))
        .map(|file| file.text)
        .collect();
    let command = source::file("storage/model/src/command.rs");
    assert!(
        variants(&code(&command), "Operation").len() > 10,
        "the enum was not read"
    );
    assert_none("scripts", &operations_without_script(&command, &scripts));
}

#[test]
fn every_rejection_has_a_status_code() {
    let rejections = source::file("storage/model/src/error.rs");
    assert!(
        variants(&code(&rejections), "Rejection").len() > 10,
        "the enum was not read"
    );
    let map = source::file("api/src/error.rs");
    assert_none("rejections", &rejections_without_code(&rejections, &map));
}

#[test]
fn every_setting_is_in_the_example() {
    let example = source::file("deploy/yin.toml");
    let complaints: Vec<String> = ["node/src/config.rs", "api/src/options.rs"]
        .into_iter()
        .flat_map(|path| settings_without_example(path, &source::file(path), &example))
        .collect();
    assert_none("settings", &complaints);
}

#[test]
fn designs_are_written_and_short() {
    let files = source::files();
    let mut complaints = BTreeSet::new();
    for manifest in files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
    {
        let folder = manifest.path.trim_end_matches("/Cargo.toml");
        // These are one room with their parents.
        let folder = match folder {
            "deploy/demo" => "deploy",
            "jepsen/checkers" | "jepsen/ports" | "jepsen/router" => "jepsen",
            folder => folder,
        };
        let design = format!("{folder}/DESIGN.md");
        if !files.iter().any(|file| file.path == design) {
            complaints.insert(format!("{design} is missing"));
        }
    }
    for file in files.iter().filter(|file| file.has_extension("md")) {
        let lines_max = match file.path.rsplit('/').next() {
            Some("ARCHITECTURE.md") => ARCHITECTURE_LINES_MAX,
            Some("DESIGN.md") => DESIGN_LINES_MAX,
            _ => continue,
        };
        let lines = file.text.lines().count();
        if lines > lines_max {
            complaints.insert(format!(
                "{}: {lines} lines, {lines_max} is the most",
                file.path
            ));
        }
    }
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert_none("designs", &complaints);
}
