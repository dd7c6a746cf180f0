//! A video of 2 GB goes up: by how much does the node that takes it in grow?
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::meter::{forget_peak, peak_bytes, resident_bytes};
use crate::stage::Stage;

/// The goal's.
pub(crate) const BYTES: u64 = 2 << 30;
const CHUNK: usize = 1 << 20;
const ANSWER_MAX: Duration = Duration::from_secs(300);
const BOUNDARY: &str = "yin-bench-boundary";

/// Growth of the first node's peak memory over what it has before, in bytes. What goes wrong is told:
/// the rest of the run is worth keeping.
pub(crate) fn measure(stage: &Stage) -> Option<u64> {
    let began = Instant::now();
    match once(stage) {
        Ok(grown) => {
            let (mb, seconds) = (grown as f64 / 1e6, began.elapsed().as_secs_f64());
            eprintln!("an upload of 2 GB: {mb:.0} MB more memory, {seconds:.0} s");
            Some(grown)
        }
        Err(error) => {
            eprintln!("an upload of 2 GB: {error:#}");
            None
        }
    }
}

fn once(stage: &Stage) -> Result<u64> {
    let pid = *stage.cluster.pids().first().context("node 1 runs")?;
    let before = resident_bytes(pid).context("node 1 runs")?;
    forget_peak(pid)?;
    upload(stage)?;
    let peak = peak_bytes(pid).context("node 1 runs")?;
    Ok(peak.saturating_sub(before))
}

/// A valid clip: behind the real one stands a box that players skip.
fn upload(stage: &Stage) -> Result<()> {
    let chunks = BYTES / CHUNK as u64;
    let token = &stage.world.user(0).token;
    let mut head = Vec::new();
    for (name, value) in [("token", token.as_str()), ("title", "two gigabytes")] {
        write!(
            head,
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )?;
    }
    write!(
        head,
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"data\"; filename=\"large.mp4\"\r\n\
         Content-Type: video/mp4\r\n\r\n"
    )?;
    head.extend(load::CLIP);
    // A box whose length has 64 bits.
    head.extend(1_u32.to_be_bytes());
    head.extend(b"free");
    head.extend((16 + chunks * CHUNK as u64).to_be_bytes());
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let total = head.len() as u64 + chunks * CHUNK as u64 + tail.len() as u64;

    let mut stream = TcpStream::connect(stage.cluster.first_http())?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    write!(
        stream,
        "POST /douyin/publish/action/ HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {total}\r\n\r\n"
    )?;
    stream.write_all(&head)?;
    let zeros = vec![0; CHUNK];
    for _ in 0..chunks {
        stream.write_all(&zeros).context("sending")?;
    }
    stream.write_all(tail.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("the answer")?;
    ensure!(answer.contains("\"status_code\":0,"), "{answer}");
    Ok(())
}
