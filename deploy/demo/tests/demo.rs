//! What `make demo`, `make node-kill`, `make node-start` and `make stop` promise, with the built
//! binaries, on ports of its own.
#![allow(clippy::unwrap_used, reason = "in a test it is the assertion")]
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Generous: a debug build on a machine that may be compiling something else.
const PATIENCE: Duration = Duration::from_secs(30);

/// A demo in a folder and on ports of its own; stopped when dropped.
struct Demo {
    folder: tempfile::TempDir,
    http: [u16; 3],
    cluster: [u16; 3],
    s3: u16,
}

impl Demo {
    fn new() -> Self {
        // All held at once, so that they differ; freed when this returns.
        let http = [(); 3].map(|()| TcpListener::bind(any()).unwrap());
        let cluster = [(); 3].map(|()| UdpSocket::bind(any()).unwrap());
        let s3 = TcpListener::bind(any()).unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            http: http
                .each_ref()
                .map(|socket| socket.local_addr().unwrap().port()),
            cluster: cluster
                .each_ref()
                .map(|socket| socket.local_addr().unwrap().port()),
            s3: s3.local_addr().unwrap().port(),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let list = |ports: [u16; 3]| ports.map(|port| port.to_string()).join(",");
        let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
        command
            .args(words)
            .arg("--data")
            .arg(self.folder.path().join("data"))
            .args([
                "--http-ports",
                &list(self.http),
                "--cluster-ports",
                &list(self.cluster),
            ])
            .args(["--s3-port", &self.s3.to_string()]);
        if matches!(words[0], "up" | "start") {
            command.arg("--yin").arg(yin());
        }
        if words[0] == "up" {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            command
                .arg("--clips")
                .arg(root.join("../../tests/fixtures"));
        }
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words)
            .output()
            .expect("the demo can be started")
    }

    /// Runs to success and returns what was printed.
    #[track_caller]
    fn succeeds(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}\n{printed}\n{complaint}");
        printed
    }

    /// Ids and titles of the feed, from one node, as an anonymous reader.
    fn feed(&self, node: usize) -> Vec<(u64, String)> {
        let url = format!("http://127.0.0.1:{}/douyin/feed/", self.http[node]);
        let feed: Value = block_on(async {
            let client = reqwest::Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()
                .unwrap();
            client.get(url).send().await.unwrap().json().await.unwrap()
        });
        let videos = feed["video_list"].as_array().expect("a list");
        let id = |video: &Value| video["id"].as_u64().expect("an id");
        let title = |video: &Value| video["title"].as_str().expect("a title").to_owned();
        videos
            .iter()
            .map(|video| (id(video), title(video)))
            .collect()
    }

    fn pid_files(&self) -> usize {
        let folder = self.folder.path().join("data/demo/pids");
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }

    #[track_caller]
    fn assert_nothing_runs(&self) {
        assert_eq!(self.pid_files(), 0);
        for port in self.http.into_iter().chain([self.s3]) {
            TcpListener::bind(at(port)).unwrap_or_else(|error| panic!("port {port}: {error}"));
        }
        for port in self.cluster {
            UdpSocket::bind(at(port)).unwrap_or_else(|error| panic!("port {port}: {error}"));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Also after a failed assertion: the processes would outlive the test.
        let output = self.run(&["stop"]);
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

fn any() -> SocketAddr {
    at(0)
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The built `yin`, which lies beside the built `demo`.
fn yin() -> PathBuf {
    let yin = Path::new(env!("CARGO_BIN_EXE_demo")).with_file_name("yin");
    assert!(
        yin.exists(),
        "build it first: cargo build -p node (or make test)"
    );
    yin
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    // The second installation in this process is refused, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

#[test]
fn a_demo_starts_survives_and_stops() {
    let demo = Demo::new();

    let printed = demo.succeeds(&["up", "--detach"]);
    assert!(printed.contains("sample data: all in"), "{printed}");
    assert_eq!(demo.pid_files(), 4);
    let shown = demo.feed(0);
    assert_eq!(shown.len(), 8);

    // Again: it runs, so there is nothing to do.
    let printed = demo.succeeds(&["up", "--detach"]);
    assert!(
        !printed.contains("sample data") && !printed.contains("started"),
        "{printed}"
    );

    // One node dies; the others serve the same, and it comes back.
    demo.succeeds(&["kill", "1"]);
    assert_eq!(demo.feed(1), shown);
    assert_eq!(demo.feed(2), shown);
    let twice = demo.run(&["kill", "1"]);
    assert!(String::from_utf8_lossy(&twice.stderr).contains("node1 does not run"));
    demo.succeeds(&["start", "1"]);
    assert_eq!(demo.feed(0), shown);

    let printed = demo.succeeds(&["stop"]);
    assert_eq!(
        printed.matches("stopped").count(),
        4,
        "all by themselves: {printed}"
    );
    demo.assert_nothing_runs();
    assert_eq!(demo.succeeds(&["stop"]), "", "nothing is left to stop");

    // In the foreground, on the same data: the same clips, and Ctrl-C ends all of it.
    let mut foreground = demo
        .command(&["up"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the demo can be started");
    let mut lines = BufReader::new(foreground.stdout.take().expect("it is piped")).lines();
    let ready = lines
        .by_ref()
        .map(Result::unwrap)
        .take_while(|line| !line.contains("Ctrl-C ends it"));
    assert!(
        ready.into_iter().all(|line| !line.contains("sample data")),
        "it was there already"
    );
    assert_eq!(demo.feed(1), shown);
    let pid = Pid::from_raw(i32::try_from(foreground.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    // Reading on lets it finish printing.
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(foreground.wait().unwrap().success(), "{rest:?}");
    demo.assert_nothing_runs();
}

#[test]
fn a_taken_port_is_said_before_anything_starts() {
    // A port that was free a moment ago may have become somebody's meanwhile.
    let (demo, stranger) = (0..20)
        .find_map(|_| {
            let demo = Demo::new();
            let stranger = TcpListener::bind(at(demo.http[2])).ok()?;
            Some((demo, stranger))
        })
        .expect("one of twenty ports is free");
    let output = demo.run(&["up", "--detach"]);
    assert!(!output.status.success());
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains(&format!("port {}", demo.http[2])),
        "{complaint}"
    );
    assert_eq!(demo.pid_files(), 0);
    drop(stranger);
    demo.assert_nothing_runs();
}

/// An unknown or misspelt setting is refused when the file is read, before the data directory is
/// looked at: coming as far as that means that the example file is understood.
#[test]
fn the_example_configuration_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../yin.toml");
    let serve = |config: &Path| {
        let mut command = Command::new(yin());
        command.arg("serve").arg("--config").arg(config);
        let output = command
            .arg("--data")
            .arg(folder.path().join("data"))
            .output()
            .unwrap();
        assert!(!output.status.success(), "there is nothing to serve");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let complaint = serve(&example);
    assert!(complaint.contains("new data directory"), "{complaint}");

    let misspelt = folder.path().join("misspelt.toml");
    let text = std::fs::read_to_string(&example).unwrap();
    std::fs::write(&misspelt, text.replace("zone =", "zoen =")).unwrap();
    let complaint = serve(&misspelt);
    assert!(complaint.contains("zoen"), "{complaint}");
}
