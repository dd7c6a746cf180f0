//! Password hashes: argon2id away from the async threads, a few at a time, in bounded waiting.
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::Semaphore;
use tokio::time;

use crate::error::{Code, Failure};
use crate::options::{Invalid, Password};
use crate::seam::{self, Blocking, Random};

const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;

/// Makes and checks password hashes.
pub(crate) struct Hasher {
    argon2: Argon2<'static>,
    /// A hash that no password has, with today's parameters: unknown users take as long as known.
    nobody: Arc<str>,
    /// Hashes at work.
    turns: Arc<Semaphore>,
    /// Hashes at work and waiting.
    queue: Arc<Semaphore>,
    wait: Duration,
    blocking: Arc<dyn Blocking>,
}

/// What checking a password found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) is_right: bool,
    /// A hash with today's parameters, when the stored one has others.
    pub(crate) rehashed: Option<String>,
}

impl Hasher {
    pub(crate) fn check(options: &Password) -> Result<(), Invalid> {
        argon2(options).map(drop)
    }

    pub(crate) fn new(
        options: &Password,
        blocking: Arc<dyn Blocking>,
        random: &dyn Random,
    ) -> Result<Self, Invalid> {
        let argon2 = argon2(options)?;
        let turns = parallel(options.parallel_max);
        Ok(Self {
            nobody: nobody(&argon2, random)?.into(),
            argon2,
            turns: Arc::new(Semaphore::new(turns)),
            queue: Arc::new(Semaphore::new(turns + options.waiting_max)),
            wait: Duration::from_millis(options.wait_ms),
            blocking,
        })
    }

    /// The PHC string of a new password.
    pub(crate) async fn hash(
        &self,
        password: &str,
        random: &dyn Random,
    ) -> Result<String, Failure> {
        let salt = seam::random(random);
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        self.in_turn(move || hash(&argon2, &password, salt)).await?
    }

    /// Checks a password against a stored hash, or for as long when there is no such user.
    pub(crate) async fn verify(
        &self,
        password: &str,
        stored: Option<&str>,
        random: &dyn Random,
    ) -> Result<Verdict, Failure> {
        let salt = seam::random(random);
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        let stored: Arc<str> = stored.map_or_else(|| Arc::clone(&self.nobody), Into::into);
        self.in_turn(move || {
            let is_right = argon2
                .verify_password(password.as_bytes(), &*stored)
                .is_ok();
            let is_due = is_right && !is_current(&argon2, &stored);
            let rehashed = is_due.then(|| hash(&argon2, &password, salt)).transpose()?;
            Ok(Verdict { is_right, rehashed })
        })
        .await?
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let overloaded = || Failure::after(Code::Overloaded, self.wait);
        let place = Arc::clone(&self.queue)
            .try_acquire_owned()
            .map_err(|_| overloaded())?;
        let turn = time::timeout(self.wait, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| overloaded())?
            .expect("the semaphore is never closed");
        // The work goes on when its client goes away: it keeps its turn until it ends.
        let held = move || {
            let result = work();
            drop((turn, place));
            result
        };
        Ok(seam::run(&self.blocking, held).await?)
    }
}

/// 0 stands for half of the processors, at least one.
pub(crate) fn parallel(configured: usize) -> usize {
    if configured > 0 {
        return configured;
    }
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (processors / 2).max(1)
}

fn argon2(options: &Password) -> Result<Argon2<'static>, Invalid> {
    Params::new(
        options.memory_kib,
        options.passes,
        options.lanes,
        Some(OUTPUT_BYTES),
    )
    .map(|params| Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    .map_err(|error| invalid(&error))
}

fn invalid(why: &impl ToString) -> Invalid {
    Invalid {
        name: "password",
        why: why.to_string(),
    }
}

