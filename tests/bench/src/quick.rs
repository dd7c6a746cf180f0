//! What makes loading quick: an S3 server that does not sync, and covers that are decoded once.
//!
//! Neither is measured. What they leave behind is what the built binary alone would have left: the
//! same files, which its own S3 server goes on with, and the same covers.
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use s3::{Disk, Options, Server};

use crate::process::run;

struct Unsynced;

impl Disk for Unsynced {
    /// Nobody relies on what is loaded before all of it is on the disk.
    fn sync(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Serves S3 until it is killed, with the keys of the environment.
pub(crate) fn serve(listen: SocketAddr, dir: PathBuf) -> Result<()> {
    let key = |name| std::env::var(name).with_context(|| format!("{name} is not set"));
    let options = Options {
        listen,
        dir,
        access_key: key("YIN_S3_ACCESS_KEY")?,
        secret_key: key("YIN_S3_SECRET_KEY")?,
        buckets: vec!["yin".to_owned()],
        disk: Arc::new(Unsynced),
        ..Options::default()
    };
    let runtime = tokio::runtime::Runtime::new().context("starting threads")?;
    runtime.block_on(async {
        let _server = Server::start(options).await.context("starting S3")?;
        std::future::pending().await
    })
}

/// Gives the built binary a second name, for the node that takes in data: another program can be put
/// under it while that node runs. A node calls its own program by name to look at a video.
pub(crate) fn link(yin: &Path, name: &Path) -> Result<()> {
    let folder = name.parent().context("a file is in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    // On another file system, or of another owner.
    if std::fs::hard_link(yin, name).is_err() {
        std::fs::copy(yin, name).with_context(|| format!("copying to {}", name.display()))?;
    }
    Ok(())
}

/// Puts under `name` what answers for [`load::CLIP`] as `yin` did when it was asked once. All videos
/// that are loaded are that clip, and each would cost a process of the built binary, which takes
/// longer to start than all else that publishing does. Should a node ask in another way, it gets no
/// cover and draws a poster: that is slow, and nothing is wrong.
pub(crate) fn decode_once(yin: &Path, name: &Path) -> Result<()> {
    let folder = name.parent().context("a file is in a folder")?;
    let [clip, cover, script] = ["clip.mp4", "cover.jpg", "script"].map(|file| folder.join(file));
    std::fs::write(&clip, load::CLIP).context("writing the clip")?;
    let mut decoder = Command::new(yin);
    decoder.args(["internal", "cover"]).args([&clip, &cover]);
    let report = run(decoder).context("decoding a cover")?;
    let picture = std::fs::read(&cover).context("reading a cover")?;
    std::fs::write(&script, answer(&report, &picture)?).context("writing a script")?;
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&script, executable).context("making a script executable")?;
    // The running node keeps the file that it was started from.
    std::fs::rename(&script, name).with_context(|| format!("replacing {}", name.display()))
}

/// A script that writes `picture` to its last argument and prints `report`. It starts nothing: that
/// would take longer than the rest.
fn answer(report: &str, picture: &[u8]) -> Result<String> {
    ensure!(
        !report.contains('\'') && !picture.is_empty(),
        "not what a decoder says of a clip: {report}"
    );
    let mut octal = String::with_capacity(4 * picture.len());
    for byte in picture {
        write!(octal, "\\0{byte:03o}")?;
    }
    Ok(format!(
        "#!/bin/sh\nfor last; do :; done\nprintf '%b' '{octal}' > \"$last\"\nprintf '%s' '{report}'\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_given_again_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let (script, output) = (folder.path().join("it"), folder.path().join("out"));
        let picture: Vec<u8> = (0..=255).chain([0, 37, 92, 10]).collect();
        let report = r#"{"clip":"a %s, a \n and a $0"}"#;
        std::fs::write(&script, answer(report, &picture).unwrap()).unwrap();
        let mut shell = Command::new("/bin/sh");
        shell
            .arg(&script)
            .args(["internal", "cover", "in"])
            .arg(&output);
        assert_eq!(run(shell).unwrap(), report);
        assert_eq!(std::fs::read(&output).unwrap(), picture);
        assert!(answer("it's", &picture).is_err());
        assert!(answer("{}", &[]).is_err());
    }
}
