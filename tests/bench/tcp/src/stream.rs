//! One TLS connection: its setting up, its frames, many in one write.
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::BytesMut;
use rustls::CommonState;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsStream;
use transport::frame::{Broken, Frame, take};
use transport::identity::peer_of;
use transport::network::PeerId;
use transport::writer::{BATCH_FRAMES, Batch, Outgoing};

/// rustls asks for 4 KiB at a time: so that this is not a system call each.
const SOCKET_BYTES: usize = 64 << 10;
/// Room for what one record brings, 16 KiB.
const READ_BYTES: usize = 16 << 10;
/// With less room left there is more made.
const READ_BYTES_MIN: usize = 4 << 10;
/// A connection on which nothing comes through for this long is dead, as with QUIC.
const IDLE: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// What TLS runs over.
pub(crate) type Plain = BufReader<TcpStream>;
pub(crate) type Stream = TlsStream<Plain>;

/// Makes a connection send at once and notice that the other end is gone.
pub(crate) fn prepare(socket: TcpStream) -> io::Result<Plain> {
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    let keep_alive = TcpKeepalive::new()
        .with_time(KEEP_ALIVE)
        .with_interval(KEEP_ALIVE);
    options.set_tcp_keepalive(&keep_alive)?;
    options.set_tcp_user_timeout(Some(IDLE))?;
    Ok(BufReader::with_capacity(SOCKET_BYTES, socket))
}

/// Which node of the cluster the other end proved to be; TLS has checked who signed.
pub(crate) fn proven_peer(session: &CommonState, cluster_id: &str) -> Result<PeerId, String> {
    let shown = session.peer_certificates().and_then(<[_]>::first);
    let shown = shown.ok_or("no certificate was shown")?;
    peer_of(shown, cluster_id).map_err(|error| error.to_string())
}

/// Reads frames. Cancel-safe: what was read of a frame is kept.
pub(crate) struct Reader {
    stream: ReadHalf<Stream>,
    buffer: BytesMut,
}

impl Reader {
    pub(crate) fn new(stream: ReadHalf<Stream>) -> Self {
        let buffer = BytesMut::new();
        Self { stream, buffer }
    }

    /// The next frame; `None` when the stream ended between frames.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, Broken> {
        loop {
            if let Some(frame) = take(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            if self.buffer.capacity() - self.buffer.len() < READ_BYTES_MIN {
                self.buffer.reserve(READ_BYTES);
            }
            let read = self.stream.read_buf(&mut self.buffer).await;
            if read.map_err(|error| Broken::Lost(error.to_string()))? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                return Err(Broken::Lost("the stream ended within a frame".into()));
            }
        }
    }
}

/// Writes frames from `queue` until it is closed, then ends the stream. `keep` is asked right before
/// a frame is written; one that nobody waits for any more is left out.
pub(crate) async fn write_frames(
    mut stream: WriteHalf<Stream>,
    mut queue: mpsc::Receiver<Outgoing>,
    keep: impl Fn(&Outgoing) -> bool,
) -> io::Result<()> {
    let mut frames = Vec::with_capacity(BATCH_FRAMES);
    let mut batch = Batch::default();
    while queue.recv_many(&mut frames, BATCH_FRAMES).await > 0 {
        for frame in frames.drain(..).filter(|frame| keep(frame)) {
            batch.push(frame);
        }
        let pieces = batch.pieces();
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|it| IoSlice::new(it)).collect();
        let mut left = slices.as_mut_slice();
        while !left.is_empty() {
            let written = stream.write_vectored(left).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut left, written);
        }
        pieces.clear();
        stream.flush().await?;
    }
    stream.shutdown().await
}
