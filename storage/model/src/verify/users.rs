//! Users with their counters, names, sessions and lists; and the edges between users.
use super::Audit;
use super::cursor::Cursor;
use crate::error::Fault;
use crate::id::{UserId, VideoId};
use crate::key::{self, Newest};
use crate::read::Read;
use crate::record::{Account, Token, User, UserCounts};
use crate::user::fold_name;
use crate::view::View;

/// How many videos of one author are looked up in one go.
const VIDEOS_MAX: usize = 512;

pub(super) fn recount<'v, V: View>(audit: &mut Audit<'v, V>) -> Result<(), Fault> {
    let mut lists = Lists::new(audit.view);
    for entry in audit.view.list((), None) {
        let (key, record): (key::UserById, User) = entry?;
        audit.report.users += 1;
        audit.seen.users += 1;
        let by_name = key::UserByName {
            folded: fold_name(&record.name),
        };
        audit.expect(&key, &by_name, key.user)?;
        lists.account(audit, key.user)?;
        lists.counts(audit, key.user)?;
        lists.friends(audit, key.user)?;
        lists.inbox(audit, key.user)?;
    }
    lists.finish(audit)?;
    names(audit)?;
    edges(audit)
}

/// All that is sorted by user, each at the same user.
struct Lists<'v> {
    accounts: Cursor<'v, key::AccountOf, UserId>,
    sessions: Cursor<'v, key::SessionOf, UserId>,
    counts: Cursor<'v, key::UserCount, UserId>,
    following: Cursor<'v, key::Following, UserId>,
    followers: Cursor<'v, key::Follower, UserId>,
    friends: Cursor<'v, key::Friend, UserId>,
    favorites: Cursor<'v, key::FavoriteBy, UserId>,
    published: Cursor<'v, key::PublishedBy, UserId>,
    inbox: Cursor<'v, key::Inbox, UserId>,
}

impl<'v> Lists<'v> {
    fn new(view: &'v impl View) -> Self {
        Self {
            accounts: Cursor::new(view, |key| key.user),
            sessions: Cursor::new(view, |key| key.user),
            counts: Cursor::new(view, |key| key.user),
            following: Cursor::new(view, |key| key.user),
            followers: Cursor::new(view, |key| key.user),
            friends: Cursor::new(view, |key| key.user),
            favorites: Cursor::new(view, |key| key.user),
            published: Cursor::new(view, |key| key.author),
            inbox: Cursor::new(view, |key| key.user),
        }
    }

    fn account<V: View>(&mut self, audit: &mut Audit<'v, V>, user: UserId) -> Result<(), Fault> {
        let mut account: Option<Account> = None;
        self.accounts.of(&user, audit, |_, _, value| {
            account = Some(value);
            Ok(())
        })?;
        let mut sessions = 0_u32;
        self.sessions.of(&user, audit, |audit, session, ()| {
            sessions = sessions.saturating_add(1);
            let key::SessionOf {
                user,
                expires,
                token,
            } = session;
            audit.expect(&session, &key::Session { token }, Token { user, expires })
        })?;
        let stored = account.map(|account| account.tokens);
        audit.compare(
            || format!("user {user} account tokens"),
            &stored,
            &Some(sessions),
        );
        Ok(())
    }

    fn counts<V: View>(&mut self, audit: &mut Audit<'v, V>, user: UserId) -> Result<(), Fault> {
        let mut stored = UserCounts::default();
        self.counts.of(&user, audit, |_, _, value| {
            stored = value;
            Ok(())
        })?;
        let mut recounted = UserCounts::default();
        self.following.of(&user, audit, |audit, listed, followee| {
            recounted.follow_count += 1;
            let edge = key::Follows {
                follower: user,
                followee,
            };
            audit.expect(&listed, &edge, listed.sequence.0)
        })?;
        self.followers.of(&user, audit, |audit, listed, follower| {
            recounted.follower_count += 1;
            let edge = key::Follows {
                follower,
                followee: user,
            };
            audit.expect(&listed, &edge, listed.sequence.0)
        })?;
        self.favorites.of(&user, audit, |audit, listed, video| {
            recounted.favorite_count += 1;
            audit.expect(&listed, &key::Favorite { video, user }, listed.sequence.0)
        })?;
        let mut works = Vec::new();
        self.published.of(&user, audit, |audit, listed, ()| {
            recounted.work_count += 1;
            let video = listed.video.0;
            works.push(video);
            if works.len() >= VIDEOS_MAX {
                recounted.total_favorited += favorites_of(audit, &std::mem::take(&mut works))?;
            }
            let record = key::VideoById { video };
            audit.expect_that(&listed, &record, "a video of this author", move |record| {
                record.author == user
            })
        })?;
        recounted.total_favorited += favorites_of(audit, &works)?;
        compare_counts(audit, user, &stored, &recounted);
        Ok(())
    }

