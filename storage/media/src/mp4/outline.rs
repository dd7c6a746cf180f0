//! The top level of a file: where its index is, and whether the file is whole.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use super::boxes::{Name, header, long_size};
use crate::{Bounds, Invalid};

/// Places in a file.
pub(super) struct Outline {
    /// Size of the file.
    pub(super) bytes: u64,
    /// The index stands before the pictures.
    pub(super) is_faststart: bool,
    moov: Range<u64>,
    /// Start of the box, and its body.
    pub(super) moofs: Vec<(u64, Range<u64>)>,
}

impl Outline {
    /// Walks the headers of the boxes at the top; reads 16 bytes of each.
    pub(super) fn read(file: &mut File, bounds: &Bounds) -> Result<Self, Invalid> {
        let bytes = file.seek(SeekFrom::End(0))?;
        let (mut at, mut parts, mut moof_bytes) = (0, 0, 0);
        let (mut moov, mut mdat, mut moofs) = (None, None, Vec::new());
        while bytes - at >= 8 {
            parts += 1;
            Invalid::at_most("the number of its parts", parts, bounds.parts_max)?;
            let Some((name, body)) = part(file, at, bytes)? else {
                // Some phones append bytes that are no box: they are nobody's, if the video is whole.
                if moov.is_some() && mdat.is_some() {
                    break;
                }
                return Err(if at == 0 {
                    Invalid::NotVideo
                } else {
                    Invalid::damaged("it has bytes between its parts")
                });
            };
            if body.end > bytes {
                return Err(Invalid::Truncated {
                    needs: body.end,
                    bytes,
                });
            }
            let next = body.end;
            match &name {
                b"moov" => moov = moov.or(Some((at, body))),
                b"mdat" => mdat = mdat.or(Some(at)),
                b"moof" => {
                    moof_bytes += body.end - body.start;
                    Invalid::at_most(
                        "the size of its index in bytes",
                        moof_bytes,
                        bounds.index_bytes_max,
                    )?;
                    moofs.push((at, body));
                }
                _ => {}
            }
            at = next;
        }
        let Some((moov_at, moov)) = moov else {
            return Err(Invalid::damaged(
                "it has no index: the recording was not finished",
            ));
        };
        let is_faststart = mdat.is_none_or(|mdat| moov_at < mdat);
        Ok(Self {
            bytes,
            is_faststart,
            moov,
            moofs,
        })
    }

    /// Reads the index of the file into memory.
    pub(super) fn moov(&self, file: &mut File, bounds: &Bounds) -> Result<Vec<u8>, Invalid> {
        Invalid::at_most(
            "the size of its index in bytes",
            self.moov.end - self.moov.start,
            bounds.index_bytes_max,
        )?;
        body(file, &self.moov)
    }
}

/// Reads the body of a box whose size was checked against the file and a limit.
pub(super) fn body(file: &mut File, range: &Range<u64>) -> Result<Vec<u8>, Invalid> {
    file.seek(SeekFrom::Start(range.start))?;
    let mut bytes = Vec::new();
    file.by_ref()
        .take(range.end - range.start)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A box: its name and where its body is.
type Part = (Name, Range<u64>);

/// The box at a place; `None` if none can begin there.
fn part(file: &mut File, at: u64, bytes: u64) -> Result<Option<Part>, Invalid> {
    let mut first = Vec::with_capacity(16);
    file.seek(SeekFrom::Start(at))?;
    file.by_ref().take(16).read_to_end(&mut first)?;
    let Some((short, name)) = header(&first) else {
        return Ok(None);
    };
    let (start, end) = match short {
        // To the end of the file.
        0 if name != [0; 4] => (8, Some(bytes)),
        1 => (16, long_size(&first).and_then(|size| at.checked_add(size))),
        short => (8, Some(at + u64::from(short))),
    };
    let is_name = name
        .iter()
        .all(|letter| (0x20..0x7f).contains(letter) || *letter == 0xa9);
    Ok(end
        .filter(|end| is_name && *end >= at + start)
        .map(|end| (name, at + start..end)))
}
