//! What quinn itself moves from one process to another: one stream, nothing on a disk at either
//! end, all settings as the library has them.
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ports::free_address;
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig};

use super::ourselves;
use crate::cluster::THREADS;
use crate::process::{Process, run};

/// What the certificate is for; the address is not looked up.
const NAME: &str = "localhost";
/// As large as the pieces in which nodes send snapshots.
const PIECE_BYTES: usize = 256 << 10;

/// Moves so many bytes once between two processes with so many threads each; gives how long it
/// took, from the opening of the stream to the word that all have come.
///
/// # Errors
/// When a process does not start, or the transfer breaks off.
pub(crate) fn measure(bytes: u64, threads: usize, dir: &Path, logs: &Path) -> Result<Duration> {
    let address = free_address()?;
    let certificate = dir.join("stream.der");
    let mut taker = ourselves()?;
    taker.env(THREADS, threads.to_string());
    taker.args(["stream-in", "--listen", &address.to_string()]);
    taker.arg("--certificate").arg(&certificate);
    let mut taker = Process::start("stream", taker, logs.join("stream.log"))?;
    taker.await_that("listening", || certificate.exists().then_some(()))?;
    let mut giver = ourselves()?;
    giver.env(THREADS, threads.to_string());
    giver.args(["stream-out", "--to", &address.to_string()]);
    giver.args(["--bytes", &bytes.to_string(), "--certificate"]);
    giver.arg(&certificate);
    let took = run(giver)?;
    std::fs::remove_file(&certificate)
        .with_context(|| format!("removing {}", certificate.display()))?;
    let seconds = took.trim().parse().context("reading how long it took")?;
    Ok(Duration::from_secs_f64(seconds))
}

/// Takes streams in until it is killed. The certificate is there as soon as it listens.
pub(crate) fn take(listen: SocketAddr, certificate: &Path) -> Result<()> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).context("a certificate")?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let key = key.ok().context("rcgen gives keys that rustls takes")?;
    let config = ServerConfig::with_single_cert(vec![made.cert.der().clone()], key)?;
    let runtime = tokio::runtime::Runtime::new().context("starting threads")?;
    runtime.block_on(async {
        let endpoint = Endpoint::server(config, listen).context("listening")?;
        // Whoever sees the file finds all of it.
        let beside = PathBuf::from(format!("{}.part", certificate.display()));
        std::fs::write(&beside, made.cert.der())?;
        std::fs::rename(&beside, certificate)?;
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let taken = async { count(incoming.await?).await };
                if let Err(error) = taken.await {
                    eprintln!("a stream broke off: {error:#}");
                }
            });
        }
        Ok(())
    })
}

/// Answers a stream with how many bytes came, and waits until that has arrived.
async fn count(connection: Connection) -> Result<()> {
    let (mut answer, mut stream) = connection.accept_bi().await?;
    let mut bytes = 0_u64;
    while let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
        bytes += chunk.bytes.len() as u64;
    }
    answer.write_all(&bytes.to_le_bytes()).await?;
    answer.finish()?;
    connection.closed().await;
    Ok(())
}

/// Sends so many bytes and prints the seconds that it took.
pub(crate) fn give(to: SocketAddr, bytes: u64, certificate: &Path) -> Result<()> {
    let shown = std::fs::read(certificate).context("reading the certificate")?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(shown))?;
    let config = ClientConfig::with_root_certificates(Arc::new(roots))?;
    let runtime = tokio::runtime::Runtime::new().context("starting threads")?;
    let took = runtime.block_on(async {
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
        let connection = endpoint.connect_with(config, to, NAME)?.await?;
        let took = send(&connection, bytes).await?;
        connection.close(0_u32.into(), b"done");
        endpoint.wait_idle().await;
        Ok::<Duration, anyhow::Error>(took)
    })?;
    println!("{}", took.as_secs_f64());
    Ok(())
}

async fn send(connection: &Connection, bytes: u64) -> Result<Duration> {
    let piece = Bytes::from(vec![7; PIECE_BYTES]);
    let began = Instant::now();
    let (mut stream, mut answer) = connection.open_bi().await?;
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        stream.write_chunk(piece.slice(..length)).await?;
        left -= length as u64;
    }
    stream.finish()?;
    let mut came = [0; 8];
    answer.read_exact(&mut came).await?;
    let took = began.elapsed();
    let came = u64::from_le_bytes(came);
    ensure!(came == bytes, "{came} of {bytes} bytes came");
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_come_and_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let certificate = folder.path().join("certificate");
        let listen = free_address().unwrap();
        let path = certificate.clone();
        // It serves until this test's process ends.
        std::thread::spawn(move || take(listen, &path));
        let deadline = Instant::now() + Duration::from_secs(30);
        while !certificate.exists() {
            assert!(Instant::now() < deadline, "it does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        for bytes in [0, 1, 3 * PIECE_BYTES as u64 + 17] {
            give(listen, bytes, &certificate).unwrap();
        }
    }
}