fn nobody(argon2: &Argon2<'static>, random: &dyn Random) -> Result<String, Invalid> {
    let salt: [u8; SALT_BYTES] = seam::random(random);
    let output: [u8; OUTPUT_BYTES] = seam::random(random);
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: argon2
            .params()
            .try_into()
            .map_err(|error: argon2::password_hash::Error| invalid(&error))?,
        salt: Some(Salt::new(&salt).map_err(|error| invalid(&error))?),
        hash: Some(Output::new(&output).map_err(|error| invalid(&error))?),
    };
    Ok(hash.to_string())
}

fn hash(
    argon2: &Argon2<'static>,
    password: &str,
    salt: [u8; SALT_BYTES],
) -> Result<String, Failure> {
    argon2
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| {
            tracing::error!(%error, "a password could not be hashed");
            Code::Internal.into()
        })
}

fn is_current(argon2: &Argon2<'static>, stored: &str) -> bool {
    PasswordHash::new(stored).ok().is_some_and(|hash| {
        let params = Params::try_from(&hash);
        hash.algorithm == Algorithm::Argon2id.ident()
            && params.is_ok_and(|params| {
                let today = argon2.params();
                (params.m_cost(), params.t_cost(), params.p_cost())
                    == (today.m_cost(), today.t_cost(), today.p_cost())
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::{SystemRandom, ThreadPool};

    fn hasher(memory_kib: u32, waiting_max: usize) -> Hasher {
        let options = Password {
            memory_kib,
            passes: 1,
            lanes: 1,
            parallel_max: 1,
            wait_ms: 20,
            waiting_max,
        };
        Hasher::new(&options, Arc::new(ThreadPool), &SystemRandom).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_right_or_wrong() {
        let hasher = hasher(8, 10);
        let stored = hasher.hash("geheim", &SystemRandom).await.unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"),
            "{stored}"
        );
        let verify = async |password: &str, stored: Option<&str>| {
            hasher
                .verify(password, stored, &SystemRandom)
                .await
                .unwrap()
        };
        let right = Verdict {
            is_right: true,
            rehashed: None,
        };
        let wrong = Verdict {
            is_right: false,
            rehashed: None,
        };
        assert_eq!(verify("geheim", Some(&stored)).await, right);
        assert_eq!(verify("Geheim", Some(&stored)).await, wrong);
        assert_eq!(verify("geheim", None).await, wrong);
        assert_eq!(verify("geheim", Some("nonsense")).await, wrong);
    }

    #[tokio::test]
    async fn nobodys_hash_costs_what_a_real_one_does() {
        let hasher = hasher(64, 10);
        let nobody = PasswordHash::new(&hasher.nobody).unwrap();
        let real = hasher.hash("x", &SystemRandom).await.unwrap();
        let real = PasswordHash::new(&real).unwrap();
        assert_eq!(nobody.params, real.params);
        assert_eq!(nobody.version, real.version);
        assert_eq!(nobody.hash.unwrap().len(), real.hash.unwrap().len());
    }

    #[tokio::test]
    async fn other_parameters_make_a_new_hash() {
        let old = hasher(8, 10).hash("geheim", &SystemRandom).await.unwrap();
        let verdict = hasher(16, 10)
            .verify("geheim", Some(&old), &SystemRandom)
            .await
            .unwrap();
        assert!(verdict.is_right && verdict.rehashed.unwrap().contains("m=16,"));
        let wrong = hasher(16, 10)
            .verify("falsch", Some(&old), &SystemRandom)
            .await
            .unwrap();
        assert_eq!(
            wrong,
            Verdict {
                is_right: false,
                rehashed: None
            }
        );
    }

    #[tokio::test]
    async fn waiting_is_bounded_in_number_and_in_time() {
        let hasher = hasher(8, 1);
        let held = hasher.turns.acquire().await.unwrap();
        let (first, second, third) = tokio::join!(
            hasher.hash("a", &SystemRandom),
            hasher.hash("b", &SystemRandom),
            hasher.hash("c", &SystemRandom),
        );
        for refused in [first, second, third] {
            assert_eq!(refused.unwrap_err().code, Code::Overloaded);
        }
        drop(held);
        hasher.hash("d", &SystemRandom).await.unwrap();
    }
}
