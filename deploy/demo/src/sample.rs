//! Six people, eight clips, and what they think of each other: all of it through the public API.
//!
//! Each step looks first whether it was done by an interrupted run before.
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::http::{Answer, Api};
use crate::layout::NODES;
use crate::progress::Progress;

/// Everybody's password: this service listens on loopback and holds nothing worth a secret.
pub(crate) const PASSWORD: &str = "yin-demo";

pub(crate) const PEOPLE: [&str; 6] = ["mei", "anton", "李雷", "sofia", "kofi", "noor"];

/// Author (index in [`PEOPLE`]), file, title.
const CLIPS: [(usize, &str, &str); 8] = [
    (0, "clip1.mp4", "One: a slow blue morning"),
    (1, "clip2.mp4", "Two: test bars, but dancing"),
    (2, "clip3.mp4", "三：红色方块掉下来"),
    (3, "clip4.mp4", "Four: Conway's garden"),
    (4, "clip5.mp4", "Five: a ring that grows"),
    (5, "clip6.mp4", "Six: stripes on the move"),
    (0, "clip7.mp4", "Seven goes for a walk"),
    (3, "clip8.mp4", "Eight: time passes"),
];

/// Who follows whom. Both ways makes friends.
const FOLLOWS: [(usize, usize); 12] = [
    (0, 1),
    (1, 0),
    (0, 2),
    (2, 0),
    (0, 3),
    (1, 3),
    (3, 1),
    (4, 0),
    (5, 0),
    (4, 5),
    (5, 4),
    (2, 3),
];

/// Who likes which clip.
const LIKES: [(usize, usize); 18] = [
    (0, 1),
    (0, 3),
    (0, 7),
    (1, 0),
    (1, 2),
    (1, 6),
    (2, 0),
    (2, 3),
    (2, 5),
    (3, 0),
    (3, 1),
    (3, 2),
    (4, 0),
    (4, 3),
    (4, 5),
    (5, 0),
    (5, 4),
    (5, 6),
];

/// Who says what under which clip.
const COMMENTS: [(usize, usize, &str); 9] = [
    (1, 0, "What a colour!"),
    (2, 0, "早安"),
    (4, 0, "Where was this?"),
    (0, 1, "I could watch this all day."),
    (5, 2, "Down it goes."),
    (0, 3, "A glider, bottom left!"),
    (1, 3, "It never gets old."),
    (3, 4, "Like a pond."),
    (4, 6, "Keep walking, seven."),
];

/// From, to, text, in order.
const MESSAGES: [(usize, usize, &str); 8] = [
    (0, 1, "Did you see Conway's garden?"),
    (1, 0, "Twice. The glider got away."),
    (0, 1, "They always do."),
    (0, 2, "红色方块是你做的吗？"),
    (2, 0, "是的，用了一个下午。"),
    (4, 5, "Stripes again?"),
    (5, 4, "Stripes for ever."),
    (1, 3, "How long does the garden live?"),
];

/// One registered person.
struct Person {
    id: String,
    token: String,
}

/// Fills an empty service, or completes one that was interrupted.
pub(crate) async fn seed(api: &Api, clips: &Path, progress: &mut Progress) -> anyhow::Result<()> {
    let total = PEOPLE.len() + CLIPS.len() + FOLLOWS.len() + LIKES.len() + COMMENTS.len();
    progress.set_total(total + MESSAGES.len());

    progress.begin("people register", PEOPLE.len());
    let mut people = Vec::with_capacity(PEOPLE.len());
    for name in PEOPLE {
        people.push(
            register(api, name)
                .await
                .with_context(|| format!("registering {name}"))?,
        );
        progress.step();
    }
    progress.begin("clips are uploaded", CLIPS.len());
    let mut videos = Vec::with_capacity(CLIPS.len());
    for (author, file, title) in CLIPS {
        let path = clips.join(file);
        let clip = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let video = publish(api, &people[author], title, file, &clip).await;
        videos.push(video.with_context(|| format!("uploading {file}"))?);
        progress.step();
    }
    progress.begin("people follow each other", FOLLOWS.len());
    for (follower, followed) in FOLLOWS {
        act(
            api,
            "/douyin/relation/action/",
            &people[follower],
            ("to_user_id", &people[followed].id),
        )
        .await?;
        progress.step();
    }
    progress.begin("clips are liked", LIKES.len());
    for (fan, clip) in LIKES {
        act(
            api,
            "/douyin/favorite/action/",
            &people[fan],
            ("video_id", &videos[clip]),
        )
        .await?;
        progress.step();
    }
    progress.begin("clips are commented on", COMMENTS.len());
    for (author, clip, text) in COMMENTS {
        comment(api, &people[author], &videos[clip], text).await?;
        progress.step();
    }
    progress.begin("people chat", MESSAGES.len());
    for (from, to, text) in MESSAGES {
        send(api, &people[from], &people[to], text).await?;
        progress.step();
    }
    Ok(())
}

