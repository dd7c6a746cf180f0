//! One attempt of a request: under a time limit of its own, and with refusals told from failures.
//!
//! object_store repeats what fails and folds the last answer into one error type, from which
//! neither the status nor S3's word for it can be read. Here both are still at hand: an answer that
//! will not change by repeating becomes a [`Refusal`], which ends the request and can be found again
//! in the chain of the error.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};

use super::Config;

/// Of an error's body; S3's are below 1 KiB.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// Some stores put all parts of an upload together before they answer at all.
pub(super) const COMPLETE_TIMEOUT: Duration = Duration::from_secs(30);

/// The store answered, and the answer is no.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code} ({status}): {message}")]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// S3's word, such as `AccessDenied`.
    pub(super) code: String,
    pub(super) message: String,
}

#[derive(Debug, thiserror::Error)]
#[error("no answer within {} ms", after.as_millis())]
struct TimedOut {
    after: Duration,
}

/// Builds clients whose attempts are limited and judged.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) config: Config,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Attempt {
            client,
            config: self.config.clone(),
        }))
    }
}

#[derive(Debug)]
struct Attempt {
    client: HttpClient,
    config: Config,
}

#[async_trait]
impl HttpService for Attempt {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let after = self.limit(&request);
        let attempt = async { judge(self.client.execute(request).await?).await };
        match tokio::time::timeout(after, attempt).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::new(HttpErrorKind::Timeout, TimedOut { after })),
        }
    }
}

impl Attempt {
    /// How long until the answer to a request begins.
    fn limit(&self, request: &HttpRequest) -> Duration {
        let query = request.uri().query().unwrap_or_default();
        if request.method().as_str() == "POST" && query.contains("uploadId=") {
            return COMPLETE_TIMEOUT;
        }
        self.config.attempt_timeout + self.config.sending(request.body().content_length() as u64)
    }
}

/// Turns an answer that will stay what it is into a refusal.
async fn judge(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let status = response.status().as_u16();
    match status {
        // A missing blob, unless all of the bucket is missing: only the body says.
        404 => {
            let (parts, body) = response.into_parts();
            let body = beginning(body).await?;
            match refusal(status, &body) {
                refusal if refusal.code == "NoSuchBucket" => Err(refused(refusal)),
                _ => Ok(HttpResponse::from_parts(
                    parts,
                    HttpResponseBody::from(body),
                )),
            }
        }
        // Busy, or a race: object_store repeats them.
        408 | 409 | 425 | 429 => Ok(response),
        // A redirect is another region's way to say no.
        300..=303 | 305..=499 => {
            let body = beginning(response.into_body()).await?;
            Err(refused(refusal(status, &body)))
        }
        _ => Ok(response),
    }
}

/// The kind is one that object_store does not repeat.
fn refused(refusal: Refusal) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, refusal)
}

async fn beginning(body: HttpResponseBody) -> Result<Vec<u8>, HttpError> {
    let (mut stream, mut beginning) = (body.bytes_stream(), Vec::new());
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        let room = ERROR_BYTES_MAX - beginning.len();
        beginning.extend_from_slice(&piece[..piece.len().min(room)]);
        if beginning.len() == ERROR_BYTES_MAX {
            break;
        }
    }
    Ok(beginning)
}

fn refusal(status: u16, body: &[u8]) -> Refusal {
    let body = String::from_utf8_lossy(body);
    let code = element(&body, "Code").unwrap_or("no reason given");
    let message = element(&body, "Message").unwrap_or(match status {
        300..=399 => "the bucket is elsewhere: check region and endpoint",
        401 | 403 => "check the keys and what they may do",
        _ => "check the endpoint",
    });
    Refusal {
        status,
        code: code.into(),
        message: message.into(),
    }
}

/// The text of an element of S3's small XML.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn words_of_a_refusal() {
        let xml =
            b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>No.</Message></Error>";
        assert_eq!(refusal(403, xml).to_string(), "AccessDenied (403): No.");
        let empty = refusal(301, b"").to_string();
        assert!(empty.contains("301") && empty.contains("region"), "{empty}");
        assert!(refusal(403, b"<Code>half").to_string().contains("keys"));
    }
}
