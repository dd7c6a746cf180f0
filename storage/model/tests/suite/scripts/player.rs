//! Plays the lines of one script on a state machine in memory.
use std::collections::BTreeMap;
use std::fmt::Write as _;

use model::cluster::{self, AdmitNode, Configure, CreateJoinToken, Found, RetireNode};
use model::command::{Command, Operation, Reply};
use model::comment::{self, AddComment, DeleteComment};
use model::favorite::{self, Like, Unlike};
use model::feed;
use model::id::{CommentId, NodeId, UserId, VideoId};
use model::message::{self, Part, SendMessage};
use model::relation::{self, Follow, Unfollow};
use model::sweep::{RetireBlob, Sweep};
use model::time::Timestamp;
use model::token;
use model::user::{self, Login, Logout, Profile, Register};
use model::video::{self, Publish, VideoItem};

use super::line::{Args, Line};
use super::transcript;
use crate::samples::{blob, identity, node};
use crate::world::{World, token as token_of};

#[derive(Default)]
pub(crate) struct Player {
    world: World,
    shows_all: bool,
    last: Option<Command>,
    users: BTreeMap<String, UserId>,
    videos: Vec<VideoId>,
    comments: Vec<CommentId>,
    /// What to write instead of ids and hashes.
    names: Vec<(String, String)>,
}

impl Player {
    pub(crate) fn play(&mut self, line: Line) -> String {
        let out = match line {
            Line::At(time) => {
                self.world.now = time;
                String::new()
            }
            Line::ShowAll => {
                self.shows_all = true;
                String::new()
            }
            Line::Command { actor, word, args } => self.command(actor.as_deref(), &word, &args),
            Line::Query { word, args } => self.query(&word, &args) + "\n",
        };
        self.named(out)
    }

    fn command(&mut self, actor: Option<&str>, word: &str, args: &Args) -> String {
        let mut command = match self.last.clone().filter(|_| word == "again") {
            Some(last) => last,
            None => {
                self.world.now += 1;
                let operation = self.operation(word, args);
                self.world.command(actor, operation)
            }
        };
        let own = args
            .words
            .first()
            .filter(|_| word == "register" || word == "login");
        let labels = actor.into_iter().chain(args.option("token"));
        for label in labels.chain(own.map(String::as_str)) {
            self.name(format!("{:?}", token_of(label)), format!("token({label})"));
        }
        command.stamp = Timestamp(args.number("stamp").unwrap_or(self.world.now));
        if let Some(issued) = args.number("issued") {
            command.issued = Timestamp(issued);
        }
        let request = u128::from_be_bytes(command.request.0);
        self.name(format!("{:?}", command.request), format!("#{request}"));
        self.last = Some(command.clone());
        let outcome = self.world.apply(command);
        self.meet(word, args, &outcome.reply);
        transcript(&outcome, self.shows_all)
    }

    /// Learns the names of what a command made.
    fn meet(&mut self, word: &str, args: &Args, reply: &Reply) {
        match reply {
            Reply::Registered { user } if word == "register" => {
                self.users.insert(args.word(0).to_owned(), *user);
                self.name(format!("{user:?}"), args.word(0).to_owned());
            }
            Reply::Published { video, .. } if !self.videos.contains(video) => {
                self.videos.push(*video);
                self.name(format!("{video:?}"), format!("v{}", self.videos.len()));
            }
            Reply::Commented { comment } if !self.comments.contains(&comment.id) => {
                self.comments.push(comment.id);
                self.name(
                    format!("{:?}", comment.id),
                    format!("c{}", self.comments.len()),
                );
            }
            Reply::Sent { message, .. } => {
                let count = message.0 >> model::id::SLOT_BITS;
                self.name(format!("{message:?}"), format!("m{count}"));
            }
            _ => {}
        }
    }

    fn name(&mut self, bytes: String, name: String) {
        self.names.push((bytes, name));
    }

    fn named(&self, mut out: String) -> String {
        for (bytes, name) in &self.names {
            out = out.replace(bytes, name);
        }
        out
    }

    fn user(&self, name: &str) -> UserId {
        self.users.get(name).copied().unwrap_or(UserId(999))
    }

    fn video(&self, name: &str) -> VideoId {
        nth(&self.videos, name).unwrap_or(VideoId(999))
    }