/// Asks every node for the feed: the same clips everywhere, and each can be fetched.
pub(crate) async fn verify(api: &Api) -> anyhow::Result<()> {
    let viewer = login(api, PEOPLE[0]).await?;
    for node in 0..NODES {
        // With a token, since an anonymous reader may see a moment ago.
        let feed = api
            .get_from(node, "/douyin/feed/", &[("token", &viewer.token)])
            .await?;
        let videos = list(&feed, "video_list");
        for (_, _, title) in CLIPS {
            // A user of the demo may have pushed them off the first page.
            let is_shown = videos.iter().any(|video| video["title"] == title);
            ensure!(
                is_shown || videos.len() >= 30,
                "node{} does not show '{title}'",
                node + 1
            );
        }
        for (kind, video) in ["play_url", "cover_url"].into_iter().zip(videos) {
            let url = video[kind].as_str().unwrap_or_default();
            ensure!(
                api.is_there(url).await?,
                "node{} names {url}, which is not there",
                node + 1
            );
        }
    }
    Ok(())
}

async fn register(api: &Api, name: &str) -> anyhow::Result<Person> {
    let credentials = [("username", name), ("password", PASSWORD)];
    match api.post("/douyin/user/register/", &credentials).await? {
        Answer::Done(body) => Ok(person(&body)),
        // Taken: by an earlier run, or by somebody else, which the login then tells.
        Answer::Refused(_) => login(api, name).await,
    }
}

async fn login(api: &Api, name: &str) -> anyhow::Result<Person> {
    let credentials = [("username", name), ("password", PASSWORD)];
    let body = api
        .post("/douyin/user/login/", &credentials)
        .await?
        .done()?;
    Ok(person(&body))
}

fn person(body: &Value) -> Person {
    Person {
        id: number(body, "user_id"),
        token: text(body, "token").to_owned(),
    }
}

/// Uploads a clip unless its author has one of that title, and returns its id.
async fn publish(
    api: &Api,
    author: &Person,
    title: &str,
    file: &str,
    clip: &[u8],
) -> anyhow::Result<String> {
    if let Some(id) = published(api, author, title).await? {
        return Ok(id);
    }
    api.publish(&author.token, title, file, clip)
        .await?
        .done()?;
    // Read back at once, from another node than the one that took it.
    published(api, author, title)
        .await?
        .context("it is not in the author's list")
}

async fn published(api: &Api, author: &Person, title: &str) -> anyhow::Result<Option<String>> {
    let parameters = [("user_id", author.id.as_str()), ("token", &author.token)];
    let body = api.get("/douyin/publish/list/", &parameters).await?;
    let video = list(&body, "video_list")
        .iter()
        .find(|video| video["title"] == title);
    Ok(video.map(|video| number(video, "id")))
}

/// Likes or follows; doing it twice is the same as once.
async fn act(api: &Api, path: &str, person: &Person, what: (&str, &str)) -> anyhow::Result<()> {
    let parameters = [("token", person.token.as_str()), what, ("action_type", "1")];
    api.post(path, &parameters)
        .await?
        .done()
        .map(drop)
        .context(path.to_owned())
}

async fn comment(api: &Api, author: &Person, video: &str, text: &str) -> anyhow::Result<()> {
    let token = author.token.as_str();
    let there = api
        .get(
            "/douyin/comment/list/",
            &[("token", token), ("video_id", video)],
        )
        .await?;
    if list(&there, "comment_list")
        .iter()
        .any(|comment| comment["content"] == text)
    {
        return Ok(());
    }
    let parameters = [
        ("token", token),
        ("video_id", video),
        ("action_type", "1"),
        ("comment_text", text),
    ];
    api.post("/douyin/comment/action/", &parameters)
        .await?
        .done()
        .map(drop)
        .context("commenting")
}

async fn send(api: &Api, from: &Person, to: &Person, text: &str) -> anyhow::Result<()> {
    let token = from.token.as_str();
    let there = api
        .get(
            "/douyin/message/chat/",
            &[("token", token), ("to_user_id", &to.id)],
        )
        .await?;
    if list(&there, "message_list")
        .iter()
        .any(|message| message["content"] == text)
    {
        return Ok(());
    }
    let parameters = [
        ("token", token),
        ("to_user_id", to.id.as_str()),
        ("action_type", "1"),
        ("content", text),
    ];
    api.post("/douyin/message/action/", &parameters)
        .await?
        .done()
        .map(drop)
        .context("chatting")
}

fn list<'a>(body: &'a Value, name: &str) -> &'a [Value] {
    body[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_default()
}

/// Ids are JSON numbers below 2^53.
fn number(body: &Value, name: &str) -> String {
    body[name].as_u64().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_names_only_people_and_clips_that_exist() {
        let people = FOLLOWS.iter().flat_map(|&(a, b)| [a, b]);
        let people = people.chain(MESSAGES.iter().flat_map(|&(from, to, _)| [from, to]));
        let people = people.chain(LIKES.iter().map(|&(fan, _)| fan));
        let people = people.chain(COMMENTS.iter().map(|&(author, ..)| author));
        let mut people = people.chain(CLIPS.iter().map(|&(author, ..)| author));
        assert!(people.all(|person| person < PEOPLE.len()));
        let clips = LIKES.iter().map(|&(_, clip)| clip);
        let mut clips = clips.chain(COMMENTS.iter().map(|&(_, clip, _)| clip));
        assert!(clips.all(|clip| clip < CLIPS.len()));
        assert!(
            FOLLOWS.iter().chain([(0, 1)].iter()).all(|(a, b)| a != b),
            "nobody follows oneself"
        );
    }

    #[test]
    fn the_clips_are_in_the_tree() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        for (_, file, title) in CLIPS {
            assert!(fixtures.join(file).is_file(), "{file}");
            assert!((1..=100).contains(&title.chars().count()), "{title}");
        }
    }
}
