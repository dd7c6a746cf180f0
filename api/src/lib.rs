//! HTTP in and out: the client contract, media, the start page, health.
//!
//! The last place with randomness and identity: passwords become hashes here, tokens and request
//! ids are made here, and what goes further down is commands and queries. Read `routes` for what
//! there is, then one noun, say `favorite`, then `call` (what a handler can do) and `frame` (what
//! stands around it). All answers that say no are in `error`.
mod address;
mod app;
mod arrivals;
mod base;
mod body;
mod call;
mod comment;
mod error;
mod favorite;
mod feed;
mod files;
mod form;
mod frame;
mod front;
mod head;
mod health;
mod incoming;
mod json;
mod limit;
mod list;
mod message;
mod meter;
mod multipart;
mod number;
mod options;
mod page;
mod params;
mod password;
mod picture;
mod publish;
mod range;
mod relation;
mod routes;
pub mod seam;
mod serve;
mod session;
mod spool;
pub mod sweeper;
mod upload;
mod user;
mod wire;

use axum::Router;

pub use app::{Load, Parts};
pub use error::Code;
pub use options::{Invalid, Limits, Options, Password, Rate, Upload};
pub use serve::serve;

/// Everything that a node answers to over HTTP; serve it with [`serve`].
///
/// # Errors
/// [`Invalid`] when a setting makes no sense.
pub fn router(options: Options, parts: Parts) -> Result<Router, Invalid> {
    Ok(routes::router(&app::App::new(options, parts)?))
}
