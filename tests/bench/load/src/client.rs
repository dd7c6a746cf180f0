//! One keep-alive HTTP/1.1 connection, and little around it: it shares the processors with the
//! servers that it measures.
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::dice::Dice;
use crate::trouble::Trouble;

/// Longer than any deadline of a server.
pub const ANSWER_MAX: Duration = Duration::from_secs(60);

/// The client's position (README, "What a client can rely on").
const POSITION: HeaderName = HeaderName::from_static("x-yin-session");
const CONSISTENCY: HeaderName = HeaderName::from_static("x-yin-consistency");

/// `status_code` stands at the front of an answer; so many bytes are looked at.
const HEAD_BYTES: usize = 64;

/// A server to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    address: SocketAddr,
    host: HeaderValue,
}

impl Node {
    /// Reads `http://host:port`, with or without a trailing slash.
    ///
    /// # Errors
    /// Says what is wrong with it, for a person.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").ok_or_else(|| {
            format!("`{url}`: give it as http://host:port (TLS is the proxy's, measure behind it)")
        })?;
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains('/') {
            return Err(format!("`{url}`: only http://host:port, without a path"));
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let place = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let address = place
            .to_socket_addrs()
            .map_err(|error| format!("`{url}`: {error}"))?
            .next()
            .ok_or_else(|| format!("`{url}`: the name has no address"))?;
        let host = HeaderValue::try_from(authority).map_err(|error| format!("`{url}`: {error}"))?;
        Ok(Self { address, host })
    }

    /// A server on this machine.
    pub fn at(address: SocketAddr) -> Self {
        let host = HeaderValue::try_from(address.to_string()).expect("an address is a header");
        Self { address, host }
    }
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// As the server does by default for this request.
    Default,
    /// With the position that the last answer gave: the client stays where it is.
    Position,
    /// What this node has.
    Local,
    /// What is committed now.
    Linearizable,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: Method,
    /// Path and query, percent-encoded.
    pub path: String,
    pub fresh: Fresh,
    pub content_type: Option<HeaderValue>,
    pub body: Bytes,
    /// The answer is of the contract: its `status_code` counts.
    pub is_contract: bool,
    /// The answer's body is wanted.
    pub is_kept: bool,
}

impl Ask {
    pub fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            fresh: Fresh::Default,
            content_type: None,
            body: Bytes::new(),
            is_contract: true,
            is_kept: false,
        }
    }

    pub fn post(path: String) -> Self {
        Self {
            method: Method::POST,
            ..Self::get(path)
        }
    }

    #[must_use]
    pub fn fresh(mut self, fresh: Fresh) -> Self {
        self.fresh = fresh;
        self
    }

    #[must_use]
    pub fn kept(mut self) -> Self {
        self.is_kept = true;
        self
    }

    /// An answer whose HTTP status says all.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.is_contract = false;
        self
    }
}

/// A user of the API: a connection, and what a client remembers.
pub struct Client {
    /// Which of the clients this is, from 0.
    pub index: usize,
    pub dice: Dice,
    /// Stamp of the last chat message that was seen.
    pub last_message: i64,
    /// Somebody at another node, for what takes two.
    pub other: Option<Box<Client>>,
    node: Node,
    position: Option<HeaderValue>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub fn new(index: usize, node: Node, seed: u64) -> Self {
        Self {
            index,
            dice: Dice::new(seed ^ (index as u64).wrapping_mul(0x5851_f42d_4c95_7f2d)),
            last_message: 0,
            other: None,
            node,
            position: None,
            sender: None,
        }
    }

    /// Makes the connection, unless it is there.
    ///
    /// # Errors
    /// [`Trouble::Broken`] when nobody listens.
    pub async fn connect(&mut self) -> Result<(), Trouble> {
        if self
            .sender
            .as_ref()
            .is_some_and(|sender| !sender.is_closed())
        {
            return Ok(());
        }
        let stream = TcpStream::connect(self.node.address)
            .await
            .map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Its end shows at the sender; whoever waits for an answer gets the error there.
        tokio::spawn(async move { drop(connection.await) });
        self.sender = Some(sender);
        Ok(())
    }

