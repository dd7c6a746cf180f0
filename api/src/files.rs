//! `/media/…` and `/static/…`: videos and covers out of the bucket, and pictures for users who have
//! none. Every node serves all of them.
//!
//! Paths name ids, never keys of the bucket: there is no path that could lead elsewhere.
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use model::id::{ID_MAX, UserId, VideoId};
use model::video::{self, BlobRef};
use raft::replica::Consistency;
use storage::blob;

use crate::app::App;
use crate::error::{Answer, Code, Failure};
use crate::picture::Cover;
use crate::range::Wanted;
use crate::wire;

/// URLs name their content, so it may be kept for ever.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Default pictures may be drawn differently by the next release.
const FOR_A_DAY: HeaderValue = HeaderValue::from_static("public, max-age=86400");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// `GET|HEAD /media/{video|cover}/{id}-{tag}.{extension}`
pub(crate) async fn media(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer {
    let Path((kind, file)) = path.map_err(|_| Code::FileNotFound)?;
    let is_video = match kind.as_str() {
        "video" => true,
        "cover" => false,
        _ => return Err(Code::FileNotFound.into()),
    };
    let (id, tag) = name(&file).ok_or(Code::FileNotFound)?;
    let (video, cover) = blobs(&app, VideoId(id)).await?;
    let blob = if is_video { video } else { cover };
    if wire::tag(&blob) != tag {
        return Err(Code::FileNotFound.into());
    }
    serve(&app, &method, &headers, &blob).await
}

/// `GET|HEAD /static/{avatar|background}/{id}.{extension}`
pub(crate) async fn picture(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer {
    let Path((kind, file)) = path.map_err(|_| Code::FileNotFound)?;
    let stem = file
        .rsplit_once('.')
        .map_or(file.as_str(), |(stem, _)| stem);
    let user = number(stem).map(UserId).ok_or(Code::FileNotFound)?;
    let picture = match kind.as_str() {
        "avatar" => app.pictures.avatar(user).await?,
        "background" => app.pictures.background(user).await?,
        _ => return Err(Code::FileNotFound.into()),
    };
    Ok(send(&method, &headers, &picture))
}

/// `{id}-{tag}` with any extension.
fn name(file: &str) -> Option<(u64, &str)> {
    let stem = file.split_once('.').map_or(file, |(stem, _)| stem);
    let (id, tag) = stem.split_once('-')?;
    Some((number(id)?, tag))
}

fn number(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain
        .then(|| text.parse().ok())
        .flatten()
        .filter(|id| *id <= ID_MAX)
}

/// The blobs of a video. Who just saw it at another node must find it here too.
async fn blobs(app: &App, id: VideoId) -> Result<(BlobRef, BlobRef), Failure> {
    for consistency in [Consistency::Local, Consistency::Session(None)] {
        let within = app.options.read_timeout();
        let reading = app.parts.replica.read(consistency, within).await?;
        if let Some(blobs) = video::blobs(&reading.view, id)? {
            return Ok(blobs);
        }
    }
    Err(Code::FileNotFound.into())
}

async fn serve(app: &App, method: &Method, headers: &HeaderMap, blob: &BlobRef) -> Answer {
    let etag = etag(&blob.sha256);
    let wanted = Wanted::of(headers, &etag, blob.bytes);
    let mut response = head(wanted, &etag, &blob.content_type, blob.bytes, FOR_EVER)?;
    let has_body = matches!(wanted, Wanted::Whole | Wanted::Slice(..)) && *method == Method::GET;
    if has_body && blob.bytes > 0 {
        let reading = app.parts.blobs.read(&blob.key, wanted.part()).await;
        let reading = reading.inspect_err(|error| {
            if matches!(error, blob::Error::NotFound { .. }) {
                tracing::error!(key = blob.key, "a video's bytes are missing in the bucket");
            }
        })?;
        let stream = reading.stream.inspect_err(|error| {
            tracing::warn!(%error, "a blob broke off while it was sent");
        });
        *response.body_mut() = Body::from_stream(stream);
    }
    Ok(response)
}

fn send(method: &Method, headers: &HeaderMap, picture: &Cover) -> Response {
    let etag = etag(&picture_hash(&picture.bytes));
    let bytes = picture.bytes.len() as u64;
    let wanted = match Wanted::of(headers, &etag, bytes) {
        Wanted::NotModified => Wanted::NotModified,
        // Pictures are small: whole or not at all.
        _ => Wanted::Whole,
    };
    match head(wanted, &etag, picture.content_type, bytes, FOR_A_DAY) {
        Ok(mut response) => {
            if wanted == Wanted::Whole && *method == Method::GET {
                *response.body_mut() = Body::from(picture.bytes.clone());
            }
            response
        }
        Err(failure) => failure.into_response(),
    }
}

fn picture_hash(bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).into()
}

/// Everything but the body.
fn head(
    wanted: Wanted,
    etag: &str,
    content_type: &str,
    bytes: u64,
    keep: HeaderValue,
) -> Result<Response, Failure> {
    let value = |text: String| {
        HeaderValue::try_from(text).map_err(|error| {
            tracing::error!(%error, "a stored blob cannot be described in a header");
            Failure::from(Code::Internal)
        })
    };
    let (status, length) = match wanted {
        Wanted::Whole => (StatusCode::OK, Some(bytes)),
        Wanted::Slice(first, last) => (StatusCode::PARTIAL_CONTENT, Some(last - first + 1)),
        Wanted::NotModified => (StatusCode::NOT_MODIFIED, None),
        Wanted::Outside => {
            let mut response = Failure::from(Code::RangeUnsatisfiable).into_response();
            let range = value(format!("bytes */{bytes}"))?;
            response.headers_mut().insert(CONTENT_RANGE, range);
            return Ok(response);
        }
    };
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.insert(ETAG, value(etag.to_owned())?);
    headers.insert(CACHE_CONTROL, keep);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(CONTENT_TYPE, value(content_type.to_owned())?);
    }
    if let Wanted::Slice(first, last) = wanted {
        headers.insert(
            CONTENT_RANGE,
            value(format!("bytes {first}-{last}/{bytes}"))?,
        );
    }
    Ok(response)
}

fn etag(sha256: &[u8; 32]) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&sha256[..18]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_an_id_and_a_tag() {
        assert_eq!(name("7-abc.mp4"), Some((7, "abc")));
        assert_eq!(name("9007199254740991-a"), Some((ID_MAX, "a")));
        for wrong in [
            "",
            "7",
            "7.mp4",
            "-a.mp4",
            "+7-a",
            "x-a",
            "9007199254740992-a",
            "../7-a",
            "７-a",
        ] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
    }
}
