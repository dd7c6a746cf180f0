//! What somebody does next: any operation of the model, mostly about things that exist, often about
//! the same few; sometimes an earlier request again; under clocks that jump and disagree.
use model::cluster::{
    AdmitNode, Configure, CreateJoinToken, Found, Identity, NodeInfo, RetireNode,
};
use model::command::{Command, Operation, RequestId};
use model::comment::{AddComment, DeleteComment};
use model::favorite::{Like, Unlike};
use model::id::{CommentId, NodeId, UserId, VideoId};
use model::message::SendMessage;
use model::relation::{Follow, Unfollow};
use model::sweep::{RetireBlob, Sweep};
use model::time::Timestamp;
use model::token::TokenHash;
use model::user::{Login, Logout, Register};
use model::video::{BlobRef, Publish};

use super::dice::Dice;
use super::oracle::Oracle;

/// Few names, some of them the same once folded.
const NAMES: [&str; 9] = [
    "alice",
    "Alice",
    "bob",
    "carol",
    "ＣＡＲＯＬ",
    "dora",
    "straße",
    "STRASSE",
    "李雷",
];
const MINUTE_MS: u64 = 60 * 1000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// Where time, clocks and requests stand.
pub(super) struct Steps {
    now: u64,
    /// What the present leader's clock says beside `now`.
    skew: i64,
    requests: u64,
    tokens: u64,
    blobs: u64,
    sent: Vec<Command>,
}

