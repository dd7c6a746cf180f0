//! Videos with their counters, likes, comments, blobs and places in the lists.
use super::cursor::Cursor;
use super::{Audit, DIFFERENCES_MAX};
use crate::error::Fault;
use crate::id::{SLOT_BITS, VideoId};
use crate::key::{self, Newest};
use crate::read::Read;
use crate::record::{Video, VideoCounts};
use crate::view::View;

pub(super) fn recount<'v, V: View>(audit: &mut Audit<'v, V>) -> Result<(), Fault> {
    let view = audit.view;
    let mut counts = Cursor::new(view, |key: &key::VideoCount| key.video);
    let mut likes = Cursor::new(view, |key: &key::Favorite| key.video);
    let mut comments = Cursor::new(view, |key: &key::CommentOn| key.video);
    for entry in view.list((), None) {
        let (key, record): (key::VideoById, Video) = entry?;
        let id = key.video;
        audit.report.videos += 1;
        audit.seen.videos += 1;
        audit.seen.newest = audit.seen.newest.max(record.published);
        one_video(audit, &key, record)?;

        let mut recounted = VideoCounts::default();
        likes.of(&id, audit, |audit, like, sequence| {
            recounted.favorite_count += 1;
            audit.report.favorites += 1;
            audit.seen.sequence = audit.seen.sequence.max(sequence);
            let listed = key::FavoriteBy {
                user: like.user,
                sequence: Newest(sequence),
            };
            audit.expect(&like, &listed, id)
        })?;
        comments.of(&id, audit, |audit, comment, record| {
            recounted.comment_count += 1;
            audit.report.comments += 1;
            let count = comment.comment.0.0 >> SLOT_BITS;
            audit.seen.comments = audit.seen.comments.max(count);
            let author = key::UserById {
                user: record.author,
            };
            audit.expect_that(&comment, &author, "the author of the comment", |_| true)
        })?;
        let mut stored = VideoCounts::default();
        counts.of(&id, audit, |_, _, value| {
            stored = value;
            Ok(())
        })?;
        compare_counts(audit, id, stored, recounted);
    }
    counts.finish(audit)?;
    likes.finish(audit)?;
    comments.finish(audit)?;
    feed(audit)?;
    blobs(audit)
}

fn one_video<'v, V: View>(
    audit: &mut Audit<'v, V>,
    key: &key::VideoById,
    record: Video,
) -> Result<(), Fault> {
    let video = key.video;
    let Video {
        author,
        published,
        video: bytes,
        cover,
        ..
    } = record;
    audit.expect(
        key,
        &key::Feed {
            published: Newest(published),
        },
        video,
    )?;
    audit.expect(
        key,
        &key::PublishedBy {
            author,
            video: Newest(video),
        },
        (),
    )?;
    audit.expect(key, &key::UsedBlob { key: bytes.key }, video)?;
    audit.expect(key, &key::UsedBlob { key: cover.key }, video)
}

fn compare_counts<V: View>(
    audit: &mut Audit<'_, V>,
    video: VideoId,
    stored: VideoCounts,
    recounted: VideoCounts,
) {
    let what = |name: &'static str| move || format!("video {video} {name}");
    audit.compare(
        what("favorite_count"),
        &stored.favorite_count,
        &recounted.favorite_count,
    );
    audit.compare(
        what("comment_count"),
        &stored.comment_count,
        &recounted.comment_count,
    );
    if stored.favorite_count != recounted.favorite_count
        && audit.wrong_favorites.len() < DIFFERENCES_MAX
    {
        audit
            .wrong_favorites
            .insert(video, recounted.favorite_count);
    }
}

fn feed<V: View>(audit: &mut Audit<'_, V>) -> Result<(), Fault> {
    for entry in audit.view.list((), None) {
        let (key, video): (key::Feed, VideoId) = entry?;
        let published = key.published.0;
        let record = key::VideoById { video };
        audit.expect_that(
            &key,
            &record,
            "a video published at that time",
            move |record| record.published == published,
        )?;
    }
    Ok(())
}

fn blobs<V: View>(audit: &mut Audit<'_, V>) -> Result<(), Fault> {
    for entry in audit.view.list((), None) {
        let (key, video): (key::UsedBlob, VideoId) = entry?;
        let blob = key.key.clone();
        let record = key::VideoById { video };
        audit.expect_that(
            &key,
            &record,
            "a video that names this blob",
            move |record| record.video.key == blob || record.cover.key == blob,
        )?;
        let retired = key::RetiredBlob { key: key.key };
        let what = key::describe(&key::Key::encode(&retired));
        audit.look(&retired, move |audit, stored| {
            if stored.is_some() {
                audit.differ(what, "retired".to_owned(), format!("used by video {video}"));
            }
            Ok(())
        })?;
    }
    Ok(())
}
