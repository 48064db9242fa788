//! Logs and metrics of the process.

use crate::config::LogFormat;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Libraries that log what their caller has handled: s3s logs every refused request as an error,
/// openraft every election and every message to a replica that is being stopped; what matters of it
/// our own supervisor says.
const SILENCED: &str = "s3s=off,openraft=off,lsm_tree=warn,fjall=warn,hyper=warn,h2=warn";

/// What is logged. `level` is a level or a whole tracing filter.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(format!("{level},{SILENCED}")).map_err(|e| e.to_string())
}

/// Starts logging to standard error.
pub(crate) fn start_logging(format: LogFormat, filter: EnvFilter) -> Result<(), String> {
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // A file or a journal is no terminal.
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .map_err(|e| e.to_string())
}

/// Installs the recorder behind the `metrics` facade; the handle renders `/metrics`.
pub(crate) fn start_metrics() -> Result<PrometheusHandle, String> {
    PrometheusBuilder::new()
        .install_recorder()
        .map_err(|e| e.to_string())
}
