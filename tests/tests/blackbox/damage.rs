//! Disks that lie, fill up and lose power. Some of it needs root (mounts of its own).
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::cluster::{Cluster, PATIENCE, path};
use tests::process::flip_bit;
use tests::wait;

use crate::load::Load;

/// Mounts need root. Without it the test says so, and fails unless the operator accepts that.
fn may_mount() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("YIN_WITHOUT_ROOT").is_some(),
        "this test mounts file systems: run it as root, or set YIN_WITHOUT_ROOT=1 to leave it out"
    );
    eprintln!("left out: needs root");
    false
}

fn command(words: &[&str]) {
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
}

/// A file system of its own; unmounted when dropped.
struct Mount {
    at: PathBuf,
    image: Option<PathBuf>,
}

impl Mount {
    /// A small one in memory.
    fn tmpfs(at: &Path, mebibytes: u32) -> Self {
        std::fs::create_dir_all(at).expect("made");
        let size = format!("size={mebibytes}m");
        command(&["mount", "-t", "tmpfs", "-o", &size, "yin-test", path(at)]);
        Self {
            at: at.to_owned(),
            image: None,
        }
    }

    /// A real ext4 in an image file, whose power can be cut.
    fn ext4(at: &Path, mebibytes: u64) -> Self {
        std::fs::create_dir_all(at).expect("made");
        let image = at.with_extension("img");
        let file = std::fs::File::create(&image).expect("made");
        file.set_len(mebibytes << 20).expect("sized");
        command(&["mkfs.ext4", "-q", "-F", path(&image)]);
        let mount = Self {
            at: at.to_owned(),
            image: Some(image),
        };
        mount.mount();
        mount
    }

    fn mount(&self) {
        let image = self.image.as_ref().expect("an image");
        command(&["mount", "-o", "loop", path(image), path(&self.at)]);
    }

    fn unmount(&self) {
        command(&["umount", path(&self.at)]);
    }

    /// From now on nothing reaches the image any more, not even what was written before and not
    /// synced (`EXT4_IOC_SHUTDOWN` without flushing the journal).
    fn cut_power(&self) {
        const EXT4_IOC_SHUTDOWN: u32 = 0x8004_587d;
        const NO_LOG_FLUSH: u32 = 2;
        command(&[
            "python3",
            "-c",
            "import fcntl,os,struct,sys\n\
             fd=os.open(sys.argv[1],os.O_RDONLY)\n\
             fcntl.ioctl(fd,int(sys.argv[2]),struct.pack('I',int(sys.argv[3])))",
            path(&self.at),
            &EXT4_IOC_SHUTDOWN.to_string(),
            &NO_LOG_FLUSH.to_string(),
        ]);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.at).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("could not unmount {}", self.at.display());
        }
    }
}

#[tokio::test]
async fn power_cut_on_all_three_at_once() {
    if !may_mount() {
        return;
    }
    let disks = tempfile::tempdir().expect("a directory");
    let mounts: Vec<Mount> = (1..=3)
        .map(|n| Mount::ext4(&disks.path().join(format!("d{n}")), 700))
        .collect();
    // The shutdown only counts if it really drops what was not synced.
    let canary = mounts[0].at.join("canary");
    let place = |_: &Path, n: usize| mounts[n - 1].at.join("yin");
    let mut cluster = Cluster::start_in(3, place).await;
    for round in 0..2 {
        let mut load = Load::begin(&cluster, &format!("cut{round}")).await;
        wait::until("a hundred acknowledged writes", PATIENCE, || async {
            let ledger = load.ledger.lock().expect("unpoisoned");
            (ledger.acknowledged_at.len() >= 100).then_some(())
        })
        .await;
        std::fs::write(&canary, [7; 4096]).expect("written, not synced");
        for mount in &mounts {
            mount.cut_power();
        }
        for n in 0..3 {
            cluster.kill(n);
        }
        load.end().await;
        for mount in &mounts {
            mount.unmount();
            mount.mount();
        }
        let kept = std::fs::read(&canary).unwrap_or_default();
        assert!(
            kept.is_empty(),
            "the cut dropped nothing: it proves nothing"
        );
        for n in 0..3 {
            cluster.run(n);
        }
        for node in &cluster.nodes {
            node.ready().await;
        }
        for client in cluster.clients() {
            load.check(&client).await;
        }
        let status = cluster.nodes[0].ask("status").expect("status answers");
        assert_eq!(
            status["voters"],
            serde_json::json!([1, 2, 3]),
            "a torn tail costs no vote"
        );
        cluster.verify().await;
    }
    drop(cluster);
}

/// The log segment that holds the most, and an offset in the middle of what it holds.
fn middle_of_the_log(data: &Path) -> (PathBuf, u64) {
    let mut best = (PathBuf::new(), 0);
    for entry in std::fs::read_dir(data.join("log")).expect("a log") {
        let segment = entry.expect("readable").path();
        let bytes = std::fs::read(&segment).expect("readable");
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        if used > best.1 {
            best = (segment, used);
        }
    }
    (best.0, best.1 as u64 / 2)
}

