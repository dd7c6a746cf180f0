//! What users ask: profiles, lists and pages of the model, compared with what the oracle knows.
//!
//! A page may begin after an element that is gone by now: that is when paging goes wrong.
use std::fmt::Debug;

use model::id::{UserId, VideoId};
use model::memory::Memory;
use model::message::{self, Part};
use model::time::Timestamp;
use model::user::{self, Profile};
use model::{comment, error::Fault, favorite, feed, relation, video};

use super::Broken;
use super::dice::Dice;
use super::oracle::Oracle;

/// A limit that nothing reaches.
const ALL: usize = 10_000;

/// Asks one question about something that exists.
pub(super) fn ask(dice: &mut Dice, oracle: &Oracle, view: &Memory) -> Result<(), Broken> {
    let ids = oracle.user_ids();
    let (Some(&me), Some(&other)) = (dice.pick(&ids), dice.pick(&ids)) else {
        return Ok(());
    };
    let asked = match dice.below(7) {
        0 => profile(oracle, view, me, other),
        1 => follows(dice, oracle, view, me, other),
        2 => friends(oracle, view, me),
        3 => liked(dice, oracle, view, me, other),
        4 => videos(dice, oracle, view, me, other),
        5 => comments(dice, oracle, view, me),
        _ => messages(dice, oracle, view, me, other),
    };
    asked.unwrap_or_else(|fault| Err(("no-fault", fault.to_string())))
}

type Asked = Result<Result<(), Broken>, Fault>;

fn same<T: Debug + PartialEq>(what: &'static str, seen: &T, known: &T) -> Result<(), Broken> {
    if seen == known {
        return Ok(());
    }
    Err((what, format!("seen {seen:?}, but it is {known:?}")))
}

fn count<T>(all: &[T], is_one: impl Fn(&T) -> bool) -> u64 {
    all.iter().filter(|it| is_one(it)).count() as u64
}

/// The part of a list that follows an element: of all ids, newest first.
fn page<T: Copy + PartialEq>(all: &[T], after: Option<T>, limit: usize) -> Vec<T> {
    let start = after.and_then(|after| all.iter().position(|it| *it == after));
    let skipped = start.map_or(0, |place| place + 1);
    all.iter().skip(skipped).take(limit).copied().collect()
}

fn profile(oracle: &Oracle, view: &Memory, me: UserId, other: UserId) -> Asked {
    let likes = oracle.likes();
    let is_own = |video: VideoId| {
        let found = oracle.videos().iter().find(|it| it.id == video);
        found.is_some_and(|video| video.author == other)
    };
    let named = oracle.users().iter().find(|user| user.id == other);
    let known = named.map(|user| Profile {
        id: other,
        name: user.name.clone(),
        follow_count: count(oracle.follows(), |it| it.0 == other),
        follower_count: count(oracle.follows(), |it| it.1 == other),
        is_follow: oracle.follows().contains(&(me, other)),
        total_favorited: count(likes, |it| is_own(it.1)),
        work_count: count(oracle.videos(), |it| it.author == other),
        favorite_count: count(likes, |it| it.0 == other),
    });
    Ok(same(
        "profiles",
        &user::profile(view, Some(me), other)?,
        &known,
    ))
}

fn follows(dice: &mut Dice, oracle: &Oracle, view: &Memory, me: UserId, other: UserId) -> Asked {
    let limit = 1 + dice.index(4);
    let edges = oracle.follows().iter().rev();
    let following: Vec<_> = edges
        .clone()
        .filter(|it| it.0 == other)
        .map(|it| it.1)
        .collect();
    let followers: Vec<_> = edges.filter(|it| it.1 == other).map(|it| it.0).collect();
    let ids = |found: Option<Vec<Profile>>| -> Vec<UserId> {
        found.into_iter().flatten().map(|it| it.id).collect()
    };
    let after = dice.pick(&following).copied();
    let seen = relation::following(view, Some(me), other, after, limit)?;
    let following = same("following", &ids(seen), &page(&following, after, limit));
    let after = dice.pick(&followers).copied();
    let seen = relation::followers(view, Some(me), other, after, limit)?;
    let followers = same("followers", &ids(seen), &page(&followers, after, limit));
    Ok(following.and(followers))
}

