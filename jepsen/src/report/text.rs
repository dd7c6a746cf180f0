//! Text for people: escaped for HTML, numbers with separators, times with units.

/// Makes any text safe inside an element and inside a quoted attribute; what XML forbids is shown
/// as a replacement character.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(letter),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ if letter.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// At most so many characters, with a sign that there were more.
pub(super) fn clip(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 fault`, `2 faults`.
pub(super) fn count(count: u64, one: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {one}{ending}", number(count))
}

/// A length of time with three digits at most, and its unit.
pub(super) fn duration(ns: u64) -> String {
    let of = |unit: f64| ns as f64 / unit;
    match ns {
        0 => "0".into(),
        1..1_000_000 => format!("{:.0} µs", of(1e3)),
        1_000_000..10_000_000 => format!("{:.1} ms", of(1e6)),
        10_000_000..1_000_000_000 => format!("{:.0} ms", of(1e6)),
        1_000_000_000..10_000_000_000 => format!("{:.2} s", of(1e9)),
        10_000_000_000..60_000_000_000 => format!("{:.1} s", of(1e9)),
        _ => minutes(ns / 1_000_000_000),
    }
}

/// Whole minutes and seconds, or hours and minutes.
pub(super) fn minutes(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A moment of the run, `m:ss.t`.
pub(super) fn moment(ns: u64) -> String {
    let tenths = ns / 100_000_000;
    let (minutes, rest) = (tenths / 600, tenths % 600);
    format!("{minutes}:{:02}.{}", rest / 10, rest % 10)
}

/// A moment of the run to the millisecond, `m:ss.mmm`.
pub(super) fn precise(ns: u64) -> String {
    let ms = ns / 1_000_000;
    format!("{}:{:02}.{:03}", ms / 60_000, ms / 1_000 % 60, ms % 1_000)
}

/// Nodes and links; two links of the same nodes in both directions are one.
pub(super) fn targets(targets: &[String]) -> String {
    let back = |target: &String| {
        let (from, to) = target.split_once('>')?;
        Some(format!("{to}>{from}"))
    };
    let mut words: Vec<String> = Vec::new();
    for (position, target) in targets.iter().enumerate() {
        let Some(other) = back(target).and_then(|back| targets.iter().position(|one| *one == back))
        else {
            words.push(target.clone());
            continue;
        };
        if position < other {
            words.push(target.replace('>', "↔"));
        } else if position == other {
            words.push(target.clone());
        }
    }
    words.join(" ")
}

/// A message without what differs each time: the address that was asked and the query of a URL,
/// which may hold a token.
pub(super) fn message(text: &str) -> String {
    let mut message = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let scheme = rest[..at].trim_end_matches(|letter: char| letter.is_ascii_alphanumeric());
        message.push_str(scheme);
        let url = &rest[at + 3..];
        let ends =
            |letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'' | ')' | ',' | '>');
        let end = url.find(ends).unwrap_or(url.len());
        let path = url[..end].find('/').map_or("", |slash| &url[slash..end]);
        message.push_str(path.split('?').next().unwrap_or_default());
        rest = &url[end..];
    }
    message + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_both_directions_are_one() {
        let links = ["n1>n2", "n2>n1", "n3", "n1>n3"].map(str::to_owned);
        assert_eq!(targets(&links), "n1↔n2 n3 n1>n3");
    }

    #[test]
    fn messages_of_one_kind_are_alike() {
        let one = "Error { url: \"http://10.77.0.1:80/a/b/?token=x&y=1\", source: TimedOut }";
        assert_eq!(message(one), "Error { url: \"/a/b/\", source: TimedOut }");
        assert_eq!(message("https://host"), "");
        assert_eq!(message("503: no leader"), "503: no leader");
    }

    #[test]
    fn nothing_gets_out_of_its_element() {
        let escaped = escape("<a href=\"x\" b='y'>&\u{0}\u{1b}");
        assert_eq!(
            escaped,
            "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn numbers_have_units() {
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(999), "999");
        assert_eq!(duration(1_234_000), "1.2 ms");
        assert_eq!(duration(2_345_000_000), "2.35 s");
        assert_eq!(duration(125_000_000_000), "2 min 5 s");
        assert_eq!(moment(83_450_000_000), "1:23.4");
        assert_eq!(clip("äöü", 2), "äö…");
    }
}