#[tokio::test]
async fn one_flipped_bit_in_the_log_costs_the_vote_not_the_data() {
    let mut cluster = Cluster::start(3).await;
    let mut load = Load::begin(&cluster, "flip").await;
    wait::until("fifty acknowledged writes", PATIENCE, || async {
        let ledger = load.ledger.lock().expect("unpoisoned");
        (ledger.acknowledged_at.len() >= 50).then_some(())
    })
    .await;
    let victim = (cluster.leader().await + 1) % 3;
    let old = cluster.nodes[victim].ask("status").expect("status")["node"].clone();
    cluster.kill(victim);
    let (segment, offset) = middle_of_the_log(&cluster.nodes[victim].data);
    flip_bit(&segment, offset);
    cluster.run(victim);
    cluster.nodes[victim].ready().await;
    load.end().await;

    let log = cluster.nodes[victim].log();
    assert!(log.contains("damaged"), "it must say so: {log}");
    let new = cluster.nodes[victim].ask("status").expect("status")["node"].clone();
    assert_ne!(old, new, "it must not vote under its old id");
    wait::until("the old id to be gone", PATIENCE, || async {
        let status = cluster.nodes[victim].ask("status").ok()?;
        let voters = status["voters"].as_array()?;
        (voters.len() == 3 && !voters.contains(&old) && voters.contains(&new)).then_some(())
    })
    .await;
    assert!(
        cluster.nodes[victim]
            .data
            .join("damaged-1")
            .join("log")
            .exists()
    );
    for client in cluster.clients() {
        load.check(&client).await;
    }
    cluster.verify().await;
}

#[tokio::test]
async fn a_wiped_or_foreign_directory_is_refused() {
    let mut cluster = Cluster::start(3).await;
    cluster.kill(2);
    std::fs::remove_dir_all(cluster.nodes[2].data.join("log")).expect("wiped");
    cluster.run(2);
    let status = {
        let process = cluster.nodes[2].process.as_mut().expect("started");
        process.ended(PATIENCE).await
    };
    assert!(!status.success());
    let log = cluster.nodes[2].log();
    assert!(log.contains("wiped"), "{log}");

    // Another node's log under this identity.
    cluster.kill(1);
    copy_dir(
        &cluster.nodes[1].data.join("log"),
        &cluster.nodes[2].data.join("log"),
    );
    cluster.nodes[2].process = None;
    cluster.run(2);
    let status = {
        let process = cluster.nodes[2].process.as_mut().expect("started");
        process.ended(PATIENCE).await
    };
    assert!(!status.success());
    let log = cluster.nodes[2].log();
    assert!(log.contains("belongs to"), "{log}");
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("readable") {
        let file = entry.expect("readable").path();
        let name = file.file_name().expect("a name");
        std::fs::copy(&file, to.join(name)).expect("copied");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_hands_over_and_recovers() {
    if !may_mount() {
        return;
    }
    let disks = tempfile::tempdir().expect("a directory");
    let mounts: Vec<Mount> = (1..=3)
        .map(|n| Mount::tmpfs(&disks.path().join(format!("d{n}")), 512))
        .collect();
    let place = |_: &Path, n: usize| mounts[n - 1].at.join("yin");
    let cluster = Cluster::start_in(3, place).await;
    let full = cluster.leader().await;
    let ballast = mounts[full].at.join("ballast");
    fill(&ballast, &mounts[full].at);
    wait::until("another leader", PATIENCE, || async {
        (cluster.leader().await != full).then_some(())
    })
    .await;

    let elsewhere = cluster.nodes[(full + 1) % 3].client();
    let login = elsewhere.register("roomy").await;
    let refused = cluster.nodes[full]
        .client()
        .try_post(
            "/douyin/user/register/",
            &[("username", "cramped"), ("password", "secret-1")],
        )
        .await;
    assert!(
        matches!(&refused, tests::client::Outcome::NotApplied(why) if why.contains("disk space")),
        "{refused:?}"
    );
    let status = cluster.nodes[full].ask("status").expect("status answers");
    assert_eq!(status["is_disk_low"], true);

    std::fs::remove_file(&ballast).expect("room again");
    wait::until("writes at the node that was full", PATIENCE, || async {
        let client = cluster.nodes[full].client();
        match client.follow(&login, login.id + (1 << 10), true).await {
            tests::client::Outcome::Answered(_) => Some(()),
            _ => None,
        }
    })
    .await;
    cluster.verify().await;
    drop(cluster);
}

/// Writes until less than 8 MiB are free.
fn fill(ballast: &Path, at: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(ballast).expect("made");
    let block = vec![1; 1 << 20];
    loop {
        let free = rustix::fs::statvfs(at).expect("asked");
        if free.f_bavail * free.f_frsize < 8 << 20 {
            return;
        }
        file.write_all(&block).expect("written");
    }
}
