//! Pictures out of a number, for whoever has none: the same number gives the same bytes.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};

/// An encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// For `Content-Type`.
    pub content_type: &'static str,
    /// Without the dot.
    pub extension: &'static str,
    pub bytes: Vec<u8>,
}

impl Picture {
    pub(crate) fn jpeg(bytes: Vec<u8>) -> Self {
        Self {
            content_type: "image/jpeg",
            extension: "jpg",
            bytes,
        }
    }
}

/// A cover for a video whose pictures can't be decoded: a gradient and the sign for "play",
/// 540x960, JPEG of some 20 kB.
#[must_use]
pub fn poster(seed: u64) -> Picture {
    const SIZE: (u32, u32) = (540, 960);
    let look = Look::new(seed);
    let (x_mid, y_mid, radius) = (SIZE.0 as f32 / 2.0, SIZE.1 as f32 / 2.0, 64.0);
    let picture = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        let (dx, dy) = (x as f32 - x_mid, y as f32 - y_mid);
        // A triangle that points right: narrower by the half of how far right it is.
        let is_sign =
            dx > -radius * 0.5 && dx < radius * 0.75 && dy.abs() < (radius * 0.75 - dx) * 0.55;
        let color = look.gradient(x as f32 / x_mid / 2.0, y as f32 / y_mid / 2.0);
        if is_sign {
            mix(color, [255.0; 3], 0.9)
        } else if dx.hypot(dy) < radius * 1.4 {
            mix(color, [0.0; 3], 0.35)
        } else {
            rgb(color)
        }
    });
    encode_jpeg(&picture)
}

/// A user's default picture: a symmetric pattern on a plain ground, 160x160, PNG below 1 kB.
#[must_use]
pub fn avatar(seed: u64) -> Picture {
    const CELL: u32 = 24;
    const MARGIN: u32 = 20;
    const SIDE: u32 = 5 * CELL + 2 * MARGIN;
    let look = Look::new(seed);
    let ground = rgb([242.0, 243.0, 245.0]);
    let ink = rgb(look.from);
    let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let cell = |at: u32| {
            at.checked_sub(MARGIN)
                .map(|at| at / CELL)
                .filter(|cell| *cell < 5)
        };
        match (cell(x), cell(y)) {
            // Columns 3 and 4 mirror 1 and 0.
            (Some(column), Some(row))
                if look.bits >> (row * 3 + column.min(4 - column)) & 1 == 1 =>
            {
                ink
            }
            _ => ground,
        }
    });
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Sub)
        .write_image(&picture, SIDE, SIDE, ExtendedColorType::Rgb8)
        .expect("a picture of fixed size is written to memory");
    Picture {
        content_type: "image/png",
        extension: "png",
        bytes,
    }
}

/// A user's default background: soft bands of two colours, 960x400, JPEG of some 15 kB.
#[must_use]
pub fn background(seed: u64) -> Picture {
    const SIZE: (u32, u32) = (960, 400);
    let look = Look::new(seed);
    let picture = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        let (x, y) = (x as f32 / SIZE.0 as f32, y as f32 / SIZE.1 as f32);
        let color = look.gradient(x, y);
        // Two slow waves lighten what is below them.
        let wave = |phase: f32, level: f32| y > level + 0.12 * (x * 5.0 + phase + look.phase).sin();
        let light = [wave(0.0, 0.55), wave(1.7, 0.75)]
            .into_iter()
            .filter(|is_below| *is_below)
            .count();
        mix(color, [255.0; 3], light as f32 * 0.12)
    });
    encode_jpeg(&picture)
}

/// What a seed stands for.
struct Look {
    bits: u64,
    /// Colours as red, green, blue from 0 to 255.
    from: [f32; 3],
    to: [f32; 3],
    /// From 0 to 2 pi.
    phase: f32,
}

impl Look {
    fn new(seed: u64) -> Self {
        // SplitMix64: neighbouring seeds look unlike each other.
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        };
        let bits = next();
        let hue = (next() % 360) as f32;
        let phase = (next() % 628) as f32 / 100.0;
        Self {
            bits,
            from: color(hue, 0.55, 0.48),
            to: color((hue + 50.0) % 360.0, 0.6, 0.3),
            phase,
        }
    }

    /// The colour at a place from 0 to 1 in each direction.
    fn gradient(&self, x: f32, y: f32) -> [f32; 3] {
        let part = (x * 0.35 + y * 0.65).clamp(0.0, 1.0);
        std::array::from_fn(|channel| {
            self.from[channel] + (self.to[channel] - self.from[channel]) * part
        })
    }
}

/// Hue in degrees, saturation and lightness from 0 to 1.
fn color(hue: f32, saturation: f32, lightness: f32) -> [f32; 3] {
    let spread = saturation * lightness.min(1.0 - lightness);
    [0.0, 8.0, 4.0].map(|offset: f32| {
        let k = (offset + hue / 30.0) % 12.0;
        255.0 * (lightness - spread * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0))
    })
}

fn mix(color: [f32; 3], with: [f32; 3], part: f32) -> Rgb<u8> {
    rgb(std::array::from_fn(|channel| {
        color[channel] * (1.0 - part) + with[channel] * part
    }))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "floats saturate"
)]
fn rgb(color: [f32; 3]) -> Rgb<u8> {
    Rgb(color.map(|channel| channel.round() as u8))
}

fn encode_jpeg(picture: &RgbImage) -> Picture {
    const QUALITY: u8 = 80;
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode(
            picture,
            picture.width(),
            picture.height(),
            ExtendedColorType::Rgb8,
        )
        .expect("a picture of fixed size is written to memory");
    Picture::jpeg(bytes)
}

#[cfg(test)]
mod tests {
    use super::{avatar, background, poster};

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        for make in [poster, avatar, background] {
            assert_eq!(make(7), make(7));
            assert_ne!(make(7), make(8));
        }
    }

    #[test]
    fn sizes_and_types() {
        for (picture, width, height, bytes_max) in [
            (poster(1), 540, 960, 40_000),
            (avatar(2), 160, 160, 4_000),
            (background(3), 960, 400, 40_000),
        ] {
            let decoded = image::load_from_memory(&picture.bytes).unwrap();
            assert_eq!((decoded.width(), decoded.height()), (width, height));
            assert!(
                picture.bytes.len() < bytes_max,
                "{} bytes",
                picture.bytes.len()
            );
            let format = image::guess_format(&picture.bytes).unwrap();
            assert_eq!(format.to_mime_type(), picture.content_type);
        }
    }

    #[test]
    fn every_seed_draws_something() {
        for seed in [0, 1, u64::MAX, 1 << 63] {
            let decoded = image::load_from_memory(&avatar(seed).bytes)
                .unwrap()
                .to_rgb8();
            let colors: std::collections::BTreeSet<_> =
                decoded.pixels().map(|pixel| pixel.0).collect();
            assert_eq!(colors.len(), 2, "seed {seed}");
        }
    }
}
