//! What absolute URLs begin with: the configured one, or whatever the client itself used.
use std::sync::Arc;

use http::HeaderMap;
use http::header::HOST;
use http::uri::{Authority, Uri};

/// Scheme, authority and an optional path prefix, without a trailing slash. Nothing in it needs to
/// be escaped in a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base(Arc<str>);

impl Base {
    /// Reads a configured URL.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        match (uri.scheme_str(), uri.authority(), uri.query()) {
            (Some("http" | "https"), Some(authority), None)
                if is_plain(authority) && !needs_escape(url) =>
            {
                Ok(Self(url.trim_end_matches('/').into()))
            }
            _ => Err(format!(
                "{url} is not of the form https://host, http://host:port or https://host/prefix"
            )),
        }
    }

    /// What the client used to get here; `None` when it did not say, or said nonsense.
    ///
    /// `is_proxied`: the peer is a trusted proxy, so that its `X-Forwarded-*` headers count.
    pub(crate) fn of_request(uri: &Uri, headers: &HeaderMap, is_proxied: bool) -> Option<Self> {
        let forwarded = |name| is_proxied.then(|| first(headers, name)).flatten();
        let scheme = match forwarded("x-forwarded-proto") {
            Some("https") => "https",
            _ => "http",
        };
        let host = forwarded("x-forwarded-host")
            .or_else(|| uri.authority().map(Authority::as_str))
            .or_else(|| headers.get(HOST)?.to_str().ok())?;
        let authority: Authority = host.parse().ok()?;
        is_plain(&authority).then(|| Self(format!("{scheme}://{authority}").into()))
    }

    /// For a client that says nothing of where it is, on a node that does not know either.
    pub(crate) fn localhost() -> Self {
        Self("http://localhost".into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn needs_escape(url: &str) -> bool {
    url.chars()
        .any(|letter| letter.is_control() || matches!(letter, '"' | '\\'))
}

/// The first element of a header that proxies append to.
fn first<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?;
    value.split(',').next().map(str::trim)
}

/// A host name or address and perhaps a port: nothing that could carry a user name or break out of
/// the URL that it is put into.
fn is_plain(authority: &Authority) -> bool {
    let is_host = authority
        .host()
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    is_host && !authority.host().is_empty() && !authority.as_str().contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn told(uri: &str, pairs: &[(&'static str, &str)], is_proxied: bool) -> Option<String> {
        Base::of_request(&uri.parse().unwrap(), &headers(pairs), is_proxied)
            .map(|base| base.as_str().to_owned())
    }

    #[test]
    fn a_configured_base_has_a_scheme_and_a_host() {
        assert_eq!(
            Base::parse("http://a:8080/").unwrap().as_str(),
            "http://a:8080"
        );
        assert_eq!(Base::parse("https://a/p/").unwrap().as_str(), "https://a/p");
        for wrong in [
            "a:8080",
            "/p",
            "ftp://a",
            "https://u@a",
            "https://a?b=c",
            "https://",
            "https://a/\"b",
        ] {
            assert!(Base::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_clients_own_host_is_used() {
        let host = [("host", "10.0.2.2:8080")];
        assert_eq!(told("/", &host, false).unwrap(), "http://10.0.2.2:8080");
        assert_eq!(
            told("/", &[("host", "[::1]:80")], false).unwrap(),
            "http://[::1]:80"
        );
        assert_eq!(
            told("http://h2.example/x", &[], false).unwrap(),
            "http://h2.example"
        );
    }

    #[test]
    fn a_host_that_is_none_is_not_repeated() {
        for wrong in ["u@h", "a/b", "a b", "", "a\"b", "a<b>", "a,b", "a%2e"] {
            assert_eq!(told("/", &[("host", wrong)], false), None, "{wrong}");
        }
        assert_eq!(told("/", &[], false), None);
    }

    #[test]
    fn forwarded_headers_count_only_from_a_trusted_proxy() {
        let pairs = [
            ("host", "inner:8080"),
            ("x-forwarded-host", "outer.example, inner"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(told("/", &pairs, false).unwrap(), "http://inner:8080");
        assert_eq!(told("/", &pairs, true).unwrap(), "https://outer.example");
    }
}
