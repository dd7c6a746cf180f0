//! Another reader's opinion of the same files: every sample where re_mp4 sees it.

use std::fs::File;
use std::path::Path;

use super::fragment::Fragments;
use super::outline::Outline;
use super::{FIRST_SAMPLES_MAX, Sample, Walk, tracks};
use crate::Bounds;

const FILES: [&str; 12] = [
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
    "hevc.mp4",
];

fn sample(theirs: &re_mp4::Sample) -> Sample {
    Sample {
        at: theirs.offset,
        bytes: theirs.size,
        is_key: theirs.is_sync,
    }
}

#[test]
fn samples_are_where_re_mp4_sees_them() {
    for name in FILES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/fixtures")
            .join(name);
        let (theirs, _) = re_mp4::Mp4::read_file(&path).unwrap();
        let mut file = File::open(&path).unwrap();
        let outline = Outline::read(&mut file, &Bounds::default()).unwrap();
        let moov = outline.moov(&mut file, &Bounds::default()).unwrap();
        let ours = tracks(&moov).unwrap();
        assert_eq!(ours.len(), 2, "{name}");
        for track in &ours {
            let expected: Vec<_> = theirs.tracks()[&track.id]
                .samples
                .iter()
                .map(sample)
                .collect();
            let bounds = Bounds::default();
            let mut walk = Walk::new(track.id, outline.bytes, &bounds);
            for found in track.table.samples() {
                walk.visit(track.id, found.unwrap(), 0).unwrap();
            }
            if outline.moofs.is_empty() {
                let found: Vec<_> = track.table.samples().map(Result::unwrap).collect();
                assert_eq!(found, expected, "{name} track {}", track.id);
            }
            Fragments::new(&moov, &ours)
                .unwrap()
                .walk(&mut file, &outline, &mut walk)
                .unwrap();
            assert_eq!(
                walk.pictures,
                expected.len() as u64,
                "{name} track {}",
                track.id
            );
            let first = expected.len().min(FIRST_SAMPLES_MAX);
            assert_eq!(walk.first, expected[..first], "{name} track {}", track.id);
        }
    }
}
