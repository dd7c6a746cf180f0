//! JSON written by hand into one buffer, for shapes that are answered often.
//!
//! The words between the values are the caller's: this only writes each value as serde would.
use bytes::Bytes;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// JSON in the making.
#[derive(Debug, Default)]
pub(crate) struct Json(Vec<u8>);

impl Json {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// What is JSON already, or needs no escaping within a text.
    pub(crate) fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// As [`Json::raw`], of what was written by one of these before.
    pub(crate) fn copy(&mut self, json: &[u8]) {
        self.0.extend_from_slice(json);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.raw(itoa::Buffer::new().format(number));
    }

    pub(crate) fn flag(&mut self, flag: bool) {
        self.raw(if flag { "true" } else { "false" });
    }

    /// A text with its quotes, escaped.
    pub(crate) fn text(&mut self, text: &str) {
        serde_json::to_writer(&mut self.0, text).expect("a text in memory can be written there");
    }

    /// Two lower-case digits.
    pub(crate) fn hex(&mut self, byte: u8) {
        self.0.push(HEX[usize::from(byte >> 4)]);
        self.0.push(HEX[usize::from(byte & 15)]);
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_serde_writes_them() {
        for text in ["", "a\"b\\c", "\u{1}\n\u{7f}", "\u{2028}你好😀</script>"] {
            let mut json = Json::default();
            json.text(text);
            assert_eq!(json.into_bytes(), serde_json::to_string(text).unwrap());
        }
        let mut json = Json::default();
        json.number(0);
        json.raw(",");
        json.number(u64::MAX);
        json.raw(",");
        json.flag(true);
        json.flag(false);
        json.hex(0x0f);
        assert_eq!(json.into_bytes(), "0,18446744073709551615,truefalse0f");
    }
}
