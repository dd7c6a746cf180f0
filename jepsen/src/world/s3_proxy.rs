//! A TCP proxy before the bucket that is down, hangs, is slow, says no, or breaks off.
//!
//! A change of mood breaks all connections: what was under way has to cope, and kept-alive
//! connections do not carry the old mood on.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How the bucket behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should.
    Up,
    /// Connections are refused.
    Down,
    /// Connections are accepted and nothing is answered.
    Hang,
    /// Every piece takes this long.
    Slow(Duration),
    /// Every request is answered `503 SlowDown`.
    Busy,
    /// Answers break off after so many bytes.
    CutAnswers(u64),
    /// Requests break off after so many bytes.
    CutRequests(u64),
}

/// The proxy; dropped, it ends.
pub(crate) struct Proxy {
    mood: watch::Sender<Mood>,
    spoilt: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

/// Bytes moved at once.
const PIECE: usize = 16 << 10;
/// Connections at the same time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;

impl Proxy {
    pub(crate) async fn start(listen: SocketAddr, behind: SocketAddr) -> Result<Self> {
        let listener = bind(listen).await?;
        let (mood, moods) = watch::channel(Mood::Up);
        let spoilt = Arc::<AtomicU64>::default();
        let mut task = JoinSet::new();
        task.spawn(serve(listener, listen, behind, moods, spoilt.clone()));
        Ok(Self {
            mood,
            spoilt,
            _task: task,
        })
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Requests and connections that a mood has spoilt so far.
    pub(crate) fn spoilt(&self) -> u64 {
        self.spoilt.load(Ordering::Relaxed)
    }
}

async fn bind(listen: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(listen).await;
    listener.with_context(|| format!("listening on {listen} before S3"))
}

/// Serves one mood after the other.
async fn serve(
    first: TcpListener,
    listen: SocketAddr,
    behind: SocketAddr,
    mut moods: watch::Receiver<Mood>,
    spoilt: Arc<AtomicU64>,
) {
    let mut listener = Some(first);
    loop {
        let mood = *moods.borrow_and_update();
        let changed = if mood == Mood::Down {
            // Closed, so that the kernel refuses. Who tried is not seen here, but is certain.
            listener = None;
            spoilt.fetch_add(1, Ordering::Relaxed);
            moods.changed().await
        } else {
            let open = match listener.take() {
                Some(open) => open,
                None => match bind(listen).await {
                    Ok(open) => open,
                    Err(error) => {
                        eprintln!("{error:#}");
                        return;
                    }
                },
            };
            let accept = accept(&open, behind, mood, &spoilt);
            let changed = tokio::select! {
                () = accept => return,
                changed = moods.changed() => changed,
            };
            listener = Some(open);
            changed
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Accepts for ever; connections end with it.
async fn accept(listener: &TcpListener, behind: SocketAddr, mood: Mood, spoilt: &Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                if let Ok((client, _)) = accepted {
                    let spoilt = spoilt.clone();
                    connections.spawn(async move {
                        // A broken connection is what this is for; both sides see it.
                        drop(connection(client, behind, mood, &spoilt).await);
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(
    mut client: TcpStream,
    behind: SocketAddr,
    mood: Mood,
    spoilt: &AtomicU64,
) -> std::io::Result<()> {
    let spoil = || spoilt.fetch_add(1, Ordering::Relaxed);
    match mood {
        Mood::Down => return Ok(()),
        Mood::Hang => {
            spoil();
            // Held until the mood changes, which drops this task.
            return std::future::pending().await;
        }
        Mood::Busy => {
            spoil();
            return say_busy(&mut client).await;
        }
        Mood::Slow(_) => drop(spoil()),
        Mood::Up | Mood::CutAnswers(_) | Mood::CutRequests(_) => {}
    }
    let mut server = TcpStream::connect(behind).await?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let requests = Pipe::of(mood, true).run(from_client, to_server, spoilt);
    let answers = Pipe::of(mood, false).run(from_server, to_client, spoilt);
    tokio::try_join!(requests, answers).map(drop)
}

/// Reads a piece of the request, says no and closes.
async fn say_busy(client: &mut TcpStream) -> std::io::Result<()> {
    let mut head = [0; 4_096];
    let read = client.read(&mut head).await?;
    if read == 0 {
        return Ok(());
    }
    let body = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code>\
                <Message>Please reduce your request rate.</Message></Error>";
    let answer = format!(
        "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}

/// One direction of a connection.
struct Pipe {
    delay: Duration,
    /// Bytes that pass before it breaks off.
    limit: Option<u64>,
}

impl Pipe {
    fn of(mood: Mood, is_request: bool) -> Self {
        let delay = match mood {
            Mood::Slow(delay) => delay,
            _ => Duration::ZERO,
        };
        let limit = match mood {
            Mood::CutAnswers(limit) if !is_request => Some(limit),
            Mood::CutRequests(limit) if is_request => Some(limit),
            _ => None,
        };
        Self { delay, limit }
    }

    async fn run(
        self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        spoilt: &AtomicU64,
    ) -> std::io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut left = self.limit;
        loop {
            let read = from.read(&mut piece).await?;
            if read == 0 {
                return to.shutdown().await;
            }
            if self.delay > Duration::ZERO {
                tokio::time::sleep(self.delay).await;
            }
            let passes = left.map_or(read, |left| read.min(usize::try_from(left).unwrap_or(read)));
            to.write_all(&piece[..passes]).await?;
            if passes < read {
                spoilt.fetch_add(1, Ordering::Relaxed);
                return Err(std::io::Error::other("broken off on purpose"));
            }
            left = left.map(|left| left - passes as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An echo server behind the proxy.
    async fn proxied() -> (Proxy, SocketAddr, JoinSet<()>) {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = server.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut client, _)) = server.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    drop(tokio::io::copy(&mut from, &mut to).await);
                });
            }
        });
        let address = ports::free_address().unwrap();
        let proxy = Proxy::start(address, behind).await.unwrap();
        (proxy, address, tasks)
    }

    /// Sends 64 KiB and counts what comes back.
    async fn echoed(address: SocketAddr) -> std::io::Result<usize> {
        let stream = TcpStream::connect(address).await?;
        let (mut from, mut to) = stream.into_split();
        let writing = tokio::spawn(async move {
            // Broken off on purpose in some moods.
            drop(to.write_all(&[1; 64 << 10]).await);
        });
        let mut back = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(1), async {
            let mut piece = [0; 4_096];
            while back.len() < 64 << 10 {
                match from.read(&mut piece).await {
                    Ok(read) if read > 0 => back.extend_from_slice(&piece[..read]),
                    _ => break,
                }
            }
        });
        // A timeout leaves what came until then.
        drop(read.await);
        writing.abort();
        Ok(back.len())
    }

    #[tokio::test]
    async fn each_mood_bites_and_passes() {
        let (proxy, address, _tasks) = proxied().await;
        assert_eq!(echoed(address).await.unwrap(), 64 << 10);
        for (mood, most) in [
            (Mood::Hang, 0),
            (Mood::CutAnswers(1_000), 1_000),
            (Mood::CutRequests(2_000), 2_000),
        ] {
            let before = proxy.spoilt();
            proxy.set(mood);
            let echoed = wait_connected(address).await;
            assert!(echoed <= most, "{mood:?}: {echoed}");
            assert!(proxy.spoilt() > before, "{mood:?} was not counted");
        }
        proxy.set(Mood::Down);
        let refused = super::super::wait::until(Duration::from_secs(2), || async {
            TcpStream::connect(address).await.err()
        });
        assert!(refused.await.is_some());
        proxy.set(Mood::Up);
        let healed = super::super::wait::until(Duration::from_secs(2), || async {
            (echoed(address).await.ok()? == 64 << 10).then_some(())
        });
        assert!(healed.await.is_some());
    }

    /// Lets the change of mood through first.
    async fn wait_connected(address: SocketAddr) -> usize {
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        echoed(address).await.unwrap_or(0)
    }

    #[tokio::test]
    async fn a_busy_bucket_says_so() {
        let (proxy, address, _tasks) = proxied().await;
        proxy.set(Mood::Busy);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"PUT /yin/x HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("SlowDown"), "{answer}");
    }
}
