//! Names that are claimed by several at once: one winner each, for good, and only the winner's
//! password lets in.
use std::collections::BTreeMap;

use crate::history::{Action, Call, Grant, Outcome};
use crate::verdict::Verdict;

/// Judges all names of a history. Passwords are unique to a claim and its repeats.
pub fn check(calls: &[Call]) -> Verdict {
    let mut names: BTreeMap<&str, Name<'_>> = BTreeMap::new();
    for call in calls {
        match &call.action {
            Action::Register {
                name,
                password,
                granted,
            } => {
                let claim = Ask::of(call, password, granted.as_ref());
                names.entry(name).or_default().claims.push(claim);
            }
            Action::Login {
                name,
                password,
                granted,
            } => {
                let login = Ask::of(call, password, granted.as_ref());
                names.entry(name).or_default().logins.push(login);
            }
            _ => {}
        }
    }
    names
        .iter()
        .map(|(name, asked)| asked.check(name))
        .fold(Verdict::Valid, Verdict::and)
}

#[derive(Default)]
struct Name<'a> {
    claims: Vec<Ask<'a>>,
    logins: Vec<Ask<'a>>,
}

/// A claim or a login.
struct Ask<'a> {
    call: &'a Call,
    password: &'a str,
    /// Only of what went well.
    granted: Option<&'a Grant>,
}

impl<'a> Ask<'a> {
    fn of(call: &'a Call, password: &'a str, granted: Option<&'a Grant>) -> Self {
        Self {
            call,
            password,
            granted: granted.filter(|_| call.outcome == Outcome::Ok),
        }
    }

    fn user(&self) -> Option<&'a str> {
        match self.granted {
            Some(Grant::To(user)) => Some(user),
            Some(Grant::Refused) | None => None,
        }
    }

    fn is_refused(&self) -> bool {
        self.granted == Some(&Grant::Refused)
    }

    /// It may have won the name: it did, or nobody knows.
    fn may_have_won(&self) -> bool {
        self.call.outcome == Outcome::Unknown || self.user().is_some()
    }

    fn precedes(&self, other: &Self) -> bool {
        let ended = self.call.ended;
        ended.is_some_and(|ended| ended < other.call.invoked)
    }
}

fn invalid(why: String, asks: &[&Ask<'_>]) -> Verdict {
    let mut operations: Vec<usize> = asks.iter().map(|ask| ask.call.invoked).collect();
    operations.sort_unstable();
    operations.dedup();
    Verdict::Invalid { why, operations }
}

impl Name<'_> {
    fn check(&self, name: &str) -> Verdict {
        self.check_winners(name)
            .and(self.check_refusals(name))
            .and(self.check_logins(name))
    }

    /// All that were let in are one user with one password.
    fn check_winners(&self, name: &str) -> Verdict {
        let mut winner: Option<&Ask<'_>> = None;
        for ask in self.claims.iter().chain(&self.logins) {
            let Some(user) = ask.user() else { continue };
            match winner {
                Some(first) if first.user() != Some(user) => {
                    let other = first.user().unwrap_or_default();
                    let why = format!("{name} belongs to {other} and to {user}");
                    return invalid(why, &[first, ask]);
                }
                Some(first) if first.password != ask.password => {
                    let why = format!("{name} lets in with two passwords");
                    return invalid(why, &[first, ask]);
                }
                Some(_) => {}
                None => winner = Some(ask),
            }
        }
        let mut won = self.claims.iter().filter(|claim| claim.user().is_some());
        if let (Some(first), Some(second)) = (won.next(), won.next()) {
            return invalid(format!("{name} was granted twice"), &[first, second]);
        }
        Verdict::Valid
    }

    /// Who is refused a name is refused it for a reason, and who was refused never has it.
    fn check_refusals(&self, name: &str) -> Verdict {
        for refused in self.claims.iter().filter(|claim| claim.is_refused()) {
            let mut others = self.claims.iter().filter(|claim| {
                claim.may_have_won()
                    && refused
                        .call
                        .ended
                        .is_none_or(|end| claim.call.invoked < end)
            });
            if others.next().is_none() {
                let why = format!("{name} was refused as taken, and nobody can have had it");
                return invalid(why, &[refused]);
            }
        }
        Verdict::Valid
    }

    fn check_logins(&self, name: &str) -> Verdict {
        for login in &self.logins {
            let claims = || {
                let claims = self.claims.iter();
                claims.filter(|claim| claim.password == login.password)
            };
            if login.user().is_some() {
                let is_possible = claims().any(|claim| {
                    let is_begun = login.call.ended.is_none_or(|end| claim.call.invoked < end);
                    claim.may_have_won() && is_begun
                });
                if !is_possible {
                    let why = format!("{name} lets in with a password that never won it");
                    let mut asks: Vec<&Ask<'_>> = claims().collect();
                    asks.push(login);
                    return invalid(why, &asks);
                }
            }
            // A winner is known by its grant, or by a login that went well.
            let asks = claims().chain(self.logins.iter());
            let mut winners = asks.filter(|ask| {
                ask.user().is_some() && ask.password == login.password && ask.precedes(login)
            });
            if login.is_refused()
                && let Some(winner) = winners.next()
            {
                let why = format!("{name} no longer lets its owner in");
                return invalid(why, &[winner, login]);
            }
        }
        Verdict::Valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Builder, Kind, calls};

    fn to(user: &str) -> Option<Grant> {
        Some(Grant::To(user.into()))
    }

    fn register(password: &str, granted: Option<Grant>) -> Action {
        Action::Register {
            name: "n".into(),
            password: password.into(),
            granted,
        }
    }

    fn login(password: &str, granted: Option<Grant>) -> Action {
        Action::Login {
            name: "n".into(),
            password: password.into(),
            granted,
        }
    }

    fn judge(history: Builder) -> Verdict {
        check(&calls(&history.build()).unwrap())
    }

    fn won() -> Builder {
        Builder::default().ok(1, register("p", to("7")))
    }

    #[test]
    fn one_winner_passes_also_after_a_lost_reply() {
        let refused = || Some(Grant::Refused);
        let plain = won()
            .ok(2, register("q", refused()))
            .ok(1, login("p", to("7")))
            .ok(2, login("q", refused()));
        assert_eq!(judge(plain), Verdict::Valid);
        let lost = Builder::default()
            .event(1, Kind::Invoke, register("p", None))
            .event(1, Kind::Info, register("p", None))
            .ok(2, register("p", refused()))
            .ok(2, login("p", to("7")));
        assert_eq!(judge(lost), Verdict::Valid);
    }

    #[test]
    fn two_winners_and_wrong_doors_are_found() {
        let refused = || Some(Grant::Refused);
        for wrong in [
            register("q", to("8")),
            register("q", to("7")),
            register("p", to("7")),
            login("p", to("8")),
            login("q", to("7")),
            login("p", refused()),
        ] {
            assert!(judge(won().ok(2, wrong.clone())).is_invalid(), "{wrong:?}");
        }
        let nobody = Builder::default().ok(1, register("p", refused()));
        assert!(judge(nobody).is_invalid());
        let failed = Builder::default()
            .event(1, Kind::Invoke, register("p", None))
            .event(1, Kind::Fail, register("p", None))
            .ok(2, login("p", to("7")));
        assert!(judge(failed).is_invalid());
    }
}
