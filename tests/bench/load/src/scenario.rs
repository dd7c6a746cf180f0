//! What one operation is: one thing that a user does, over the public API.
//!
//! Every write changes something. A like of a video that is liked already costs a server nothing,
//! so users and videos are paired one after another; when all pairs are through, the likes are taken
//! back one after another, and so on.
use crate::client::{Ask, Client, Fresh};
use crate::trouble::Trouble;
use crate::world::{PASSWORD, User, World};

/// One kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Likes spread over all videos but the hot one.
    Like,
    /// Likes, all of one video.
    LikeHot,
    Follow,
    Comment,
    /// A message is sent, and the other side's poll gets it: two requests.
    Chat,
    /// A message is sent while the other side's poll waits for it at another node: until that has it.
    ChatWait,
    /// A new user registers and logs in: two password hashes.
    Register,
    /// Somebody logs in.
    Login,
    /// The newest page, anonymous.
    Feed,
    /// The same for a user whose client sends its position back.
    FeedViewer,
    /// The same without a position, as existing apps do.
    FeedRoaming,
    /// A user's own profile with the position that the client has.
    Read,
    /// The same without a position.
    ReadRoaming,
    /// The same of what the node has.
    ReadLocal,
    /// The same of what is committed now.
    ReadLinearizable,
    Publish,
    /// Fetches a whole video.
    Media,
    /// Any other server, as a yardstick: HTTP 200 is success.
    Plain {
        name: &'static str,
        path: &'static str,
        is_post: bool,
    },
}

impl Scenario {
    /// All of the contract's, in the order in which they are shown.
    pub const ALL: [Self; 17] = [
        Self::Like,
        Self::LikeHot,
        Self::Follow,
        Self::Comment,
        Self::Chat,
        Self::ChatWait,
        Self::Register,
        Self::Login,
        Self::Feed,
        Self::FeedViewer,
        Self::FeedRoaming,
        Self::Read,
        Self::ReadRoaming,
        Self::ReadLocal,
        Self::ReadLinearizable,
        Self::Publish,
        Self::Media,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Like => "like",
            Self::LikeHot => "like-hot",
            Self::Follow => "follow",
            Self::Comment => "comment",
            Self::Chat => "chat",
            Self::ChatWait => "chat-wait",
            Self::Register => "register",
            Self::Login => "login",
            Self::Feed => "feed",
            Self::FeedViewer => "feed-viewer",
            Self::FeedRoaming => "feed-roaming",
            Self::Read => "read",
            Self::ReadRoaming => "read-roaming",
            Self::ReadLocal => "read-local",
            Self::ReadLinearizable => "read-linearizable",
            Self::Publish => "publish",
            Self::Media => "media",
            Self::Plain { name, .. } => name,
        }
    }

    /// Needs a second connection.
    pub(crate) fn takes_two(self) -> bool {
        self == Self::ChatWait
    }

    /// Finds one of [`Self::ALL`] by its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Does one operation.
    ///
    /// # Errors
    /// Whatever keeps it from being a full success.
    pub async fn perform(self, world: &World, client: &mut Client) -> Result<(), Trouble> {
        match self {
            Self::Like => like(world, client).await,
            Self::LikeHot => like_hot(world, client).await,
            Self::Follow => follow(world, client).await,
            Self::Comment => comment(world, client).await,
            Self::Chat => chat(world, client).await,
            Self::ChatWait => chat_wait(world, client).await,
            Self::Register => register(world, client).await,
            Self::Login => {
                let name = world.login_name(client.dice.roll());
                login(client, name).await
            }
            Self::Feed => feed(client, None, Fresh::Default).await,
            Self::FeedViewer => feed(client, Some(world), Fresh::Position).await,
            Self::FeedRoaming => feed(client, Some(world), Fresh::Default).await,
            Self::Read => read(world, client, Fresh::Position).await,
            Self::ReadRoaming => read(world, client, Fresh::Default).await,
            Self::ReadLocal => read(world, client, Fresh::Local).await,
            Self::ReadLinearizable => read(world, client, Fresh::Linearizable).await,
            Self::Publish => publish(world, client).await,
            Self::Media => {
                let path = world.any_video(&mut client.dice).path.clone();
                client.send(Ask::get(path).plain()).await.map(drop)
            }
            Self::Plain { path, is_post, .. } => {
                let ask = if is_post {
                    Ask::post(path.to_owned())
                } else {
                    Ask::get(path.to_owned())
                };
                client.send(ask.plain()).await.map(drop)
            }
        }
    }
}

