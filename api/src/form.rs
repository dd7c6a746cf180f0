//! `application/x-www-form-urlencoded`, as bytes: whether a value is UTF-8 matters only when it is
//! asked for.
use bytes::Bytes;

/// A name and a value, decoded.
pub(crate) type Field = (Vec<u8>, Bytes);

/// All pairs, in order. What is no valid escape stands for itself, as browsers have it.
pub(crate) fn decode(text: &[u8]) -> Vec<Field> {
    text.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            (unescape(name), unescape(value).into())
        })
        .collect()
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            (byte, _) => out.push(*byte),
        }
    }
    out
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        decode(text.as_bytes())
            .into_iter()
            .map(|(name, value)| {
                (
                    String::from_utf8(name).unwrap(),
                    String::from_utf8_lossy(&value).into_owned(),
                )
            })
            .collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn pairs_are_split_and_unescaped() {
        assert_eq!(
            pairs("a=1&b=x+y%20z&&c&d=&%61=%E4%BD%A0&e=a=b"),
            [
                pair("a", "1"),
                pair("b", "x y z"),
                pair("c", ""),
                pair("d", ""),
                pair("a", "你"),
                pair("e", "a=b"),
            ]
        );
    }

    #[test]
    fn broken_escapes_stand_for_themselves() {
        assert_eq!(
            pairs("a=%&b=%1&c=%zz&d=100%25"),
            [
                pair("a", "%"),
                pair("b", "%1"),
                pair("c", "%zz"),
                pair("d", "100%"),
            ]
        );
        assert_eq!(&decode(b"a=%ff")[0].1[..], b"\xff");
    }
}
