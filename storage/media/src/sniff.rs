//! What a file is by its first bytes, whatever its name or its sender says.

use serde::{Deserialize, Serialize};

/// How many first bytes [`sniff`] wants to see; fewer may turn a video into an unknown file.
pub const SNIFF_BYTES: usize = 8 * 1024;

/// A container that browsers and phones play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// For `Content-Type`.
    pub content_type: &'static str,
    /// Without the dot.
    pub extension: &'static str,
}

impl Kind {
    pub const MP4: Kind = Kind {
        content_type: "video/mp4",
        extension: "mp4",
    };
    pub const MOV: Kind = Kind {
        content_type: "video/quicktime",
        extension: "mov",
    };
    pub const WEBM: Kind = Kind {
        content_type: "video/webm",
        extension: "webm",
    };
    /// All there are.
    pub const ALL: [Kind; 3] = [Kind::MP4, Kind::MOV, Kind::WEBM];
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.extension)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let extension = String::deserialize(deserializer)?;
        Kind::ALL
            .into_iter()
            .find(|kind| kind.extension == extension)
            .ok_or_else(|| serde::de::Error::custom(format!("no such kind: {extension}")))
    }
}

/// Says what a file is by its first [`SNIFF_BYTES`]; `None` for everything but MP4, MOV and WebM.
///
/// A quick no, not a yes: only [`crate::inspect`] reads far enough to vouch for a video.
#[must_use]
pub fn sniff(first: &[u8]) -> Option<Kind> {
    match infer::get(first).map(|found| found.mime_type()) {
        Some("video/mp4" | "video/x-m4v") => Some(Kind::MP4),
        Some("video/quicktime") => Some(Kind::MOV),
        Some("video/webm") => Some(Kind::WEBM),
        Some(_) => None,
        None => has_compatible_brand(first).then_some(Kind::MP4),
    }
}

/// Phones write major brands that no list has (3gp5, iso8, ...) and name a known one as compatible.
fn has_compatible_brand(first: &[u8]) -> bool {
    const KNOWN: [&[u8; 4]; 6] = [b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"iso5"];
    let Some(header) = first.first_chunk::<8>() else {
        return false;
    };
    if header[4..8] != *b"ftyp" {
        return false;
    }
    let size = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    let end = usize::try_from(size).map_or(first.len(), |size| size.min(first.len()));
    first.get(16..end).is_some_and(|brands| {
        brands
            .chunks_exact(4)
            .any(|brand| KNOWN.iter().any(|known| brand == *known))
    })
}

#[cfg(test)]
mod tests {
    use super::{Kind, sniff};

    fn ftyp(major: &[u8; 4], compatible: &[&[u8; 4]]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, u8::try_from(16 + 4 * compatible.len()).unwrap()];
        bytes.extend(b"ftyp");
        bytes.extend(major);
        bytes.extend([0; 4]);
        bytes.extend(compatible.iter().flat_map(|brand| brand.iter()));
        bytes
    }

    #[test]
    fn known_brands() {
        assert_eq!(sniff(&ftyp(b"isom", &[])), Some(Kind::MP4));
        assert_eq!(sniff(&ftyp(b"M4V ", &[b"isom"])), Some(Kind::MP4));
        assert_eq!(sniff(&ftyp(b"qt  ", &[b"qt  "])), Some(Kind::MOV));
    }

    #[test]
    fn unlisted_major_brand_counts_by_its_compatible_ones() {
        assert_eq!(sniff(&ftyp(b"3gp5", &[b"3gp4", b"isom"])), Some(Kind::MP4));
        assert_eq!(sniff(&ftyp(b"zzzz", &[b"yyyy"])), None);
    }

    #[test]
    fn pictures_sound_and_text_are_not_video() {
        assert_eq!(sniff(&ftyp(b"M4A ", &[b"isom", b"mp42"])), None, "audio");
        assert_eq!(sniff(&ftyp(b"heic", &[b"mif1"])), None, "a picture");
        assert_eq!(sniff(b"<!doctype html><video>"), None);
        assert_eq!(sniff(b"\x1a\x45\xdf\xa3"), None, "too short to say");
        assert_eq!(sniff(b""), None);
    }
}
