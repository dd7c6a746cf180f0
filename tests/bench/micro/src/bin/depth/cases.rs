//! What is measured of each state: what a request does in model and state, without HTTP and Raft.
use std::collections::HashSet;
use std::hint::black_box;

use anyhow::{Context as _, Result, ensure};
use micro::dice::Dice;
use micro::plan::Plan;
use micro::store::Store;
use micro::world::{World, token};
use model::command::Operation;
use model::favorite::{Like, Unlike};
use model::feed::{self, Head};
use model::id::UserId;
use model::time::Timestamp;
use model::{comment, relation, user, video};
use storage::state::SharedView;

use crate::meter::{Meter, Sample};

/// Commands that are applied and committed together: about what 64 clients have on the way.
pub(crate) const ROUND: usize = 32;
/// What rounds are counted in: likes between two takings back.
const BATCH: usize = 512;
const FEED: usize = 30;
/// What the api keeps of the feed in memory.
const FEED_KEPT: usize = 1_024;
/// What the api reads of a list at once.
pub(crate) const PAGE: usize = 100;

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Any user likes any video.
    Like,
    /// Some users and videos come much more often.
    LikeSkewed,
    /// Any user's own profile: session, record, counts.
    Profile,
    /// Some users come much more often.
    ProfileSkewed,
    /// The newest 30 for any user.
    Feed,
    /// 30 from anywhere in the feed for any user.
    OlderFeed,
    /// Any user's followers: 50, a whole list.
    Followers,
    /// Any video's comments: 4, a whole list.
    Comments,
}

/// A state that is asked.
pub(crate) struct Asked {
    pub(crate) plan: Plan,
    pub(crate) store: Store,
    world: World,
    head: Head,
    dice: Dice,
    /// Publish times of the oldest video and the newest.
    times: (Timestamp, Timestamp),
}

impl Case {
    pub(crate) const ALL: [Self; 8] = [
        Self::Like,
        Self::LikeSkewed,
        Self::Profile,
        Self::ProfileSkewed,
        Self::Feed,
        Self::OlderFeed,
        Self::Followers,
        Self::Comments,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Like => "like",
            Self::LikeSkewed => "like-skewed",
            Self::Profile => "profile",
            Self::ProfileSkewed => "profile-skewed",
            Self::Feed => "feed",
            Self::OlderFeed => "older-feed",
            Self::Followers => "followers",
            Self::Comments => "comments",
        }
    }

    /// How much more a request may cost in the largest state than in the smallest.
    pub(crate) fn goal(self) -> f64 {
        match self {
            Self::Like | Self::LikeSkewed => 1.3,
            Self::Profile | Self::ProfileSkewed => 1.4,
            Self::Feed | Self::OlderFeed | Self::Followers | Self::Comments => 1.2,
        }
    }

    /// How often it is done in one round, in batches, so that a round takes about a second.
    fn batches(self) -> usize {
        match self {
            Self::Like | Self::LikeSkewed => 80,
            Self::Profile | Self::ProfileSkewed => 200,
            Self::Feed | Self::OlderFeed | Self::Followers => 20,
            Self::Comments => 80,
        }
    }
}

impl Asked {
    pub(crate) fn new(plan: Plan, store: Store) -> Result<Self> {
        let view = store.view()?;
        let world = World::read(&view)?;
        let newest = feed::newest(&view)?.context("no video was published")?;
        let oldest = video::item(&view, None, world.videos[0])?.context("the first is gone")?;
        Ok(Self {
            plan,
            store,
            world,
            head: Head::default(),
            dice: Dice::new(5),
            times: (oldest.published, newest),
        })
    }

    /// Measures one round of `case`, and some that are not counted before it, so that what it needs
    /// is where it is when it has been asked for a while.
    pub(crate) fn measure(&mut self, case: Case, percent: usize) -> Result<Sample> {
        let batches = (case.batches() * percent / 100).max(1);
        let count = batches * BATCH;
        match case {
            Case::Like => self.likes(batches, false),
            Case::LikeSkewed => self.likes(batches, true),
            _ => {
                self.ask(case, count / 4)?;
                let mut meter = Meter::new(self.store.state())?;
                meter.run(count, || self.ask(case, count))?;
                Ok(meter.sample())
            }
        }
    }

