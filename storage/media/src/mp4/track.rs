//! A track: what it is, how large and how long, and how its pictures are turned.

use super::avc::Avc;
use super::boxes::{Cursor, Name, child, children, needed};
use super::table::Table;
use crate::Invalid;

/// What to do with a decoded picture before it is shown, clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Turn {
    #[default]
    None,
    By90,
    By180,
    By270,
}

impl Turn {
    /// Whether width and height change places.
    pub(crate) fn is_sideways(self) -> bool {
        matches!(self, Turn::By90 | Turn::By270)
    }

    /// From a track header's matrix. Phones write quarter turns; anything else is shown as it is.
    fn from_matrix(matrix: [i32; 9]) -> Self {
        let [a, b, _, c, d, ..] = matrix.map(i32::signum);
        match (a, b, c, d) {
            (0, 1, -1, 0) => Turn::By90,
            (-1, 0, 0, -1) => Turn::By180,
            (0, -1, 1, 0) => Turn::By270,
            _ => Turn::None,
        }
    }
}

pub(super) struct Track<'a> {
    pub(super) id: u32,
    pub(super) is_video: bool,
    pub(super) turn: Turn,
    pub(super) table: Table<'a>,
    /// Size to show, before turning; 0 where the file does not say.
    shown: (u32, u32),
    timescale: u32,
    duration: u64,
    /// The first description of how samples are coded.
    description: Option<Description<'a>>,
}

struct Description<'a> {
    codec: Name,
    width: u32,
    height: u32,
    /// Boxes behind the fixed part.
    rest: &'a [u8],
}

impl<'a> Track<'a> {
    /// `None` for a track that is neither picture nor sound (captions, positions): it does not count.
    pub(super) fn parse(trak: &'a [u8]) -> Result<Option<Self>, Invalid> {
        let mdia = needed(trak, b"mdia")?;
        let mut hdlr = Cursor::new(needed(mdia, b"hdlr")?);
        hdlr.version_and_flags()?;
        hdlr.u32()?;
        let is_video = match hdlr.take(4)? {
            b"vide" => true,
            b"soun" => false,
            _ => return Ok(None),
        };
        let (id, turn, shown) = tkhd(needed(trak, b"tkhd")?)?;
        let (timescale, duration) = mdhd(needed(mdia, b"mdhd")?)?;
        let stbl = needed(needed(mdia, b"minf")?, b"stbl")?;
        let description = if is_video {
            description(needed(stbl, b"stsd")?)?
        } else {
            None
        };
        let table = Table::parse(stbl)?;
        Ok(Some(Self {
            id,
            is_video,
            turn,
            table,
            shown,
            timescale,
            duration,
            description,
        }))
    }

    /// The codec in RFC 6381's words, or why it is refused.
    pub(super) fn codec(&self) -> Result<String, Invalid> {
        let Some(description) = &self.description else {
            return Err(Invalid::damaged(
                "it does not say how its pictures are coded",
            ));
        };
        let name = String::from_utf8_lossy(&description.codec).into_owned();
        match &description.codec {
            b"avc1" | b"avc3" => {
                let profile = child(description.rest, b"avcC")?.and_then(|avcc| avcc.get(1..4));
                Ok(match profile {
                    Some([profile, flags, level]) => {
                        format!("{name}.{profile:02x}{flags:02x}{level:02x}")
                    }
                    _ => name,
                })
            }
            b"hvc1" | b"hev1" | b"dvh1" | b"vp08" | b"vp09" | b"av01" => Ok(name),
            _ => Err(Invalid::Codec { codec: name }),
        }
    }

    /// What an H.264 decoder needs first; `None` for other codecs.
    pub(super) fn avc(&self) -> Result<Option<Avc>, Invalid> {
        let Some(description) = &self.description else {
            return Ok(None);
        };
        if !matches!(&description.codec, b"avc1" | b"avc3") {
            return Ok(None);
        }
        needed(description.rest, b"avcC")
            .and_then(Avc::parse)
            .map(Some)
    }