    fn friends<V: View>(&mut self, audit: &mut Audit<'v, V>, user: UserId) -> Result<(), Fault> {
        self.friends.of(&user, audit, |audit, listed, friend| {
            let there = key::Follows {
                follower: user,
                followee: friend,
            };
            let back = key::Follows {
                follower: friend,
                followee: user,
            };
            let since = listed.sequence.0;
            let what = key::describe(&key::Key::encode(&listed));
            audit.look(&there, move |audit, there| {
                audit.look(&back, move |audit, back| {
                    let recounted = there.zip(back).map(|(there, back)| there.max(back));
                    audit.compare(|| what, &Some(since), &recounted);
                    Ok(())
                })
            })
        })
    }

    fn inbox<V: View>(&mut self, audit: &mut Audit<'v, V>, user: UserId) -> Result<(), Fault> {
        self.inbox.of(&user, audit, |audit, listed, peer| {
            let head = key::ConversationOf {
                low: user.min(peer),
                high: user.max(peer),
            };
            let last = listed.last.0;
            audit.expect_that(
                &listed,
                &head,
                "a conversation with this last message",
                move |head| head.last == last,
            )
        })
    }

    fn finish<V: View>(self, audit: &mut Audit<'v, V>) -> Result<(), Fault> {
        self.accounts.finish(audit)?;
        self.sessions.finish(audit)?;
        self.counts.finish(audit)?;
        self.following.finish(audit)?;
        self.followers.finish(audit)?;
        self.friends.finish(audit)?;
        self.favorites.finish(audit)?;
        self.published.finish(audit)?;
        self.inbox.finish(audit)
    }
}

/// How many likes these videos have together; the walk through the videos came before.
fn favorites_of<V: View>(audit: &Audit<'_, V>, videos: &[VideoId]) -> Result<u64, Fault> {
    let counts = audit
        .view
        .read_many(videos.iter().map(|&video| key::VideoCount { video }))?;
    let counts = videos.iter().zip(counts).map(|(video, counts)| {
        let right = audit.wrong_favorites.get(video).copied();
        right.unwrap_or_else(|| counts.unwrap_or_default().favorite_count)
    });
    Ok(counts.sum())
}

fn compare_counts<V: View>(
    audit: &mut Audit<'_, V>,
    user: UserId,
    stored: &UserCounts,
    recounted: &UserCounts,
) {
    let what = |name: &'static str| move || format!("user {user} {name}");
    audit.compare(
        what("follow_count"),
        &stored.follow_count,
        &recounted.follow_count,
    );
    audit.compare(
        what("follower_count"),
        &stored.follower_count,
        &recounted.follower_count,
    );
    audit.compare(
        what("favorite_count"),
        &stored.favorite_count,
        &recounted.favorite_count,
    );
    audit.compare(
        what("work_count"),
        &stored.work_count,
        &recounted.work_count,
    );
    audit.compare(
        what("total_favorited"),
        &stored.total_favorited,
        &recounted.total_favorited,
    );
}

fn names<V: View>(audit: &mut Audit<'_, V>) -> Result<(), Fault> {
    for entry in audit.view.list((), None) {
        let (key, user): (key::UserByName, UserId) = entry?;
        let folded = key.folded.clone();
        let record = key::UserById { user };
        audit.expect_that(&key, &record, "a user of this name", move |record| {
            fold_name(&record.name) == folded
        })?;
    }
    Ok(())
}

/// Each edge must be in both lists, and among the friends if there is one back. That both ends
/// exist follows: lists without a user were reported above.
fn edges<V: View>(audit: &mut Audit<'_, V>) -> Result<(), Fault> {
    for entry in audit.view.list((), None) {
        let (edge, sequence): (key::Follows, u64) = entry?;
        let key::Follows { follower, followee } = edge;
        audit.report.follows += 1;
        audit.seen.sequence = audit.seen.sequence.max(sequence);
        let newest = Newest(sequence);
        audit.expect(
            &edge,
            &key::Following {
                user: follower,
                sequence: newest,
            },
            followee,
        )?;
        audit.expect(
            &edge,
            &key::Follower {
                user: followee,
                sequence: newest,
            },
            follower,
        )?;
        let back = key::Follows {
            follower: followee,
            followee: follower,
        };
        audit.look(&back, move |audit, back| match back {
            Some(back) => {
                let since = Newest(sequence.max(back));
                audit.expect(
                    &edge,
                    &key::Friend {
                        user: follower,
                        sequence: since,
                    },
                    followee,
                )
            }
            None => Ok(()),
        })?;
    }
    Ok(())
}
