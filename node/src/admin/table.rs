//! Answers as tables for people.
use comfy_table::{Table, presets};

use crate::admin::shapes::{MemberShape, StatusShape, VerifyShape};

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header.iter().copied());
    table
}

fn gib(bytes: u64) -> String {
    #[allow(
        clippy::cast_precision_loss,
        reason = "a size for people, with one decimal"
    )]
    let gib = bytes as f64 / (1u64 << 30) as f64;
    format!("{gib:.1} GiB")
}

/// `yin status`.
pub(crate) fn status(status: &StatusShape) -> String {
    let mut rows = table(&["", ""]);
    let leader = status
        .leader
        .map_or_else(|| "none".to_owned(), |leader| leader.to_string());
    let voters = format!(
        "{} ({} of {} alive)",
        ids(&status.voters),
        status.voters_alive,
        status.voters.len()
    );
    for (name, value) in [
        ("cluster", status.cluster_id.clone()),
        (
            "node",
            format!("{} ({}), yin {}", status.node, status.role, status.version),
        ),
        ("leader", format!("{leader}, term {}", status.term)),
        ("voters", voters),
        ("learners", ids(&status.learners)),
        ("failures it can take", status.failures_left.to_string()),
        (
            "log",
            format!(
                "last {}, committed {}, applied {}, snapshot {}, purged {}",
                status.last_log_index,
                status.committed_index,
                status.applied_index,
                status.snapshot_index,
                status.purged_index
            ),
        ),
        ("free disk", gib(status.disk_free_bytes)),
    ] {
        rows.add_row([name.to_owned(), value]);
    }
    let mut text = rows.to_string();
    if status.warnings.is_empty() {
        text.push_str("\nall is well");
    }
    for warning in &status.warnings {
        text.push_str("\nwarning: ");
        text.push_str(warning);
    }
    text
}

fn ids(ids: &[u64]) -> String {
    if ids.is_empty() {
        return "none".into();
    }
    ids.iter()
        .map(u64::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// `yin members`.
pub(crate) fn members(members: &[MemberShape]) -> String {
    let mut rows = table(&[
        "node",
        "alive",
        "role",
        "cluster",
        "http",
        "zone",
        "version",
        "applied",
        "load",
        "free disk",
        "rtt ms",
        "clock ms",
    ]);
    for member in members {
        rows.add_row([
            member.node.to_string(),
            if member.is_alive { "yes" } else { "NO" }.to_owned(),
            member.role.clone(),
            member.cluster_address.clone(),
            member.http_url.clone(),
            member.zone.clone(),
            member.version.clone(),
            member.applied.to_string(),
            member.load.to_string(),
            gib(member.disk_free_bytes),
            member
                .round_trip_ms
                .map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}")),
            format!("{:+}", member.clock_offset_ms),
        ]);
    }
    rows.to_string()
}

/// `yin verify`.
pub(crate) fn verify(report: &VerifyShape) -> String {
    let mut text = format!(
        "node {} recounted its state at log index {}: {} users, {} videos, {} comments, {} follows, \
         {} favorites, {} messages\n",
        report.node,
        report.index,
        report.users,
        report.videos,
        report.comments,
        report.follows,
        report.favorites,
        report.messages
    );
    if report.difference_count == 0 {
        text.push_str("no difference: every counter equals its set");
        return text;
    }
    let mut rows = table(&["what", "stored", "recounted"]);
    for difference in &report.differences {
        rows.add_row([&difference.what, &difference.stored, &difference.recounted]);
    }
    text.push_str(&format!(
        "{} differences (the first {} are shown)\n{rows}",
        report.difference_count,
        report.differences.len()
    ));
    text
}
