//! Speaks the client contract the way existing apps do: POST parameters in the query.
use std::time::Duration;

use serde_json::Value;

/// One client at one node.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    pub base: String,
}

/// A user with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub id: u64,
    pub token: String,
}

/// What came of a request.
#[derive(Debug)]
pub enum Outcome {
    /// HTTP 200 with this body.
    Answered(Value),
    /// Certainly not done: refused before or by the node (`X-Yin-Outcome: not_applied`, 429).
    NotApplied(String),
    /// Nobody can tell.
    Unknown(String),
}

impl Client {
    /// # Panics
    /// Never, as long as TLS is provided.
    pub fn new(base: String) -> Self {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(64)
            .build()
            .expect("a client can be made");
        Self { http, base }
    }

    /// The same client, moved to another node.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self {
            http: self.http.clone(),
            base: base.to_owned(),
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Outcome {
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Outcome::NotApplied(error.to_string()),
            Err(error) => return Outcome::Unknown(error.to_string()),
        };
        let status = answer.status();
        let not_applied = status.as_u16() == 429
            || answer
                .headers()
                .get("x-yin-outcome")
                .is_some_and(|outcome| outcome == "not_applied");
        match answer.json::<Value>().await {
            Ok(body) if status.is_success() => Outcome::Answered(body),
            Ok(body) if not_applied => Outcome::NotApplied(format!("{status}: {body}")),
            Ok(body) => Outcome::Unknown(format!("{status}: {body}")),
            Err(error) => Outcome::Unknown(format!("{status}: {error}")),
        }
    }

    /// GET with these parameters; the body.
    ///
    /// # Panics
    /// When there is no JSON answer with HTTP 200.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let request = self.http.get(self.url(path)).query(parameters);
        answered(path, self.send(request).await)
    }

    /// POST with these parameters in the query; the body.
    ///
    /// # Panics
    /// When there is no JSON answer with HTTP 200.
    pub async fn post(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        answered(path, self.try_post(path, parameters).await)
    }

    pub async fn try_post(&self, path: &str, parameters: &[(&str, &str)]) -> Outcome {
        self.send(self.http.post(self.url(path)).query(parameters))
            .await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Registers a user.
    ///
    /// # Panics
    /// When that fails.
    pub async fn register(&self, name: &str) -> Login {
        let parameters = [("username", name), ("password", "secret-1")];
        let body = self.post("/douyin/user/register/", &parameters).await;
        assert_eq!(body["status_code"], 0, "register {name}: {body}");
        login_of(&body)
    }

    /// Publishes a clip.
    ///
    /// # Panics
    /// When the clip makes no multipart part.
    pub async fn publish(&self, login: &Login, title: &str, clip: Vec<u8>) -> Outcome {
        let part = reqwest::multipart::Part::bytes(clip)
            .file_name("clip.mp4")
            .mime_str("video/mp4")
            .expect("a media type");
        let form = reqwest::multipart::Form::new()
            .text("token", login.token.clone())
            .text("title", title.to_owned())
            .part("data", part);
        self.send(
            self.http
                .post(self.url("/douyin/publish/action/"))
                .multipart(form),
        )
        .await
    }

    /// Likes a video (or no longer).
    pub async fn favorite(&self, login: &Login, video: u64, likes: bool) -> Outcome {
        let video = video.to_string();
        let action = if likes { "1" } else { "2" };
        let parameters = [
            ("token", login.token.as_str()),
            ("video_id", &video),
            ("action_type", action),
        ];
        self.try_post("/douyin/favorite/action/", &parameters).await
    }

    /// Comments on a video.
    pub async fn comment(&self, login: &Login, video: u64, text: &str) -> Outcome {
        let video = video.to_string();
        let parameters = [
            ("token", login.token.as_str()),
            ("video_id", &video),
            ("action_type", "1"),
            ("comment_text", text),
        ];
        self.try_post("/douyin/comment/action/", &parameters).await
    }

    /// Sends a chat message.
    pub async fn message(&self, login: &Login, to: u64, content: &str) -> Outcome {
        let to = to.to_string();
        let parameters = [
            ("token", login.token.as_str()),
            ("to_user_id", &to),
            ("action_type", "1"),
            ("content", content),
        ];
        self.try_post("/douyin/message/action/", &parameters).await
    }

    /// Follows a user (or no longer).
    pub async fn follow(&self, login: &Login, to: u64, follows: bool) -> Outcome {
        let to = to.to_string();
        let action = if follows { "1" } else { "2" };
        let parameters = [
            ("token", login.token.as_str()),
            ("to_user_id", &to),
            ("action_type", action),
        ];
        self.try_post("/douyin/relation/action/", &parameters).await
    }

    /// A raw request builder against this node.
    pub fn raw(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path))
    }
}

/// The body of an answer.
///
/// # Panics
/// When there is none.
pub fn answered(what: &str, outcome: Outcome) -> Value {
    match outcome {
        Outcome::Answered(body) => body,
        Outcome::NotApplied(why) | Outcome::Unknown(why) => panic!("{what}: {why}"),
    }
}

/// Id and token from a register or login answer.
///
/// # Panics
/// When they are not there.
pub fn login_of(body: &Value) -> Login {
    Login {
        id: body["user_id"].as_u64().expect("a user id"),
        token: body["token"].as_str().expect("a token").to_owned(),
    }
}

/// A small real clip.
///
/// # Panics
/// When the fixture is missing.
pub fn clip() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/clip1.mp4");
    std::fs::read(path).expect("the clip can be read")
}
