//! One request on one connection, blocking: for waiting and for counting seconds, not for load.
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than a node lets a write wait.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Does `path` answer 200? A node that is starting answers something else, or nothing.
pub(crate) fn is_ok(address: SocketAddr, path: &str) -> bool {
    ask(address, "GET", path).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Sends it and gives all that came back, headers and body.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
