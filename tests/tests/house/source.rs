//! The tree as text: which files there are, and what in a Rust file is code.
use std::path::{Path, PathBuf};

/// One file of the tree.
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == extension)
    }

    /// Everything in it is test code.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/")
    }
}

pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the package `tests` lies in the root")
        .to_owned()
}

/// All text files of the tree, build output and demo data apart, in order of their paths.
pub(crate) fn files() -> Vec<File> {
    let mut files = Vec::new();
    visit(&root(), "", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 50, "the tree was not found");
    files
}

/// The file at `path`, which has to be there.
pub(crate) fn file(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn visit(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).expect("the tree can be read") {
        let entry = entry.expect("the tree can be read");
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let path = format!("{prefix}{name}");
        // Not ours, or not committed (.gitignore).
        if [".git", "target", "data"].contains(&path.as_str()) {
            continue;
        }
        let kind = entry.file_type().expect("the tree can be read");
        if kind.is_dir() {
            visit(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_file()
            // Clips and pictures are no text; a file that another test just removed is no file.
            && let Ok(text) = std::fs::read_to_string(entry.path())
        {
            files.push(File { path, text });
        }
    }
}

/// The text without comments and without the insides of strings, line for line, so that words in
/// prose are not taken for code.
pub(crate) fn code(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment_bytes(rest)
        } else if let Some(bytes) = literal_bytes(rest, code.chars().next_back()) {
            code.push('"');
            bytes
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        // Lines stay where they are.
        code.extend(rest[..skipped].chars().filter(|&letter| letter == '\n'));
        rest = &rest[skipped..];
    }
    code
}

fn block_comment_bytes(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of the string, raw string or character that `text` starts with; `None` if it starts with
/// none. `before` tells the letter in front: the `r` in `for"` opens nothing.
fn literal_bytes(text: &str, before: Option<char>) -> Option<usize> {
    let is_word = before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    if text.starts_with('"') {
        return Some(escaped_bytes(text, '"'));
    }
    if !is_word && let Some(after) = text.strip_prefix('r') {
        let hashes = after.len() - after.trim_start_matches('#').len();
        if after[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = 1 + hashes + 1;
            return Some(
                text[open..]
                    .find(&close)
                    .map_or(text.len(), |at| open + at + close.len()),
            );
        }
    }
    // A character, not a lifetime: the quote closes after one letter or an escape.
    let mut letters = text.strip_prefix('\'')?.chars();
    match letters.next()? {
        '\\' => Some(escaped_bytes(text, '\'')),
        letter if letters.next() == Some('\'') => Some(letter.len_utf8() + 2),
        _ => None,
    }
}

fn escaped_bytes(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if letter == quote => return at + letter.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Splits a file of code in what ships and its unit tests, which by custom come last.
pub(crate) fn split_tests(code: &str) -> (&str, &str) {
    let marks = code.match_indices("#[cfg(test)]");
    let opens_module = |at: usize| {
        let after = code[at..].trim_start_matches("#[cfg(test)]").trim_start();
        let name = after.strip_prefix("mod ").unwrap_or_default();
        // `mod stub;` is a file of its own.
        name.trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_')
            .trim_start()
            .starts_with('{')
    };
    let tests = marks.map(|(at, _)| at).find(|&at| opens_module(at));
    code.split_at(tests.unwrap_or(code.len()))
}

/// The words (identifiers and keywords) of code.
pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
}

/// The variants of an enum.
pub(crate) fn variants(code: &str, name: &str) -> Vec<String> {
    let head = format!("enum {name} {{");
    let Some(start) = code.find(&head) else {
        return Vec::new();
    };
    let mut variants = Vec::new();
    let mut depth = 1_usize;
    let mut is_start = true;
    let mut word = String::new();
    for letter in code[start + head.len()..].chars() {
        if depth == 1 && is_start && (letter.is_alphanumeric() || letter == '_') {
            word.push(letter);
            continue;
        }
        if !word.is_empty() {
            variants.push(std::mem::take(&mut word));
            is_start = false;
        }
        match letter {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' if depth == 1 => break,
            '}' | ')' | ']' => depth -= 1,
            ',' if depth == 1 => is_start = true,
            _ => {}
        }
    }
    variants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_and_strings_are_no_code() {
        let text = concat!(
            "let a = \"todo!\\\" x\"; // dbg!\n",
            "/* one /* two */\n three */ let b: &'static str = r#\"sleep\"(\"#;\n",
            "let c = '\"'; let d = '\\''; for\"e\";\n",
        );
        let expected = concat!(
            "let a = \"; \n",
            "\n let b: &'static str = \";\n",
            "let c = \"; let d = \"; for\";\n",
        );
        assert_eq!(code(text), expected);
    }

    #[test]
    fn unit_tests_are_told_from_what_ships() {
        let text = "#[cfg(test)]\nmod stub;\nfn a() {}\n#[cfg(test)]\nmod tests {\n}\n";
        let (ships, tests) = split_tests(text);
        assert!(ships.ends_with("fn a() {}\n"));
        assert!(tests.contains("mod tests"));
    }

    #[test]
    fn variants_are_found_whatever_they_hold() {
        let text = "pub enum No { A, #[error(\"x\")] B(String), C { d: u8, E: u8 }, F = 3, G }";
        assert_eq!(variants(text, "No"), ["A", "B", "C", "F", "G"]);
        assert_eq!(variants(text, "Yes"), [""; 0]);
    }
}
