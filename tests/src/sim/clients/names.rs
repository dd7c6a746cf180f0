//! Names: claimed by several at once, won by one.
use checkers::history::{Action, Grant};
use http::Method;

use super::{Client, Fresh, Reply};

/// Few, so that clients meet.
const NAMES: u64 = 12;
const TAKEN: i64 = 2004;

impl Client {
    /// Registers somebody new, or tries to.
    pub(super) async fn claim_name(&mut self, node: u64) {
        let name = format!("name{}", self.dice.roll(NAMES));
        let password = self.text();
        let claim = |granted| Action::Register {
            name: name.clone(),
            password: password.clone(),
            granted,
        };
        let begun = self.lobby.record.begin(node, claim(None));
        let path = format!("/douyin/user/register/?username={name}&password={password}");
        match self.ask(node, Method::POST, &path, Fresh::Newest).await {
            Reply::Done(body) => {
                let granted = Grant::To(body["user_id"].to_string());
                self.lobby.record.ok_with(begun, claim(Some(granted)));
            }
            Reply::No(TAKEN) => {
                let granted = Some(Grant::Refused);
                self.lobby.record.ok_with(begun, claim(granted));
            }
            Reply::No(_) => self.lobby.record.fail(begun),
            Reply::Unknown => self.lobby.record.unknown(begun),
        }
    }
}
