//! Whole files: facts and covers of each kind of video that people send.

use image::RgbImage;
use media::{Clip, Invalid, Kind, NoCover, SNIFF_BYTES, cover, inspect, sniff};

use crate::{file_of, fixture};

fn clip(kind: Kind, codec: &str, duration_ms: u64, is_faststart: bool) -> Clip {
    Clip {
        kind,
        codec: codec.into(),
        width: 360,
        height: 640,
        duration_ms,
        is_faststart,
    }
}

fn cover_of(name: &str) -> RgbImage {
    let picture = cover(&fixture(name)).unwrap_or_else(|no| panic!("{name}: {no}"));
    assert_eq!(picture.content_type, "image/jpeg");
    assert!(
        picture.bytes.len() < 60_000,
        "{name}: {} bytes",
        picture.bytes.len()
    );
    image::load_from_memory(&picture.bytes).unwrap().to_rgb8()
}

/// Mean difference of two pictures, of 255.
fn difference(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let sum: u64 = a
        .as_raw()
        .iter()
        .zip(b.as_raw())
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    sum as f64 / a.as_raw().len() as f64
}

#[test]
fn facts_of_every_kind() {
    let rows = [
        ("clip1.mp4", clip(Kind::MP4, "avc1.42c01f", 3000, true)),
        ("clip2.mp4", clip(Kind::MP4, "avc1.64001f", 3000, false)),
        ("clip3.mp4", clip(Kind::MP4, "avc1.4d401f", 3000, true)),
        ("clip4.mp4", clip(Kind::MP4, "avc1.640016", 2000, true)),
        ("clip5.mp4", clip(Kind::MP4, "avc1.42c01f", 3000, false)),
        ("clip6.mp4", clip(Kind::MP4, "avc1.64001f", 2000, true)),
        ("clip7.mp4", clip(Kind::MP4, "avc1.64001f", 4000, true)),
        ("clip8.mp4", clip(Kind::MP4, "avc1.4d401f", 4000, false)),
        ("fragmented.mp4", clip(Kind::MP4, "avc1.4d401f", 3000, true)),
        ("rotated.mp4", clip(Kind::MP4, "avc1.64001f", 3000, true)),
        ("quicktime.mov", clip(Kind::MOV, "avc1.42c01f", 3000, false)),
        ("hevc.mp4", clip(Kind::MP4, "hvc1", 2000, true)),
        ("vp9.webm", clip(Kind::WEBM, "vp09", 2008, true)),
    ];
    for (name, expected) in rows {
        let bytes = std::fs::read(fixture(name)).unwrap();
        assert_eq!(
            sniff(&bytes[..bytes.len().min(SNIFF_BYTES)]),
            Some(expected.kind),
            "{name}"
        );
        let mut found = inspect(&fixture(name)).unwrap_or_else(|no| panic!("{name}: {no}"));
        assert_eq!(
            found.codec.split('.').next(),
            expected.codec.split('.').next(),
            "{name}"
        );
        if found.codec.starts_with("avc1") {
            // The encoder chooses the level; the profile is what we asked it for.
            assert_eq!(found.codec[..7], expected.codec[..7], "{name}");
        }
        found.codec.clone_from(&expected.codec);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn h264_covers_show_the_first_picture() {
    let names = [
        "clip1.mp4",
        "clip2.mp4",
        "clip3.mp4",
        "clip4.mp4",
        "clip5.mp4",
        "clip6.mp4",
        "clip7.mp4",
        "clip8.mp4",
        "fragmented.mp4",
        "rotated.mp4",
        "quicktime.mov",
    ];
    for name in names {
        assert_eq!(cover_of(name).dimensions(), (360, 640), "{name}");
    }
    let three = cover_of("clip3.mp4");
    for (x, y, expected) in [
        (10, 600, [0xf0, 0xe6, 0xd2]),
        (180, 490, [0xc0, 0x30, 0x20]),
    ] {
        let found = three.get_pixel(x, y).0;
        let off = found
            .iter()
            .zip(expected)
            .map(|(a, b)| a.abs_diff(b))
            .max()
            .unwrap();
        assert!(off < 24, "({x},{y}) is {found:?}, expected {expected:?}");
    }
    assert!(
        difference(&three, &cover_of("fragmented.mp4")) < 1.0,
        "the same stream in fragments"
    );
    assert!(
        difference(&cover_of("clip1.mp4"), &cover_of("quicktime.mov")) < 1.0,
        "the same stream in QuickTime"
    );
    assert!(
        difference(&three, &cover_of("clip1.mp4")) > 30.0,
        "the measure tells pictures apart"
    );
}

#[test]
fn a_turned_video_gets_an_upright_cover() {
    // Made from clip2 by turning the picture one way and the header the other.
    let found = difference(&cover_of("clip2.mp4"), &cover_of("rotated.mp4"));
    assert!(found < 10.0, "differs by {found}");
}

#[test]
fn videos_we_do_not_decode_say_so() {
    for (name, codec) in [("hevc.mp4", "hvc1"), ("vp9.webm", "vp09")] {
        assert_eq!(
            cover(&fixture(name)),
            Err(NoCover::Codec {
                codec: codec.into()
            }),
            "{name}"
        );
    }
}

#[test]
fn sound_without_picture_is_refused() {
    assert_eq!(
        inspect(&fixture("audio.m4a.mp4")),
        Err(Invalid::NoVideoTrack)
    );
}

#[test]
fn a_name_proves_nothing() {
    let (_dir, path) =
        file_of(b"<!doctype html><html><body><video src=clip.mp4></video></body></html>");
    let named = path.with_file_name("holiday.mp4");
    std::fs::rename(&path, &named).unwrap();
    assert_eq!(inspect(&named), Err(Invalid::NotVideo));
    assert_eq!(cover(&named), Err(NoCover::Invalid(Invalid::NotVideo)));
    let (_dir, empty) = file_of(b"");
    assert_eq!(inspect(&empty), Err(Invalid::NotVideo));
    let (_dir, gif) = file_of(b"GIF89a\x01\x00\x01\x00\x80\x00\x00");
    assert_eq!(inspect(&gif), Err(Invalid::NotVideo));
}

#[test]
fn a_missing_file_is_our_fault_and_says_so() {
    let (dir, _) = file_of(b"");
    let result = inspect(&dir.path().join("nowhere"));
    assert!(
        matches!(result, Err(Invalid::Unreadable { .. })),
        "{result:?}"
    );
}
