//! Who asks, and how far they have seen: tokens, positions, consistency.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use model::id::UserId;
use model::token::TokenHash;
use raft::position::Position;
use raft::replica::Consistency;
use sha2::{Digest, Sha256};
use storage::state::SharedView;

use crate::error::{Code, Failure};
use crate::seam::{self, Random};

/// Carries a position, both ways.
pub(crate) const POSITION_HEADER: &str = "x-yin-session";
pub(crate) const CONSISTENCY_HEADER: &str = "x-yin-consistency";

const SECRET_BYTES: usize = 32;

/// A token before the log knows it: the client's half and the hash for the store.
pub(crate) struct NewToken {
    secret: [u8; SECRET_BYTES],
}

impl NewToken {
    pub(crate) fn new(random: &dyn Random) -> Self {
        Self {
            secret: seam::random(random),
        }
    }

    pub(crate) fn hash(&self) -> TokenHash {
        hash(&self.secret)
    }

    /// What the client gets: it carries the index of its birth, so that a node that has not got
    /// that far knows that it has to catch up before it calls the token invalid.
    pub(crate) fn text(&self, birth: Position) -> String {
        format!(
            "yin1.{}.{}",
            birth.index,
            URL_SAFE_NO_PAD.encode(self.secret)
        )
    }
}

fn hash(secret: &[u8; SECRET_BYTES]) -> TokenHash {
    TokenHash(Sha256::digest(secret).into())
}

/// A token that a client sent, well formed and not yet believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) hash: TokenHash,
    /// Index of the log entry that made it, as the client says.
    pub(crate) birth: u64,
}

impl Token {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (birth, secret) = text.strip_prefix("yin1.")?.split_once('.')?;
        let birth = birth.parse().ok()?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        Some(Self {
            hash: hash(secret.as_slice().try_into().ok()?),
            birth,
        })
    }

    /// The token of an `Authorization: Bearer` header.
    pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
        let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
    }
}

/// What a request asks for by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Local,
    Session,
    Linearizable,
}

impl Level {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Failure> {
        let Some(value) = headers.get(CONSISTENCY_HEADER) else {
            return Ok(None);
        };
        match value.as_bytes().trim_ascii() {
            b"local" => Ok(Some(Self::Local)),
            b"session" => Ok(Some(Self::Session)),
            b"linearizable" => Ok(Some(Self::Linearizable)),
            _ => Err(Code::ConsistencyUnknown.into()),
        }
    }
}

/// How fresh a read must be. Who sends a token or a position reads their own writes; nobody else
/// waits, unless asked to.
pub(crate) fn consistency(
    level: Option<Level>,
    position: Option<Position>,
    has_token: bool,
) -> Consistency {
    match level {
        Some(Level::Local) => Consistency::Local,
        Some(Level::Linearizable) => Consistency::Linearizable,
        Some(Level::Session) => Consistency::Session(position),
        None if has_token || position.is_some() => Consistency::Session(position),
        None => Consistency::Local,
    }
}

/// A user whose token was found valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) token: TokenHash,
}

/// A view to answer from, and for whom.
pub(crate) struct Reader {
    pub(crate) view: SharedView,
    pub(crate) position: Position,
    /// It has all that was committed when this request asked for it.
    pub(crate) is_behind_barrier: bool,
    pub(crate) caller: Option<Caller>,
}

impl Reader {
    pub(crate) fn viewer(&self) -> Option<UserId> {
        self.caller.map(|caller| caller.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones;

    impl Random for Ones {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(1);
        }
    }

    #[test]
    fn a_token_finds_back_to_its_hash() {
        let token = NewToken::new(&Ones);
        let text = token.text(Position {
            epoch: 1,
            index: 77,
        });
        assert_eq!(text, "yin1.77.AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE");
        let parsed = Token::parse(&text).unwrap();
        assert_eq!((parsed.hash, parsed.birth), (token.hash(), 77));
    }

    #[test]
    fn what_is_no_token_is_none() {
        let good = "yin1.77.AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
        for wrong in [
            "",
            "yin1",
            "yin1.77",
            "yin1.x.AQ",
            "yin1.77.AQ",
            "yin1.-1.AQ",
            &good[1..],
            &format!("{good}A"),
            &format!("{good} "),
            "yin1.18446744073709551616.AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
        ] {
            assert_eq!(Token::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_header_may_carry_the_token() {
        let bearer = |value: &str| {
            let headers = [(AUTHORIZATION, value.parse().unwrap())]
                .into_iter()
                .collect();
            Token::bearer(&headers).map(str::to_owned)
        };
        assert_eq!(bearer("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(bearer("bearer abc").as_deref(), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }

    #[test]
    fn tokens_and_positions_ask_for_a_session() {
        let position = Some(Position { epoch: 1, index: 5 });
        let header = |value: &str| {
            let headers = [(CONSISTENCY_HEADER.parse().unwrap(), value.parse().unwrap())]
                .into_iter()
                .collect();
            Level::of(&headers)
        };
        assert_eq!(consistency(None, None, false), Consistency::Local);
        assert_eq!(consistency(None, None, true), Consistency::Session(None));
        assert_eq!(
            consistency(None, position, false),
            Consistency::Session(position)
        );
        assert_eq!(
            consistency(header("local").unwrap(), position, true),
            Consistency::Local
        );
        assert_eq!(
            consistency(header("session").unwrap(), None, false),
            Consistency::Session(None)
        );
        assert_eq!(
            consistency(header("linearizable").unwrap(), position, true),
            Consistency::Linearizable
        );
        assert_eq!(header("strong").unwrap_err().code, Code::ConsistencyUnknown);
    }
}
