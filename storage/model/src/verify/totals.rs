//! The totals: ids and sequences that were given out must not be given out again.
use super::Audit;
use crate::error::Fault;
use crate::key;
use crate::read::Read;
use crate::view::View;

pub(super) fn recount<V: View>(audit: &mut Audit<'_, V>) -> Result<(), Fault> {
    for entry in audit.view.list::<key::Member>((), None) {
        entry?;
        audit.seen.nodes += 1;
    }
    for entry in audit.view.list::<key::ConfiguredAt>((), None) {
        let (key, change) = entry?;
        audit.seen.revision += 1;
        let (revision, name) = (key.revision.0, change.name);
        let setting = key::Configured { name };
        audit.expect_that(
            &key,
            &setting,
            "a value as new as this change",
            move |setting| setting.revision >= revision,
        )?;
    }
    for entry in audit.view.list::<key::Configured>((), None) {
        let (key, setting) = entry?;
        let change = key::ConfiguredAt {
            revision: key::Newest(setting.revision),
        };
        let name = key.name.clone();
        audit.expect_that(&key, &change, "the change to this value", move |change| {
            change.name == name && change.new == setting.value
        })?;
    }
    compare(audit);
    Ok(())
}

fn compare<V: View>(audit: &mut Audit<'_, V>) {
    let (stored, seen) = (audit.totals.clone(), audit.seen.clone());
    // Nothing of these is ever deleted, so the total is the number there is.
    audit.compare(|| "total of users".to_owned(), &stored.users, &seen.users);
    audit.compare(
        || "total of videos".to_owned(),
        &stored.videos,
        &seen.videos,
    );
    audit.compare(
        || "total of messages".to_owned(),
        &stored.messages,
        &seen.messages,
    );
    audit.compare(|| "total of nodes".to_owned(), &stored.nodes, &seen.nodes);
    audit.compare(
        || "revision of the settings".to_owned(),
        &stored.revision,
        &seen.revision,
    );
    audit.compare(
        || "newest publish time".to_owned(),
        &stored.newest,
        &seen.newest,
    );
    // Of these the latest may be deleted, so the total only must not be less.
    let comments = stored.comments.max(seen.comments);
    audit.compare(
        || "total of comments".to_owned(),
        &stored.comments,
        &comments,
    );
    let sequence = stored.sequence.max(seen.sequence);
    audit.compare(
        || "sequence of edges".to_owned(),
        &stored.sequence,
        &sequence,
    );
}