    fn comment(&self, name: &str) -> CommentId {
        nth(&self.comments, name).unwrap_or(CommentId(999))
    }

    fn operation(&self, word: &str, args: &Args) -> Operation {
        let label = || token_of(args.option("token").unwrap_or_else(|| args.word(0)));
        let text = |place: usize| args.word(place).to_owned();
        let video = || self.video(args.word(0));
        let user = || self.user(args.word(0));
        match word {
            "register" => Operation::Register(Register {
                name: text(0),
                password_hash: args.option("hash").unwrap_or("$old").to_owned(),
                token: label(),
            }),
            "login" => Operation::Login(Login {
                user: user(),
                verified_hash: args.option("hash").unwrap_or("$old").to_owned(),
                rehashed: args.option("rehashed").map(str::to_owned),
                token: label(),
            }),
            "logout" => Operation::Logout(Logout {
                everywhere: args.words.iter().any(|it| it == "everywhere"),
            }),
            "publish" => Operation::Publish(Publish {
                title: text(0),
                video: blob(
                    args.option("video").unwrap_or(&(text(0) + ".mp4")),
                    "video/mp4",
                ),
                cover: blob(
                    args.option("cover").unwrap_or(&(text(0) + ".jpg")),
                    "image/jpeg",
                ),
            }),
            "like" => Operation::Like(Like { video: video() }),
            "unlike" => Operation::Unlike(Unlike { video: video() }),
            "add_comment" => Operation::AddComment(AddComment {
                video: video(),
                text: text(1),
            }),
            "delete_comment" => {
                let comment = self.comment(args.word(1));
                Operation::DeleteComment(DeleteComment {
                    video: video(),
                    comment,
                })
            }
            "follow" => Operation::Follow(Follow { user: user() }),
            "unfollow" => Operation::Unfollow(Unfollow { user: user() }),
            "send_message" => Operation::SendMessage(SendMessage {
                to: user(),
                text: text(1),
            }),
            "retire_blob" => Operation::RetireBlob(RetireBlob { key: text(0) }),
            "sweep" => {
                let limit = args.number("limit").unwrap_or(100);
                Operation::Sweep(Sweep {
                    limit: u32::try_from(limit).unwrap(),
                })
            }
            _ => self.cluster_operation(word, args),
        }
    }

    fn cluster_operation(&self, word: &str, args: &Args) -> Operation {
        let node_id = |text: &str| NodeId(text.parse().expect("a node id"));
        match word {
            "found" => Operation::Found(Found {
                identity: identity(),
                node: node(1),
            }),
            "create_join_token" => Operation::CreateJoinToken(CreateJoinToken {
                token: token_of(args.option("token").unwrap()),
                expires: Timestamp(args.number("expires").unwrap()),
                uses: u32::try_from(args.number("uses").unwrap_or(1)).unwrap(),
            }),
            "admit_node" => Operation::AdmitNode(AdmitNode {
                token: args.option("token").map(token_of),
                replaces: args.option("replaces").map(node_id),
                node: node(9),
            }),
            "retire_node" => Operation::RetireNode(RetireNode {
                node: node_id(args.word(0)),
            }),
            "configure" => Operation::Configure(Configure {
                name: args.word(0).to_owned(),
                value: args.word(1).to_owned(),
            }),
            other => panic!("there is no operation `{other}`"),
        }
    }

