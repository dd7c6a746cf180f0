//! Which path leads where, and what stands around it.
use std::sync::Arc;
use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::extract::DefaultBodyLimit;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use axum::{Router, middleware};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RETRY_AFTER};
use http::{HeaderName, Method};
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::timeout::TimeoutLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, CompressionLevel};
use tower_http::cors::{Any, CorsLayer};

use crate::app::App;
use crate::error::{Code, Failure};
use crate::{
    comment, favorite, feed, files, frame, health, message, page, publish, relation, session, user,
};

/// One of the client contract's endpoints.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Without the trailing slash; it is served with and without.
    pub(crate) path: &'static str,
    pub(crate) is_write: bool,
    /// Its fields in an answer that failed, each led by a comma.
    pub(crate) blank: &'static str,
}

const NO_ID_NO_TOKEN: &str = r#","user_id":0,"token":"""#;
const NO_USER: &str = r#","user":null"#;
const NO_USERS: &str = r#","user_list":[]"#;
const NO_VIDEOS: &str = r#","video_list":[]"#;

const fn endpoint_of(path: &'static str, is_write: bool, blank: &'static str) -> Endpoint {
    Endpoint {
        path,
        is_write,
        blank,
    }
}

/// The client contract.
pub(crate) const ENDPOINTS: [Endpoint; 16] = [
    endpoint_of("/douyin/user/register", true, NO_ID_NO_TOKEN),
    endpoint_of("/douyin/user/login", true, NO_ID_NO_TOKEN),
    endpoint_of("/douyin/user", false, NO_USER),
    endpoint_of("/douyin/feed", false, r#","video_list":[],"next_time":0"#),
    endpoint_of("/douyin/publish/action", true, ""),
    endpoint_of("/douyin/publish/list", false, NO_VIDEOS),
    endpoint_of("/douyin/favorite/action", true, ""),
    endpoint_of("/douyin/favorite/list", false, NO_VIDEOS),
    endpoint_of("/douyin/comment/action", true, r#","comment":null"#),
    endpoint_of("/douyin/comment/list", false, r#","comment_list":[]"#),
    endpoint_of("/douyin/relation/action", true, ""),
    endpoint_of("/douyin/relation/follow/list", false, NO_USERS),
    endpoint_of("/douyin/relation/follower/list", false, NO_USERS),
    endpoint_of("/douyin/relation/friend/list", false, NO_USERS),
    endpoint_of("/douyin/message/action", true, ""),
    endpoint_of("/douyin/message/chat", false, r#","message_list":[]"#),
];

const OTHERS: [&str; 6] = ["/", "/healthz", "/readyz", "/metrics", MEDIA, STATIC];
const MEDIA: &str = "/media/{kind}/{file}";
const STATIC: &str = "/static/{kind}/{file}";

/// What the frame knows of where a request goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The template that the path is told under, in metrics and logs.
    pub(crate) template: &'static str,
    /// Of the client contract.
    pub(crate) endpoint: Option<&'static Endpoint>,
}

impl Place {
    /// None of ours.
    pub(crate) const UNKNOWN: Self = Self {
        template: "unknown",
        endpoint: None,
    };

    /// Of a path as the router matched it.
    pub(crate) fn of(matched: &str) -> Self {
        let bare = match matched.trim_end_matches('/') {
            "" => "/",
            bare => bare,
        };
        if let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| endpoint.path == bare) {
            return Self {
                template: endpoint.path,
                endpoint: Some(endpoint),
            };
        }
        let other = OTHERS.into_iter().find(|other| *other == bare);
        other.map_or(Self::UNKNOWN, |template| Self {
            template,
            endpoint: None,
        })
    }
}

/// Everything that this node answers to over HTTP.
pub(crate) fn router(app: &App) -> Router {
    let places = Arc::new(Semaphore::new(app.options.requests_max));
    let sheltered = || {
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(frame::of_layer))
            .layer(LoadShedLayer::new())
            .layer(GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(
                &places,
            )))
    };
    let patience = Duration::from_millis(app.options.request_timeout_ms);
    let quick = contract()
        .merge(media())
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_by_this_method)
        .layer(sheltered().layer(TimeoutLayer::new(patience)));
    // An upload has limits of its own: it may be large, and long.
    let upload = both(
        Router::new(),
        "/douyin/publish/action",
        &post(publish::action),
    )
    .method_not_allowed_fallback(not_by_this_method)
    .layer(DefaultBodyLimit::disable())
    .layer(sheltered());
    // Whoever asks how this node is must get through when it is full.
    let health = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics));
    // As one layer: the router boxes, and copies for every request, what each of its layers makes.
    let frame = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(app.clone(), frame::around))
        .layer(cors())
        .layer(compression())
        .layer(CatchPanicLayer::custom(frame::of_panic));
    quick
        .merge(upload)
        .merge(health)
        .layer(frame)
        .with_state(app.clone())
}

