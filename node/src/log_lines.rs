//! The way of log lines to standard error: over a bounded queue and a thread of its own, so that a
//! reader that does not read (a stuck log collector, a terminal on hold) stops nobody but that
//! thread. What does not fit is dropped and counted; the next line that fits says how many were.
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for the reader; at the usual length about a mebibyte.
const LINES_MAX: usize = 4_096;

enum Message {
    Line(Vec<u8>),
    /// Answered once all lines before it are out.
    Flush(SyncSender<()>),
}

/// Makes writers for `tracing`; each writer is one line.
#[derive(Clone)]
pub(crate) struct Lines {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, messages) = sync_channel(LINES_MAX);
        let dropped = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&dropped);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_out(&messages, &counted, out))?;
        Ok(Self { queue, dropped })
    }

    /// Waits until all lines so far are out, or nobody reads them in time.
    pub(crate) fn flush(&self, within: Duration) {
        let (done, is_done) = sync_channel(1);
        // A full queue means that nobody reads; then there is nothing to wait for.
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            // Late or not: whoever asked goes on.
            let _ = is_done.recv_timeout(within);
        }
    }
}

fn write_out(messages: &Receiver<Message>, dropped: &AtomicU64, mut out: impl Write) {
    for message in messages {
        match message {
            // Nobody is left to be told that standard error is closed.
            Message::Line(line) => drop(out.write_all(&line)),
            // Who asked may have given up.
            Message::Flush(done) => {
                let _ = done.send(());
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let told = format!(
                "{{\"level\":\"WARN\",\"message\":\"log lines were dropped: nobody read standard \
                 error\",\"lines\":{lost}}}\n"
            );
            drop(out.write_all(told.as_bytes()));
        }
    }
}

/// One line under way.
pub(crate) struct Line<'a> {
    lines: &'a Lines,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            lines: self,
            bytes: Vec::new(),
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.bytes);
        if line.is_empty() {
            return;
        }
        match self.lines.queue.try_send(Message::Line(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lines.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Instant;

    use super::*;

    fn say(lines: &Lines, text: &str) {
        lines.make_writer().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_reader_that_does_not_read_stops_nobody_and_later_hears_what_it_missed() {
        let (mut reader, writer) = io::pipe().unwrap();
        let lines = Lines::start(writer).unwrap();
        let begun = Instant::now();
        let long = format!("{}\n", "x".repeat(1_000));
        for _ in 0..3 * LINES_MAX {
            say(&lines, &long);
        }
        lines.flush(Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(10));
        drop(lines);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        let told = read.lines().find(|line| line.contains("were dropped"));
        assert!(told.is_some(), "it was not said that lines are missing");
        let kept = read.lines().filter(|line| line.starts_with('x')).count();
        assert!((LINES_MAX..3 * LINES_MAX).contains(&kept), "{kept}");
    }

    #[test]
    fn a_flush_waits_for_the_lines_before_it() {
        let (mut reader, writer) = io::pipe().unwrap();
        let lines = Lines::start(writer).unwrap();
        say(&lines, "first\n");
        say(&lines, "second\n");
        lines.flush(Duration::from_secs(10));
        let mut read = [0; 13];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"first\nsecond\n");
    }
}
