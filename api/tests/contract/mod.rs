//! What the API must do, by noun.
mod comment;
mod demo;
mod favorite;
mod feed;
mod hostile;
mod limits;
mod lists;
mod media;
mod message;
mod page;
mod publish;
mod ready;
mod relation;
mod serve;
mod session;
mod user;
