//! The first picture of a video as a small JPEG.
//!
//! H.264 only, by OpenH264: C++ that reads hostile bytes. Call it in a confined process
//! ([`crate::child`]), never in a server's.

use std::fs::File;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize, rotate90, rotate180, rotate270};
use image::{ExtendedColorType, RgbImage};
use openh264::decoder::{DecodedYUV, Decoder};
use openh264::formats::YUVSource;
use serde::{Deserialize, Serialize};

use crate::clip::kind_of;
use crate::mp4::{self, Movie, Turn};
use crate::{Bounds, Clip, Invalid, Kind, Picture};

/// A phone's screen at half of its pixels: what a feed shows before the video plays.
pub const COVER_WIDTH_MAX: u32 = 540;
pub const COVER_HEIGHT_MAX: u32 = 960;
const JPEG_QUALITY: u8 = 80;

/// Why there is no picture of a video; the caller shows a [`crate::poster`] instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoCover {
    #[error("no cover: {0}")]
    Invalid(Invalid),
    #[error("no cover: pictures coded as {codec} are not decoded here")]
    Codec { codec: String },
    #[error("no cover: the first picture can't be decoded: {why}")]
    Undecodable { why: String },
}

impl From<Invalid> for NoCover {
    fn from(invalid: Invalid) -> Self {
        NoCover::Invalid(invalid)
    }
}

impl NoCover {
    fn undecodable(why: impl ToString) -> Self {
        NoCover::Undecodable {
            why: why.to_string(),
        }
    }
}

/// Decodes the first key picture of an H.264 video, turned upright, at most 540x960, as a JPEG.
pub fn cover(path: &Path) -> Result<Picture, NoCover> {
    let mut file = File::open(path).map_err(Invalid::from)?;
    look(&mut file, &Bounds::default())?.1
}

/// The facts of an open file and, if it can be decoded, its cover.
pub(crate) fn look(
    file: &mut File,
    bounds: &Bounds,
) -> Result<(Clip, Result<Picture, NoCover>), Invalid> {
    let kind = kind_of(file)?;
    if kind == Kind::WEBM {
        let clip = crate::inspect_file(file, bounds)?;
        let codec = clip.codec.clone();
        return Ok((clip, Err(NoCover::Codec { codec })));
    }
    let movie = mp4::read(file, kind, bounds)?;
    let cover = first_picture(&movie, file).and_then(|picture| jpeg(&upright(&picture, &movie)));
    Ok((movie.clip, cover))
}

fn first_picture(movie: &Movie, file: &mut File) -> Result<RgbImage, NoCover> {
    let Some(avc) = &movie.avc else {
        return Err(NoCover::Codec {
            codec: movie.clip.codec.clone(),
        });
    };
    let mut decoder = Decoder::new().map_err(NoCover::undecodable)?;
    let mut units = avc.parameters.clone();
    let mut number = 0;
    // The decoder's complaint about a picture is worth more than that none came.
    let mut complaint = None;
    while let Some(sample) = movie.first_sample(file, number)? {
        number += 1;
        avc.append(&sample, &mut units)?;
        match decoder.decode(&units) {
            Ok(Some(picture)) => return rgb(&picture),
            Ok(None) => {}
            Err(error) => complaint = complaint.or(Some(error)),
        }
        units.clear();
    }
    match decoder.flush_remaining() {
        Ok(pictures) if !pictures.is_empty() => rgb(&pictures[0]),
        Ok(_) => Err(complaint.map_or_else(
            || NoCover::undecodable("the decoder gave none"),
            NoCover::undecodable,
        )),
        Err(error) => Err(NoCover::undecodable(complaint.unwrap_or(error))),
    }
}

fn rgb(picture: &DecodedYUV<'_>) -> Result<RgbImage, NoCover> {
    let (width, height) = picture.dimensions();
    let mut pixels = vec![0; picture.rgb8_len()];
    picture.write_rgb8(&mut pixels);
    let side = |side: usize| u32::try_from(side).ok().filter(|side| *side > 0);
    side(width)
        .zip(side(height))
        .and_then(|(width, height)| RgbImage::from_raw(width, height, pixels))
        .ok_or_else(|| NoCover::undecodable("the decoder gave an empty one"))
}

/// Scales down, with square pixels, then turns.
fn upright(picture: &RgbImage, movie: &Movie) -> RgbImage {
    let shown = movie.shown.unwrap_or(picture.dimensions());
    let limits = match movie.turn.is_sideways() {
        false => (COVER_WIDTH_MAX, COVER_HEIGHT_MAX),
        true => (COVER_HEIGHT_MAX, COVER_WIDTH_MAX),
    };
    let (width, height) = fit(shown, limits);
    let small = match picture.dimensions() == (width, height) {
        true => picture.clone(),
        false => resize(picture, width, height, FilterType::Triangle),
    };
    match movie.turn {
        Turn::None => small,
        Turn::By90 => rotate90(&small),
        Turn::By180 => rotate180(&small),
        Turn::By270 => rotate270(&small),
    }
}

/// The largest size of the same shape within limits; never larger than it is.
fn fit(size: (u32, u32), limits: (u32, u32)) -> (u32, u32) {
    let (width, height) = (u64::from(size.0.max(1)), u64::from(size.1.max(1)));
    let (most_wide, most_high) = (u64::from(limits.0), u64::from(limits.1));
    let fitted = if width <= most_wide && height <= most_high {
        (width, height)
    } else if width * most_high >= height * most_wide {
        (most_wide, height * most_wide / width)
    } else {
        (width * most_high / height, most_high)
    };
    let side = |side: u64| u32::try_from(side.max(1)).expect("within limits, which are u32");
    (side(fitted.0), side(fitted.1))
}

fn jpeg(picture: &RgbImage) -> Result<Picture, NoCover> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
        .encode(
            picture,
            picture.width(),
            picture.height(),
            ExtendedColorType::Rgb8,
        )
        .map_err(NoCover::undecodable)?;
    Ok(Picture::jpeg(bytes))
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn fits_without_growing() {
        let limits = (540, 960);
        assert_eq!(fit((360, 640), limits), (360, 640));
        assert_eq!(fit((1080, 1920), limits), (540, 960));
        assert_eq!(fit((1920, 1080), limits), (540, 303));
        assert_eq!(fit((1080, 2400), limits), (432, 960));
        assert_eq!(fit((8192, 1), limits), (540, 1));
        assert_eq!(fit((0, 0), limits), (1, 1));
    }
}
