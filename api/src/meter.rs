//! The counters of requests, looked up once: finding one by its labels costs more than counting.
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use metrics::{Counter, Histogram};

/// What is counted of requests that go the same way and end the same.
#[derive(Clone)]
pub(crate) struct Meter {
    pub(crate) requests: Counter,
    pub(crate) seconds: Histogram,
}

/// Route, method, status. All three come from small sets, so that the table stays small.
type Labels = (&'static str, &'static str, u16);

/// Those that were needed so far.
#[derive(Default)]
pub(crate) struct Meters(RwLock<HashMap<Labels, Meter>>);

impl Meters {
    pub(crate) fn of(&self, route: &'static str, method: &'static str, status: u16) -> Meter {
        let labels = (route, method, status);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = known.get(&labels) {
            return meter.clone();
        }
        drop(known);
        let meter = Meter {
            requests: metrics::counter!(
                "yin_http_requests_total",
                "route" => route, "method" => method, "status" => status.to_string()
            ),
            seconds: metrics::histogram!("yin_http_request_seconds", "route" => route),
        };
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(labels).or_insert(meter).clone()
    }
}
