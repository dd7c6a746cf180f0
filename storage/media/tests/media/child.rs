//! The decoder's process: what it answers, how it is limited, and how it ends.

use std::ffi::OsString;
use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use media::child::{Cover, Failure, Report, Studio, run_cover_child};
use media::{Confinement, Invalid, NoCover, confine, seal};

use crate::{file_of, fixture};

const PATIENCE: Duration = Duration::from_secs(20);

fn studio() -> Studio {
    Studio {
        patience: PATIENCE,
        ..Studio::new(env!("CARGO_BIN_EXE_cover-child"), [] as [&str; 0])
    }
}

/// A shell in the place of the decoder: `$0` is the input, `$1` the output.
async fn shell(script: &str, output: &Path, patience: Duration) -> Result<Report, Failure> {
    let args: [OsString; 2] = ["-c".into(), script.into()];
    run_cover_child(
        Path::new("/bin/sh"),
        &args,
        Path::new("/dev/null"),
        output,
        patience,
    )
    .await
}

fn output() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cover.jpg");
    (dir, path)
}

/// Waits until a process is gone.
async fn gone(pid: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let stat = PathBuf::from(format!("/proc/{pid}/stat"));
    // A zombie has ended; it only waits to be counted.
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < deadline, "process {pid} still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a child has written its id.
async fn pid_in(path: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match std::fs::read_to_string(path) {
            Ok(pid) if pid.ends_with('\n') => return pid.trim().to_owned(),
            _ => assert!(Instant::now() < deadline, "no process wrote its id"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_video_gets_facts_and_a_cover() {
    let (_dir, output) = output();
    let report = studio().look(&fixture("clip2.mp4"), &output).await.unwrap();
    let clip = media::inspect(&fixture("clip2.mp4")).unwrap();
    assert_eq!(
        report,
        Report::Clip {
            clip,
            cover: Cover::Made
        }
    );
    assert_eq!(
        std::fs::read(&output).unwrap(),
        media::cover(&fixture("clip2.mp4")).unwrap().bytes
    );
}

#[tokio::test]
async fn what_is_no_video_is_refused() {
    let (_dir, output) = output();
    let (_other, html) = file_of(b"<html>");
    assert_eq!(
        studio().look(&html, &output).await,
        Ok(Report::Refused(Invalid::NotVideo))
    );
    let nowhere = studio().look(Path::new("/nowhere"), &output).await;
    assert!(
        matches!(&nowhere, Err(Failure::Crashed { stderr, .. }) if stderr.contains("No such file")),
        "{nowhere:?}"
    );
}

#[tokio::test]
async fn a_codec_we_do_not_decode_waits_for_ffmpeg() {
    let (_dir, output) = output();
    let hevc = fixture("hevc.mp4");
    let without = studio().look(&hevc, &output).await.unwrap();
    let clip = media::inspect(&hevc).unwrap();
    let reason = NoCover::Codec {
        codec: "hvc1".into(),
    };
    assert_eq!(
        without,
        Report::Clip {
            clip: clip.clone(),
            cover: Cover::None(reason)
        }
    );

    let broken = Studio {
        ffmpeg: Some("/nowhere/ffmpeg".into()),
        ..studio()
    };
    let report = broken.look(&hevc, &output).await.unwrap();
    let Report::Clip {
        clip: same,
        cover: Cover::None(NoCover::Undecodable { why }),
    } = report
    else {
        panic!("{report:?}")
    };
    assert_eq!(same, clip);
    assert!(why.contains("No such file"), "{why}");

    let ffmpeg = PathBuf::from("/usr/bin/ffmpeg");
    if !ffmpeg.exists() {
        eprintln!("skipped the rest: this machine has no {}", ffmpeg.display());
        return;
    }
    for name in ["hevc.mp4", "vp9.webm"] {
        let with = Studio {
            ffmpeg: Some(ffmpeg.clone()),
            ..studio()
        };
        let report = with.look(&fixture(name), &output).await.unwrap();
        assert!(
            matches!(
                report,
                Report::Clip {
                    cover: Cover::Made,
                    ..
                }
            ),
            "{name}: {report:?}"
        );
        let cover = image::load_from_memory(&std::fs::read(&output).unwrap())
            .unwrap()
            .to_rgb8();
        assert_eq!(cover.dimensions(), (360, 640), "{name}");
        assert!(
            cover.get_pixel(180, 490).0[0] > 150,
            "{name}: the red square is there"
        );
    }
}

#[tokio::test]
async fn bent_pictures_never_hang_or_kill_the_caller() {
    let (_dir, output) = output();
    let good = std::fs::read(fixture("clip4.mp4")).unwrap();
    for seed in 0..16_usize {
        let mut bytes = good.clone();
        let half = bytes.len() / 2;
        for step in 0..200 {
            let at = half - 4000 + (seed * 7919 + step * 104_729) % (half + 3900);
            bytes[at] = bytes[at].wrapping_add(u8::try_from(step + seed).unwrap());
        }
        let (_input, path) = file_of(&bytes);
        let start = Instant::now();
        // Any answer is fine, and so is a crash of the child: we are still here.
        let answer = studio().look(&path, &output).await;
        assert!(
            !matches!(
                answer,
                Err(Failure::TimedOut { .. } | Failure::Start { .. })
            ),
            "{answer:?}"
        );
        assert!(start.elapsed() < PATIENCE);
    }
}

#[tokio::test]
async fn a_child_that_takes_too_long_is_killed() {
    let (_dir, output) = output();
    let start = Instant::now();
    let result = shell(
        "echo $$ > \"$1\"; exec sleep 60",
        &output,
        Duration::from_millis(700),
    )
    .await;
    assert_eq!(result, Err(Failure::TimedOut { after_ms: 700 }));
    assert!(start.elapsed() < Duration::from_secs(10));
    gone(&pid_in(&output).await).await;
}

#[tokio::test]
async fn a_caller_that_leaves_takes_the_child_along() {
    let (_dir, output) = output();
    let path = output.clone();
    let task =
        tokio::spawn(
            async move { shell("echo $$ > \"$1\"; exec sleep 60", &path, PATIENCE).await },
        );
    let pid = pid_in(&output).await;
    task.abort();
    gone(&pid).await;
}

#[tokio::test]
async fn crashes_and_nonsense_are_told_apart() {
    let (_dir, output) = output();
    let crash = shell("echo why >&2; kill -SEGV $$", &output, PATIENCE).await;
    assert!(
        matches!(&crash, Err(Failure::Crashed { status, stderr }) if status.contains("signal: 11") && stderr == "why"),
        "{crash:?}"
    );
    let nonsense = shell("echo hello", &output, PATIENCE).await;
    assert!(
        matches!(nonsense, Err(Failure::Nonsense { .. })),
        "{nonsense:?}"
    );
    let missing = run_cover_child(
        Path::new("/nowhere/yin"),
        &[],
        Path::new("/a"),
        Path::new("/b"),
        PATIENCE,
    )
    .await;
    assert!(matches!(missing, Err(Failure::Start { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_child_that_talks_without_end_is_heard_in_part() {
    let (_dir, output) = output();
    let talk = shell(
        "head -c 20000000 /dev/zero | tr '\\0' x >&2; exit 3",
        &output,
        PATIENCE,
    )
    .await;
    let Err(Failure::Crashed { status, stderr }) = talk else {
        panic!("{talk:?}")
    };
    assert_eq!(
        (status.as_str(), stderr.len()),
        ("exit status: 3", 16 << 10)
    );
}

#[tokio::test]
async fn a_child_sees_nothing_of_our_environment() {
    let (_dir, output) = output();
    let script = "test -z \"$HOME$CARGO_MANIFEST_DIR$AWS_SECRET_ACCESS_KEY\" && exit 7; exit 8";
    let result = shell(script, &output, PATIENCE).await;
    assert!(
        matches!(&result, Err(Failure::Crashed { status, .. }) if status == "exit status: 7"),
        "{result:?}"
    );
}

/// Runs again in a process of its own, which must find itself confined.
#[test]
fn a_confined_process_can_open_nothing_and_takes_little() {
    const SIGN: &str = "MEDIA_TEST_CONFINED";
    if std::env::var_os(SIGN).is_none() {
        let test = "child::a_confined_process_can_open_nothing_and_takes_little";
        let program = std::env::current_exe().unwrap();
        let done = Command::new(program)
            .args(["--exact", test, "--nocapture"])
            .env(SIGN, "1")
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        assert!(
            String::from_utf8_lossy(&done.stdout).contains("confined as it should"),
            "{done:?}"
        );
        return;
    }
    let limits = Confinement {
        memory_bytes: 2 << 30,
        cpu_s: 5,
        file_bytes: 4096,
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    confine(&limits).unwrap();
    assert!(
        File::open("/etc/hostname").is_ok() || File::open("/etc/passwd").is_ok(),
        "confined is not sealed"
    );
    assert!(
        Vec::<u8>::new().try_reserve_exact(4 << 30).is_err(),
        "memory has a limit"
    );
    seal().unwrap();
    for (what, error) in [
        ("a file", File::open("/etc/passwd").err()),
        (
            "a connection",
            TcpStream::connect(port.local_addr().unwrap()).err(),
        ),
    ] {
        let error = error.unwrap_or_else(|| panic!("{what} could be opened"));
        assert_eq!(
            error.raw_os_error(),
            Some(24),
            "{what}: too many open files"
        );
    }
    assert!(
        confine(&Confinement {
            memory_bytes: 4 << 30,
            ..limits
        })
        .is_ok()
    );
    assert!(
        Vec::<u8>::new().try_reserve_exact(4 << 30).is_err(),
        "a limit is never raised"
    );
    println!("confined as it should");
}
