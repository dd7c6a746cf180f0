//! `/douyin/user/…`: accounts and profiles.
use model::command::{Operation, Reply};
use model::id::UserId;
use model::user::{self, Login, Register};
use raft::replica::Written;
use serde::Serialize;

use crate::call::Call;
use crate::error::{Answer, Code, Failure};
use crate::params::check_text;
use crate::session::NewToken;
use crate::wire::Shape;

const NAME_CHARACTERS_MAX: usize = 32;
const PASSWORD_CHARACTERS_MAX: usize = 32;

#[derive(Serialize)]
struct Welcome {
    user_id: UserId,
    token: String,
}

/// `POST /douyin/user/register/`
pub(crate) async fn register(call: Call) -> Answer {
    let app = &call.app;
    app.limiter.register(call.origin.address)?;
    let (name, password) = credentials(&call)?;
    check_text("username", name, NAME_CHARACTERS_MAX)?;
    check_text("password", password, PASSWORD_CHARACTERS_MAX)?;
    // Names are never given back, so a stale view that knows this one is right: no hash for it.
    let known = call.read_locally().await?;
    if user::account(&known.view, name)?.is_some() {
        return Err(Code::NameTaken.into());
    }
    let random = &*app.parts.random;
    let token = NewToken::new(random);
    let operation = Operation::Register(Register {
        name: name.to_owned(),
        password_hash: app.hasher.hash(password, random).await?,
        token: token.hash(),
    });
    let written = call.write(None, operation).await?;
    match written.reply {
        Reply::Registered { user } => welcome(&call, &token, user, &written),
        ref other => Err(call.unexpected(other)),
    }
}

/// `POST /douyin/user/login/`: unknown names and wrong passwords look the same and take as long.
pub(crate) async fn login(call: Call) -> Answer {
    let (name, password) = credentials(&call)?;
    let folded = user::fold_name(name);
    call.app.limiter.login(call.origin.address, &folded)?;
    match try_login(&call, name, password).await {
        // Another login stored a hash with today's parameters in between: that is no change of the
        // password, so the new hash will do.
        Err(failure) if failure.code == Code::PasswordChanged => {
            try_login(&call, name, password).await
        }
        answer => answer,
    }
}

async fn try_login(call: &Call, name: &str, password: &str) -> Answer {
    // Who registered a moment ago at another node must get in here.
    let reader = call.read_behind_barrier().await?;
    let account = user::account(&reader.view, name)?;
    let stored = account
        .as_ref()
        .map(|account| account.password_hash.as_str());
    let random = &*call.app.parts.random;
    let verdict = call.app.hasher.verify(password, stored, random).await?;
    let Some(account) = account.filter(|_| verdict.is_right) else {
        return Err(Code::CredentialsWrong.into());
    };
    let token = NewToken::new(random);
    let operation = Operation::Login(Login {
        user: account.id,
        verified_hash: account.password_hash,
        rehashed: verdict.rehashed,
        token: token.hash(),
    });
    let written = call.write(None, operation).await?;
    match written.reply {
        Reply::LoggedIn { user } => welcome(call, &token, user, &written),
        ref other => Err(call.unexpected(other)),
    }
}

/// `GET /douyin/user/`: anybody's profile, or without `user_id` the caller's own.
pub(crate) async fn profile(call: Call) -> Answer {
    let wanted = call.params.number("user_id")?.map(UserId);
    let (reader, caller) = call.read_as_caller().await?;
    let profile = user::profile(
        &reader.view,
        Some(caller.user),
        wanted.unwrap_or(caller.user),
    )?
    .ok_or(Code::UserNotFound)?;
    call.answer_with("user", |looks, json| profile.write(looks, json))
}

/// Both are bounded before anything is made of them.
fn credentials(call: &Call) -> Result<(&str, &str), Failure> {
    let name = call.params.required("username")?.trim();
    let password = call.params.required("password")?;
    let bytes_max = 4 * NAME_CHARACTERS_MAX.max(PASSWORD_CHARACTERS_MAX);
    if name.len() > bytes_max || password.len() > bytes_max {
        return Err(Failure::new(
            Code::TextInvalid,
            format!(
                "username has at most {NAME_CHARACTERS_MAX} characters, password {PASSWORD_CHARACTERS_MAX}"
            ),
        ));
    }
    Ok((name, password))
}

fn welcome(call: &Call, token: &NewToken, user: UserId, written: &Written) -> Answer {
    call.answer(&Welcome {
        user_id: user,
        token: token.text(written.position),
    })
}
