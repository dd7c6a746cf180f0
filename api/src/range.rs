//! Which bytes of a file a client asks for, and whether it has them already (RFC 9110 §13, §14).
use http::HeaderMap;
use http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};
use storage::blob::Part;

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// 200.
    Whole,
    /// 206: from the first to the last byte, both included, within the file.
    Slice(u64, u64),
    /// 304.
    NotModified,
    /// 416.
    Outside,
}

impl Wanted {
    /// `etag` is strong and quoted; `bytes` is the file's size.
    pub(crate) fn of(headers: &HeaderMap, etag: &str, bytes: u64) -> Self {
        if has_already(headers, etag) {
            return Self::NotModified;
        }
        let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
        match range {
            Some(range) if is_same(headers, etag) => slice(range, bytes),
            _ => Self::Whole,
        }
    }

    pub(crate) fn part(self) -> Part {
        match self {
            Self::Slice(first, last) => Part::Bounded(first, last),
            _ => Part::Whole,
        }
    }
}

fn has_already(headers: &HeaderMap, etag: &str) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH);
    tags.iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Is the file still the one that the client has the rest of? A date never says so: files here
/// have none.
fn is_same(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(IF_RANGE).is_none_or(|value| value == etag)
}

/// What is no single range of bytes is ignored, as the standard allows.
fn slice(range: &str, bytes: u64) -> Wanted {
    let Some((unit, set)) = range.split_once('=') else {
        return Wanted::Whole;
    };
    let Some((first, last)) = set.trim().split_once('-') else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    match (number(first), number(last)) {
        (Some(Some(first)), Some(last)) => {
            let last = last.unwrap_or(u64::MAX);
            if last < first {
                Wanted::Whole
            } else if first >= bytes {
                Wanted::Outside
            } else {
                Wanted::Slice(first, last.min(bytes - 1))
            }
        }
        (Some(None), Some(Some(count))) => {
            if count == 0 || bytes == 0 {
                Wanted::Outside
            } else {
                Wanted::Slice(bytes.saturating_sub(count), bytes - 1)
            }
        }
        _ => Wanted::Whole,
    }
}

/// `None`: not a number; `Some(None)`: nothing. What does not fit is as far as can be.
fn number(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(pairs: &[(&str, &str)], bytes: u64) -> Wanted {
        let headers = pairs
            .iter()
            .map(|(name, value)| {
                (
                    name.parse::<http::HeaderName>().unwrap(),
                    value.parse().unwrap(),
                )
            })
            .collect();
        Wanted::of(&headers, "\"e\"", bytes)
    }

    fn range(text: &str) -> Wanted {
        wanted(&[("range", text)], 100)
    }

    #[test]
    fn single_ranges_are_cut_to_the_file() {
        assert_eq!(range("bytes=0-0"), Wanted::Slice(0, 0));
        assert_eq!(range("bytes=10-19"), Wanted::Slice(10, 19));
        assert_eq!(range("Bytes = 90-"), Wanted::Slice(90, 99));
        assert_eq!(range("bytes=90-1000"), Wanted::Slice(90, 99));
        assert_eq!(range("bytes=-10"), Wanted::Slice(90, 99));
        assert_eq!(range("bytes=-1000"), Wanted::Slice(0, 99));
        assert_eq!(
            range("bytes=0-99999999999999999999999"),
            Wanted::Slice(0, 99)
        );
    }

    #[test]
    fn ranges_outside_of_the_file_are_said_so() {
        for outside in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(range(outside), Wanted::Outside, "{outside}");
        }
        assert_eq!(wanted(&[("range", "bytes=0-")], 0), Wanted::Outside);
        assert_eq!(wanted(&[("range", "bytes=-5")], 0), Wanted::Outside);
    }

    #[test]
    fn what_is_no_single_range_gets_everything() {
        for odd in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=0-1,5-6",
            "lines=1-2",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=0x1-",
        ] {
            assert_eq!(range(odd), Wanted::Whole, "{odd}");
        }
        assert_eq!(wanted(&[], 100), Wanted::Whole);
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for has in ["\"e\"", "W/\"e\"", "*", "\"a\", \"e\""] {
            assert_eq!(
                wanted(&[("if-none-match", has), ("range", "bytes=0-1")], 100),
                Wanted::NotModified,
                "{has}"
            );
        }
        for other in ["\"a\"", "e", "\"E\""] {
            assert_eq!(
                wanted(&[("if-none-match", other)], 100),
                Wanted::Whole,
                "{other}"
            );
        }
    }

    #[test]
    fn a_range_of_another_version_gets_everything() {
        let range = ("range", "bytes=0-1");
        assert_eq!(
            wanted(&[range, ("if-range", "\"e\"")], 100),
            Wanted::Slice(0, 1)
        );
        for other in ["\"a\"", "W/\"e\"", "Sat, 01 Jan 2022 00:00:00 GMT"] {
            assert_eq!(
                wanted(&[range, ("if-range", other)], 100),
                Wanted::Whole,
                "{other}"
            );
        }
    }
}
