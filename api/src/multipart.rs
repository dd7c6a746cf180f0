//! `multipart/form-data`, read as it comes: memory stays flat whatever the sender does.
//!
//! Written here because the parsers at hand buffer whatever is ready, and headers and preambles
//! without bound: a hostile upload would fill the memory before any limit is asked.
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use memchr::memmem;

/// Bytes before the first boundary; they mean nothing.
const PREAMBLE_BYTES_MAX: usize = 8 << 10;
/// All headers of one field.
const HEADER_BYTES_MAX: usize = 16 << 10;
const FIELDS_MAX: usize = 200;
/// RFC 2046 says 70; some clients are longer.
const BOUNDARY_BYTES_MAX: usize = 200;

/// Why a body cannot be read on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Error<E> {
    /// It is no multipart body, in these words.
    Broken(&'static str),
    /// The stream below failed.
    Stream(E),
}

/// A body on its way through.
pub(crate) struct Multipart<S> {
    stream: S,
    buffer: BytesMut,
    delimiter: memmem::Finder<'static>,
    state: State,
    fields: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// Right behind a boundary.
    Boundary,
    /// Within a field's bytes.
    Data,
    /// Behind the last boundary.
    Done,
}

/// The boundary, if the headers announce a multipart form.
///
/// # Errors
/// When they do, and do not say where its parts end.
pub(crate) fn boundary(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    let Some(value) = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return Ok(None);
    };
    let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Ok(None);
    }
    parameter(parameters, "boundary")
        .filter(|boundary| !boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX)
        .map(Some)
        .ok_or("the multipart Content-Type names no boundary")
}

