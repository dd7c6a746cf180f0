//! Who is in a filled state, for clients that know nothing but HTTP.
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::plan::{Plan, VIDEOS_PER_USER};
use crate::world::{Ring, World, name, secret};

/// Everybody, with what their profiles say.
#[derive(Debug, Serialize)]
pub struct Roster {
    /// Neighbours here are far apart in the state.
    pub users: Vec<User>,
    /// Ids; on a ring, in the order in which users like them.
    pub videos: Vec<u64>,
    pub follow_count: usize,
    pub work_count: usize,
    /// From a user's place on the ring on, so many videos are liked.
    pub favorite_count: usize,
}

/// A user and what it takes to be them.
#[derive(Debug, Serialize)]
pub struct User {
    pub id: u64,
    pub name: String,
    pub token: String,
    /// The place on the ring where the videos begin that this user likes.
    pub likes_from: usize,
}

impl Roster {
    /// Of a state that was filled by `plan` with `world`.
    #[must_use]
    pub fn of(plan: &Plan, world: &World) -> Self {
        let mixed = Ring {
            targets: plan.users,
            taken: 0,
            salt: 0,
        };
        let users = (0..plan.users).map(|place| {
            let number = mixed.at(place);
            User {
                id: world.users[number].0,
                name: name(number),
                token: token(number),
                likes_from: plan.likes.begin(number),
            }
        });
        let videos = (0..plan.videos).map(|place| world.videos[plan.likes.at(place)].0);
        Self {
            users: users.collect(),
            videos: videos.collect(),
            follow_count: plan.follow_count(),
            work_count: VIDEOS_PER_USER,
            favorite_count: plan.likes.taken,
        }
    }
}

/// As the api writes it. The log index of its birth is 0: every node has got that far.
fn token(number: usize) -> String {
    format!("yin1.0.{}", URL_SAFE_NO_PAD.encode(secret(number)))
}
