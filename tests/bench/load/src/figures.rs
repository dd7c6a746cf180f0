//! What a run came to, ready to be shown or kept.
use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::{Counter, Histogram};
use serde::{Deserialize, Serialize};

use crate::record::{Record, SLOTS};

/// One run of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub scenario: String,
    pub connections: usize,
    /// Arrivals a second of an open loop; `None`: a closed loop.
    pub rate: Option<f64>,
    /// Length of the window.
    pub seconds: f64,
    /// Operations that ended well within it.
    pub done: u64,
    pub per_second: f64,
    pub latency: Latency,
    /// How many operations failed, by why.
    pub errors: BTreeMap<String, u64>,
    /// Processor time of the clients per operation, in microseconds.
    pub client_cpu_us: f64,
    pub slots: Vec<Slot>,
}

/// In microseconds; of an open loop counted from the moment that was fixed beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// A twentieth of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Its begin, in seconds from the window's.
    pub at_s: f64,
    pub count: u64,
    pub p50_us: f64,
    pub p99_us: f64,
}

impl Figures {
    pub(crate) fn new(record: &Record, window: Duration, client_cpu: Duration) -> Self {
        let seconds = window.as_secs_f64();
        let slots = record.slots.iter().enumerate().map(|(number, slot)| Slot {
            at_s: seconds * number as f64 / f64::from(SLOTS),
            count: slot.len(),
            p50_us: quantile_us(slot, 0.5),
            p99_us: quantile_us(slot, 0.99),
        });
        let all = &record.latency;
        Self {
            seconds,
            done: record.done,
            per_second: record.done as f64 / seconds.max(1e-9),
            latency: Latency {
                mean_us: all.mean() / 1e3,
                p50_us: quantile_us(all, 0.5),
                p90_us: quantile_us(all, 0.9),
                p99_us: quantile_us(all, 0.99),
                p999_us: quantile_us(all, 0.999),
                max_us: all.max() as f64 / 1e3,
            },
            errors: record.errors.clone(),
            client_cpu_us: per_operation_us(client_cpu, record.done),
            slots: slots.collect(),
            ..Self::default()
        }
    }

    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Microseconds per operation; 0 when there was none.
pub fn per_operation_us(time: Duration, operations: u64) -> f64 {
    if operations == 0 {
        return 0.0;
    }
    time.as_secs_f64() * 1e6 / operations as f64
}

fn quantile_us<C: Counter>(histogram: &Histogram<C>, quantile: f64) -> f64 {
    if histogram.is_empty() {
        return 0.0;
    }
    histogram.value_at_quantile(quantile) as f64 / 1e3
}