fn contract() -> Router<App> {
    let routes: [(&str, MethodRouter<App>); 15] = [
        ("/douyin/user/register", post(user::register)),
        ("/douyin/user/login", post(user::login)),
        ("/douyin/user", get(user::profile)),
        ("/douyin/feed", get(feed::feed)),
        ("/douyin/publish/list", get(publish::list)),
        ("/douyin/favorite/action", post(favorite::action)),
        ("/douyin/favorite/list", get(favorite::list)),
        ("/douyin/comment/action", post(comment::action)),
        ("/douyin/comment/list", get(comment::list)),
        ("/douyin/relation/action", post(relation::action)),
        ("/douyin/relation/follow/list", get(relation::following)),
        ("/douyin/relation/follower/list", get(relation::followers)),
        ("/douyin/relation/friend/list", get(relation::friends)),
        ("/douyin/message/action", post(message::action)),
        ("/douyin/message/chat", get(message::chat)),
    ];
    routes
        .iter()
        .fold(Router::new(), |router, (path, handler)| {
            both(router, path, handler)
        })
}

fn media() -> Router<App> {
    Router::new()
        .route("/", get(page::page))
        .route(MEDIA, get(files::media))
        .route(STATIC, get(files::picture))
}

/// With and without its trailing slash, directly.
fn both(router: Router<App>, path: &str, handler: &MethodRouter<App>) -> Router<App> {
    router
        .route(path, handler.clone())
        .route(&format!("{path}/"), handler.clone())
}

async fn nothing_here() -> impl IntoResponse {
    Failure::from(Code::PathUnknown)
}

async fn not_by_this_method() -> impl IntoResponse {
    Failure::from(Code::MethodUnknown)
}

/// JSON only: videos and pictures are compressed already, and ranges must stay what they are.
fn compression() -> CompressionLayer<impl Predicate> {
    let worthwhile = SizeAbove::new(1_024)
        .and(NotForContentType::const_new("video/"))
        .and(NotForContentType::const_new("image/"))
        .and(NotForContentType::const_new("text/"))
        .and(NotForContentType::const_new("application/octet-stream"));
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(worthwhile)
}

/// Anybody's page may use the API: who may do what depends on the token, never on a cookie.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::OPTIONS])
        .allow_headers(Any)
        .expose_headers([
            HeaderName::from_static(session::POSITION_HEADER),
            frame::NODE_HEADER,
            frame::OUTCOME_HEADER,
            frame::REQUEST_ID_HEADER,
            RETRY_AFTER,
            ETAG,
            ACCEPT_RANGES,
            CONTENT_RANGE,
            CONTENT_LENGTH,
            CONTENT_TYPE,
        ])
        .max_age(Duration::from_secs(86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matched_paths_are_told_under_their_template() {
        let template = |matched| Place::of(matched).template;
        assert_eq!(template("/douyin/feed/"), "/douyin/feed");
        assert_eq!(template("/douyin/feed"), "/douyin/feed");
        assert_eq!(template("/"), "/");
        assert_eq!(template(MEDIA), MEDIA);
        assert_eq!(template("/douyin/nothing"), "unknown");
        assert!(Place::of("/douyin/feed/").endpoint.is_some());
        assert!(Place::of(MEDIA).endpoint.is_none());
    }

    #[test]
    fn blanks_are_json() {
        for endpoint in &ENDPOINTS {
            let body = format!("{{\"status_code\":1{}}}", endpoint.blank);
            serde_json::from_str::<serde_json::Value>(&body).unwrap();
        }
    }
}
