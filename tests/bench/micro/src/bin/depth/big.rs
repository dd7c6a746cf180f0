//! Big objects beside small ones of the same kind, in one state: a user with a million followers, a
//! video with a million likes and a tenth as many comments, a conversation of a million messages.
use std::hint::black_box;

use anyhow::{Context as _, Result, bail, ensure};
use micro::dice::Dice;
use micro::fill::Filler;
use micro::store::Store;
use micro::world::{World, token};
use model::command::{Operation, Reply};
use model::comment::{AddComment, DeleteComment};
use model::favorite::{Like, Unlike};
use model::id::{CommentId, UserId};
use model::message::{Part, SendMessage};
use model::relation::{Follow, Unfollow};
use model::{comment, message, relation, user};
use storage::state::SharedView;

use crate::cases::{PAGE, ROUND};
use crate::meter::{Meter, Sample};

/// Edges, comments and messages of the small objects at first: two pages.
const SMALL: usize = 200;
/// Who is nobody's fan yet.
const SPARE: usize = 4_096;
const VIDEOS: usize = 2;
/// The first who is neither a star nor talks.
const FANS: usize = 8;
/// Comments are so much fewer than likes.
const LIKES_PER_COMMENT: usize = 10;
/// What the api reads of a conversation at first, and at most.
const POLL: usize = 50;
const CHAT: usize = 1_000;
/// The most friends that the api lists.
const FRIENDS: usize = 10_000;
/// Writes of one round, and reads.
const WRITES: usize = 4_096;
const READS: usize = 2_000;
const FEW_READS: usize = 20;

/// A big object of each kind, or a small one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Big,
    Small,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// One more follower.
    Follow,
    /// One more like.
    Like,
    /// One more comment.
    Comment,
    /// One more message. These stay.
    Send,
    /// A poll that finds nothing new.
    PollNothing,
    /// A poll for the last ten messages.
    PollTen,
    /// A conversation opened without a bound: the newest 50.
    Newest,
    /// The most that is given of a conversation.
    NewestMost,
    /// The first page of the followers.
    Followers,
    /// The first page of the comments.
    Comments,
    /// A page of the comments from the middle on.
    CommentsMiddle,
    /// The friends of one of those who talk, latest message first.
    Friends,
}

impl Case {
    pub(crate) const ALL: [Self; 12] = [
        Self::Follow,
        Self::Like,
        Self::Comment,
        Self::Send,
        Self::PollNothing,
        Self::PollTen,
        Self::Newest,
        Self::NewestMost,
        Self::Followers,
        Self::Comments,
        Self::CommentsMiddle,
        Self::Friends,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Follow => "follow",
            Self::Like => "like",
            Self::Comment => "comment",
            Self::Send => "send",
            Self::PollNothing => "poll, nothing new",
            Self::PollTen => "poll, ten new",
            Self::Newest => "newest 50 messages",
            Self::NewestMost => "newest messages, 1,000 at most",
            Self::Followers => "100 followers",
            Self::Comments => "100 comments",
            Self::CommentsMiddle => "comments from the middle on",
            Self::Friends => "friends of who talks",
        }
    }

    pub(crate) fn is_write(self) -> bool {
        matches!(self, Self::Follow | Self::Like | Self::Comment | Self::Send)
    }
}

impl Side {
    pub(crate) const ALL: [Self; 2] = [Self::Big, Self::Small];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Big => "big",
            Self::Small => "small",
        }
    }

    /// Number of the star, and of the video.
    fn number(self) -> usize {
        match self {
            Self::Big => 0,
            Self::Small => 1,
        }
    }

    /// The numbers of two who talk, and of a friend of the first with whom they talked before.
    fn talkers(self) -> [usize; 3] {
        match self {
            Self::Big => [2, 3, 6],
            Self::Small => [4, 5, 7],
        }
    }
}

/// How many users there are for a big object of `size`.
pub(crate) fn users(size: usize) -> usize {
    FANS + size + SPARE
}

/// About how many commands [`fill`] needs.
pub(crate) fn commands(size: usize) -> usize {
    users(size) + 3 * size + size / LIKES_PER_COMMENT
}