    /// The size the file wants its pictures to have, before turning, if it is near their own:
    /// it corrects pixels that are not square, and a lie must not make a picture huge or flat.
    pub(super) fn shown_size(&self) -> Option<(u32, u32)> {
        let coded = self
            .description
            .as_ref()
            .map(|description| (description.width, description.height))?;
        let is_near =
            |shown: u32, coded: u32| shown >= coded.div_ceil(4) && shown <= coded.saturating_mul(4);
        let is_sane = coded.0 > 0
            && coded.1 > 0
            && is_near(self.shown.0, coded.0)
            && is_near(self.shown.1, coded.1);
        is_sane.then_some(self.shown)
    }

    /// Width and height as shown.
    pub(super) fn turned_size(&self) -> (u32, u32) {
        let coded = self.description.as_ref().map_or((0, 0), |description| {
            (description.width, description.height)
        });
        let (width, height) = self.shown_size().unwrap_or(coded);
        if self.turn.is_sideways() {
            (height, width)
        } else {
            (width, height)
        }
    }

    /// `fragments` is the sum of the samples outside the table, in this track's timescale. What the
    /// samples say counts before what the header says, which live recorders leave at zero.
    pub(super) fn duration_ms(&self, fragments: u64) -> u64 {
        let samples = self.table.duration().saturating_add(fragments);
        let duration = if samples > 0 { samples } else { self.duration };
        let ms = u128::from(duration) * 1000 / u128::from(self.timescale.max(1));
        u64::try_from(ms).unwrap_or(u64::MAX)
    }
}

fn tkhd(body: &[u8]) -> Result<(u32, Turn, (u32, u32)), Invalid> {
    let mut cursor = Cursor::new(body);
    let (version, _) = cursor.version_and_flags()?;
    cursor.take(if version == 0 { 8 } else { 16 })?;
    let id = cursor.u32()?;
    // Reserved, duration, reserved, layer, group, volume, reserved.
    cursor.take(4 + if version == 0 { 4 } else { 8 } + 8 + 2 + 2 + 2 + 2)?;
    let mut matrix = [0; 9];
    for cell in &mut matrix {
        *cell = cursor.i32()?;
    }
    // 16.16 fixed point.
    let (width, height) = (cursor.u32()? >> 16, cursor.u32()? >> 16);
    Ok((id, Turn::from_matrix(matrix), (width, height)))
}

fn mdhd(body: &[u8]) -> Result<(u32, u64), Invalid> {
    let mut cursor = Cursor::new(body);
    let (version, _) = cursor.version_and_flags()?;
    cursor.take(if version == 0 { 8 } else { 16 })?;
    let timescale = cursor.u32()?;
    let duration = cursor.u32_or_u64(version)?;
    // All ones: not known.
    let is_unknown = duration
        == if version == 0 {
            u64::from(u32::MAX)
        } else {
            u64::MAX
        };
    Ok((timescale, if is_unknown { 0 } else { duration }))
}

fn description(stsd: &[u8]) -> Result<Option<Description<'_>>, Invalid> {
    let mut cursor = Cursor::new(stsd);
    cursor.version_and_flags()?;
    cursor.u32()?;
    let Some(entry) = children(cursor.rest()).next() else {
        return Ok(None);
    };
    let (codec, body) = entry?;
    let mut cursor = Cursor::new(body);
    // Reserved and data reference, then QuickTime's version and vendor words.
    cursor.take(8 + 16)?;
    let (width, height) = (cursor.u16()?.into(), cursor.u16()?.into());
    // Resolutions, data size, frame count, compressor name, depth, colour table.
    cursor.take(4 + 4 + 4 + 2 + 32 + 2 + 2)?;
    Ok(Some(Description {
        codec,
        width,
        height,
        rest: cursor.rest(),
    }))
}

#[cfg(test)]
mod tests {
    use super::Turn;

    #[test]
    fn turns_from_matrices() {
        const ONE: i32 = 65536;
        let turn = |a, b, c, d| Turn::from_matrix([a, b, 0, c, d, 0, 0, 0, 0x4000_0000]);
        assert_eq!(turn(ONE, 0, 0, ONE), Turn::None);
        assert_eq!(turn(0, ONE, -ONE, 0), Turn::By90);
        assert_eq!(turn(-ONE, 0, 0, -ONE), Turn::By180);
        assert_eq!(turn(0, -ONE, ONE, 0), Turn::By270);
        assert_eq!(
            turn(ONE, ONE, -ONE, ONE),
            Turn::None,
            "a skewed picture is shown as it is"
        );
        assert_eq!(turn(i32::MIN, 0, 0, i32::MIN), Turn::By180);
    }
}
