//! Real videos, and files that are none.

/// A second of H.264.
pub(crate) const H264: &[u8] = include_bytes!("../../../tests/fixtures/clip3.mp4");
/// No key frame that can be decoded here, but a video.
pub(crate) const WEBM: &[u8] = include_bytes!("../../../tests/fixtures/vp9.webm");
pub(crate) const MOV: &[u8] = include_bytes!("../../../tests/fixtures/quicktime.mov");
/// A sound without pictures.
pub(crate) const SOUND: &[u8] = include_bytes!("../../../tests/fixtures/audio.m4a.mp4");
