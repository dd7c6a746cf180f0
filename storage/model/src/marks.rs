//! What only one viewer sees so: which videos they like, whom they follow.
use crate::error::Fault;
use crate::id::{UserId, VideoId};
use crate::key::{self, Key};
use crate::read::{Read, decode};
use crate::record::Record;
use crate::view::View;

/// From so many questions on, all that a viewer likes or follows is read instead.
const LIST_FROM: usize = 8;

/// For each of `videos`, in their order: does `viewer` like it?
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn likes(view: &impl View, viewer: UserId, videos: &[VideoId]) -> Result<Vec<bool>, Fault> {
    among::<key::FavoriteBy, _, _>(view, viewer, videos, |video| key::Favorite {
        video,
        user: viewer,
    })
}

/// For each of `users`, in their order: does `viewer` follow them?
///
/// # Errors
/// [`Fault`] when this machine could not read its state.
pub fn follows(view: &impl View, viewer: UserId, users: &[UserId]) -> Result<Vec<bool>, Fault> {
    // One's own profile is what is asked for most, and nobody follows themselves.
    if users == [viewer] {
        return Ok(vec![false]);
    }
    among::<key::Following, _, _>(view, viewer, users, |followee| key::Follows {
        follower: viewer,
        followee,
    })
}

/// Both say the same: the values of the list `L` of `viewer`, and whether there is an `edge`.
fn among<L, E, T>(
    view: &impl View,
    viewer: UserId,
    asked: &[T],
    edge: impl Fn(T) -> E,
) -> Result<Vec<bool>, Fault>
where
    L: Key<Value = T>,
    E: Key,
    T: Record + Copy + Ord,
{
    if asked.len() >= LIST_FROM
        && let Some(list) = view.adjacency(&L::prefix(viewer))?
    {
        let tied = list.values().map(decode::<L>);
        let mut tied = tied.collect::<Result<Vec<_>, _>>()?;
        tied.sort_unstable();
        let is_tied = |one| tied.binary_search(one).is_ok();
        return Ok(asked.iter().map(is_tied).collect());
    }
    let edges = view.read_many(asked.iter().map(|&one| edge(one)))?;
    Ok(edges.iter().map(Option::is_some).collect())
}
