//! Prints what reads cost in one node without the network: see [`ratchet`].
//!
//! Processor time is that of the thread that answers. For instructions:
//! `valgrind --tool=callgrind --toggle-collect=ratchet::Served::ask reads --requests 200`.
use clap::Parser;
use ratchet::{Kind, Scale, Served, observe};

/// Asks one node again and again.
#[derive(Parser)]
struct Flags {
    /// How many requests of each kind.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Only this kind.
    #[arg(long)]
    kind: Option<String>,
    #[arg(long, default_value_t = 50)]
    users: usize,
    #[arg(long, default_value_t = 300)]
    videos: usize,
    /// Likes and follows of each user.
    #[arg(long, default_value_t = 20)]
    edges: usize,
    /// The cache of values in front of the database.
    #[arg(long, default_value_t = 64 << 20)]
    value_cache_bytes: usize,
}

fn main() {
    let flags = Flags::parse();
    observe();
    let scale = Scale {
        users: flags.users,
        videos: flags.videos,
        edges: flags.edges,
    };
    let served = Served::start(scale, flags.value_cache_bytes);
    println!("{:<18} {:>8} {:>12}", "kind", "bytes", "µs processor");
    for kind in Kind::ALL {
        if flags.kind.as_ref().is_some_and(|name| name != kind.name()) {
            continue;
        }
        let bytes = (0..flags.users).map(|round| served.ask(kind, round)).max();
        let begun = thread_nanos();
        for round in 0..flags.requests {
            served.ask(kind, round);
        }
        let micros = (thread_nanos() - begun) / 1_000.0 / flags.requests as f64;
        println!(
            "{:<18} {:>8} {micros:>12.1}",
            kind.name(),
            bytes.unwrap_or_default()
        );
    }
}

/// Processor time of this thread, nanoseconds.
fn thread_nanos() -> f64 {
    let figures = std::fs::read_to_string("/proc/thread-self/schedstat");
    let figures = figures.expect("Linux counts the time of threads");
    let nanos = figures
        .split(' ')
        .next()
        .and_then(|first| first.parse().ok());
    nanos.expect("its first figure is the time on a processor")
}
