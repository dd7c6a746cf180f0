//! One input line of a script.
use std::collections::BTreeMap;

/// What a line asks for.
#[derive(Debug)]
pub(crate) enum Line {
    Command {
        actor: Option<String>,
        word: String,
        args: Args,
    },
    Query {
        word: String,
        args: Args,
    },
    /// Sets the clock, in milliseconds.
    At(u64),
    ShowAll,
}

/// Words, and options as `name=value`.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) words: Vec<String>,
    options: BTreeMap<String, String>,
}

impl Line {
    /// `None` for everything that is no input.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        if line == "show all" {
            return Some(Self::ShowAll);
        }
        if let Some(time) = line.strip_prefix("at ") {
            return Some(Self::At(time.parse().expect("a time in milliseconds")));
        }
        let (kind, rest) = line.split_at_checked(2)?;
        let mut words = split(rest);
        match kind {
            "> " => {
                let actor = words
                    .first()
                    .and_then(|word| word.strip_suffix(':'))
                    .map(str::to_owned);
                if actor.is_some() {
                    words.remove(0);
                }
                let word = words.remove(0);
                Some(Self::Command {
                    actor,
                    word,
                    args: Args::of(words),
                })
            }
            "? " => {
                let word = words.remove(0);
                Some(Self::Query {
                    word,
                    args: Args::of(words),
                })
            }
            _ => None,
        }
    }
}

impl Args {
    fn of(all: Vec<String>) -> Self {
        let mut args = Self::default();
        for word in all {
            match word.split_once('=') {
                Some((name, value)) => {
                    args.options.insert(name.to_owned(), value.to_owned());
                }
                None => args.words.push(word),
            }
        }
        args
    }

    pub(crate) fn word(&self, place: usize) -> &str {
        self.words
            .get(place)
            .unwrap_or_else(|| panic!("word {place} is missing in {self:?}"))
    }

    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.option(name)
            .map(|text| text.parse().expect("a number"))
    }
}

/// Splits at spaces, but not within double quotes.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('"').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