impl Steps {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self {
            now: 1_700_000_000_000 + dice.below(DAY_MS),
            skew: 0,
            requests: 0,
            tokens: 0,
            blobs: 0,
            sent: Vec::new(),
        }
    }

    pub(super) fn next(&mut self, dice: &mut Dice, oracle: &Oracle) -> Command {
        self.pass_time(dice);
        let stamp = Timestamp(self.now.saturating_add_signed(self.skew));
        if !self.sent.is_empty() && dice.in_thousand(140) {
            let back = if dice.in_thousand(700) {
                dice.index(self.sent.len().min(8))
            } else {
                dice.index(self.sent.len())
            };
            let mut again = self.sent[self.sent.len() - 1 - back].clone();
            again.stamp = stamp;
            return again;
        }
        let actor = self.actor(dice, oracle);
        let operation = self.operation(dice, oracle);
        self.requests += 1;
        let command = Command {
            request: RequestId(u128::from(self.requests).to_be_bytes()),
            issued: self.issued(dice),
            stamp,
            actor,
            operation,
        };
        self.sent.push(command.clone());
        command
    }

    fn pass_time(&mut self, dice: &mut Dice) {
        self.now += match dice.below(1000) {
            0..3 => dice.below(2 * DAY_MS),
            3..12 => 30 * MINUTE_MS + dice.below(90 * MINUTE_MS),
            12..60 => dice.below(5 * MINUTE_MS),
            60..160 => dice.below(3_000),
            _ => dice.below(30),
        };
        if dice.in_thousand(40) {
            let within = if dice.in_thousand(100) {
                20 * MINUTE_MS
            } else {
                4_000
            };
            let skew = i64::try_from(dice.below(2 * within)).unwrap_or(0);
            self.skew = skew - i64::try_from(within).unwrap_or(0);
        }
    }

    /// Entry nodes have clocks of their own, and requests wait on the way.
    fn issued(&self, dice: &mut Dice) -> Timestamp {
        Timestamp(match dice.below(1000) {
            0..4 => self.now + 2 * 60 * MINUTE_MS,
            4..24 => self.now - 50 * MINUTE_MS - dice.below(20 * MINUTE_MS),
            24..324 => self.now - dice.below(2_500),
            _ => self.now,
        })
    }

    fn actor(&mut self, dice: &mut Dice, oracle: &Oracle) -> Option<TokenHash> {
        match dice.below(100) {
            0 => None,
            1 => Some(self.token()),
            _ => dice.pick(&oracle.tokens()).copied(),
        }
    }

    fn token(&mut self) -> TokenHash {
        self.tokens += 1;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.tokens.to_le_bytes());
        TokenHash(bytes)
    }

    /// Mostly a new one.
    fn some_token(&mut self, dice: &mut Dice, oracle: &Oracle) -> TokenHash {
        match dice.pick(&oracle.tokens()) {
            Some(known) if dice.in_thousand(60) => *known,
            _ => self.token(),
        }
    }

    fn operation(&mut self, dice: &mut Dice, oracle: &Oracle) -> Operation {
        let (user, video) = (user(dice, oracle), video(dice, oracle));
        match dice.below(100) {
            0..8 => self.register(dice, oracle),
            8..11 => self.login(dice, oracle),
            11 => Operation::Logout(Logout {
                everywhere: dice.in_thousand(200),
            }),
            12..21 => self.publish(dice),
            21..36 => Operation::Like(Like { video }),
            36..44 => Operation::Unlike(Unlike { video }),
            44..54 => Operation::AddComment(AddComment {
                video,
                text: format!("{}", dice.below(1000)),
            }),
            54..60 => delete_comment(dice, oracle),
            60..74 => Operation::Follow(Follow { user }),
            74..80 => Operation::Unfollow(Unfollow { user }),
            80..91 => Operation::SendMessage(SendMessage {
                to: user,
                text: format!("{}", dice.below(1000)),
            }),
            91 => Operation::RetireBlob(RetireBlob {
                key: self.blob(dice).key,
            }),
            92..96 => Operation::Sweep(Sweep {
                limit: [0, 1, 5, 200][dice.index(4)],
            }),
            _ => self.of_the_cluster(dice, oracle),
        }
    }

    fn register(&mut self, dice: &mut Dice, oracle: &Oracle) -> Operation {
        Operation::Register(Register {
            name: NAMES[dice.index(NAMES.len())].to_owned(),
            password_hash: "$0".to_owned(),
            token: self.some_token(dice, oracle),
        })
    }

    fn login(&mut self, dice: &mut Dice, oracle: &Oracle) -> Operation {
        let user = user(dice, oracle);
        let known = oracle.password_of(user).unwrap_or_default();
        Operation::Login(Login {
            user,
            verified_hash: if dice.in_thousand(850) {
                known
            } else {
                "$old".to_owned()
            },
            rehashed: dice
                .in_thousand(300)
                .then(|| format!("${}", dice.below(100))),
            token: self.some_token(dice, oracle),
        })
    }

    fn publish(&mut self, dice: &mut Dice) -> Operation {
        let (video, cover) = (self.blob(dice), self.blob(dice));
        let title = format!("{}", dice.below(1000));
        Operation::Publish(Publish {
            title,
            video,
            cover,
        })
    }

    /// Mostly a new one.
    fn blob(&mut self, dice: &mut Dice) -> BlobRef {
        let number = if self.blobs > 0 && dice.in_thousand(80) {
            dice.below(self.blobs)
        } else {
            self.blobs += 1;
            self.blobs
        };
        BlobRef {
            key: format!("v/{number}"),
            bytes: number,
            sha256: [0; 32],
            content_type: "video/mp4".to_owned(),
        }
    }

    fn of_the_cluster(&mut self, dice: &mut Dice, oracle: &Oracle) -> Operation {
        let node = || NodeInfo {
            incarnation: [1; 16],
            zone: String::new(),
        };
        match dice.below(6) {
            0 => Operation::Found(Found {
                identity: Identity {
                    cluster_id: "c".to_owned(),
                    epoch: 1,
                    position_key: [2; 32],
                    ca_certificate: Vec::new(),
                    sealed_ca_key: Vec::new(),
                },
                node: node(),
            }),
            1 => Operation::CreateJoinToken(CreateJoinToken {
                token: self.some_token(dice, oracle),
                expires: Timestamp(self.now - MINUTE_MS + dice.below(120 * MINUTE_MS)),
                uses: u32::try_from(dice.below(4)).unwrap_or(1),
            }),
            2 => Operation::AdmitNode(AdmitNode {
                token: dice.pick(&oracle.tickets()).copied(),
                replaces: dice
                    .in_thousand(400)
                    .then(|| NodeId(dice.below(oracle.nodes() + 2))),
                node: node(),
            }),
            3 => Operation::RetireNode(RetireNode {
                node: NodeId(dice.below(oracle.nodes() + 2)),
            }),
            _ => {
                let (name, value) = [
                    ("chat.friends_only", "true"),
                    ("chat.friends_only", " false"),
                    ("chat.friends_only", "no"),
                    ("token.lifetime_days", "1"),
                    ("token.lifetime_days", "30"),
                    ("cluster.voters", "5"),
                    ("no.such", "1"),
                ][dice.index(7)];
                Operation::Configure(Configure {
                    name: name.to_owned(),
                    value: value.to_owned(),
                })
            }
        }
    }
}

/// Mostly one that exists.
fn user(dice: &mut Dice, oracle: &Oracle) -> UserId {
    let known = dice.pick(&oracle.user_ids()).copied();
    known.filter(|_| !dice.in_thousand(20)).unwrap_or(UserId(1))
}

/// Mostly one that exists.
fn video(dice: &mut Dice, oracle: &Oracle) -> VideoId {
    let known = dice.pick(oracle.videos()).map(|video| video.id);
    known
        .filter(|_| !dice.in_thousand(20))
        .unwrap_or(VideoId(2))
}

fn delete_comment(dice: &mut Dice, oracle: &Oracle) -> Operation {
    let comment = dice.pick(oracle.comments());
    let (under, comment) = comment.map_or((VideoId(2), CommentId(3)), |it| (it.video, it.id));
    let video = if dice.in_thousand(50) {
        video(dice, oracle)
    } else {
        under
    };
    Operation::DeleteComment(DeleteComment { video, comment })
}
