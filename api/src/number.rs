//! Whole numbers and times as clients write them: `1234567`, `1.234567e+06` and `1234567.0` are the
//! same id.
use model::id::ID_MAX;
use model::time::Timestamp;

/// Reads a whole number; `None` when it is none or does not fit.
///
/// A `+` that reached us unescaped in a form is a space by now: `1e 06` is `1e+06`.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, shift(exponent)?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let magnitude = scaled(whole, fraction, exponent)?;
    if is_negative {
        0_i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// The exponent, cut to what still can make a difference.
fn shift(text: &str) -> Option<i64> {
    const FAR: i64 = 1 << 20;
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' | b' ' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(FAR).min(FAR);
    Some(if is_negative { -size } else { size })
}

/// `whole.fraction` times ten to the `exponent`, if that is whole and fits.
fn scaled(whole: &str, fraction: &str, exponent: i64) -> Option<u64> {
    let digits = || whole.bytes().chain(fraction.bytes());
    if !digits().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let mut value = 0_u64;
    for (place, byte) in (0_i64..).zip(digits()) {
        let digit = u64::from(byte - b'0');
        if place < count {
            value = value.checked_mul(10)?.checked_add(digit)?;
        } else if digit != 0 {
            return None;
        }
    }
    let written = i64::try_from(whole.len() + fraction.len()).ok()?;
    for _ in written..count {
        if value == 0 {
            break;
        }
        value = value.checked_mul(10)?;
    }
    Some(value)
}

/// Reads an id or a count: 0 to 2^53 - 1.
pub(crate) fn id(text: &str) -> Option<u64> {
    integer(text)
        .and_then(|number| u64::try_from(number).ok())
        .filter(|id| *id <= ID_MAX)
}

/// A time that came in: below this it is seconds, else milliseconds.
const SECONDS_BELOW: u64 = 100_000_000_000;

/// A bound in time. Seconds mean the whole second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The last millisecond of it.
    pub(crate) last: Timestamp,
    is_second: bool,
}

impl Moment {
    /// Absent, empty, unparsable and `<= 0` mean no bound.
    pub(crate) fn parse(text: Option<&str>) -> Option<Self> {
        let number = u64::try_from(integer(text?)?)
            .ok()
            .filter(|number| *number > 0)?;
        let is_second = number < SECONDS_BELOW;
        let last = if is_second {
            number * 1_000 + 999
        } else {
            number
        };
        Some(Self {
            last: Timestamp(last),
            is_second,
        })
    }

    /// As an upper bound that is itself excluded: a given second is seen whole.
    pub(crate) fn before(self) -> Timestamp {
        Timestamp(self.last.0 + u64::from(self.is_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_in_many_spellings() {
        for text in [
            "1234567",
            "1.234567e+06",
            "1.234567e 06",
            "1234567.0",
            "1234567.",
            "+1234567",
            " 1234567 ",
            "1.234567E6",
            "12345670e-1",
            "0001234567",
            "1234567.000e0",
            "0.1234567e7",
            ".1234567e7",
        ] {
            assert_eq!(integer(text), Some(1_234_567), "{text}");
        }
        assert_eq!(integer("-0.0"), Some(0));
        assert_eq!(integer("0e999999999999999999999"), Some(0));
        assert_eq!(integer("-12e1"), Some(-120));
    }

    #[test]
    fn what_is_no_whole_number_is_refused() {
        for text in [
            "", " ", ".", "-", "e5", "1e", "1e+", "1.5", "1e-1", "0x10", "1_000", "1,000", "NaN",
            "inf", "--1", "+-1", "1e5.0", "1 2", "٣", "1e1e1", "null", "1e٣",
        ] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn the_borders_hold() {
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("9223372036854775808"), None);
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer("1e400"), None);
        assert_eq!(integer(&"9".repeat(5_000)), None);
        assert_eq!(id("9007199254740991"), Some(ID_MAX));
        assert_eq!(id("9007199254740992"), None);
        assert_eq!(id("9.007199254740991e+15"), Some(ID_MAX));
        assert_eq!(id("-1"), None);
        assert_eq!(id("0"), Some(0));
    }

    #[test]
    fn times_are_read_by_their_size() {
        let moment =
            |text| Moment::parse(Some(text)).map(|moment| (moment.last.0, moment.before().0));
        assert_eq!(
            moment("1700000000"),
            Some((1_700_000_000_999, 1_700_000_001_000))
        );
        assert_eq!(
            moment("1700000000123"),
            Some((1_700_000_000_123, 1_700_000_000_123))
        );
        assert_eq!(
            moment("99999999999"),
            Some((99_999_999_999_999, 100_000_000_000_000))
        );
        assert_eq!(
            moment("100000000000"),
            Some((100_000_000_000, 100_000_000_000))
        );
        assert_eq!(
            moment("9223372036854775807"),
            Some((i64::MAX as u64, i64::MAX as u64))
        );
        for none in ["", "0", "-5", "soon", "1.5", "99999999999999999999"] {
            assert_eq!(moment(none), None, "{none}");
        }
        assert_eq!(Moment::parse(None), None);
    }
}