    fn ask(&mut self, case: Case, count: usize) -> Result<()> {
        for _ in 0..count {
            let number = match case {
                Case::ProfileSkewed => self.anybody(true),
                _ => self.anybody(false),
            };
            let view = self.store.view()?;
            let token = self.world.tokens[number];
            let me = model::token::user(&view, token)?.context("a token is unknown")?;
            ensure!(me == self.world.users[number], "a token is another user's");
            match case {
                // Measured by `likes`.
                Case::Like | Case::LikeSkewed => {}
                Case::Profile | Case::ProfileSkewed => {
                    let profile = user::profile(&view, Some(me), me)?;
                    black_box(profile.context("a user is gone")?);
                }
                Case::Feed => self.feed(&view, me, None)?,
                Case::OlderFeed => {
                    let (oldest, newest) = self.times;
                    let span = usize::try_from(newest.0 - oldest.0)?;
                    // So that there are 30 before it.
                    let back = self.dice.below((span - FEED).max(1));
                    self.feed(&view, me, Some(Timestamp(newest.0 - back as u64)))?;
                }
                Case::Followers => {
                    let whose = self.world.users[self.dice.below(self.plan.users)];
                    let list = relation::followers(&view, Some(me), whose, None, PAGE)?;
                    black_box(list.context("a user is gone")?);
                }
                Case::Comments => {
                    let video = self.world.videos[self.dice.below(self.plan.videos)];
                    let list = comment::of_video(&view, Some(me), video, None, PAGE)?;
                    black_box(list.context("a video is gone")?);
                }
            }
        }
        Ok(())
    }

    /// As the api makes it, up to the JSON.
    fn feed(&mut self, view: &SharedView, me: UserId, bound: Option<Timestamp>) -> Result<()> {
        if !self.head.covers(view)? {
            self.head = self.head.advance(view, FEED_KEPT)?;
        }
        let items = feed::before_by(&self.head, view, Some(me), bound, FEED)?;
        ensure!(items.len() == FEED, "a page of {} videos", items.len());
        black_box(items);
        Ok(())
    }

    /// Likes that are new, in rounds; they are taken back, uncounted, so that the state stays as
    /// large as it is and a small one does not run out of them.
    fn likes(&mut self, batches: usize, is_skewed: bool) -> Result<Sample> {
        let mut meter = Meter::new(self.store.state())?;
        for _ in 0..batches {
            let pairs = self.new_pairs(is_skewed);
            let like = |video| Operation::Like(Like { video });
            let unlike = |video| Operation::Unlike(Unlike { video });
            let rounds = self.rounds(&pairs, like);
            meter.run(BATCH, || {
                for round in rounds {
                    self.store.apply(round)?;
                }
                Ok(())
            })?;
            for round in self.rounds(&pairs, unlike) {
                self.store.apply(round)?;
            }
            self.store.sweep_if_due()?;
        }
        meter.sample_at_rest(2 * batches * BATCH)
    }

    fn rounds(
        &mut self,
        pairs: &[(usize, usize)],
        operation: impl Fn(model::id::VideoId) -> Operation,
    ) -> Vec<Vec<model::command::Command>> {
        let commands = pairs.iter().map(|&(user, video)| {
            let operation = operation(self.world.videos[video]);
            self.store.command(Some(self.world.tokens[user]), operation)
        });
        let commands: Vec<_> = commands.collect();
        commands.chunks(ROUND).map(<[_]>::to_vec).collect()
    }

    /// Users with videos that they do not like yet.
    fn new_pairs(&mut self, is_skewed: bool) -> Vec<(usize, usize)> {
        let ring = self.plan.likes;
        let mut places = HashSet::with_capacity(BATCH);
        let mut pairs = Vec::with_capacity(BATCH);
        while pairs.len() < BATCH {
            let user = self.anybody(is_skewed);
            let place = if is_skewed {
                self.dice.skewed(ring.targets)
            } else {
                self.dice.below(ring.targets)
            };
            if !ring.is_taken(user, place) && places.insert((user, place)) {
                pairs.push((user, ring.at(place)));
            }
        }
        pairs
    }

    fn anybody(&mut self, is_skewed: bool) -> usize {
        if is_skewed {
            self.dice.skewed(self.plan.users)
        } else {
            self.dice.below(self.plan.users)
        }
    }
}

/// Reads what must be there, to see that a state which was just opened answers rightly.
pub(crate) fn first_answer(store: &Store, plan: &Plan) -> Result<()> {
    let view = store.view()?;
    let me = model::token::user(&view, token(0))?.context("the first user's token is unknown")?;
    let profile = user::profile(&view, Some(me), me)?.context("the first user is gone")?;
    ensure!(
        profile.follow_count == plan.follow_count() as u64,
        "the first user follows {}",
        profile.follow_count
    );
    let page = feed::before(&view, Some(me), None, FEED)?;
    ensure!(page.len() == FEED, "the feed has {} videos", page.len());
    Ok(())
}
