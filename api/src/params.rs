//! Parameters: from the query first, then from a form body, whatever the method.
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::body::Drain;
use crate::error::{Code, Failure};
use crate::form::{self, Field};
use crate::multipart::{self, Multipart};
use crate::number::{self, Moment};

/// What the client sent along.
#[derive(Debug, Default)]
pub(crate) struct Params {
    /// In the order in which they count: the first that is not empty wins.
    fields: Vec<Field>,
    /// Why the body's fields are not (all) here; said only when one of them is missed.
    broken: Option<&'static str>,
}

impl Params {
    pub(crate) fn of_query(query: Option<&str>) -> Self {
        Self {
            fields: form::decode(query.unwrap_or_default().as_bytes()),
            broken: None,
        }
    }

    /// Adds the fields of a form body; a body of any other kind is ignored.
    pub(crate) async fn read_body(
        &mut self,
        headers: &HeaderMap,
        body: Body,
        drain: &Drain,
        bytes_max: usize,
    ) -> Result<(), Failure> {
        let boundary = multipart::boundary(headers);
        if !is_urlencoded(headers) && boundary == Ok(None) {
            drain.leave(headers, body);
            return Ok(());
        }
        let bytes = drain.read(headers, body, bytes_max).await?;
        match boundary {
            _ if bytes.is_empty() => {}
            Ok(None) => self.fields.extend(form::decode(&bytes)),
            Ok(Some(boundary)) => self.add_multipart(bytes, &boundary).await,
            Err(why) => self.broken = Some(why),
        }
        Ok(())
    }

    async fn add_multipart(&mut self, bytes: Bytes, boundary: &str) {
        let whole = stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
        let mut multipart = Multipart::new(whole, boundary);
        let all = async {
            while let Some(name) = multipart.next_field().await? {
                let mut value = Vec::new();
                while let Some(chunk) = multipart.chunk().await? {
                    value.extend_from_slice(&chunk);
                }
                self.fields.push((name.into_bytes(), value.into()));
            }
            Ok(())
        };
        match all.await {
            Ok(()) => {}
            Err(multipart::Error::Broken(why)) => self.broken = Some(why),
            Err(multipart::Error::Stream(never)) => match never {},
        }
    }

    /// Adds one field behind all others.
    pub(crate) fn push(&mut self, name: &str, value: impl Into<Bytes>) {
        self.fields.push((name.as_bytes().to_vec(), value.into()));
    }

    /// A text; empty means absent.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        let found = self
            .fields
            .iter()
            .find(|(field, value)| field == name.as_bytes() && !value.is_empty());
        match (found, self.broken) {
            (Some((_, value)), _) => std::str::from_utf8(value).map(Some).map_err(|_| {
                Failure::new(
                    Code::ParameterNotUtf8,
                    format!("the parameter {name} is not UTF-8"),
                )
            }),
            (None, Some(why)) => Err(Failure::new(Code::BodyMalformed, why)),
            (None, None) => Ok(None),
        }
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Failure> {
        self.text(name)?.ok_or_else(|| Failure::missing(name))
    }

    /// An id or a count.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        number::id(text).map(Some).ok_or_else(|| {
            Failure::new(
                Code::NumberInvalid,
                format!("the parameter {name} is no whole number from 0 to 9007199254740991"),
            )
        })
    }

    pub(crate) fn id<T>(&self, name: &str, make: impl FnOnce(u64) -> T) -> Result<T, Failure> {
        self.number(name)?
            .map(make)
            .ok_or_else(|| Failure::missing(name))
    }

    /// A bound in time; whatever is no time is no bound.
    pub(crate) fn moment(&self, name: &str) -> Option<Moment> {
        Moment::parse(self.text(name).ok().flatten())
    }

    /// Which of two deeds `action_type` asks for.
    pub(crate) fn is_first_action(&self) -> Result<bool, Failure> {
        match self.number("action_type")? {
            Some(1) => Ok(true),
            Some(2) => Ok(false),
            Some(_) => Err(Failure::new(
                Code::ActionUnknown,
                "action_type must be 1 or 2",
            )),
            None => Err(Failure::missing("action_type")),
        }
    }
}

fn is_urlencoded(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| {
            kind.trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        })
}

