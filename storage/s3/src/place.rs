//! Where s3s-fs puts things, and which keys it can hold.
//!
//! Under the root: a directory per bucket with the objects by their keys as paths; beside the
//! buckets, per object, `.bucket-<b64>.object-<b64>.{metadata,internal}.json`; per upload
//! `.upload-<id>.json`, its parts `.upload_id-<id>.part-<n>` and its metadata; and files being
//! written, `.tmp.<n>.internal.part`. These names are s3s-fs 0.14's own and stand nowhere in its
//! documentation: a test compares them with what it really writes.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use s3s::{S3Result, s3_error};

/// Of one name in a directory, on every Linux file system.
const NAME_BYTES_MAX: usize = 255;
/// An upload's id, a UUID.
const UPLOAD_ID_BYTES: usize = 36;

/// The files of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    root: PathBuf,
    pub(crate) bucket: PathBuf,
    pub(crate) object: PathBuf,
    /// Content type and user metadata; ETag and checksums.
    pub(crate) sidecars: [PathBuf; 2],
}

impl Place {
    /// Refuses keys that would leave the bucket, or that the file system can't hold.
    pub(crate) fn of(root: &Path, bucket: &str, key: &str) -> S3Result<Self> {
        if !s3s::path::check_bucket_name(bucket) {
            return Err(s3_error!(InvalidBucketName));
        }
        let is_path =
            key.split('/').all(|part| !matches!(part, "" | "." | "..")) && !key.contains('\0');
        if !is_path {
            return Err(s3_error!(
                InvalidArgument,
                "a key has no empty, '.' or '..' part here"
            ));
        }
        let base = format!(".bucket-{}.object-{}", encode(bucket), encode(key));
        let longest = base.len() + ".upload-".len() + UPLOAD_ID_BYTES + ".metadata.json".len();
        if longest > NAME_BYTES_MAX || key.split('/').any(|part| part.len() > NAME_BYTES_MAX) {
            return Err(s3_error!(
                KeyTooLongError,
                "this server holds keys of up to some 130 bytes"
            ));
        }
        Ok(Self {
            root: root.into(),
            bucket: root.join(bucket),
            object: root.join(bucket).join(key),
            sidecars: ["metadata", "internal"].map(|kind| root.join(format!("{base}.{kind}.json"))),
        })
    }

    /// What has to be synced so that a put object survives: its files, then the directories that
    /// name them, innermost first, up to the root.
    pub(crate) fn to_sync(&self) -> Vec<PathBuf> {
        let files = std::iter::once(&self.object).chain(&self.sidecars).cloned();
        files.chain(self.directories()).collect()
    }

    /// The directories from the object's own to the root.
    pub(crate) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let inside = self
            .object
            .ancestors()
            .skip(1)
            .take_while(|dir| dir.starts_with(&self.root));
        inside.map(Path::to_path_buf)
    }
}

/// The files of one upload in parts; everything else that starts with a prefix of these is its too.
pub(crate) fn upload_info(root: &Path, upload: &str) -> PathBuf {
    root.join(format!(".upload-{upload}.json"))
}

pub(crate) fn upload_part(root: &Path, upload: &str, number: i32) -> PathBuf {
    root.join(format!("{}{number}", part_prefix(upload)))
}

fn part_prefix(upload: &str) -> String {
    format!(".upload_id-{upload}.part-")
}

/// What a file beside the buckets is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Belongs to an object.
    Sidecar {
        bucket: String,
        key: String,
    },
    /// Belongs to an upload in parts.
    Upload {
        id: String,
    },
    Other,
}

impl Beside {
    pub(crate) fn of(name: &str) -> Self {
        Self::upload(name)
            .or_else(|| Self::sidecar(name))
            .unwrap_or(Self::Other)
    }

    fn upload(name: &str) -> Option<Self> {
        let id = match name.strip_prefix(".upload_id-") {
            Some(rest) => rest.split_once(".part-")?.0,
            None => match name.strip_prefix(".upload-") {
                Some(rest) => rest.strip_suffix(".json")?,
                None => name
                    .strip_prefix(".bucket-")?
                    .split_once(".upload-")?
                    .1
                    .strip_suffix(".metadata.json")?,
            },
        };
        Some(Self::Upload { id: id.into() })
    }

    fn sidecar(name: &str) -> Option<Self> {
        let name = name.strip_prefix(".bucket-")?;
        let name = name
            .strip_suffix(".metadata.json")
            .or_else(|| name.strip_suffix(".internal.json"))?;
        let (bucket, key) = name.split_once(".object-")?;
        Some(Self::Sidecar {
            bucket: decode(bucket)?,
            key: decode(key)?,
        })
    }
}

fn encode(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn decode(text: &str) -> Option<String> {
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{Beside, Place, upload_info, upload_part};

    fn name(path: &Path) -> &str {
        path.file_name().unwrap().to_str().unwrap()
    }

    #[test]
    fn keys_stay_in_their_bucket() {
        let root = Path::new("/root");
        for key in [
            "",
            "/",
            "a//b",
            "../other/x",
            "a/../../x",
            "./a",
            "a/",
            "/a",
            "a\0b",
        ] {
            assert!(Place::of(root, "bucket", key).is_err(), "{key:?}");
        }
        for bucket in ["", "..", "a/b", "Bucket", ".bucket"] {
            assert!(Place::of(root, bucket, "a").is_err(), "{bucket:?}");
        }
        let place = Place::of(root, "bucket", "v/1/a.mp4").unwrap();
        assert_eq!(place.object, Path::new("/root/bucket/v/1/a.mp4"));
        let directories: Vec<_> = place.directories().collect();
        assert_eq!(
            directories,
            [
                "/root/bucket/v/1",
                "/root/bucket/v",
                "/root/bucket",
                "/root"
            ]
            .map(PathBuf::from)
        );
    }

    #[test]
    fn long_keys_are_refused_before_the_file_system_does() {
        assert!(Place::of(Path::new("/"), "bucket", &"k".repeat(129)).is_ok());
        assert!(Place::of(Path::new("/"), "bucket", &"k".repeat(140)).is_err());
    }

    #[test]
    fn names_are_read_back() {
        let root = Path::new("/root");
        let place = Place::of(root, "bucket", "v/ü.mp4").unwrap();
        for sidecar in &place.sidecars {
            let expected = Beside::Sidecar {
                bucket: "bucket".into(),
                key: "v/ü.mp4".into(),
            };
            assert_eq!(Beside::of(name(sidecar)), expected);
        }
        let upload = Beside::Upload { id: "77".into() };
        assert_eq!(Beside::of(name(&upload_info(root, "77"))), upload);
        assert_eq!(Beside::of(name(&upload_part(root, "77", 3))), upload);
        assert_eq!(
            Beside::of(".bucket-YQ.object-Yg.upload-77.metadata.json"),
            upload
        );
        for other in [
            "bucket",
            ".tmp.3.internal.part",
            ".bucket-?.object-Yg.metadata.json",
            ".upload-",
            "",
        ] {
            assert_eq!(Beside::of(other), Beside::Other, "{other}");
        }
    }
}