async fn post(client: &mut Client, path: String) -> Result<(), Trouble> {
    client.send(Ask::post(path)).await.map(drop)
}

async fn like(world: &World, client: &mut Client) -> Result<(), Trouble> {
    let (user, video, action) = world.next_like();
    let path = like_path(user, video, action);
    post(client, path).await
}

async fn like_hot(world: &World, client: &mut Client) -> Result<(), Trouble> {
    let (user, video, action) = world.next_hot_like();
    let path = like_path(user, video, action);
    post(client, path).await
}

pub(crate) fn like_path(user: &User, video: i64, action: u8) -> String {
    let token = &user.token;
    format!("/douyin/favorite/action/?token={token}&video_id={video}&action_type={action}")
}

async fn follow(world: &World, client: &mut Client) -> Result<(), Trouble> {
    let (user, whom, action) = world.next_follow();
    let token = &user.token;
    let path =
        format!("/douyin/relation/action/?token={token}&to_user_id={whom}&action_type={action}");
    post(client, path).await
}

async fn comment(world: &World, client: &mut Client) -> Result<(), Trouble> {
    let token = &world.any_user(&mut client.dice).token;
    let video = world.any_video(&mut client.dice).id;
    let word = client.dice.roll();
    let path = format!(
        "/douyin/comment/action/?token={token}&video_id={video}&action_type=1\
         &comment_text=what+a+clip+{word}"
    );
    post(client, path).await
}

/// Who talks to whom: each connection has a conversation of its own, if there are users enough.
struct Talk<'a> {
    sender: &'a User,
    receiver: &'a User,
    word: u64,
}

impl<'a> Talk<'a> {
    fn new(world: &'a World, client: &mut Client) -> Self {
        Self {
            sender: world.user(client.index * 2),
            receiver: world.user(client.index * 2 + 1),
            word: client.dice.roll(),
        }
    }

    fn message(&self) -> Ask {
        Ask::post(format!(
            "/douyin/message/action/?token={}&to_user_id={}&action_type=1&content=hello+{}",
            self.sender.token, self.receiver.id, self.word
        ))
    }

    /// For what came after `last`; waits for it so long.
    fn poll(&self, last: i64, wait_ms: u64) -> Ask {
        let (token, peer) = (&self.receiver.token, self.sender.id);
        let wait = match wait_ms {
            0 => String::new(),
            wait_ms => format!("&wait_ms={wait_ms}"),
        };
        let path = format!(
            "/douyin/message/chat/?token={token}&to_user_id={peer}&pre_msg_time={last}{wait}"
        );
        Ask::get(path).kept()
    }

    /// The stamp of the last message in an answer, which must have this one's in it.
    fn last_with_this(&self, answer: &[u8]) -> Result<i64, Trouble> {
        let text = std::str::from_utf8(answer).map_err(|_| Trouble::Wrong("no UTF-8"))?;
        if !text.contains(&format!("hello {}", self.word)) {
            return Err(Trouble::Wrong(
                "the poll misses a message that was acknowledged",
            ));
        }
        last_number(text, STAMP).ok_or(Trouble::Wrong("a message without its time"))
    }
}

/// Behind it an answer has a message's stamp.
const STAMP: &str = "\"create_time\":";

