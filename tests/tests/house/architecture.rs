//! Floors and arrows of ARCHITECTURE.md: a manifest may name what lies below it and nothing else,
//! and a line of code may know no more than its room.
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::assert_none;
use crate::rooms::{ARROWS, ARROWS_OF_TESTS, EVERYWHERE, HOMES, ROOT, STRANGE_WORDS};
use crate::source::{self, code, split_tests, words};

/// One arrow in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    from: String,
    to: String,
    /// For the tests of `from` only.
    is_for_tests: bool,
}

fn forbidden_arrows(packages: &BTreeMap<String, String>, arrows: &BTreeSet<Arrow>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (package, folder) in packages {
        match ARROWS.iter().find(|(name, ..)| name == package) {
            None => complaints.push(format!(
                "{folder}: the package `{package}` is not in the table"
            )),
            Some((_, expected, _)) if expected != folder => {
                complaints.push(format!("{package}: lies in {folder}, not in {expected}"));
            }
            Some(_) => {}
        }
    }
    for (name, folder, _) in ARROWS {
        if !packages.contains_key(name) {
            complaints.push(format!(
                "{folder}: the package `{name}` is in the table, but not there"
            ));
        }
    }
    for Arrow {
        from,
        to,
        is_for_tests,
    } in arrows
    {
        if packages.contains_key(to) {
            let is_below = may(
                ARROWS.iter().map(|(name, _, below)| (*name, *below)),
                from,
                to,
            );
            let is_granted = *is_for_tests && may(ARROWS_OF_TESTS.into_iter(), from, to);
            if !is_below && !is_granted && !EVERYWHERE.contains(&to.as_str()) {
                complaints.push(format!("{from} -> {to}: this arrow is not in the table"));
            }
        } else if !is_for_tests
            && let Some((_, homes)) = HOMES.iter().find(|(library, _)| library == to)
            && !homes.contains(&from.as_str())
            && from != "tests"
        {
            complaints.push(format!(
                "{from} -> {to}: only {} may know it",
                homes.join(", ")
            ));
        }
    }
    complaints
}

fn may<'a>(
    mut table: impl Iterator<Item = (&'a str, &'a [&'a str])>,
    from: &str,
    to: &str,
) -> bool {
    table.any(|(name, below)| name == from && below.contains(&to))
}

fn strange_words(path: &str, text: &str) -> Vec<String> {
    let Some((_, strange, why)) = STRANGE_WORDS
        .iter()
        .find(|(folder, ..)| path.starts_with(folder))
    else {
        return Vec::new();
    };
    let code = code(text);
    let (ships, _) = split_tests(&code);
    let words: BTreeSet<&str> = words(ships).collect();
    strange
        .iter()
        // `Operation::` is a look at its variants, `Operation` alone is only carried.
        .filter(|word| words.contains(**word) || word.ends_with("::") && ships.contains(**word))
        .map(|word| format!("{path}: `{word}`: {why}"))
        .collect()
}

/// Versions live in the workspace's table only, and every package takes over its settings.
fn own_ways(path: &str, manifest: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for setting in ["edition", "rust-version", "license", "publish", "version"] {
        if !manifest.contains(&format!("\n{setting}.workspace = true\n")) {
            complaints.push(format!("{path}: `{setting}` is not the workspace's"));
        }
    }
    if !manifest.contains("\n[lints]\nworkspace = true\n") {
        complaints.push(format!("{path}: the lints are not the workspace's"));
    }
    let mut is_dependency = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_dependency = line.ends_with("dependencies]");
        } else if is_dependency && line.contains('=') && !line.starts_with('#') {
            let is_shared = line.contains("workspace = true");
            if !is_shared {
                complaints.push(format!(
                    "{path}: a version outside the workspace's table: {line}"
                ));
            }
        }
    }
    complaints
}

fn strangers_in_root<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names: BTreeSet<&str> = paths.filter_map(|path| path.split('/').next()).collect();
    let strangers = names
        .iter()
        .filter(|name| !name.starts_with('.') && !ROOT.contains(name));
    let missing = ROOT.iter().filter(|name| !names.contains(**name));
    strangers
        .map(|name| format!("{name} has no place in the root"))
        .chain(missing.map(|name| format!("{name} is missing in the root")))
        .collect()
}

/// What cargo reads in the manifests: packages with their folders, and their direct dependencies.
fn manifests() -> (BTreeMap<String, String>, BTreeSet<Arrow>) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(source::root())
        .output()
        .expect("cargo can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let root = text(&metadata, "workspace_root");
    let (mut packages, mut arrows) = (BTreeMap::new(), BTreeSet::new());
    for package in metadata["packages"]
        .as_array()
        .expect("cargo lists packages")
    {
        let name = text(package, "name");
        let manifest = text(package, "manifest_path");
        let folder = manifest
            .strip_prefix(&root)
            .and_then(|path| path.trim_start_matches('/').strip_suffix("/Cargo.toml"))
            .expect("packages lie below the root");
        packages.insert(name.clone(), folder.to_owned());
        for dependency in package["dependencies"]
            .as_array()
            .expect("cargo lists dependencies")
        {
            let is_for_tests = dependency["kind"] == "dev";
            arrows.insert(Arrow {
                from: name.clone(),
                to: text(dependency, "name"),
                is_for_tests,
            });
        }
    }
    (packages, arrows)
}

