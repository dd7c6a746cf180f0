//! Decoding in a process of its own: a crash, a loop or a bomb costs one cover, not the server.
//!
//! Both ends stand here. The server calls [`Studio::look`], which starts its own program again as
//! `<program> <args> <in> <out>`; that process calls [`serve`], which confines itself before it
//! reads a byte, opens the two files, forbids itself to open anything else (so there is no network
//! and no file system left), decodes, writes the JPEG, and prints a [`Report`] as JSON.
//!
//! An operator's ffmpeg is run the same way for what OpenH264 can't decode: the child confines
//! itself and then becomes ffmpeg.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::cover::look;
use crate::{
    Bounds, COVER_HEIGHT_MAX, COVER_WIDTH_MAX, Clip, Confinement, Invalid, Kind, NoCover, confine,
    seal,
};

/// Stands before the path of ffmpeg among the child's arguments.
const FFMPEG: &str = "--ffmpeg";
/// Of a child's words, in either direction of its output.
const OUTPUT_BYTES_MAX: usize = 16 << 10;

/// What a child found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The file is a video.
    Clip { clip: Clip, cover: Cover },
    /// It is not.
    Refused(Invalid),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cover {
    /// The output file is a JPEG.
    Made,
    /// There is no output worth reading.
    None(NoCover),
}

/// Why there is no report: the child's fault or the machine's. Nothing is known of the video then;
/// [`crate::inspect`] still can say, without a cover.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the decoder {program} can't be started: {why}")]
    Start { program: String, why: String },
    #[error("the decoder took longer than {after_ms} ms and was killed")]
    TimedOut { after_ms: u128 },
    #[error("the decoder ended with {status}: {stderr}")]
    Crashed { status: String, stderr: String },
    #[error("the decoder's answer makes no sense: {why}")]
    Nonsense { why: String },
}

/// Who decodes, and for how long.
#[derive(Clone, Debug)]
pub struct Studio {
    /// The program whose `main` leads to [`serve`]: our own.
    pub program: PathBuf,
    /// What leads there, such as `internal cover`.
    pub args: Vec<OsString>,
    /// For codecs that we can't decode. Absolute, since the child has no `PATH`.
    pub ffmpeg: Option<PathBuf>,
    /// From start to end of one child.
    pub patience: Duration,
}

impl Studio {
    /// Ten seconds for a child, no ffmpeg.
    pub fn new(
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        Self {
            program: program.into(),
            args,
            ffmpeg: None,
            patience: Duration::from_secs(10),
        }
    }

    /// Inspects `input` and writes its cover to `output`, which is created or emptied. Both paths
    /// are absolute. Dropping the future kills the child.
    pub async fn look(&self, input: &Path, output: &Path) -> Result<Report, Failure> {
        let report =
            run_cover_child(&self.program, &self.args, input, output, self.patience).await?;
        let (clip, reason) = match report {
            Report::Clip {
                clip,
                cover: Cover::None(reason),
            } => (clip, reason),
            made_or_refused => return Ok(made_or_refused),
        };
        let Some(ffmpeg) = &self.ffmpeg else {
            return Ok(Report::Clip {
                clip,
                cover: Cover::None(reason),
            });
        };
        let args = [
            &self.args[..],
            &[FFMPEG.into(), ffmpeg.into(), clip.kind.extension.into()],
        ]
        .concat();
        let cover = match run(&self.program, &args, input, output, self.patience).await {
            Ok(_) if is_jpeg(output).await => Cover::Made,
            Ok(_) => Cover::None(NoCover::Undecodable {
                why: "ffmpeg made no picture".into(),
            }),
            Err(failure) => Cover::None(NoCover::Undecodable {
                why: format!("ffmpeg: {failure}"),
            }),
        };
        Ok(Report::Clip { clip, cover })
    }
}

/// Runs `<program> <args> <input> <output>` with an empty environment and returns its report.
/// The child is killed when `patience` ends or the future is dropped.
pub async fn run_cover_child(
    program: &Path,
    args: &[OsString],
    input: &Path,
    output: &Path,
    patience: Duration,
) -> Result<Report, Failure> {
    let answer = run(program, args, input, output, patience).await?;
    serde_json::from_slice(&answer).map_err(|error| Failure::Nonsense {
        why: error.to_string(),
    })
}