async fn chat(world: &World, client: &mut Client) -> Result<(), Trouble> {
    let talk = Talk::new(world, client);
    client.send(talk.message()).await?;
    let answer = client.send(talk.poll(client.last_message, 0)).await?;
    client.last_message = talk.last_with_this(&answer)?;
    Ok(())
}

/// Longer than a message can take.
const WAIT_MS: u64 = 10_000;

async fn chat_wait(world: &World, client: &mut Client) -> Result<(), Trouble> {
    let talk = Talk::new(world, client);
    let mut other = client
        .other
        .take()
        .ok_or(Trouble::Wrong("nobody to wait"))?;
    let delivered = deliver(&talk, client, &mut other).await;
    client.other = Some(other);
    delivered
}

async fn deliver(talk: &Talk<'_>, client: &mut Client, other: &mut Client) -> Result<(), Trouble> {
    if other.last_message == 0 {
        // What others wrote here before is not waited for.
        let before = other.send(talk.poll(0, 0)).await?;
        let before = String::from_utf8_lossy(&before);
        other.last_message = last_number(&before, STAMP).unwrap_or(1);
    }
    let poll = other.send(talk.poll(other.last_message, WAIT_MS));
    // The poll is on its way first.
    let (answer, sent) = tokio::join!(poll, client.send(talk.message()));
    sent?;
    other.last_message = talk.last_with_this(&answer?)?;
    Ok(())
}

async fn register(world: &World, client: &mut Client) -> Result<(), Trouble> {
    let name = world.next_name();
    sign_up(client, &name).await?;
    login(client, &name).await
}

pub(crate) async fn sign_up(client: &mut Client, name: &str) -> Result<User, Trouble> {
    let path = format!("/douyin/user/register/?username={name}&password={PASSWORD}");
    let body = client.send(Ask::post(path).kept()).await?;
    let body: serde_json::Value =
        serde_json::from_slice(&body).map_err(|_| Trouble::Wrong("no JSON"))?;
    match (body["user_id"].as_i64(), body["token"].as_str()) {
        (Some(id), Some(token)) => Ok(User {
            id,
            name: name.to_owned(),
            token: token.to_owned(),
        }),
        (Some(_) | None, _) => Err(Trouble::Wrong("registered without id or token")),
    }
}

async fn login(client: &mut Client, name: &str) -> Result<(), Trouble> {
    let path = format!("/douyin/user/login/?username={name}&password={PASSWORD}");
    post(client, path).await
}

async fn feed(client: &mut Client, world: Option<&World>, fresh: Fresh) -> Result<(), Trouble> {
    let path = match world {
        None => "/douyin/feed/".to_owned(),
        Some(world) => {
            let token = &world.any_user(&mut client.dice).token;
            format!("/douyin/feed/?token={token}")
        }
    };
    client.send(Ask::get(path).fresh(fresh)).await.map(drop)
}

async fn read(world: &World, client: &mut Client, fresh: Fresh) -> Result<(), Trouble> {
    let user = world.any_user(&mut client.dice);
    let path = format!("/douyin/user/?user_id={}&token={}", user.id, user.token);
    client.send(Ask::get(path).fresh(fresh)).await.map(drop)
}

async fn publish(world: &World, client: &mut Client) -> Result<(), Trouble> {
    let ask = world.publish(world.any_user(&mut client.dice));
    client.send(ask).await.map(drop)
}

/// The number behind the last `name` in the text.
fn last_number(text: &str, name: &str) -> Option<i64> {
    let (_, rest) = text.rsplit_once(name)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again() {
        for scenario in Scenario::ALL {
            assert_eq!(Scenario::parse(scenario.name()), Some(scenario));
        }
        assert_eq!(Scenario::parse("nothing"), None);
    }

    #[test]
    fn the_last_number_is_taken() {
        let text = r#"[{"create_time":17},{"create_time":23}]"#;
        assert_eq!(last_number(text, "\"create_time\":"), Some(23));
        assert_eq!(last_number("[]", "\"create_time\":"), None);
    }
}
