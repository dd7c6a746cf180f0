//! How much of what there is in a state of so many objects.
use crate::world::Ring;

/// 1 user, 5 videos, 100 likes, 50 follows (10,000 : 50,000 : 1 M : 500,000), 20 comments and 24
/// messages: 200 objects.
pub const OBJECTS_PER_USER: usize = 200;
pub const VIDEOS_PER_USER: usize = 5;
const LIKES_PER_USER: usize = 100;
const FOLLOWS_PER_USER: usize = 50;
const COMMENTS_PER_USER: usize = 20;
const MESSAGES_PER_USER: usize = 24;
/// So a conversation begins with eight messages of each side's, where both follow each other.
const PEERS_PER_USER: usize = 3;

/// What a state holds.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub users: usize,
    pub videos: usize,
    pub comments: usize,
    pub messages: usize,
    /// From users to videos.
    pub likes: Ring,
    /// From users to other users; see [`Plan::followee`].
    follows: Ring,
}

/// What happens after users and videos are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Like,
    Follow,
    Comment,
    Message,
}

impl Plan {
    /// As near to `objects` as whole users come. Among few users nobody can follow 50 others: there
    /// everybody follows everybody.
    #[must_use]
    pub fn of(objects: usize) -> Self {
        let users = (objects / OBJECTS_PER_USER).max(2);
        let videos = users * VIDEOS_PER_USER;
        Self {
            users,
            videos,
            comments: users * COMMENTS_PER_USER,
            messages: users * MESSAGES_PER_USER,
            likes: Ring {
                targets: videos,
                taken: LIKES_PER_USER.min(videos / 2),
                salt: 1,
            },
            follows: Ring {
                targets: users - 1,
                taken: FOLLOWS_PER_USER.min(users - 1),
                salt: 2,
            },
        }
    }

    #[must_use]
    pub fn objects(&self) -> usize {
        let happenings: usize = self.happenings().iter().map(|(_, count)| count).sum();
        self.users + self.videos + happenings
    }

    #[must_use]
    pub fn happenings(&self) -> [(Kind, usize); 4] {
        [
            (Kind::Like, self.users * self.likes.taken),
            (Kind::Follow, self.users * self.follows.taken),
            (Kind::Comment, self.comments),
            (Kind::Message, self.messages),
        ]
    }

    #[must_use]
    pub fn follow_count(&self) -> usize {
        self.follows.taken
    }

    /// Whom a user follows as the `step`-th: never themselves.
    #[must_use]
    pub fn followee(&self, user: usize, step: usize) -> usize {
        let other = self.follows.target(user, step);
        other + usize::from(other >= user)
    }

    /// To whom a user writes as the `step`-th message.
    #[must_use]
    pub fn peer(&self, user: usize, step: usize) -> usize {
        self.followee(user, step % PEERS_PER_USER.min(self.follows.taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_all_of_them_together() {
        assert_eq!(Plan::of(10_000_000).objects(), 10_000_000);
        // One follow less of each, as there are only 49 others.
        assert_eq!(Plan::of(10_000).objects(), 9_950);
        assert!(Plan::of(0).objects() > 0);
    }

    #[test]
    fn nobody_follows_themselves() {
        let plan = Plan::of(10_000);
        for user in 0..plan.users {
            let others: std::collections::BTreeSet<_> = (0..plan.follow_count())
                .map(|step| plan.followee(user, step))
                .collect();
            assert!(others.len() == 49 && !others.contains(&user));
        }
    }
}
