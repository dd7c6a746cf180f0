//! Accounts and profiles.
use std::time::{Duration, Instant};

use model::command::Operation;
use model::token::TokenHash;
use model::user::Register;
use raft::replica::Consistency;
use reqwest::Method;
use serde_json::json;

use crate::support::node::{Cluster, WITHIN, options};

#[tokio::test]
async fn a_new_user_has_every_field() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let got = client
        .get(&format!("/douyin/user?token={}", user.token))
        .await;
    let base = cluster.first().url("");
    assert_eq!(
        got.ok(),
        json!({
            "status_code": 0,
            "status_msg": "success",
            "user": {
                "id": user.id,
                "name": "anna",
                "follow_count": 0,
                "follower_count": 0,
                "is_follow": false,
                "avatar": format!("{base}/static/avatar/{}.png", user.id),
                "background_image": format!("{base}/static/background/{}.jpg", user.id),
                "signature": "Nothing written here yet.",
                "total_favorited": 0,
                "work_count": 0,
                "favorite_count": 0,
            }
        })
    );
}

#[tokio::test]
async fn names_are_unique_however_they_are_written() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    client.register("Straße").await;
    for same in [
        "Straße",
        "STRASSE",
        "strasse",
        "%20Straße%20",
        "ＳＴＲＡＳＳＥ",
    ] {
        let path = format!("/douyin/user/register/?username={same}&password=x");
        let refused = client.post(&path).await.refused(2004);
        assert_eq!(refused["token"], "");
        assert_eq!(refused["user_id"], 0);
    }
    client
        .post("/douyin/user/login/?username=STRASSE&password=secret-Straße")
        .await
        .ok();
}

#[tokio::test]
async fn names_and_passwords_have_limits() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let register = async |name: &str, password: &str| {
        let request = client
            .request(Method::POST, "/douyin/user/register/")
            .query(&[("username", name), ("password", password)]);
        client.send(request).await
    };
    let long = "名".repeat(32);
    register(&long, &long).await.ok();
    for (name, password, code) in [
        ("", "x", 1001),
        ("x", "", 1001),
        ("   ", "x", 1004),
        (&"a".repeat(33), "x", 1004),
        ("x", &"a".repeat(33), 1004),
        (&"a".repeat(20_000), "x", 1004),
        ("a\u{0}b", "x", 1004),
        ("a\nb", "x", 1004),
        ("x", "a\u{7}b", 1004),
    ] {
        let refused = register(name, password).await.refused(code);
        assert_eq!(
            (&refused["user_id"], &refused["token"]),
            (&json!(0), &json!(""))
        );
    }
}

#[tokio::test]
async fn unknown_users_and_wrong_passwords_look_the_same() {
    let mut options = options();
    options.password.memory_kib = 32 * 1_024;
    let cluster = Cluster::with(1, options).await;
    let client = cluster.client();
    client.register("anna").await;
    let attempt = async |name: &str| {
        let path = format!("/douyin/user/login/?username={name}&password=wrong");
        let start = Instant::now();
        let got = client.post(&path).await;
        (got.refused(2003).to_string(), start.elapsed())
    };
    // In turn, so that whatever else this machine does slows both.
    let (mut wrong_times, mut unknown_times) = (Vec::new(), Vec::new());
    let (mut wrong, mut unknown) = (String::new(), String::new());
    for _ in 0..15 {
        let (text, time) = attempt("anna").await;
        wrong = text;
        wrong_times.push(time);
        let (text, time) = attempt("nobody").await;
        unknown = text;
        unknown_times.push(time);
    }
    wrong_times.sort();
    unknown_times.sort();
    let (wrong_time, unknown_time) = (wrong_times[7], unknown_times[7]);
    assert_eq!(wrong, unknown);
    assert!(wrong.contains(r#""token":"""#) && wrong.contains(r#""user_id":0"#));
    let (less, more) = (wrong_time.min(unknown_time), wrong_time.max(unknown_time));
    assert!(
        more < less * 3 + Duration::from_millis(10),
        "known {wrong_time:?}, unknown {unknown_time:?}"
    );
}

#[tokio::test]
async fn each_login_makes_a_token_and_all_are_good() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let user = client.register("anna").await;
    let mut tokens = vec![user.token];
    for _ in 0..2 {
        let login = client
            .post("/douyin/user/login?username=anna&password=secret-anna")
            .await
            .ok();
        assert_eq!(login["user_id"], user.id);
        tokens.push(login["token"].as_str().unwrap().to_owned());
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 3);
    for token in tokens {
        assert_eq!(
            client
                .get(&format!("/douyin/user/?token={token}"))
                .await
                .ok()["user"]["id"],
            user.id
        );
    }
}

#[tokio::test]
async fn a_hash_of_other_parameters_is_renewed_by_logins_at_the_same_time() {
    use argon2::PasswordHasher;

    let cluster = Cluster::one().await;
    let client = cluster.client();
    // Registered when this cluster's hashes were others.
    let params = argon2::Params::new(16, 2, 1, None).unwrap();
    let old = argon2::Argon2::from(params)
        .hash_password_with_salt(b"geheim", b"some salt of 16b")
        .unwrap()
        .to_string();
    let register = Operation::Register(Register {
        name: "old".to_owned(),
        password_hash: old.clone(),
        token: TokenHash([5; 32]),
    });
    cluster.propose(register).await;
    let stored = async || {
        let reading = cluster
            .first()
            .replica
            .read(Consistency::Local, WITHIN)
            .await
            .unwrap();
        model::user::account(&reading.view, "old")
            .unwrap()
            .unwrap()
            .password_hash
    };
    assert_eq!(stored().await, old);
    client
        .post("/douyin/user/login/?username=old&password=wrong")
        .await
        .refused(2003);
    assert_eq!(stored().await, old);
    let login = async || {
        client
            .post("/douyin/user/login/?username=old&password=geheim")
            .await
            .ok();
    };
    tokio::join!(login(), login(), login(), login());
    let renewed = stored().await;
    assert!(renewed.contains("m=8,t=1,p=1"), "{renewed}");
    login().await;
    assert_eq!(stored().await, renewed);
}

#[tokio::test]
async fn profiles_of_others_need_a_token_and_show_what_the_viewer_follows() {
    let cluster = Cluster::one().await;
    let client = cluster.client();
    let anna = client.register("anna").await;
    let berta = client.register("berta").await;
    client
        .get(&format!("/douyin/user/?user_id={}", anna.id))
        .await
        .refused(2001);
    client
        .get(&format!("/douyin/user/?user_id={}&token=x", anna.id))
        .await
        .refused(2002);
    client.follow(&anna, berta.id, 1).await.ok();
    let seen = async |viewer: &str, id: u64| {
        client
            .get(&format!("/douyin/user/?user_id={id}&token={viewer}"))
            .await
            .ok()["user"]
            .clone()
    };
    let berta_seen = seen(&anna.token, berta.id).await;
    assert_eq!(
        (&berta_seen["is_follow"], &berta_seen["follower_count"]),
        (&json!(true), &json!(1))
    );
    let anna_seen = seen(&berta.token, anna.id).await;
    assert_eq!(
        (&anna_seen["is_follow"], &anna_seen["follow_count"]),
        (&json!(false), &json!(1))
    );
    client
        .get(&format!("/douyin/user/?user_id=1&token={}", anna.token))
        .await
        .refused(3001);
    client
        .get(&format!("/douyin/user/?user_id=0&token={}", anna.token))
        .await
        .refused(3001);
}