fn friends(oracle: &Oracle, view: &Memory, me: UserId) -> Asked {
    let seen = relation::friends(view, me, me, ALL)?.unwrap_or_default();
    let mut seen: Vec<_> = seen
        .into_iter()
        .map(|it| (it.profile.id, it.message))
        .collect();
    seen.sort();
    let friends = oracle.user_ids().into_iter();
    let mut known: Vec<_> = friends
        .filter(|it| oracle.are_friends(me, *it))
        .map(|it| {
            let last = oracle.between(me, it).last().map(|last| last.text.clone());
            (it, last.unwrap_or_default())
        })
        .collect();
    known.sort();
    Ok(same("friends", &seen, &known))
}

fn liked(dice: &mut Dice, oracle: &Oracle, view: &Memory, me: UserId, other: UserId) -> Asked {
    let limit = 1 + dice.index(4);
    let edges = oracle.likes().iter().rev();
    let known: Vec<_> = edges.filter(|it| it.0 == other).map(|it| it.1).collect();
    let after = dice.pick(&known).copied();
    let seen = favorite::liked_by(view, Some(me), other, after, limit)?;
    let seen: Vec<_> = seen.into_iter().flatten().map(|it| it.id).collect();
    Ok(same("likes", &seen, &page(&known, after, limit)))
}

fn videos(dice: &mut Dice, oracle: &Oracle, view: &Memory, me: UserId, other: UserId) -> Asked {
    let limit = 1 + dice.index(4);
    let bound = dice.pick(oracle.videos()).map(|video| video.published);
    let shown = feed::before(view, Some(me), bound, limit)?;
    let seen: Vec<_> = shown
        .iter()
        .map(|it| (it.id, it.favorite_count, it.comment_count, it.is_favorite))
        .collect();
    let newest = oracle.videos().iter().rev();
    let known: Vec<_> = newest
        .clone()
        .filter(|it| bound.is_none_or(|bound| it.published < bound))
        .take(limit)
        .map(|it| {
            let likes = count(oracle.likes(), |like| like.1 == it.id);
            let comments = count(oracle.comments(), |comment| comment.video == it.id);
            let is_favorite = oracle.likes().contains(&(me, it.id));
            (it.id, likes, comments, is_favorite)
        })
        .collect();
    let feed = same("feed", &seen, &known);
    let own: Vec<_> = newest
        .filter(|it| it.author == other)
        .map(|it| it.id)
        .collect();
    let after = dice.pick(&own).copied();
    let shown = video::published_by(view, Some(me), other, after, limit)?;
    let seen: Vec<_> = shown.into_iter().flatten().map(|it| it.id).collect();
    Ok(feed.and(same("published", &seen, &page(&own, after, limit))))
}

fn comments(dice: &mut Dice, oracle: &Oracle, view: &Memory, me: UserId) -> Asked {
    let limit = 1 + dice.index(4);
    let Some(&(video, last)) = dice.pick(oracle.comments_ever()) else {
        return Ok(Ok(()));
    };
    let after = dice.in_thousand(800).then_some(last);
    let seen = comment::of_video(view, Some(me), video, after, limit)?;
    let seen: Vec<_> = seen
        .into_iter()
        .flatten()
        .map(|it| (it.id, it.author.id, it.text))
        .collect();
    let under = oracle.comments().iter().rev();
    let known: Vec<_> = under
        .filter(|it| it.video == video && after.is_none_or(|after| it.id < after))
        .take(limit)
        .map(|it| (it.id, it.author, it.text.clone()))
        .collect();
    Ok(same("comments", &seen, &known))
}

fn messages(dice: &mut Dice, oracle: &Oracle, view: &Memory, me: UserId, other: UserId) -> Asked {
    let all = oracle.between(me, other);
    let time = dice.pick(&all).map_or(Timestamp(0), |it| it.created);
    let includes_own = dice.in_thousand(500);
    let limit = 1 + dice.index(6);
    let part = Part::After { time, includes_own };
    let seen = message::between(view, me, other, part, limit)?.unwrap_or_default();
    let seen: Vec<_> = seen
        .into_iter()
        .map(|it| (it.id, it.from, it.created))
        .collect();
    let later = all.iter().filter(|it| it.created > time);
    let known: Vec<_> = later
        .filter(|it| includes_own || it.from != me)
        .take(limit)
        .map(|it| (it.id, it.from, it.created))
        .collect();
    let polled = same("messages", &seen, &known);
    let latest = message::between(view, me, other, Part::Latest, limit)?.unwrap_or_default();
    let latest: Vec<_> = latest.into_iter().map(|it| it.id).collect();
    let skipped = all.len().saturating_sub(limit);
    let known: Vec<_> = all[skipped..].iter().map(|it| it.id).collect();
    Ok(polled.and(same("latest-messages", &latest, &known)))
}
