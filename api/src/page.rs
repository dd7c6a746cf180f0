//! `/`: one page that shows the feed playing, made of nothing but what is in this binary.
use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use sha2::{Digest, Sha256};

const HTML: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// The page in one piece, and what it may do: run its own script, ask this server, and show videos
/// and pictures from wherever they are (a CDN, perhaps).
static PAGE: LazyLock<(String, HeaderValue)> = LazyLock::new(|| {
    let html = HTML
        .replace("/*style*/", STYLE)
        .replace("/*script*/", SCRIPT);
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src * data:; \
         media-src *; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    let policy = HeaderValue::try_from(policy).expect("a policy is plain text");
    (html, policy)
});

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// `GET /`
pub(crate) async fn page() -> Response {
    let (html, policy) = &*PAGE;
    let mut response = html.as_str().into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_piece_and_needs_nothing_from_elsewhere() {
        let (html, policy) = &*PAGE;
        assert!(html.contains(&format!("<style>{STYLE}</style>")));
        assert!(html.contains(&format!("<script>{SCRIPT}</script>")));
        for elsewhere in ["http://", "https://", " src=\"//", "@import", "innerHTML"] {
            assert!(!html.contains(elsewhere), "{elsewhere}");
        }
        assert!(policy.to_str().unwrap().contains(&hash(SCRIPT)));
    }
}
