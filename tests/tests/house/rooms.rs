//! What the house is: its packages, whom each may know, whose a dependency or a word is, and what
//! lies in the root.

/// A package, its folder, and the packages of the workspace that it may know. All arrows point
/// down.
pub(crate) const ARROWS: [(&str, &str, &[&str]); 21] = [
    ("model", "storage/model", &[]),
    ("media", "storage/media", &[]),
    ("s3", "storage/s3", &[]),
    ("transport", "raft/transport", &[]),
    ("storage", "storage", &["model"]),
    ("gossip", "gossip", &["transport"]),
    ("raft", "raft", &["model", "storage", "transport"]),
    (
        "api",
        "api",
        &["gossip", "media", "model", "raft", "storage"],
    ),
    (
        "node",
        "node",
        &[
            "api",
            "gossip",
            "load",
            "media",
            "model",
            "raft",
            "s3",
            "storage",
            // For the bench's other build only.
            "tcp",
            "transport",
        ],
    ),
    (
        "tests",
        "tests",
        &[
            "api",
            "checkers",
            "gossip",
            "media",
            "model",
            "node",
            "ports",
            "raft",
            "s3",
            "storage",
            "transport",
        ],
    ),
    // A program of its own, since a counting allocator serves a whole program.
    (
        "ratchet",
        "tests/ratchet",
        &[
            "api",
            "gossip",
            "media",
            "model",
            "raft",
            "storage",
            "transport",
        ],
    ),
    // What model and state cost, without all that stands above them; fills states for the bench.
    ("micro", "tests/bench/micro", &["model", "storage"]),
    // The network seam over TCP, to compare QUIC with.
    ("tcp", "tests/bench/tcp", &["transport"]),
    // Users of the built binary, its HTTP and its command line.
    ("demo", "deploy/demo", &[]),
    (
        "jepsen",
        "jepsen",
        &["checkers", "plants", "ports", "router"],
    ),
    // Load over the public API, for users and for the bench; knows nothing of who answers.
    ("load", "tests/bench/load", &[]),
    ("bench", "tests/bench", &["load", "ports", "s3"]),
    // A network between namespaces; knows nothing of who talks over it.
    ("router", "jepsen/router", &[]),
    // Free loopback addresses, for whoever starts servers as processes.
    ("ports", "jepsen/ports", &[]),
    // Every room may carry planted bugs: see `EVERYWHERE`.
    ("plants", "jepsen/plants", &[]),
    // Judges histories; knows nothing of what made them.
    ("checkers", "jepsen/checkers", &[]),
];

/// Beside the floors: a constant `false` in every build but those that prove the harness.
pub(crate) const EVERYWHERE: [&str; 1] = ["plants"];

/// What the tests of a package may know beside that.
pub(crate) const ARROWS_OF_TESTS: [(&str, &[&str]); 3] = [
    // A whole node in one process needs a transport.
    ("api", &["transport"]),
    // Micro-benchmarks of whole answers and of QUIC.
    ("micro", &["ratchet", "transport"]),
    // The bucket's client and a server for it are both at hand only there.
    ("s3", &["storage"]),
];

/// Libraries that only some rooms may know, so that they can be replaced there.
pub(crate) const HOMES: [(&str, &[&str]); 16] = [
    ("argon2", &["api"]),
    ("axum", &["api", "bench", "node", "ratchet"]),
    ("chitchat", &["gossip"]),
    (
        "clap",
        &["bench", "demo", "jepsen", "micro", "node", "ratchet"],
    ),
    ("governor", &["api"]),
    ("mysql_async", &["bench"]),
    ("object_store", &["storage"]),
    ("openh264", &["media"]),
    ("openraft", &["raft"]),
    ("quinn", &["bench", "transport"]),
    ("rcgen", &["bench", "node", "transport"]),
    ("redis", &["bench"]),
    ("rocksdb", &["storage"]),
    ("s3s", &["s3"]),
    ("s3s-fs", &["s3"]),
    ("tokio-rustls", &["tcp"]),
];

/// Words that the shipped code of a folder must not contain, where manifests do not tell.
pub(crate) const STRANGE_WORDS: [(&str, &[&str], &str); 4] = [
    (
        "storage/model/src/",
        &[
            "async",
            "await",
            "tokio",
            "thread",
            "Instant",
            "SystemTime",
            "HashMap",
            "HashSet",
            "rand",
            "fs",
            "net",
            "File",
            "StatusCode",
            "axum",
        ],
        "the model is pure: no async, IO, clock, randomness, threads, unordered maps or HTTP",
    ),
    (
        "storage/src/",
        &[
            "user", "video", "comment", "favorite", "relation", "feed", "axum", "openraft", "quinn",
        ],
        "storage knows bytes, not what a user or a video is",
    ),
    (
        "raft/src/",
        &["Operation::", "rocksdb", "axum", "StatusCode", "quinn"],
        "raft carries commands, it does not look into them; no HTTP, no engine",
    ),
    (
        "api/src/",
        &["rocksdb", "openraft", "quinn", "chitchat"],
        "the HTTP face sees a replica, blobs and members, not what they are made of",
    ),
];

/// Only these lie in the root, whatever their order.
pub(crate) const ROOT: [&str; 17] = [
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "api",
    "clippy.toml",
    "deny.toml",
    "deploy",
    "gossip",
    "jepsen",
    "node",
    "raft",
    "rust-toolchain.toml",
    "storage",
    "tests",
];