/// Checks a text: so many characters, none of them a control character.
pub(crate) fn check_text(name: &str, text: &str, characters_max: usize) -> Result<(), Failure> {
    let invalid = |why: String| Err(Failure::new(Code::TextInvalid, why));
    if text.is_empty() {
        return invalid(format!("{name} is empty"));
    }
    // A character has at most four bytes: no need to count what is far too long.
    if text.len() > characters_max * 4 || text.chars().count() > characters_max {
        return invalid(format!("{name} is longer than {characters_max} characters"));
    }
    if text.chars().any(char::is_control) {
        return invalid(format!("{name} has control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn params(
        query: &str,
        content_type: &str,
        body: &'static [u8],
    ) -> Result<Params, Failure> {
        let mut params = Params::of_query(Some(query));
        let headers = [(CONTENT_TYPE, content_type.parse().unwrap())]
            .into_iter()
            .collect();
        params
            .read_body(&headers, Body::from(body), &Drain::default(), 1_000)
            .await?;
        Ok(params)
    }

    const FORM: &str = "application/x-www-form-urlencoded; charset=UTF-8";
    const MULTIPART: &str = "multipart/form-data; boundary=XX";

    #[tokio::test]
    async fn the_query_comes_before_the_body_and_the_first_before_the_second() {
        let params = params("a=1&a=2&c=", FORM, b"a=3&b=4&c=5").await.unwrap();
        assert_eq!(params.text("a"), Ok(Some("1")));
        assert_eq!(params.text("b"), Ok(Some("4")));
        assert_eq!(params.text("c"), Ok(Some("5")));
        assert_eq!(params.text("d"), Ok(None));
        assert_eq!(
            params.required("d").unwrap_err().code,
            Code::ParameterMissing
        );
    }

    #[tokio::test]
    async fn multipart_bodies_count_as_well() {
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--XX--";
        assert_eq!(
            params("", MULTIPART, body).await.unwrap().id("a", |id| id),
            Ok(1)
        );
    }

    #[tokio::test]
    async fn a_broken_body_matters_only_for_what_is_missed() {
        for (kind, body) in [
            (MULTIPART, &b"--XX\r\nCont"[..]),
            ("multipart/form-data", b"--XX"),
        ] {
            let params = params("a=1", kind, body).await.unwrap();
            assert_eq!(params.text("a"), Ok(Some("1")));
            assert_eq!(params.text("b").unwrap_err().code, Code::BodyMalformed);
        }
        assert_eq!(
            params("", MULTIPART, b"").await.unwrap().text("a"),
            Ok(None)
        );
        assert_eq!(
            params("", "application/json", b"{")
                .await
                .unwrap()
                .text("a"),
            Ok(None)
        );
    }

    #[tokio::test]
    async fn what_is_not_utf8_is_said_so_when_it_is_asked_for() {
        let params = params("a=%ff&b=1", FORM, b"").await.unwrap();
        assert_eq!(params.text("b"), Ok(Some("1")));
        assert_eq!(params.text("a").unwrap_err().code, Code::ParameterNotUtf8);
    }

    #[tokio::test]
    async fn a_large_body_is_refused_with_and_without_its_size() {
        let large = [b'x'; 2_000].as_slice();
        let failure = params("", FORM, Box::leak(large.into())).await.unwrap_err();
        assert_eq!(failure.code, Code::TooLarge);
        let mut headers: HeaderMap = [(CONTENT_TYPE, FORM.parse().unwrap())]
            .into_iter()
            .collect();
        headers.insert("content-length", "1001".parse().unwrap());
        let mut params = Params::default();
        let drain = Drain::default();
        let read = params.read_body(&headers, Body::empty(), &drain, 1_000);
        assert_eq!(read.await.unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn texts_are_counted_in_characters() {
        assert_eq!(check_text("t", &"你".repeat(32), 32), Ok(()));
        for wrong in [
            String::new(),
            "你".repeat(33),
            "a\u{0}b".to_owned(),
            "a\nb".to_owned(),
        ] {
            assert_eq!(
                check_text("t", &wrong, 32).unwrap_err().code,
                Code::TextInvalid
            );
        }
    }

    #[test]
    fn action_types_are_one_and_two() {
        let action = |query| Params::of_query(Some(query)).is_first_action();
        assert_eq!(action("action_type=1"), Ok(true));
        assert_eq!(action("action_type=2.0"), Ok(false));
        assert_eq!(
            action("action_type=3").unwrap_err().code,
            Code::ActionUnknown
        );
        assert_eq!(
            action("action_type=x").unwrap_err().code,
            Code::NumberInvalid
        );
        assert_eq!(action("").unwrap_err().code, Code::ParameterMissing);
    }
}