/// Runs a child and returns what it printed.
async fn run(
    program: &Path,
    args: &[OsString],
    input: &Path,
    output: &Path,
    patience: Duration,
) -> Result<Vec<u8>, Failure> {
    let start = |error: std::io::Error| Failure::Start {
        program: program.display().to_string(),
        why: error.to_string(),
    };
    let mut child = Command::new(program)
        .args(args)
        .args([input, output])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let all = async {
        let (stdout, stderr) = tokio::join!(beginning(stdout), beginning(stderr));
        (child.wait().await, stdout, stderr)
    };
    let Ok((status, stdout, stderr)) = tokio::time::timeout(patience, all).await else {
        // Killed on drop as well; waiting here leaves no zombie behind.
        child.kill().await.map_err(start)?;
        return Err(Failure::TimedOut {
            after_ms: patience.as_millis(),
        });
    };
    match status.map_err(start)? {
        status if status.success() => Ok(stdout),
        status => Err(crashed(status, &stderr)),
    }
}

fn crashed(status: ExitStatus, stderr: &[u8]) -> Failure {
    let stderr = String::from_utf8_lossy(stderr).trim().to_owned();
    Failure::Crashed {
        status: status.to_string(),
        stderr,
    }
}

/// The first bytes of a stream; the rest is read and dropped, so that the writer is not held up.
async fn beginning(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut beginning = Vec::new();
    let Some(mut stream) = stream else {
        return beginning;
    };
    let mut piece = vec![0; 4096];
    // A broken pipe is the end of what can be known, as an end is.
    while let Ok(bytes @ 1..) = stream.read(&mut piece).await {
        let room = OUTPUT_BYTES_MAX - beginning.len();
        beginning.extend_from_slice(&piece[..bytes.min(room)]);
    }
    beginning
}

async fn is_jpeg(path: &Path) -> bool {
    let mut first = [0; 3];
    match tokio::fs::File::open(path).await {
        Ok(mut file) => file.read_exact(&mut first).await.is_ok() && first == [0xff, 0xd8, 0xff],
        Err(_) => false,
    }
}

/// The child's `main`: `<in> <out>`, or `--ffmpeg <ffmpeg> <kind> <in> <out>`.
///
/// Prints a [`Report`] on standard output and succeeds whatever the report says; fails, with a line
/// on standard error, when it could not look.
pub fn serve(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let done = match &args[..] {
        [input, output] => decode(Path::new(input), Path::new(output)),
        [flag, ffmpeg, kind, input, output] if flag == FFMPEG => {
            become_ffmpeg(ffmpeg, kind, input, output)
        }
        _ => Err(std::io::Error::other("usage: <in> <out>")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is the only way out; if it is closed, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "cover: {error}");
            ExitCode::FAILURE
        }
    }
}

fn decode(input: &Path, output: &Path) -> std::io::Result<()> {
    confine(&Confinement::default())?;
    let mut input = File::open(input)?;
    let mut output = File::create(output)?;
    seal()?;
    let report = match look(&mut input, &Bounds::default()) {
        Ok((clip, Ok(picture))) => {
            output.write_all(&picture.bytes)?;
            Report::Clip {
                clip,
                cover: Cover::Made,
            }
        }
        Ok((clip, Err(reason))) => Report::Clip {
            clip,
            cover: Cover::None(reason),
        },
        Err(invalid) => Report::Refused(invalid),
    };
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, &report)?;
    stdout.flush()
}

/// Confines this process and turns it into ffmpeg; comes back only if that fails.
fn become_ffmpeg(
    ffmpeg: &OsStr,
    kind: &OsStr,
    input: &OsStr,
    output: &OsStr,
) -> std::io::Result<()> {
    // The container is named, so that a playlist in disguise is not read as one, and so is the
    // only protocol.
    let container = if kind == Kind::WEBM.extension {
        "matroska"
    } else {
        "mov"
    };
    let mut source = OsString::from("file:");
    source.push(input);
    let mut target = OsString::from("file:");
    target.push(output);
    let scale = format!(
        "scale='min({COVER_WIDTH_MAX},iw)':'min({COVER_HEIGHT_MAX},ih)':force_original_aspect_ratio=decrease"
    );
    // ffmpeg maps far more than it uses.
    confine(&Confinement {
        memory_bytes: 2 << 30,
        ..Confinement::default()
    })?;
    let error = std::process::Command::new(ffmpeg)
        .args([
            "-nostdin",
            "-v",
            "error",
            "-protocol_whitelist",
            "file",
            "-threads",
            "1",
        ])
        .args(["-f", container, "-ss", "0", "-i"])
        .arg(source)
        .args([
            "-map",
            "0:v:0",
            "-frames:v",
            "1",
            "-vf",
            &scale,
            "-threads",
            "1",
            "-q:v",
            "4",
        ])
        .args(["-f", "image2", "-c:v", "mjpeg", "-update", "1", "-y"])
        .arg(target)
        .exec();
    Err(error)
}
