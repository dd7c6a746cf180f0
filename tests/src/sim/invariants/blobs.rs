//! No video without its bytes: what a row names is in the bucket.
use model::key::{self, Key};
use model::record::Record;
use model::view::View;
use storage::state::SharedView;

pub(super) fn check(node: u64, view: &SharedView, stored: &[String]) -> Result<(), String> {
    for pair in view.scan(&key::VideoById::prefix(()), &[]) {
        let (_, value) = pair.map_err(|fault| fault.to_string())?;
        let video = model::record::Video::decode(&value).map_err(|fault| fault.to_string())?;
        for blob in [&video.video.key, &video.cover.key] {
            if !stored.contains(blob) {
                return Err(format!(
                    "on node {node} a video names {blob}, which is not there"
                ));
            }
        }
    }
    Ok(())
}
