//! Pictures: what an uploaded video is and shows, and what users have who have none. The only file
//! that talks to the `media` room.
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use media::child::{self, Report, Studio};
use media::{Invalid, Picture};
use model::id::UserId;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::{fs, time};

use crate::error::{Code, Failure};
use crate::options::Upload;
use crate::password::parallel;
use crate::seam::{self, Blocking};

pub(crate) use media::{Kind, SNIFF_BYTES, sniff};

/// Of a cover that a child made from a stranger's bytes.
const COVER_BYTES_MAX: u64 = 4 << 20;
/// So many default pictures of each kind there are: a few megabytes, all told.
const DEFAULTS: u64 = 256;

/// The front of a video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cover {
    pub(crate) content_type: &'static str,
    pub(crate) extension: &'static str,
    pub(crate) bytes: Bytes,
}

/// Looks at videos, a few at a time, and draws.
pub(crate) struct Pictures {
    studio: Studio,
    turns: Semaphore,
    wait: Duration,
    avatars: Shelf,
    backgrounds: Shelf,
    blocking: Arc<dyn Blocking>,
}

impl Pictures {
    pub(crate) fn new(studio: Studio, options: &Upload, blocking: Arc<dyn Blocking>) -> Self {
        Self {
            studio,
            turns: Semaphore::new(parallel(options.covers_parallel_max)),
            wait: Duration::from_millis(options.cover_wait_ms),
            avatars: Shelf::new(media::avatar),
            backgrounds: Shelf::new(media::background),
            blocking,
        }
    }

    /// Checks that `video` is one that can be played, and makes its cover: its first picture, or a
    /// poster when that cannot be had in time. `output` is a path to use for it.
    pub(crate) async fn look(
        &self,
        video: &Path,
        output: &Path,
        seed: u64,
    ) -> Result<Cover, Failure> {
        if let Ok(turn) = time::timeout(self.wait, self.turns.acquire()).await {
            let report = self.studio.look(video, output).await;
            drop(turn);
            match report {
                Ok(Report::Refused(why)) => return Err(refused(&why)),
                Ok(Report::Clip {
                    cover: child::Cover::Made,
                    ..
                }) => {
                    match read_cover(output).await {
                        Ok(cover) => return Ok(cover),
                        Err(error) => tracing::warn!(%error, "a cover could not be read"),
                    }
                    return self.poster(seed).await;
                }
                Ok(Report::Clip {
                    cover: child::Cover::None(why),
                    ..
                }) => {
                    tracing::debug!(%why, "a video has no picture to show");
                    return self.poster(seed).await;
                }
                Err(failure) => tracing::warn!(%failure, "a cover could not be made"),
            }
        }
        // Nobody looked: whether it is a video can be said without decoding.
        let path = video.to_owned();
        seam::run(&self.blocking, move || media::inspect(&path))
            .await?
            .map_err(|why| refused(&why))?;
        self.poster(seed).await
    }

    pub(crate) async fn avatar(&self, user: UserId) -> Result<Cover, Failure> {
        self.avatars.get(user, &self.blocking).await
    }

    pub(crate) async fn background(&self, user: UserId) -> Result<Cover, Failure> {
        self.backgrounds.get(user, &self.blocking).await
    }

    async fn poster(&self, seed: u64) -> Result<Cover, Failure> {
        Ok(seam::run(&self.blocking, move || media::poster(seed).into()).await?)
    }
}

impl From<Picture> for Cover {
    fn from(picture: Picture) -> Self {
        Self {
            content_type: picture.content_type,
            extension: picture.extension,
            bytes: picture.bytes.into(),
        }
    }
}

fn refused(why: &Invalid) -> Failure {
    if let Invalid::Unreadable { why } = why {
        tracing::error!(why, "an uploaded file cannot be read back");
        return Code::Internal.into();
    }
    Failure::new(Code::NotAVideo, why.to_string())
}

async fn read_cover(path: &Path) -> std::io::Result<Cover> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).await?;
    file.take(COVER_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .await?;
    if bytes.is_empty() || bytes.len() as u64 > COVER_BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "a cover of {} bytes",
            bytes.len()
        )));
    }
    Ok(Cover {
        content_type: "image/jpeg",
        extension: "jpg",
        bytes: bytes.into(),
    })
}

/// Default pictures of one kind, each drawn when it is first asked for.
struct Shelf {
    draw: fn(u64) -> Picture,
    drawn: Arc<[OnceLock<Cover>]>,
}

impl Shelf {
    fn new(draw: fn(u64) -> Picture) -> Self {
        Self {
            draw,
            drawn: (0..DEFAULTS).map(|_| OnceLock::new()).collect(),
        }
    }

    async fn get(&self, user: UserId, blocking: &Arc<dyn Blocking>) -> Result<Cover, Failure> {
        // The low bits of an id are its slot, the others count: both tell users apart.
        let seed = (user.0 ^ (user.0 >> model::id::SLOT_BITS)) % DEFAULTS;
        let place = usize::try_from(seed).expect("there are only a few");
        if let Some(cover) = self.drawn[place].get() {
            return Ok(cover.clone());
        }
        let (draw, drawn) = (self.draw, Arc::clone(&self.drawn));
        let cover = move || drawn[place].get_or_init(|| draw(seed).into()).clone();
        Ok(seam::run(blocking, cover).await?)
    }
}