    /// Sends one request and reads the whole answer. Gives its body if that was asked for.
    ///
    /// # Errors
    /// Anything that makes it no success; see [`Trouble`].
    pub async fn send(&mut self, ask: Ask) -> Result<Bytes, Trouble> {
        let answered = match timeout(ANSWER_MAX, self.exchange(ask)).await {
            Ok(answered) => answered,
            Err(_) => Err(Trouble::Late),
        };
        if matches!(answered, Err(Trouble::Broken(_) | Trouble::Late)) {
            // An answer that comes late would be taken for the next one's.
            self.sender = None;
        }
        answered
    }

    async fn exchange(&mut self, ask: Ask) -> Result<Bytes, Trouble> {
        self.connect().await?;
        let (is_contract, is_kept) = (ask.is_contract, ask.is_kept);
        let request = self.request(ask)?;
        let sender = self.sender.as_mut().expect("just connected");
        sender.ready().await.map_err(broken)?;
        let mut answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        if let Some(position) = answer.headers_mut().remove(POSITION) {
            self.position = Some(position);
        }
        let mut head = [0; HEAD_BYTES];
        let mut head_bytes = 0;
        let mut kept = BytesMut::new();
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(broken)?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            let part = data.len().min(HEAD_BYTES - head_bytes);
            head[head_bytes..head_bytes + part].copy_from_slice(&data[..part]);
            head_bytes += part;
            if is_kept {
                kept.extend_from_slice(data);
            }
        }
        if !status.is_success() {
            return Err(Trouble::Http(status.as_u16()));
        }
        if is_contract {
            match status_code(&head[..head_bytes]) {
                Some(0) => {}
                Some(code) => return Err(Trouble::Code(code)),
                None => return Err(Trouble::Wrong("no status_code in front")),
            }
        }
        Ok(kept.freeze())
    }

    fn request(&self, ask: Ask) -> Result<Request<Full<Bytes>>, Trouble> {
        let mut request = Request::builder()
            .method(ask.method)
            .uri(ask.path)
            .header(HOST, self.node.host.clone());
        if let Some(content_type) = ask.content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let level = match ask.fresh {
            Fresh::Default => None,
            Fresh::Position => self.position.clone().map(|seen| (POSITION, seen)),
            Fresh::Local => Some((CONSISTENCY, HeaderValue::from_static("local"))),
            Fresh::Linearizable => Some((CONSISTENCY, HeaderValue::from_static("linearizable"))),
        };
        if let Some((name, value)) = level {
            request = request.header(name, value);
        }
        request.body(Full::new(ask.body)).map_err(broken)
    }
}

fn broken(error: impl std::error::Error) -> Trouble {
    // The source tells more than hyper's own words do.
    let cause = error.source().map(|cause| format!(": {cause}"));
    Trouble::Broken(format!("{error}{}", cause.unwrap_or_default()))
}

/// The number behind `"status_code":`, which every answer of the contract begins with.
fn status_code(head: &[u8]) -> Option<i64> {
    let rest = head.strip_prefix(br#"{"status_code":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_from_the_front() {
        assert_eq!(status_code(br#"{"status_code":0,"status_msg"#), Some(0));
        assert_eq!(status_code(br#"{"status_code":1009}"#), Some(1_009));
        assert_eq!(status_code(br#"{"other":0}"#), None);
        assert_eq!(status_code(b""), None);
    }

    #[test]
    fn urls_that_cannot_be_asked_are_named() {
        let node = Node::parse("http://127.0.0.1:8080/").unwrap();
        assert_eq!(node, Node::at("127.0.0.1:8080".parse().unwrap()));
        for bad in ["https://a:1", "127.0.0.1:80", "http://", "http://a:1/b"] {
            assert!(Node::parse(bad).unwrap_err().contains(bad), "{bad}");
        }
    }
}
