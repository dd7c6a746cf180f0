//! Compares all that the model shows with all that the reference knows.
use model::comment;
use model::favorite;
use model::feed;
use model::id::{UserId, VideoId};
use model::memory::Memory;
use model::message::{self, Part};
use model::relation;
use model::user;
use model::video;
use proptest::prelude::*;

use crate::reference::{self, NAMES, Reference};

/// A limit that nothing reaches.
pub(crate) const ALL: usize = 1000;

/// Every list, count and flag, as everybody sees it.
pub(crate) fn agree(memory: &Memory, reference: &Reference) -> Result<(), TestCaseError> {
    let viewers = reference.users.iter().map(|it| Some(it.id)).chain([None]);
    for viewer in viewers {
        people_agree(memory, reference, viewer)?;
        things_agree(memory, reference, viewer)?;
    }
    conversations_agree(memory, reference)
}

fn people_agree(
    memory: &Memory,
    reference: &Reference,
    viewer: Option<UserId>,
) -> Result<(), TestCaseError> {
    for it in &reference.users {
        profile_agrees(memory, reference, viewer, it)?;
        relations_agree(memory, reference, viewer, it.id)?;
        if let Some(viewer) = viewer {
            friends_agree(memory, reference, viewer, it.id)?;
        }
    }
    prop_assert_eq!(user::profile(memory, viewer, UserId(1)).unwrap(), None);
    for name in 0..NAMES {
        let account = user::account(memory, &format!("USER{name}")).unwrap();
        let known = reference.users.iter().find(|it| it.name == name);
        prop_assert_eq!(account.map(|it| it.id), known.map(|it| it.id));
    }
    Ok(())
}

fn profile_agrees(
    memory: &Memory,
    reference: &Reference,
    viewer: Option<UserId>,
    it: &reference::User,
) -> Result<(), TestCaseError> {
    let user = it.id;
    let profile = user::profile(memory, viewer, user).unwrap().unwrap();
    let own: Vec<_> = reference
        .videos
        .iter()
        .filter(|it| it.author == user)
        .collect();
    let received = reference
        .likes
        .iter()
        .filter(|it| own.iter().any(|own| own.id == it.1));
    prop_assert_eq!(profile.total_favorited, received.count() as u64);
    prop_assert_eq!(profile.work_count, count(&own));
    prop_assert_eq!(profile.name, format!("user{}", it.name));
    let is_follow = viewer.is_some_and(|me| reference.follows.contains(&(me, user)));
    prop_assert_eq!(profile.is_follow, is_follow);
    let follows = |it: &&(UserId, UserId)| it.0 == user;
    prop_assert_eq!(
        profile.follow_count,
        reference.follows.iter().filter(follows).count() as u64
    );
    let followed = |it: &&(UserId, UserId)| it.1 == user;
    prop_assert_eq!(
        profile.follower_count,
        reference.follows.iter().filter(followed).count() as u64
    );

    let liked: Vec<_> = reference
        .likes
        .iter()
        .rev()
        .filter(|it| it.0 == user)
        .map(|it| it.1)
        .collect();
    prop_assert_eq!(profile.favorite_count, count(&liked));
    let listed = favorite::liked_by(memory, viewer, user, None, ALL)
        .unwrap()
        .unwrap();
    prop_assert_eq!(video_ids(&listed), liked.clone());
    for (place, last) in liked.iter().enumerate() {
        let page = favorite::liked_by(memory, viewer, user, Some(*last), 2)
            .unwrap()
            .unwrap();
        prop_assert_eq!(video_ids(&page), some(&liked, place + 1, 2));
    }
    Ok(())
}

fn relations_agree(
    memory: &Memory,
    reference: &Reference,
    viewer: Option<UserId>,
    user: UserId,
) -> Result<(), TestCaseError> {
    let following: Vec<_> = reference
        .follows
        .iter()
        .rev()
        .filter(|it| it.0 == user)
        .map(|it| it.1)
        .collect();
    let listed = relation::following(memory, viewer, user, None, ALL)
        .unwrap()
        .unwrap();
    prop_assert_eq!(ids(&listed), following.clone());
    for (place, last) in following.iter().enumerate() {
        let page = relation::following(memory, viewer, user, Some(*last), 2)
            .unwrap()
            .unwrap();
        prop_assert_eq!(ids(&page), some(&following, place + 1, 2));
    }

    let followers: Vec<_> = reference
        .follows
        .iter()
        .rev()
        .filter(|it| it.1 == user)
        .map(|it| it.0)
        .collect();
    let listed = relation::followers(memory, viewer, user, None, ALL)
        .unwrap()
        .unwrap();
    prop_assert_eq!(ids(&listed), followers.clone());
    for (place, last) in followers.iter().enumerate() {
        let page = relation::followers(memory, viewer, user, Some(*last), 2)
            .unwrap()
            .unwrap();
        prop_assert_eq!(ids(&page), some(&followers, place + 1, 2));
    }
    Ok(())
}

