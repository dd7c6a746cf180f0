//! Which keys are whose. The model's keys begin with 0x01 to 0xfe; below and above are the store's.
use model::error::Fault;
use model::overlay::Changes;

/// The key of the store's own record: what was committed last.
pub(super) const RECORD: &[u8] = &[0x00];
/// The model's keys are not below this …
pub(super) const FIRST: &[u8] = &[0x01];
/// … and below this.
pub(super) const END: &[u8] = &[0xff];

pub(super) fn is_models(key: &[u8]) -> bool {
    key >= FIRST && key < END
}

pub(super) fn check(changes: &Changes) -> Result<(), Fault> {
    match changes.keys().find(|key| !is_models(key)) {
        None => Ok(()),
        Some(key) => Err(Fault(format!("the key {key:02x?} is the store's own"))),
    }
}

/// Does a snapshot go without this key? In no release.
pub(super) fn is_left_out(key: &[u8]) -> bool {
    match key.first() {
        Some(0x08) => plants::is(plants::MEMORY_NOT_IN_SNAPSHOT),
        Some(0x38) => plants::is(plants::SNAPSHOT_OMITS),
        _ => false,
    }
}

/// The keys that a scan may give: from the first bound on, up to but without the second.
///
/// Nothing when `from` lies behind all keys with this prefix.
pub(super) fn scan_bounds(prefix: &[u8], from: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let begin = from.max(prefix).max(FIRST).to_vec();
    let end = successor(prefix).map_or_else(|| END.to_vec(), |end| end.min(END.to_vec()));
    (begin < end).then_some((begin, end))
}

/// The smallest key behind all that begin with `prefix`; `None` when there is none.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
