//! Every counter equals the size of its set, every list has its edges: the product's own recount.
use storage::state::SharedView;

pub(super) fn check(node: u64, view: &SharedView) -> Result<(), String> {
    let report = model::verify::recount(view).map_err(|fault| fault.to_string())?;
    match report.differences.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "node {node}: {} differences; {}: stored {}, recounted {}",
            report.difference_count, first.what, first.stored, first.recounted
        )),
    }
}
