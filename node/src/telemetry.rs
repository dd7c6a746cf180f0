//! Logs: readable on a terminal, one JSON object a line otherwise. Metrics: a Prometheus recorder.
use std::io::IsTerminal as _;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::log_lines::Lines;

/// Buckets of every latency histogram, in seconds.
const LATENCY_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Sets up logging to standard error; `YIN_LOG` filters (default `info`). What is given back
/// flushes.
///
/// # Errors
/// When the system gives no thread for it.
pub(crate) fn logs() -> std::io::Result<Lines> {
    let lines = Lines::start(std::io::stderr())?;
    let filter = EnvFilter::try_from_env("YIN_LOG").unwrap_or_else(|_| {
        EnvFilter::new("info,openraft=error,chitchat=warn,s3s=warn,s3s_fs=warn")
    });
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines.clone());
    if std::io::stderr().is_terminal() {
        builder.init();
    } else {
        builder.json().flatten_event(true).init();
    }
    Ok(lines)
}

/// Installs the recorder behind `/metrics`.
///
/// # Errors
/// When one is installed already.
pub(crate) fn metrics() -> Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .set_buckets(&LATENCY_BUCKETS)
        .context("setting the histogram buckets")?
        .install_recorder()
        .context("installing the metrics recorder")
}
