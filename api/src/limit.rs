//! How often who may do what: per client address and per user, on this node.
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use model::id::UserId;

use crate::address::household;
use crate::error::{Code, Failure};
use crate::options::{Limits, Rate};

/// Keys that have their full burst again are forgotten this often; else memory would grow with
/// everybody who ever came by.
const FORGET_EVERY: Duration = Duration::from_secs(30);

/// All limits of this node.
pub(crate) struct Limiter {
    register_address: Bucket<IpAddr>,
    login_address: Bucket<IpAddr>,
    login_name: Bucket<u64>,
    upload_address: Bucket<IpAddr>,
    upload_user: Bucket<UserId>,
    write_address: Bucket<IpAddr>,
    write_user: Bucket<UserId>,
    names: RandomState,
    forgot: Mutex<Instant>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            register_address: Bucket::new(limits.register_per_address),
            login_address: Bucket::new(limits.login_per_address),
            login_name: Bucket::new(limits.login_per_name),
            upload_address: Bucket::new(limits.upload_per_address),
            upload_user: Bucket::new(limits.upload_per_user),
            write_address: Bucket::new(limits.write_per_address),
            write_user: Bucket::new(limits.write_per_user),
            names: RandomState::new(),
            forgot: Mutex::new(Instant::now()),
        }
    }

    pub(crate) fn register(&self, address: IpAddr) -> Result<(), Failure> {
        self.forget();
        self.register_address
            .check(&household(address), "register_per_address")
    }

    pub(crate) fn login(&self, address: IpAddr, folded_name: &str) -> Result<(), Failure> {
        self.forget();
        self.login_address
            .check(&household(address), "login_per_address")?;
        self.login_name
            .check(&self.names.hash_one(folded_name), "login_per_name")
    }

    pub(crate) fn upload(&self, address: IpAddr) -> Result<(), Failure> {
        self.forget();
        self.upload_address
            .check(&household(address), "upload_per_address")
    }

    pub(crate) fn upload_by(&self, user: UserId) -> Result<(), Failure> {
        self.upload_user.check(&user, "upload_per_user")
    }

    pub(crate) fn write(&self, address: IpAddr) -> Result<(), Failure> {
        self.forget();
        self.write_address
            .check(&household(address), "write_per_address")
    }

    pub(crate) fn write_by(&self, user: UserId) -> Result<(), Failure> {
        self.write_user.check(&user, "write_per_user")
    }

    fn forget(&self) {
        // Whoever finds the lock taken leaves it to the one who has it.
        let Ok(mut forgot) = self.forgot.try_lock() else {
            return;
        };
        if forgot.elapsed() < FORGET_EVERY {
            return;
        }
        *forgot = Instant::now();
        self.register_address.forget();
        self.login_address.forget();
        self.login_name.forget();
        self.upload_address.forget();
        self.upload_user.forget();
        self.write_address.forget();
        self.write_user.forget();
    }
}

/// One limit; none when its rate is zero.
struct Bucket<K: Hash + Eq + Clone>(Option<DefaultKeyedRateLimiter<K>>);

impl<K: Hash + Eq + Clone> Bucket<K> {
    fn new(rate: Rate) -> Self {
        Self(NonZeroU32::new(rate.per_second).map(|per_second| {
            let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
            RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst))
        }))
    }

    fn check(&self, key: &K, scope: &'static str) -> Result<(), Failure> {
        let Some(limiter) = &self.0 else {
            return Ok(());
        };
        limiter.check_key(key).map_err(|refused| {
            metrics::counter!("yin_http_limited_total", "scope" => scope).increment(1);
            Failure::after(
                Code::TooOften,
                refused.wait_time_from(DefaultClock::default().now()),
            )
        })
    }

    fn forget(&self) {
        if let Some(limiter) = &self.0 {
            limiter.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tight() -> Limits {
        let rate = Rate {
            per_second: 1,
            burst: 2,
        };
        Limits {
            login_per_name: rate,
            login_per_address: Rate {
                per_second: 0,
                burst: 0,
            },
            register_per_address: rate,
            write_per_user: rate,
            ..Limits::default()
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_is_allowed_and_then_no_more() {
        let limiter = Limiter::new(&tight());
        let here = address("2001:db8::1");
        limiter.register(here).unwrap();
        limiter.register(address("2001:db8::2")).unwrap();
        let failure = limiter.register(here).unwrap_err();
        assert_eq!(failure.code, Code::TooOften);
        assert_eq!(failure.retry_after_s(), Some(1));
        limiter.register(address("2001:db8:0:1::1")).unwrap();
    }

    #[test]
    fn names_and_users_are_counted_apart() {
        let limiter = Limiter::new(&tight());
        for _ in 0..2 {
            limiter.login(address("1.1.1.1"), "anna").unwrap();
            limiter.write_by(UserId(1)).unwrap();
        }
        assert!(limiter.login(address("2.2.2.2"), "anna").is_err());
        limiter.login(address("1.1.1.1"), "berta").unwrap();
        assert!(limiter.write_by(UserId(1)).is_err());
        limiter.write_by(UserId(2)).unwrap();
    }

    #[test]
    fn zero_means_no_limit() {
        let limiter = Limiter::new(&tight());
        for name in 0..5_000 {
            limiter
                .login(address("1.1.1.1"), &name.to_string())
                .unwrap();
        }
    }
}
