//! What the relay says about itself: log lines to stderr, metrics for whoever scrapes.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};

use liaison_node::metric::{self, AgencyLabels, FamilyKind, StatusGauges};
use liaison_node::status::NodeStatus;
use liaison_protocol::Timestamp;
use liaison_protocol::frame::VERSION_MAX;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::{LogFilter, LogFormat, TelemetryConfig};

/// Of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What it was built from, where the builder has said.
pub const COMMIT: &str = match option_env!("LIAISON_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Changes what is logged while the relay runs.
#[derive(Clone, Debug)]
pub struct LogHandle(Option<reload::Handle<EnvFilter, Registry>>);

impl LogHandle {
    /// For tests that log nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Logs by `filter` from now on.
    pub fn set(&self, filter: &LogFilter) {
        if let Some(handle) = &self.0 {
            // It fails only once the subscriber is gone, and it lives as long as the process.
            let _ = handle.reload(filter.to_filter());
        }
    }
}

/// Sends log lines to stderr from now on: text on a terminal, JSON elsewhere, or as configured.
///
/// # Errors
/// When the process has a subscriber already.
pub fn init_logs(config: &TelemetryConfig) -> Result<LogHandle, TryInitError> {
    let (filter, handle) = reload::Layer::new(config.log.to_filter());
    let registry = tracing_subscriber::registry().with(filter);
    let terminal = io::stderr().is_terminal();
    let json = match config.format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    if json {
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(io::stderr);
        registry.with(lines).try_init()?;
    } else {
        let coloured = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let lines = tracing_subscriber::fmt::layer().with_ansi(coloured).with_writer(io::stderr);
        registry.with(lines).try_init()?;
    }
    Ok(LogHandle(Some(handle)))
}

/// What `/metrics` shows. Clones show the same.
#[derive(Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
    gauges: Arc<Mutex<StatusGauges>>,
}

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// A histogram has no buckets.
    #[error("metrics: {0}")]
    Build(#[from] BuildError),
    /// The process has a recorder already.
    #[error("metrics: a recorder is installed already")]
    Installed,
}

impl Exporter {
    /// Counts for the whole process from now on. Every counter without a peer's name is born here, at zero.
    ///
    /// # Errors
    /// [`ExporterError`]; the second call in a process always fails.
    pub fn install(agency_labels: AgencyLabels) -> Result<Self, ExporterError> {
        let mut builder = PrometheusBuilder::new();
        for family in metric::RELAY {
            if let FamilyKind::Histogram(buckets) = family.kind {
                builder = builder.set_buckets_for_metric(Matcher::Full(family.name.into()), buckets)?;
            }
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| ExporterError::Installed)?;
        metric::describe(metric::RELAY);
        metric::born();
        metrics::gauge!("liaison_config_last_reload_success").set(1);
        metrics::gauge!("liaison_build_info", "version" => VERSION, "commit" => COMMIT, "protocol" => VERSION_MAX.to_string())
            .set(1);
        Ok(Self { handle, gauges: Arc::new(Mutex::new(StatusGauges::new(agency_labels))) })
    }

    /// All metrics in Prometheus' text format, with gauges as `status` has them.
    pub fn render(&self, status: &NodeStatus, now: Timestamp) -> String {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner).set(status, now);
        self.handle.render()
    }

    /// Sorts what histograms have gathered since the last call, which nobody else may do while nobody scrapes: every
    /// few seconds, so that memory stays bounded.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}
