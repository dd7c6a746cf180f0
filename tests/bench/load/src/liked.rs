//! Who likes what in a world that was there before, and the likes that come on top of that.

/// Videos stand on a ring, in the order of the world; each user likes `each` of them from a place of
/// their own on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liked {
    /// By user.
    pub from: Vec<usize>,
    pub each: usize,
    /// So many new likes are followed by as many that take them back: the data keeps its size, and a
    /// small world does not run out.
    pub turn: u64,
}

impl Liked {
    /// The `number`th: which user, which video of so many, and whether it is liked (or no more).
    /// Neighbours differ in the user. Within a turn all are different, if there are so many pairs
    /// that are not liked to begin with.
    pub(crate) fn next(&self, number: u64, videos: usize) -> (usize, usize, bool) {
        let (turn, within) = (number / self.turn, number % self.turn);
        let pair = index(turn / 2 * self.turn + within);
        let users = self.from.len();
        let (user, step) = (pair % users, pair / users % (videos - self.each));
        let video = (self.from[user] + self.each + step) % videos;
        (user, video, turn.is_multiple_of(2))
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("below a usize")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn likes_are_new_and_then_taken_back() {
        let (videos, turn) = (8, 9);
        let liked = Liked {
            from: vec![0, 6, 3],
            each: 5,
            turn,
        };
        let mut now: BTreeSet<(usize, usize)> = (0..3)
            .flat_map(|user| (0..5).map(move |step| (user, step)))
            .map(|(user, step)| (user, (liked.from[user] + step) % videos))
            .collect();
        let before = now.clone();
        for number in 0..20 * turn {
            let (user, video, is_on) = liked.next(number, videos);
            let has_changed = if is_on {
                now.insert((user, video))
            } else {
                now.remove(&(user, video))
            };
            assert!(has_changed, "{number}");
            if (number + 1).is_multiple_of(2 * turn) {
                assert_eq!(now, before);
            }
        }
    }
}
