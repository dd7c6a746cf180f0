//! Files that are cut, bent or made to hurt: refused with a reason, in bounded time and memory.

use std::fs::File;
use std::time::{Duration, Instant};

use media::{Bounds, Invalid, inspect, inspect_file};
use proptest::prelude::*;

use crate::{file_of, fixture};

/// Where the first box with a name begins in the bytes (at its name).
fn find(bytes: &[u8], name: &[u8; 4]) -> usize {
    bytes
        .windows(4)
        .position(|window| window == name)
        .unwrap_or_else(|| panic!("no {name:?}"))
}

fn patched(name: &str, at_box: &[u8; 4], offset: usize, words: &[u32]) -> Vec<u8> {
    let mut bytes = std::fs::read(fixture(name)).unwrap();
    let at = find(&bytes, at_box) + 4 + offset;
    for (number, word) in words.iter().enumerate() {
        bytes[at + number * 4..][..4].copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

fn refusal(bytes: &[u8]) -> Invalid {
    let (_dir, path) = file_of(bytes);
    let start = Instant::now();
    let refusal = inspect(&path).unwrap_err();
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{refusal} took {:?}",
        start.elapsed()
    );
    refusal
}

#[test]
fn no_beginning_of_a_file_passes_for_the_file() {
    for name in [
        "clip1.mp4",
        "clip2.mp4",
        "quicktime.mov",
        "hevc.mp4",
        "vp9.webm",
    ] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for percent in [1, 5, 20, 50, 80, 95, 99] {
            let refusal = refusal(&bytes[..bytes.len() * percent / 100]);
            assert!(
                !matches!(refusal, Invalid::Unreadable { .. }),
                "{name} at {percent} %: {refusal}"
            );
        }
        let expected = Invalid::Truncated {
            needs: bytes.len() as u64,
            bytes: bytes.len() as u64 - 1,
        };
        assert_eq!(
            refusal(&bytes[..bytes.len() - 1]),
            expected,
            "{name} without its last byte"
        );
    }
}

#[test]
fn a_recording_that_was_not_finished_has_no_index() {
    let bytes = std::fs::read(fixture("clip2.mp4")).unwrap();
    let moov = find(&bytes, b"moov") - 4;
    assert!(matches!(refusal(&bytes[..moov]), Invalid::Damaged { why } if why.contains("index")));
}

#[test]
fn bytes_behind_a_whole_video_do_no_harm() {
    for tail in [&[0_u8; 100][..], &[0, 0, 0, 3, 1, 2, 3, 4, 5], b"xyz"] {
        let mut bytes = std::fs::read(fixture("clip1.mp4")).unwrap();
        bytes.extend(tail);
        let (_dir, path) = file_of(&bytes);
        assert!(inspect(&path).is_ok(), "{tail:?}");
    }
}

#[test]
fn counts_that_lie_cost_nothing() {
    // One byte a sample, four thousand million of them.
    let bomb = refusal(&patched("clip1.mp4", b"stsz", 4, &[1, u32::MAX]));
    assert!(
        matches!(
            bomb,
            Invalid::Damaged { .. } | Invalid::TooMuch { .. } | Invalid::SampleOutside { .. }
        ),
        "{bomb}"
    );
    for list in [b"stsz", b"stts", b"stco", b"stsc", b"stss"] {
        let offset = if list == b"stsz" { 8 } else { 4 };
        let bomb = refusal(&patched("clip1.mp4", list, offset, &[u32::MAX]));
        assert!(matches!(bomb, Invalid::Damaged { .. }), "{list:?}: {bomb}");
    }
    // No lists in the run: each of its samples is free for the sender.
    let bomb = refusal(&patched("fragmented.mp4", b"trun", 0, &[0, u32::MAX]));
    assert!(
        matches!(
            bomb,
            Invalid::TooMuch { .. } | Invalid::SampleOutside { .. }
        ),
        "{bomb}"
    );
}

#[test]
fn empty_samples_without_end_are_too_much() {
    // Runs of samples of no bytes by default: they fit in any file.
    let mut bytes = patched("fragmented.mp4", b"trun", 0, &[0, u32::MAX]);
    let tfhd = find(&bytes, b"tfhd") + 4;
    let flags = u32::from_be_bytes(bytes[tfhd..tfhd + 4].try_into().unwrap());
    assert_eq!(
        flags & 0x38,
        0x38,
        "duration, size and flags stand in this order"
    );
    bytes[tfhd + 12..tfhd + 16].copy_from_slice(&[0; 4]);
    assert!(matches!(refusal(&bytes), Invalid::TooMuch { .. }));
}

#[test]
fn samples_outside_the_file_are_refused() {
    let bytes = std::fs::metadata(fixture("clip1.mp4")).unwrap().len();
    let outside = refusal(&patched("clip1.mp4", b"stco", 8, &[0x7000_0000]));
    assert_eq!(
        outside,
        Invalid::SampleOutside {
            at: 0x7000_0000,
            bytes
        }
    );
}

#[test]
fn sizes_and_durations_have_limits() {
    let cases = [
        (
            Bounds {
                index_bytes_max: 1000,
                ..Bounds::default()
            },
            "index",
        ),
        (
            Bounds {
                samples_max: 50,
                ..Bounds::default()
            },
            "samples",
        ),
        (
            Bounds {
                parts_max: 2,
                ..Bounds::default()
            },
            "parts",
        ),
        (
            Bounds {
                side_px_max: 639,
                ..Bounds::default()
            },
            "height",
        ),
        (
            Bounds {
                duration_ms_max: 2999,
                ..Bounds::default()
            },
            "duration",
        ),
    ];
    for (bounds, word) in cases {
        let result = inspect_file(&mut File::open(fixture("clip1.mp4")).unwrap(), &bounds);
        assert!(
            matches!(&result, Err(Invalid::TooMuch { what, .. }) if what.contains(word)),
            "{word}: {result:?}"
        );
    }
}

#[test]
fn a_header_that_lies_about_its_size_is_not_believed() {
    // The track header says 65535 x 1; the pictures are 360 x 640.
    let mut bytes = std::fs::read(fixture("clip1.mp4")).unwrap();
    let size = find(&bytes, b"tkhd") + 4 + 76;
    bytes[size..size + 8].copy_from_slice(&[0xff, 0xff, 0, 0, 0, 1, 0, 0]);
    let (_dir, path) = file_of(&bytes);
    let clip = inspect(&path).unwrap();
    assert_eq!((clip.width, clip.height), (360, 640));
    let cover = image::load_from_memory(&media::cover(&path).unwrap().bytes).unwrap();
    assert_eq!((cover.width(), cover.height()), (360, 640));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is bent in the index: an answer, no panic, no overflow, no long walk.
    #[test]
    fn bent_files_get_an_answer(
        name in prop::sample::select(vec!["clip1.mp4", "fragmented.mp4", "rotated.mp4", "quicktime.mov", "vp9.webm"]),
        bends in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        // Most of a file is pictures, which nobody parses here: bend near the index.
        let index = match name {
            "vp9.webm" => 0..600,
            "fragmented.mp4" => 0..3000,
            _ => {
                let moov = find(&bytes, b"moov");
                moov..bytes.len().min(moov + 3000)
            }
        };
        for (at, byte) in bends {
            let at = index.start + at.index(index.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let (_dir, path) = file_of(&bytes);
        let start = Instant::now();
        if let Ok(clip) = inspect(&path) {
            prop_assert!(clip.width > 0 && clip.height > 0);
        }
        prop_assert!(start.elapsed() < Duration::from_secs(5));
    }
}
