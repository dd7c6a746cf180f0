//! Processes live in their member's namespace and die with the network and with the harness.
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use router::{Error, Member, NODES_MAX, Network};

use crate::ground::{CLIENTS, Line, N1, N2, in_network, may_make_networks, wait_until};

/// Tells the test below that it plays the harness.
const PLAYS_HARNESS: &str = "YIN_PLAYS_HARNESS";
const SIGKILL: i32 = 9;

fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    command.arg("600");
    command
}

/// The namespace that a process of `member` finds itself in.
fn namespace_of(network: &Network, member: Member) -> String {
    let mut command = Command::new("readlink");
    command.arg("/proc/self/ns/net").stdout(Stdio::piped());
    let mut child = network.spawn(member, command).expect("readlink is there");
    let mut name = String::new();
    let mut output = child.stdout.take().expect("a pipe");
    output.read_to_string(&mut name).expect("readable");
    assert!(child.wait().expect("waited for").success());
    name.trim().to_owned()
}

#[test]
fn each_process_lives_in_the_namespace_of_its_member() {
    let host = std::fs::read_link("/proc/self/ns/net").expect("readable");
    in_network(1, 2, move |network| {
        assert_eq!(network.members(), [N1, N2, CLIENTS]);
        let names = [N1, N2, CLIENTS].map(|member| namespace_of(network, member));
        let own = std::fs::read_link("/proc/thread-self/ns/net").expect("readable");
        assert_eq!(names[2], own.to_string_lossy(), "the caller was moved");
        assert_ne!(own, host);
        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2]);
    });
}

#[test]
fn a_node_that_joins_later_is_reached() {
    in_network(1, 1, |network| {
        assert_eq!(network.add_node().expect("room for one more"), N2);
        assert_eq!(network.members(), [N1, N2, CLIENTS]);
        // From the first packet on, however busy the router is.
        for line in [(N1, N2), (N2, CLIENTS), (CLIENTS, N2)] {
            assert_eq!(Line::new(network, line.0, line.1).carry(50, 100).len(), 50);
        }
    });
}

#[test]
fn what_cannot_be_is_refused() {
    in_network(1, 1, |network| {
        let stranger = network.spawn(N2, sleeper());
        assert!(stranger.is_err_and(|error| error.to_string().contains("n2 is not in")));
        assert!(network.enter(N2).is_err());
        let missing = network.spawn(N1, Command::new("there-is-no-such-program"));
        assert!(missing.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound));
    });
    let too_many = Network::start(1, NODES_MAX + 1);
    assert!(matches!(too_many, Err(Error::TooManyNodes(254))));
}

#[test]
fn processes_end_with_the_network() {
    let children = in_network(1, 2, |network| {
        [N1, N2].map(|member| network.spawn(member, sleeper()).expect("started"))
    });
    for mut child in children.into_iter().flatten() {
        let mut status = None;
        wait_until("the end of the process", || {
            status = child.try_wait().expect("asked");
            status.is_some()
        });
        assert_eq!(status.and_then(|status| status.signal()), Some(SIGKILL));
    }
}

#[test]
fn processes_end_with_a_harness_that_is_killed() {
    if !may_make_networks() {
        return;
    }
    let own = std::env::current_exe().expect("known");
    let mut harness = Command::new(own)
        .args(["--exact", "processes::plays_the_harness", "--nocapture"])
        .env(PLAYS_HARNESS, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(harness.stdout.take().expect("a pipe")).lines();
    let told = lines.find_map(|line| Some(line.ok()?.split_once("sleeper ")?.1.to_owned()));
    let sleeper = told.expect("the harness tells who it started");
    assert!(is_running(&sleeper));
    harness.kill().expect("killed");
    harness.wait().expect("waited for");
    wait_until("the end of the process", || !is_running(&sleeper));
}

/// Not a test by itself: see above.
#[test]
fn plays_the_harness() {
    if std::env::var_os(PLAYS_HARNESS).is_none() {
        return;
    }
    in_network(1, 1, |network| {
        let mut child = network.spawn(N1, sleeper()).expect("started");
        println!("\nsleeper {}", child.id());
        child.wait().expect("waited for");
    });
}

/// Neither gone nor only waiting for somebody to ask how it ended.
fn is_running(process: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat"));
    status.is_ok_and(|status| !status.contains(") Z "))
}
