//! What the two loops count, shown on servers that stand still or do not.
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use load::{Moment, Pace, Plan, Trouble, Until, Work, drive};

/// A server that stands still once, for so long, and is quick otherwise.
#[derive(Clone)]
struct StandsStill {
    length: Duration,
    operations: Arc<AtomicU64>,
}

impl StandsStill {
    fn new(length: Duration) -> Self {
        Self {
            length,
            operations: Arc::default(),
        }
    }
}

impl Work for StandsStill {
    type Client = Cell<bool>;

    fn name(&self) -> &str {
        "stands still"
    }

    async fn connect(&self, _: usize, _: u64) -> Result<Cell<bool>, Trouble> {
        Ok(Cell::new(false))
    }

    async fn perform(&self, has_stood: &mut Cell<bool>) -> Result<(), Trouble> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        if !has_stood.replace(true) {
            tokio::time::sleep(self.length).await;
        }
        Ok(())
    }
}

fn plan(pace: Pace, until: Until) -> Plan {
    Plan {
        connections: 1,
        pace,
        until,
        warm_up: Duration::ZERO,
        threads: 1,
        seed: 1,
    }
}

#[test]
fn an_open_loop_charges_for_everybody_who_came_meanwhile() {
    let still = Duration::from_millis(500);
    let work = StandsStill::new(still);
    let pace = Pace::Open {
        per_second: 1_000.0,
    };
    let plan = plan(pace, Until::Time(Duration::from_millis(1_000)));
    let figures = drive(&plan, &work, &mut |_| {}).unwrap();
    // Half of all came while it stood still, and waited for 250 ms on average.
    let (median, p90) = (figures.latency.p50_us, figures.latency.p90_us);
    assert!((100.0..150_000.0).contains(&median), "{median}");
    assert!((300_000.0..900_000.0).contains(&p90), "{p90}");
    let served = work.operations.load(Ordering::Relaxed);
    assert!((850..1_150).contains(&served), "{served} of about 1,000");
    assert_eq!(figures.rate, Some(1_000.0));
}

#[test]
fn a_closed_loop_counts_one_slow_operation_once() {
    let work = StandsStill::new(Duration::from_millis(200));
    let figures = drive(
        &plan(Pace::Closed, Until::Count(10_000)),
        &work,
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(figures.done, 10_000);
    assert!(figures.latency.max_us >= 199_000.0, "{:?}", figures.latency);
    assert!(figures.latency.p999_us < 100_000.0, "{:?}", figures.latency);
}

/// Its first operation fails, and no other.
#[derive(Clone, Default)]
struct FailsFirst(Arc<AtomicU64>);

impl Work for FailsFirst {
    type Client = ();

    fn name(&self) -> &str {
        "fails first"
    }

    async fn connect(&self, _: usize, _: u64) -> Result<(), Trouble> {
        Ok(())
    }

    async fn perform(&self, (): &mut ()) -> Result<(), Trouble> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => Err(Trouble::Code(1)),
            _ => Ok(()),
        }
    }
}

#[test]
fn the_caller_is_told_the_window_and_the_warm_up_is_left_out() {
    let work = FailsFirst::default();
    let plan = Plan {
        warm_up: Duration::from_millis(500),
        ..plan(Pace::Closed, Until::Time(Duration::from_millis(100)))
    };
    let mut told = Vec::new();
    let figures = drive(&plan, &work, &mut |moment| {
        told.push((moment, work.0.load(Ordering::Relaxed)));
    })
    .unwrap();
    let [(Moment::Begin, before), (Moment::End, after)] = told[..] else {
        panic!("{told:?}");
    };
    assert!(0 < before && before < after, "{told:?}");
    assert_eq!(figures.error_count(), 0, "it failed in the warm-up");
    let all = work.0.load(Ordering::Relaxed);
    assert!(
        0 < figures.done && figures.done < all,
        "{} of {all}",
        figures.done
    );
}

/// Has enough after so many.
#[derive(Clone, Default)]
struct HasEnough {
    noted: Arc<AtomicU64>,
    slowest_ns: Arc<AtomicU64>,
}

const ENOUGH: u64 = 50;

impl Work for HasEnough {
    type Client = Cell<bool>;

    fn name(&self) -> &str {
        "has enough"
    }

    async fn connect(&self, _: usize, _: u64) -> Result<Cell<bool>, Trouble> {
        Ok(Cell::new(false))
    }

    async fn perform(&self, has_stood: &mut Cell<bool>) -> Result<(), Trouble> {
        if !has_stood.replace(true) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn note(&self, due: Instant, end: Instant, became: &Result<(), Trouble>) {
        assert_eq!(*became, Ok(()));
        self.noted.fetch_add(1, Ordering::Relaxed);
        let latency = u64::try_from(end.duration_since(due).as_nanos());
        let latency = latency.expect("a short time");
        self.slowest_ns.fetch_max(latency, Ordering::Relaxed);
    }

    fn is_enough(&self) -> bool {
        self.noted.load(Ordering::Relaxed) >= ENOUGH
    }
}

#[test]
fn an_open_loop_ends_when_it_is_enough_and_every_operation_was_noted() {
    let work = HasEnough::default();
    let pace = Pace::Open {
        per_second: 1_000.0,
    };
    let began = Instant::now();
    let plan = plan(pace, Until::Time(Duration::from_secs(60)));
    let figures = drive(&plan, &work, &mut |_| {}).unwrap();
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(figures.seconds < 30.0, "{}", figures.seconds);
    let noted = work.noted.load(Ordering::Relaxed);
    assert!((ENOUGH..1_000).contains(&noted), "{noted}");
    assert!(figures.done <= noted, "{}", figures.done);
    let slowest = work.slowest_ns.load(Ordering::Relaxed);
    assert!(slowest >= 19_000_000, "waiting counts: {slowest}");
}

/// Nobody is there.
#[derive(Clone)]
struct Refuses;

impl Work for Refuses {
    type Client = ();

    fn name(&self) -> &str {
        "refuses"
    }

    async fn connect(&self, index: usize, _: u64) -> Result<(), Trouble> {
        match index {
            0 => Ok(()),
            _ => Err(Trouble::Broken("refused".to_owned())),
        }
    }

    async fn perform(&self, (): &mut ()) -> Result<(), Trouble> {
        Err(Trouble::Code(1_009))
    }
}

#[test]
fn errors_are_counted_by_what_they_say_and_are_no_operations() {
    let figures = drive(&plan(Pace::Closed, Until::Count(30)), &Refuses, &mut |_| {}).unwrap();
    assert_eq!(figures.errors["status_code 1009"], 30);
    assert_eq!((figures.done, figures.latency.max_us), (0, 0.0));
}

#[test]
fn a_server_that_is_not_there_is_said_before_anything_starts() {
    let plan = Plan {
        connections: 2,
        threads: 2,
        ..plan(Pace::Closed, Until::Count(30))
    };
    let error = drive(&plan, &Refuses, &mut |_| {}).unwrap_err();
    assert_eq!(error, Trouble::Broken("refused".to_owned()));
}
