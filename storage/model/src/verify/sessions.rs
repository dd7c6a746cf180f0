//! Tokens and their expiry, from both ends.
use super::Audit;
use crate::error::Fault;
use crate::key;
use crate::read::Read;
use crate::record::{Expiring, JoinToken, Token};
use crate::view::View;

pub(super) fn recount<V: View>(audit: &mut Audit<'_, V>) -> Result<(), Fault> {
    sessions(audit)?;
    joinings(audit)?;
    expiries(audit)
}

fn sessions<V: View>(audit: &mut Audit<'_, V>) -> Result<(), Fault> {
    for entry in audit.view.list((), None) {
        let (key, Token { user, expires }): (key::Session, _) = entry?;
        let token = key.token;
        audit.expect(
            &key,
            &key::SessionOf {
                user,
                expires,
                token,
            },
            (),
        )?;
        audit.expect(&key, &key::Expiry { expires, token }, Expiring::Session)?;
    }
    Ok(())
}

fn joinings<V: View>(audit: &mut Audit<'_, V>) -> Result<(), Fault> {
    for entry in audit.view.list((), None) {
        let (key, JoinToken { expires, .. }): (key::Joining, _) = entry?;
        let token = key.token;
        audit.expect(&key, &key::Expiry { expires, token }, Expiring::Joining)?;
    }
    Ok(())
}

fn expiries<V: View>(audit: &mut Audit<'_, V>) -> Result<(), Fault> {
    for entry in audit.view.list((), None) {
        let (key, kind): (key::Expiry, Expiring) = entry?;
        let key::Expiry { expires, token } = key;
        match kind {
            Expiring::Session => {
                let session = key::Session { token };
                audit.expect_that(
                    &key,
                    &session,
                    "a session that expires then",
                    move |session| session.expires == expires,
                )?;
            }
            Expiring::Joining => {
                let joining = key::Joining { token };
                audit.expect_that(
                    &key,
                    &joining,
                    "a join token that expires then",
                    move |joining| joining.expires == expires,
                )?;
            }
        }
    }
    Ok(())
}