/// Builds the state with all of it, mixed.
pub(crate) fn fill(filler: &mut Filler, size: usize) -> Result<()> {
    let world = filler.world(users(size), VIDEOS)?;
    for side in Side::ALL {
        befriend(filler, &world, side)?;
    }
    let conversing = [(Side::Big, 1), (Side::Small, (size / SMALL).max(1))];
    for number in 0..size {
        let fan = Some(token(FANS + number));
        for (side, every) in conversing {
            if !number.is_multiple_of(every) {
                continue;
            }
            let star = world.users[side.number()];
            let video = world.videos[side.number()];
            filler.push(fan, Operation::Follow(Follow { user: star }))?;
            filler.push(fan, Operation::Like(Like { video }))?;
            if number.is_multiple_of(every * LIKES_PER_COMMENT) || side == Side::Small {
                filler.push(fan, comment_on(&world, side))?;
            }
            let (from, send) = send(&world, side, number / every);
            filler.push(from, send)?;
        }
    }
    Ok(())
}

/// The two who talk and the third become friends; a message of the third is the oldest.
fn befriend(filler: &mut Filler, world: &World, side: Side) -> Result<()> {
    let [one, two, third] = side.talkers();
    for (from, to) in [(one, two), (two, one), (one, third), (third, one)] {
        let user = world.users[to];
        filler.push(Some(token(from)), Operation::Follow(Follow { user }))?;
    }
    let hello = SendMessage {
        to: world.users[one],
        text: "hello".to_owned(),
    };
    filler.push(Some(token(third)), Operation::SendMessage(hello))
}

fn comment_on(world: &World, side: Side) -> Operation {
    Operation::AddComment(AddComment {
        video: world.videos[side.number()],
        text: "a comment as long as most of them are".to_owned(),
    })
}

/// Both in turn.
fn send(world: &World, side: Side, number: usize) -> (Option<model::token::TokenHash>, Operation) {
    let [one, two, _] = side.talkers();
    let (from, to) = if number.is_multiple_of(2) {
        (one, two)
    } else {
        (two, one)
    };
    let message = SendMessage {
        to: world.users[to],
        text: format!("message number {number}, as long as most of them are"),
    };
    (Some(token(from)), Operation::SendMessage(message))
}

/// The state that is asked.
pub(crate) struct Asked {
    store: Store,
    world: World,
    size: usize,
    dice: Dice,
    /// Of the big side and the small one.
    middles: [CommentId; 2],
    /// Messages sent by measuring.
    sent: usize,
}

impl Asked {
    pub(crate) fn new(store: Store) -> Result<Self> {
        let view = store.view()?;
        let world = World::read(&view)?;
        let size = world.users.len().checked_sub(FANS + SPARE);
        let size = size.context("the state is not one of big objects")?;
        let middle = |side: Side| -> Result<CommentId> {
            let video = world.videos[side.number()];
            let list = comment::of_video(&view, None, video, None, size)?;
            let list = list.context("a video is gone")?;
            ensure!(!list.is_empty(), "a video has no comments");
            Ok(list[list.len() / 2].id)
        };
        Ok(Self {
            size,
            middles: [middle(Side::Big)?, middle(Side::Small)?],
            store,
            world,
            dice: Dice::new(9),
            sent: 0,
        })
    }

    pub(crate) fn measure(&mut self, case: Case, side: Side) -> Result<Sample> {
        if case.is_write() {
            return self.write(case, side);
        }
        let part = self.part(case, side)?;
        // It steps over what every message leaves in the list of conversations: up to 100 ms.
        let reads = if case == Case::Friends {
            FEW_READS
        } else {
            READS
        };
        self.read(case, side, part, reads / 4)?;
        let mut meter = Meter::new(self.store.state())?;
        meter.run(reads, || self.read(case, side, part, reads))?;
        Ok(meter.sample())
    }

    /// Writes in rounds, of which all but messages are taken back, uncounted.
    fn write(&mut self, case: Case, side: Side) -> Result<Sample> {
        let first = FANS + self.size;
        let actors = (0..WRITES).map(|number| first + number % SPARE);
        let mut commands = Vec::with_capacity(WRITES);
        for actor in actors {
            let (actor, operation) = match case {
                Case::Send => {
                    self.sent += 1;
                    send(&self.world, side, self.sent)
                }
                Case::Comment => (Some(token(actor)), comment_on(&self.world, side)),
                _ => (Some(token(actor)), self.edge(case, side, false)),
            };
            commands.push(self.store.command(actor, operation));
        }
        let mut replies = Vec::with_capacity(WRITES);
        let mut meter = Meter::new(self.store.state())?;
        let rounds: Vec<_> = commands.chunks(ROUND).map(<[_]>::to_vec).collect();
        meter.run(WRITES, || {
            for round in rounds {
                replies.extend(self.store.apply(round)?);
            }
            Ok(())
        })?;
        if case != Case::Send {
            self.take_back(case, side, replies)?;
        }
        let writes = if case == Case::Send { 1 } else { 2 } * WRITES;
        meter.sample_at_rest(writes)
    }