fn friends_agree(
    memory: &Memory,
    reference: &Reference,
    viewer: UserId,
    user: UserId,
) -> Result<(), TestCaseError> {
    let mut friends = reference.friends(user);
    let last = |friend: UserId| {
        reference
            .between(user, friend)
            .last()
            .map(|it| (it.id, it.from))
    };
    if viewer == user {
        // A stable sort: those without messages keep the order of relations.
        friends.sort_by_key(|friend| std::cmp::Reverse(last(*friend).map(|it| it.0)));
    }
    for limit in [1, 3, ALL] {
        let listed = relation::friends(memory, viewer, user, limit)
            .unwrap()
            .unwrap();
        let expected = some(&friends, 0, limit);
        prop_assert_eq!(
            listed.iter().map(|it| it.profile.id).collect::<Vec<_>>(),
            expected
        );
        for item in listed {
            let shown = last(item.profile.id).filter(|_| viewer == user);
            prop_assert_eq!(item.is_sent, shown.is_some_and(|(_, from)| from == viewer));
            prop_assert_eq!(item.message.is_empty(), shown.is_none());
        }
    }
    Ok(())
}

fn things_agree(
    memory: &Memory,
    reference: &Reference,
    viewer: Option<UserId>,
) -> Result<(), TestCaseError> {
    let newest_first: Vec<_> = reference.videos.iter().rev().map(|it| it.id).collect();
    let listed = feed::before(memory, viewer, None, ALL).unwrap();
    prop_assert_eq!(video_ids(&listed), newest_first);
    let newest = reference.videos.last().map(|it| it.published);
    prop_assert_eq!(feed::newest(memory).unwrap(), newest);
    for (item, it) in listed.iter().zip(reference.videos.iter().rev()) {
        let likes = reference
            .likes
            .iter()
            .filter(|like| like.1 == it.id)
            .count();
        prop_assert_eq!(item.favorite_count, likes as u64);
        prop_assert_eq!((item.published, item.author.id), (it.published, it.author));
        let is_favorite = viewer.is_some_and(|me| reference.likes.contains(&(me, it.id)));
        prop_assert_eq!(item.is_favorite, is_favorite);
        let alone = video::item(memory, viewer, it.id).unwrap();
        prop_assert_eq!(alone.as_ref(), Some(item));
        let blobs = video::blobs(memory, it.id).unwrap().unwrap();
        prop_assert_eq!(&blobs, &(item.video.clone(), item.cover.clone()));

        let comments: Vec<_> = reference
            .comments
            .iter()
            .rev()
            .filter(|c| c.video == it.id)
            .collect();
        prop_assert_eq!(item.comment_count, count(&comments));
        let under = comment::of_video(memory, viewer, it.id, None, ALL)
            .unwrap()
            .unwrap();
        prop_assert_eq!(under.len(), comments.len());
        for (place, (shown, comment)) in under.iter().zip(&comments).enumerate() {
            prop_assert_eq!((shown.id, shown.author.id), (comment.id, comment.author));
            let page = comment::of_video(memory, viewer, it.id, Some(shown.id), 2)
                .unwrap()
                .unwrap();
            prop_assert_eq!(page, some(&under, place + 1, 2));
        }
    }
    for author in &reference.users {
        let own: Vec<_> = listed
            .iter()
            .filter(|it| it.author.id == author.id)
            .cloned()
            .collect();
        let published = video::published_by(memory, viewer, author.id, None, ALL)
            .unwrap()
            .unwrap();
        prop_assert_eq!(&published, &own);
        for (place, last) in own.iter().enumerate() {
            let page = video::published_by(memory, viewer, author.id, Some(last.id), 2).unwrap();
            prop_assert_eq!(page.unwrap(), some(&own, place + 1, 2));
        }
    }
    prop_assert_eq!(video::item(memory, viewer, VideoId(2)).unwrap(), None);
    Ok(())
}

fn conversations_agree(memory: &Memory, reference: &Reference) -> Result<(), TestCaseError> {
    for one in &reference.users {
        for other in &reference.users {
            let sent = reference.between(one.id, other.id);
            let listed = message::between(memory, one.id, other.id, Part::Latest, ALL).unwrap();
            let listed = listed.unwrap();
            prop_assert_eq!(listed.len(), sent.len());
            for (message, it) in listed.iter().zip(sent) {
                prop_assert_eq!(message.id, it.id);
                prop_assert_eq!((message.from, message.to), (it.from, it.to));
                prop_assert_eq!(message.created, it.created);
            }
            prop_assert!(
                listed
                    .windows(2)
                    .all(|pair| pair[0].created < pair[1].created)
            );
        }
    }
    Ok(())
}

pub(crate) fn count<T>(all: &[T]) -> u64 {
    all.len() as u64
}

fn some<T: Clone>(all: &[T], skipped: usize, limit: usize) -> Vec<T> {
    all.iter().skip(skipped).take(limit).cloned().collect()
}

fn ids(profiles: &[user::Profile]) -> Vec<UserId> {
    profiles.iter().map(|it| it.id).collect()
}

fn video_ids(items: &[video::VideoItem]) -> Vec<VideoId> {
    items.iter().map(|it| it.id).collect()
}