    fn query(&self, word: &str, args: &Args) -> String {
        let view = &self.world.memory;
        let viewer = args.option("as").map(|name| self.user(name));
        let limit = usize::try_from(args.number("limit").unwrap_or(100)).unwrap();
        let user = || self.user(args.word(0));
        let after_video = args.option("after").map(|name| self.video(name));
        let after_user = args.option("after").map(|name| self.user(name));
        match word {
            "profile" => list(
                user::profile(view, viewer, user())
                    .unwrap()
                    .map(|it| vec![it]),
                profile,
            ),
            "account" => format!("{:?}", user::account(view, args.word(0)).unwrap()),
            "token" => format!("{:?}", token::user(view, token_of(args.word(0))).unwrap()),
            "video" => {
                let item = video::item(view, viewer, self.video(args.word(0))).unwrap();
                list(item.map(|it| vec![it]), item_line)
            }
            "published" => list(
                video::published_by(view, viewer, user(), after_video, limit).unwrap(),
                item_line,
            ),
            "liked" => list(
                favorite::liked_by(view, viewer, user(), after_video, limit).unwrap(),
                item_line,
            ),
            "feed" => {
                let bound = args.number("before").map(Timestamp);
                let newest = feed::newest(view).unwrap();
                let items = feed::before(view, viewer, bound, limit).unwrap();
                format!("newest {newest:?}\n") + &list(Some(items), item_line)
            }
            "comments" => {
                let after = args.option("after").map(|name| self.comment(name));
                let of = self.video(args.word(0));
                list(
                    comment::of_video(view, viewer, of, after, limit).unwrap(),
                    |it| {
                        format!(
                            "{:?} {:?} by {} at {}",
                            it.id, it.text, it.author.name, it.created.0
                        )
                    },
                )
            }
            "following" => list(
                relation::following(view, viewer, user(), after_user, limit).unwrap(),
                profile,
            ),
            "followers" => list(
                relation::followers(view, viewer, user(), after_user, limit).unwrap(),
                profile,
            ),
            "friends" => {
                let viewer = viewer.unwrap_or_else(user);
                list(
                    relation::friends(view, viewer, user(), limit).unwrap(),
                    |it| {
                        let sent = if it.is_sent { "sent" } else { "received" };
                        format!("{} {:?} {sent}", it.profile.name, it.message)
                    },
                )
            }
            "chat" => self.chat(args, limit),
            "cluster" => self.cluster(),
            other => panic!("there is no query `{other}`"),
        }
    }

    fn chat(&self, args: &Args, limit: usize) -> String {
        let part = match args.number("after") {
            None => Part::Latest,
            Some(time) => Part::After {
                time: Timestamp(time),
                includes_own: args.option("own") == Some("yes"),
            },
        };
        let (me, peer) = (self.user(args.word(0)), self.user(args.word(1)));
        let messages = message::between(&self.world.memory, me, peer, part, limit).unwrap();
        list(messages, |it| {
            format!(
                "{:?} {:?} -> {:?} {:?} at {}",
                it.id, it.from, it.to, it.text, it.created.0
            )
        })
    }

    fn cluster(&self) -> String {
        let view = &self.world.memory;
        let mut out = String::new();
        let identity = cluster::identity(view)
            .unwrap()
            .map(|identity| identity.cluster_id);
        write!(out, "{identity:?}\n{:?}", cluster::settings(view).unwrap()).unwrap();
        for (id, node) in cluster::nodes(view).unwrap() {
            let retired = if node.is_retired { " retired" } else { "" };
            let by = node
                .replaced_by
                .map_or_else(String::new, |by| format!(", replaced by {by}"));
            write!(out, "\n  node {id}{retired}{by}").unwrap();
        }
        for change in cluster::history(view, 10).unwrap() {
            write!(out, "\n  {change:?}").unwrap();
        }
        out
    }
}

fn nth<T: Copy>(all: &[T], name: &str) -> Option<T> {
    let number: usize = name.get(1..)?.parse().ok()?;
    all.get(number.checked_sub(1)?).copied()
}

fn list<T>(items: Option<Vec<T>>, line: impl Fn(&T) -> String) -> String {
    match items {
        None => "there is none".to_owned(),
        Some(items) if items.is_empty() => "nothing".to_owned(),
        Some(items) => {
            let lines: Vec<_> = items
                .iter()
                .map(|item| format!("  {}", line(item)))
                .collect();
            lines.join("\n")
        }
    }
}

fn profile(it: &Profile) -> String {
    let follow = if it.is_follow {
        ", followed by the viewer"
    } else {
        ""
    };
    format!(
        "{} follows {}, followed by {}, likes {}, liked {}, works {}{follow}",
        it.name,
        it.follow_count,
        it.follower_count,
        it.favorite_count,
        it.total_favorited,
        it.work_count
    )
}

fn item_line(it: &VideoItem) -> String {
    let favorite = if it.is_favorite {
        ", liked by the viewer"
    } else {
        ""
    };
    let follow = if it.author.is_follow {
        ", author followed"
    } else {
        ""
    };
    format!(
        "{:?} {:?} by {} at {}, likes {}, comments {}{favorite}{follow}",
        it.id, it.title, it.author.name, it.published.0, it.favorite_count, it.comment_count
    )
}