    fn take_back(&mut self, case: Case, side: Side, replies: Vec<Reply>) -> Result<()> {
        let first = FANS + self.size;
        let mut commands = Vec::with_capacity(replies.len());
        for (number, reply) in replies.into_iter().enumerate() {
            let operation = match reply {
                Reply::Commented { comment } => Operation::DeleteComment(DeleteComment {
                    video: comment.video,
                    comment: comment.id,
                }),
                _ => self.edge(case, side, true),
            };
            let actor = Some(token(first + number % SPARE));
            commands.push(self.store.command(actor, operation));
        }
        for round in commands.chunks(ROUND) {
            self.store.apply(round.to_vec())?;
        }
        Ok(())
    }

    /// A follow or like of the side's object, or its end.
    fn edge(&self, case: Case, side: Side, is_end: bool) -> Operation {
        let user = self.world.users[side.number()];
        let video = self.world.videos[side.number()];
        match (case, is_end) {
            (Case::Follow, false) => Operation::Follow(Follow { user }),
            (Case::Follow, true) => Operation::Unfollow(Unfollow { user }),
            (_, false) => Operation::Like(Like { video }),
            (_, true) => Operation::Unlike(Unlike { video }),
        }
    }

    /// Which part of the conversation a poll asks for.
    fn part(&self, case: Case, side: Side) -> Result<Part> {
        let new = match case {
            Case::PollNothing => 0,
            Case::PollTen => 10,
            _ => return Ok(Part::Latest),
        };
        let [one, two, _] = side.talkers().map(|number| self.world.users[number]);
        let view = self.store.view()?;
        let list = message::between(&view, one, two, Part::Latest, new + 1)?;
        let last_known = list.as_ref().and_then(|list| list.first());
        let last_known = last_known.context("there is no conversation")?;
        Ok(Part::After {
            time: last_known.created,
            includes_own: true,
        })
    }

    fn read(&mut self, case: Case, side: Side, part: Part, count: usize) -> Result<()> {
        for _ in 0..count {
            let [one, ..] = side.talkers();
            let number = match case {
                Case::Followers | Case::Comments | Case::CommentsMiddle => {
                    FANS + self.dice.below(self.size)
                }
                _ => one,
            };
            let view = self.store.view()?;
            let token = self.world.tokens[number];
            let me = model::token::user(&view, token)?.context("a token is unknown")?;
            let got = self.ask(&view, me, case, side, part)?;
            ensure!(
                (got > 0) != (case == Case::PollNothing),
                "{case:?} got {got}"
            );
        }
        Ok(())
    }

    /// How many elements came.
    fn ask(
        &self,
        view: &SharedView,
        me: UserId,
        case: Case,
        side: Side,
        part: Part,
    ) -> Result<usize> {
        let limit = match case {
            Case::PollNothing | Case::PollTen | Case::Newest => POLL,
            Case::NewestMost => CHAT,
            Case::Followers => {
                let star = self.world.users[side.number()];
                let list = relation::followers(view, Some(me), star, None, PAGE)?;
                return Ok(black_box(list.context("the star is gone")?).len());
            }
            Case::Comments => return self.comments(view, me, side, None),
            Case::CommentsMiddle => {
                let middle = self.middles[side.number()];
                return self.comments(view, me, side, Some(middle));
            }
            Case::Friends => {
                let list = relation::friends(view, me, me, FRIENDS)?;
                return Ok(black_box(list.context("a user is gone")?).len());
            }
            Case::Follow | Case::Like | Case::Comment | Case::Send => bail!("that is no read"),
        };
        let [_, two, _] = side.talkers();
        let list = message::between(view, me, self.world.users[two], part, limit)?;
        Ok(black_box(list.context("a user is gone")?).len())
    }

    fn comments(
        &self,
        view: &SharedView,
        me: UserId,
        side: Side,
        after: Option<CommentId>,
    ) -> Result<usize> {
        let video = self.world.videos[side.number()];
        let list = comment::of_video(view, Some(me), video, after, PAGE)?;
        Ok(black_box(list.context("the video is gone")?).len())
    }
}

/// Reads what must be there, to see that a state which was just opened answers rightly.
pub(crate) fn first_answer(store: &Store, size: usize) -> Result<()> {
    let view = store.view()?;
    let me = model::token::user(&view, token(0))?.context("the star's token is unknown")?;
    let star = user::profile(&view, Some(me), me)?.context("the star is gone")?;
    ensure!(
        star.follower_count == size as u64,
        "the star has {} followers",
        star.follower_count
    );
    Ok(())
}
