//! When to stop asking a store that does not answer: so that callers hear it at once and the store
//! is not buried the moment it comes back.
//!
//! A state machine without a clock: times are since any fixed moment.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Failures in a row that open it; 0 keeps it closed for ever.
    pub(super) failures_max: u32,
    /// How long it stays open before one request may try.
    pub(super) rest: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Requests pass.
    Closed { failures: u32 },
    /// Requests fail at once.
    Open { until: Duration },
    /// One request tries, the others fail at once.
    HalfOpen,
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Go,
    /// Go, and report what comes of it, or that nothing does: the others wait for it.
    Try,
    /// Fail at once; it may change after so long.
    No {
        wait: Duration,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Breaker {
    settings: Settings,
    state: State,
}

impl Breaker {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Closed { failures: 0 },
        }
    }

    pub(super) fn ask(&mut self, now: Duration) -> Pass {
        match self.state {
            State::Closed { .. } => Pass::Go,
            State::Open { until } if now < until => Pass::No { wait: until - now },
            State::Open { .. } => {
                self.state = State::HalfOpen;
                Pass::Try
            }
            State::HalfOpen => Pass::No {
                wait: Duration::ZERO,
            },
        }
    }

    /// The store answered, whoever asked.
    pub(super) fn answered(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// The store did not answer to a request with this pass.
    pub(super) fn failed(&mut self, pass: Pass, now: Duration) {
        let open = State::Open {
            until: now + self.settings.rest,
        };
        match (self.state, pass) {
            (State::Closed { failures }, _) => {
                let failures = failures.saturating_add(1);
                let is_enough =
                    self.settings.failures_max > 0 && failures >= self.settings.failures_max;
                self.state = if is_enough {
                    open
                } else {
                    State::Closed { failures }
                };
            }
            (State::HalfOpen, Pass::Try) => self.state = open,
            // It left before the breaker opened: nothing new.
            (State::Open { .. } | State::HalfOpen, _) => {}
        }
    }

    /// A request with this pass was given up by its caller: nothing is known of the store.
    pub(super) fn gave_up(&mut self, pass: Pass, now: Duration) {
        if (self.state, pass) == (State::HalfOpen, Pass::Try) {
            // The next one may try at once.
            self.state = State::Open { until: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Breaker, Pass, Settings};

    const REST: Duration = Duration::from_millis(100);

    fn breaker(failures_max: u32) -> Breaker {
        Breaker::new(Settings {
            failures_max,
            rest: REST,
        })
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn opens_rests_tries_and_closes() {
        let mut breaker = breaker(2);
        for now in [1, 2] {
            assert_eq!(breaker.ask(ms(now)), Pass::Go);
            breaker.failed(Pass::Go, ms(now));
        }
        assert_eq!(breaker.ask(ms(50)), Pass::No { wait: ms(52) });
        assert_eq!(breaker.ask(ms(102)), Pass::Try);
        assert_eq!(
            breaker.ask(ms(103)),
            Pass::No { wait: ms(0) },
            "one at a time"
        );
        breaker.failed(Pass::Try, ms(110));
        assert_eq!(breaker.ask(ms(209)), Pass::No { wait: ms(1) });
        assert_eq!(breaker.ask(ms(210)), Pass::Try);
        breaker.answered();
        assert_eq!(breaker.ask(ms(211)), Pass::Go);
    }

    #[test]
    fn an_answer_between_failures_starts_the_count_again() {
        let mut breaker = breaker(2);
        for now in 0..10 {
            breaker.failed(Pass::Go, ms(now));
            breaker.answered();
        }
        assert_eq!(breaker.ask(ms(10)), Pass::Go);
    }

    #[test]
    fn a_try_that_was_given_up_lets_the_next_one_try() {
        let mut breaker = breaker(1);
        breaker.failed(Pass::Go, ms(0));
        assert_eq!(breaker.ask(ms(100)), Pass::Try);
        breaker.gave_up(Pass::Go, ms(101));
        assert_eq!(
            breaker.ask(ms(101)),
            Pass::No { wait: ms(0) },
            "another's end is not the try's"
        );
        breaker.gave_up(Pass::Try, ms(102));
        assert_eq!(breaker.ask(ms(102)), Pass::Try);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Ask,
        /// The oldest, or the newest, request in flight ends.
        End {
            is_oldest: bool,
            outcome: Outcome,
        },
        Wait {
            ms: u64,
        },
    }

    #[derive(Clone, Copy, Debug)]
    enum Outcome {
        Answered,
        Failed,
        GaveUp,
    }

    fn step() -> impl Strategy<Value = Step> {
        let outcome = prop_oneof![
            1 => Just(Outcome::Answered),
            3 => Just(Outcome::Failed),
            1 => Just(Outcome::GaveUp),
        ];
        prop_oneof![
            4 => Just(Step::Ask),
            4 => (any::<bool>(), outcome).prop_map(|(is_oldest, outcome)| Step::End { is_oldest, outcome }),
            1 => (0..150_u64).prop_map(|ms| Step::Wait { ms }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever happens: at most one tries; requests are refused only after enough failures in a
        /// row and never longer than a rest without a try; an answer lets everybody pass.
        #[test]
        fn laws(failures_max in 0..4_u32, steps in prop::collection::vec(step(), 0..200)) {
            let mut breaker = breaker(failures_max);
            let (mut now, mut in_flight, mut in_a_row) = (ms(0), Vec::new(), 0_u32);
            for step in steps {
                match step {
                    Step::Ask => {
                        let pass = breaker.ask(now);
                        match pass {
                            Pass::Go => {}
                            Pass::Try => prop_assert!(!in_flight.contains(&Pass::Try), "two try"),
                            Pass::No { wait } => {
                                prop_assert!(failures_max > 0 && in_a_row >= failures_max, "refused without reason");
                                prop_assert!(wait <= REST);
                                if wait == ms(0) {
                                    prop_assert!(in_flight.contains(&Pass::Try), "all wait for nobody");
                                }
                            }
                        }
                        if !matches!(pass, Pass::No { .. }) {
                            in_flight.push(pass);
                        }
                    }
                    Step::End { is_oldest, outcome } => {
                        let Some(pass) = (if is_oldest && !in_flight.is_empty() {
                            Some(in_flight.remove(0))
                        } else {
                            in_flight.pop()
                        }) else { continue };
                        match outcome {
                            Outcome::Answered => {
                                breaker.answered();
                                in_a_row = 0;
                                prop_assert_eq!(breaker.ask(now), Pass::Go);
                                // A try from before an answer is one of many now.
                                in_flight.iter_mut().for_each(|pass| *pass = Pass::Go);
                            }
                            Outcome::Failed => {
                                breaker.failed(pass, now);
                                in_a_row += 1;
                            }
                            Outcome::GaveUp => breaker.gave_up(pass, now),
                        }
                    }
                    Step::Wait { ms: time } => now += ms(time),
                }
            }
            // However it stands, a store that answers is used again after one rest.
            now += REST;
            for pass in in_flight {
                breaker.gave_up(pass, now);
            }
            let is_refused = matches!(breaker.ask(now), Pass::No { .. });
            prop_assert!(!is_refused, "stays closed to everybody");
        }
    }
}