impl<S, E> Multipart<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    pub(crate) fn new(stream: S, boundary: &str) -> Self {
        Self {
            stream,
            // The first boundary needs no line break before it; this one makes it like the others.
            buffer: BytesMut::from(&b"\r\n"[..]),
            delimiter: memmem::Finder::new(&format!("\r\n--{boundary}")).into_owned(),
            state: State::Preamble,
            fields: 0,
        }
    }

    /// Goes on to the next field and gives its name (empty if it has none); what is left of the
    /// one before is skipped.
    pub(crate) async fn next_field(&mut self) -> Result<Option<String>, Error<E>> {
        self.skip_preamble().await?;
        while self.chunk().await?.is_some() {}
        if self.state == State::Done || self.is_last().await? {
            return Ok(None);
        }
        self.fields += 1;
        if self.fields > FIELDS_MAX {
            return Err(Error::Broken("the multipart body has too many fields"));
        }
        let headers = self.headers().await?;
        self.state = State::Data;
        Ok(Some(name(&headers)))
    }

    /// The next bytes of the current field; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Error<E>> {
        if self.state != State::Data {
            return Ok(None);
        }
        let length = self.delimiter.needle().len();
        loop {
            if let Some(at) = self.delimiter.find(&self.buffer) {
                if at > 0 {
                    return Ok(Some(self.buffer.split_to(at).freeze()));
                }
                drop(self.buffer.split_to(length));
                self.state = State::Boundary;
                return Ok(None);
            }
            // The end may be the beginning of a boundary.
            if self.buffer.len() >= length {
                let sure = self.buffer.len() + 1 - length;
                return Ok(Some(self.buffer.split_to(sure).freeze()));
            }
            self.fill().await?;
        }
    }

    async fn skip_preamble(&mut self) -> Result<(), Error<E>> {
        while self.state == State::Preamble {
            if let Some(at) = self.delimiter.find(&self.buffer) {
                drop(self.buffer.split_to(at + self.delimiter.needle().len()));
                self.state = State::Boundary;
            } else if self.buffer.len() > PREAMBLE_BYTES_MAX {
                return Err(Error::Broken(
                    "the multipart body does not begin with its boundary",
                ));
            } else {
                self.fill().await?;
            }
        }
        Ok(())
    }

    /// Is the boundary that was just passed the closing one?
    async fn is_last(&mut self) -> Result<bool, Error<E>> {
        while self.buffer.len() < 2 {
            self.fill().await?;
        }
        let is_last = self.buffer.starts_with(b"--");
        if is_last {
            self.state = State::Done;
        }
        Ok(is_last)
    }

    /// What stands between a boundary and a field's bytes.
    async fn headers(&mut self) -> Result<Bytes, Error<E>> {
        loop {
            if let Some(at) = memmem::find(&self.buffer, b"\r\n\r\n") {
                let headers = self.buffer.split_to(at + 4).freeze();
                return Ok(headers.slice(..at));
            }
            if self.buffer.len() > HEADER_BYTES_MAX {
                return Err(Error::Broken(
                    "a field of the multipart body has endless headers",
                ));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Error<E>> {
        match self.stream.next().await {
            Some(Ok(bytes)) => {
                self.buffer.extend_from_slice(&bytes);
                Ok(())
            }
            Some(Err(error)) => Err(Error::Stream(error)),
            None => Err(Error::Broken(
                "the multipart body ends before its last boundary",
            )),
        }
    }
}

/// The `name` of a field; clients differ in quotes and in case.
fn name(headers: &[u8]) -> String {
    let text = String::from_utf8_lossy(headers);
    text.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(header, _)| header.trim().eq_ignore_ascii_case("content-disposition"))
        .and_then(|(_, value)| value.split_once(';'))
        .and_then(|(_, parameters)| parameter(parameters, "name"))
        .unwrap_or_default()
}

/// The value of one of `a=b; c="d"`.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = value(after.trim_start());
        // What stands before the last `;` belongs to a parameter without a value.
        let key = key.rsplit(';').next().unwrap_or(key).trim();
        if key.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// A value, quoted or not, and what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return (text[..end].trim().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value.replace("%22", "\""), &quoted[at + 1..]),
            '\\' if quoted[at + 1..].starts_with(['"', '\\']) => {
                value.extend(letters.next().map(|(_, letter)| letter));
            }
            _ => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    /// Reads a whole body that arrives in pieces of `size` bytes.
    async fn read(body: &[u8], size: usize) -> Result<Vec<(String, Vec<u8>)>, Error<Infallible>> {
        let pieces: Vec<_> = body
            .chunks(size)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let mut multipart = Multipart::new(stream::iter(pieces), "XX");
        let mut fields = Vec::new();
        while let Some(name) = multipart.next_field().await? {
            let mut value = Vec::new();
            while let Some(chunk) = multipart.chunk().await? {
                value.extend_from_slice(&chunk);
            }
            fields.push((name, value));
        }
        Ok(fields)
    }

    fn part(head: &str, value: &[u8]) -> Vec<u8> {
        [b"--XX\r\n", head.as_bytes(), b"\r\n\r\n", value, b"\r\n"].concat()
    }

    #[tokio::test]
    async fn fields_come_out_whole_however_they_are_cut() {
        let tricky = b"\r\n--X\r\n--\r\n\r\r\n--XY--\0\xff";
        let body = [
            b"a preamble\r\n".to_vec(),
            part("Content-Disposition: form-data; name=\"token\"", b"t"),
            part(
                "content-disposition: form-data; filename=\"name=x.mp4\"; name=data\r\nContent-Type: video/mp4",
                tricky,
            ),
            part("Content-Disposition: form-data; name=\"a\\\"b%22c\"", b""),
            part("X: y", b"nameless"),
            b"--XX--\r\nan epilogue".to_vec(),
        ]
        .concat();
        let expected = vec![
            ("token".to_owned(), b"t".to_vec()),
            ("data".to_owned(), tricky.to_vec()),
            ("a\"b\"c".to_owned(), Vec::new()),
            (String::new(), b"nameless".to_vec()),
        ];
        for size in 1..=body.len() {
            assert_eq!(
                read(&body, size).await.as_ref(),
                Ok(&expected),
                "pieces of {size}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_anywhere_is_broken() {
        let body = [
            part("Content-Disposition: form-data; name=\"a\"", b"12345"),
            b"--XX--".to_vec(),
        ]
        .concat();
        assert!(read(&body, 7).await.is_ok());
        for end in 0..body.len() {
            assert!(
                matches!(read(&body[..end], 7).await, Err(Error::Broken(_))),
                "cut at {end}"
            );
        }
    }

    #[tokio::test]
    async fn nothing_is_buffered_without_bound() {
        let no_boundary = vec![b'x'; 1 << 20];
        assert!(
            matches!(read(&no_boundary, 4_096).await, Err(Error::Broken(why)) if why.contains("begin"))
        );
        let endless_head = [b"--XX\r\n".to_vec(), vec![b'x'; 1 << 20]].concat();
        assert!(
            matches!(read(&endless_head, 4_096).await, Err(Error::Broken(why)) if why.contains("headers"))
        );
        let many: Vec<u8> = (0..300).flat_map(|_| part("A: b", b"")).collect();
        assert!(
            matches!(read(&many, 4_096).await, Err(Error::Broken(why)) if why.contains("too many"))
        );
    }

    #[tokio::test]
    async fn a_field_that_nobody_reads_is_skipped() {
        let body = [
            part("A: b", &[b'x'; 100_000]),
            part("A: b", b"last"),
            b"--XX--".to_vec(),
        ]
        .concat();
        let pieces = body
            .chunks(1_000)
            .map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)));
        let mut multipart = Multipart::new(stream::iter(pieces), "XX");
        multipart.next_field().await.unwrap();
        multipart.next_field().await.unwrap();
        assert_eq!(multipart.chunk().await.unwrap().unwrap(), "last");
        assert_eq!(multipart.next_field().await, Ok(None));
        assert_eq!(multipart.next_field().await, Ok(None));
    }

    #[test]
    fn the_boundary_is_found_in_the_content_type() {
        let of = |value: &str| {
            let headers = [(CONTENT_TYPE, value.parse().unwrap())]
                .into_iter()
                .collect();
            boundary(&headers)
        };
        assert_eq!(
            of("multipart/form-data; boundary=abc"),
            Ok(Some("abc".to_owned()))
        );
        assert_eq!(
            of("Multipart/Form-Data; charset=utf-8; boundary=\"a b\""),
            Ok(Some("a b".to_owned()))
        );
        assert_eq!(of("application/json"), Ok(None));
        assert!(of("multipart/form-data").is_err());
        assert!(of("multipart/form-data; boundary=").is_err());
        assert_eq!(boundary(&HeaderMap::new()), Ok(None));
    }
}