#[test]
fn a_forbidden_arrow_is_seen() {
    let arrow = |from: &str, to: &str, is_for_tests| Arrow {
        from: from.to_owned(),
        to: to.to_owned(),
        is_for_tests,
    };
    let packages: BTreeMap<String, String> = ARROWS
        .iter()
        .map(|(name, folder, _)| ((*name).to_owned(), (*folder).to_owned()))
        .collect();
    let complaints =
        |arrows: &[Arrow]| forbidden_arrows(&packages, &arrows.iter().cloned().collect());
    assert_none(
        "good arrows",
        &complaints(&[
            arrow("raft", "storage", false),
            arrow("api", "transport", true),
            arrow("storage", "rocksdb", false),
            arrow("tests", "quinn", false),
            arrow("api", "serde", false),
        ]),
    );
    for bad in [
        arrow("model", "storage", false),
        arrow("api", "transport", false),
        arrow("gossip", "storage", true),
        arrow("demo", "model", false),
        arrow("api", "rocksdb", false),
    ] {
        assert_eq!(complaints(std::slice::from_ref(&bad)).len(), 1, "{bad:?}");
    }
    let mut moved = packages.clone();
    moved.insert("model".to_owned(), "model".to_owned());
    moved.insert("extra".to_owned(), "extra".to_owned());
    moved.remove("gossip");
    assert_eq!(forbidden_arrows(&moved, &BTreeSet::new()).len(), 3);
}

#[test]
fn a_strange_word_is_seen() {
    let text =
        "use std::collections::HashMap;\n// Instant\n#[cfg(test)]\nmod tests { use tokio; }\n";
    assert_eq!(strange_words("storage/model/src/user.rs", text).len(), 1);
    assert_eq!(
        strange_words("api/src/user.rs", "use rocksdb::DB; use quinn;").len(),
        2
    );
    assert_eq!(
        strange_words(
            "raft/src/machine.rs",
            "fn a(b: Operation) { match b { Operation::Like(_) => {} } }"
        )
        .len(),
        1
    );
    assert_none("elsewhere", &strange_words("node/src/serve.rs", text));
}

#[test]
fn a_package_with_own_ways_is_seen() {
    let good = "[package]\nname = \"a\"\nversion.workspace = true\nedition.workspace = true\n\
                rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\
                \n[lints]\nworkspace = true\n\n[dependencies]\nserde.workspace = true\n\
                # why = this\nrustix = { workspace = true, features = [\"event\"] }\n";
    assert_none("good manifest", &own_ways("a", good));
    let own_version = good.replace("serde.workspace = true", "serde = \"1\"");
    assert_eq!(own_ways("a", &own_version).len(), 1);
    let own_lints = good.replace("[lints]\nworkspace = true\n", "");
    assert_eq!(own_ways("a", &own_lints).len(), 1);
    assert_eq!(
        own_ways(
            "a",
            &good.replace("edition.workspace = true", "edition = \"2021\"")
        )
        .len(),
        1
    );
}

#[test]
fn a_stranger_in_the_root_is_seen() {
    let paths = ROOT.iter().copied().chain([".gitignore", "notes.txt"]);
    assert_eq!(
        strangers_in_root(paths),
        ["notes.txt has no place in the root"]
    );
    assert_eq!(strangers_in_root(ROOT.iter().copied().skip(1)).len(), 1);
}

#[test]
fn manifests_keep_to_the_arrows() {
    let (packages, arrows) = manifests();
    assert!(arrows.len() > 50, "the manifests were not read");
    assert_none("arrows", &forbidden_arrows(&packages, &arrows));
}

#[test]
fn manifests_have_no_ways_of_their_own() {
    let complaints: Vec<String> = source::files()
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        // Outside the workspace, so that they cannot share its table.
        .filter(|file| !file.path.starts_with("tests/bench/peers/"))
        .flat_map(|file| own_ways(&file.path, &file.text))
        .collect();
    assert_none("manifests", &complaints);
}

#[test]
fn code_knows_no_more_than_its_room() {
    let complaints: Vec<String> = source::files()
        .iter()
        .filter(|file| file.is_rust())
        .flat_map(|file| strange_words(&file.path, &file.text))
        .collect();
    assert_none("rooms", &complaints);
}

#[test]
fn the_root_holds_what_it_should() {
    let files = source::files();
    assert_none(
        "root",
        &strangers_in_root(files.iter().map(|file| file.path.as_str())),
    );
}

/// The nearest clippy.toml replaces the root's, so the model's has to repeat it and add its bans.
#[test]
fn the_model_is_linted_for_purity() {
    let own = source::file("storage/model/clippy.toml");
    for line in source::file("clippy.toml").lines() {
        assert!(
            own.contains(line),
            "storage/model/clippy.toml does not repeat `{line}`"
        );
    }
    for banned in ["SystemTime::now", "Instant::now", "HashMap"] {
        assert!(
            own.contains(banned),
            "storage/model/clippy.toml does not ban {banned}"
        );
    }
}
