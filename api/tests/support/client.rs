//! A client as the demo app is one: parameters in the query, JSON back.
use std::fmt::Display;

use reqwest::header::HeaderMap;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

/// Gives a request the form of a browser.
pub(crate) fn with_form(request: RequestBuilder, pairs: &[(&str, &str)]) -> RequestBuilder {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect();
    request
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(pairs.join("&"))
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(byte).into(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn code(&self) -> u64 {
        self.json()["status_code"].as_u64().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// It went well.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        let json = self.json();
        assert_eq!(json["status_code"], 0, "{}", self.text);
        assert!(!json["status_msg"].as_str().unwrap().is_empty());
        json
    }

    /// It was refused, over HTTP 200, with this code and in words.
    #[track_caller]
    pub(crate) fn refused(self, code: u64) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        assert_eq!(self.code(), code, "{}", self.text);
        let json = self.json();
        assert!(!json["status_msg"].as_str().unwrap().is_empty());
        json
    }

    /// It failed on the way.
    #[track_caller]
    pub(crate) fn failed(self, status: u16, code: u64) -> Self {
        assert_eq!(
            (self.status.as_u16(), self.code()),
            (status, code),
            "{}",
            self.text
        );
        if [429, 503].contains(&status) {
            let wait: u64 = self.header("retry-after").unwrap().parse().unwrap();
            assert!(wait >= 1, "{wait}");
        }
        self
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    base: String,
    http: reqwest::Client,
}

/// A user with a token.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) token: String,
}

impl Client {
    pub(crate) fn new(base: &str) -> Self {
        // Whoever comes second finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            base: base.to_owned(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Got {
        let response = request.send().await.unwrap();
        Got {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str) -> Got {
        self.send(self.request(Method::POST, path)).await
    }

    pub(crate) async fn register(&self, name: &str) -> User {
        let path = format!("/douyin/user/register/?username={name}&password=secret-{name}");
        let welcome = self.post(&path).await.ok();
        User {
            id: welcome["user_id"].as_u64().unwrap(),
            token: welcome["token"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) async fn upload(&self, form: Form) -> Got {
        let request = self
            .request(Method::POST, "/douyin/publish/action/")
            .multipart(form);
        self.send(request).await
    }

    /// Publishes a clip as the app does, and gives the video's id.
    pub(crate) async fn publish(&self, user: &User, title: &str) -> u64 {
        let form = Form::new()
            .part("data", Part::bytes(super::clip::H264).file_name("clip.mp4"))
            .text("token", user.token.clone())
            .text("title", title.to_owned());
        self.upload(form).await.ok();
        let list = self
            .get(&format!("/douyin/publish/list/?user_id={}", user.id))
            .await
            .ok();
        list["video_list"][0]["id"].as_u64().unwrap()
    }

    pub(crate) async fn like(&self, user: &User, video: u64, action: impl Display) -> Got {
        let token = &user.token;
        self.post(&format!(
            "/douyin/favorite/action/?token={token}&video_id={video}&action_type={action}"
        ))
        .await
    }

    pub(crate) async fn follow(&self, user: &User, other: u64, action: impl Display) -> Got {
        let token = &user.token;
        self.post(&format!(
            "/douyin/relation/action/?token={token}&to_user_id={other}&action_type={action}"
        ))
        .await
    }

    pub(crate) async fn comment(&self, user: &User, video: u64, text: &str) -> Got {
        let token = &user.token;
        let request = self
            .request(
                Method::POST,
                &format!("/douyin/comment/action/?token={token}&video_id={video}&action_type=1"),
            )
            .query(&[("comment_text", text)]);
        self.send(request).await
    }

    pub(crate) async fn tell(&self, user: &User, other: u64, text: &str) -> Got {
        let token = &user.token;
        let request = self
            .request(
                Method::POST,
                &format!("/douyin/message/action/?token={token}&to_user_id={other}&action_type=1"),
            )
            .query(&[("content", text)]);
        self.send(request).await
    }

    pub(crate) async fn chat(&self, user: &User, other: u64, after: &str) -> Vec<Value> {
        let token = &user.token;
        let path =
            format!("/douyin/message/chat/?token={token}&to_user_id={other}&pre_msg_time={after}");
        self.get(&path).await.ok()["message_list"]
            .as_array()
            .unwrap()
            .clone()
    }
}
