//! How far the loading is: a bar on a terminal, a line a stage elsewhere.
use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Shows one stage after the other.
#[derive(Default)]
pub(crate) struct Bars(RefCell<Option<Stage>>);

struct Stage {
    name: String,
    total: u64,
    began: Instant,
    is_over: Arc<AtomicBool>,
    /// `None` where a bar would only fill a log with escape codes.
    painter: Option<JoinHandle<()>>,
}

impl load::Progress for Bars {
    fn stage(&self, name: &str, total: u64, done: &Arc<AtomicU64>) {
        self.end();
        let is_over = Arc::new(AtomicBool::new(false));
        let painter = std::io::stderr().is_terminal().then(|| {
            let bar = bar(name, total);
            let (done, is_over) = (Arc::clone(done), Arc::clone(&is_over));
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    bar.set_position(done.load(Ordering::Relaxed).min(total));
                    std::thread::park_timeout(LOOK_EVERY);
                }
                bar.finish_and_clear();
            })
        });
        self.0.replace(Some(Stage {
            name: name.to_owned(),
            total,
            began: Instant::now(),
            is_over,
            painter,
        }));
    }
}

impl Bars {
    /// The last stage is over.
    pub(crate) fn end(&self) {
        let Some(stage) = self.0.take() else { return };
        stage.is_over.store(true, Ordering::Relaxed);
        if let Some(painter) = stage.painter {
            painter.thread().unpark();
            if painter.join().is_err() {
                eprintln!("bench: the progress bar broke");
            }
        }
        let seconds = stage.began.elapsed().as_secs_f64();
        let rate = stage.total as f64 / seconds.max(1e-9);
        eprintln!(
            "loaded: {} {} in {seconds:.1} s ({rate:.0}/s)",
            stage.total, stage.name
        );
    }
}

fn bar(name: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "{bar:30.cyan} {human_pos}/{human_len} {msg}, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(name.to_owned());
    bar
}
