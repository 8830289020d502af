//! Reload: all or nothing, and it says what was not applied.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use liaison_node::config::{ConfigError, read_public};
use liaison_node::metric::{self, ActionResult};
use liaison_node::operator::{OperatorError, OperatorHandle, RosterReload};
use serde::{Deserialize, Serialize};

use crate::config::RelayConfig;
use crate::keys::{Keys, ROSTER_FILE_BYTES_MAX};
use crate::telemetry::LogHandle;

/// How long the run loop may take to answer before a request fails, and before the relay counts as unhealthy.
pub const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// The roster before and after.
    pub roster: RosterReload,
    /// Keys of relay.toml whose new value has taken effect.
    pub applied: Vec<String>,
    /// Keys of relay.toml that have changed, and take effect at the next start.
    pub needs_restart: Vec<String>,
}

/// Why nothing was reloaded: the relay goes on as before.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file has mistakes.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// Files that the configuration names cannot be used.
    #[error("{}", .0.join("\n"))]
    Files(Vec<String>),
    /// The node does not take the roster.
    #[error("{0}")]
    Node(#[from] OperatorError),
    /// The run loop does not answer.
    #[error("the run loop did not answer within {} s", ANSWER_MAX.as_secs())]
    Unanswered,
}

/// Reloads the relay.toml that the process was started with.
#[derive(Debug)]
pub struct Reloader {
    file: PathBuf,
    running: Mutex<RelayConfig>,
    logs: LogHandle,
}

impl Reloader {
    /// For the process that runs by `running`, as read from `file`.
    #[must_use]
    pub const fn new(file: PathBuf, running: RelayConfig, logs: LogHandle) -> Self {
        Self { file, running: Mutex::new(running), logs }
    }

    /// Reads file, keys and roster anew, and applies what can be applied. Counts and logs how it went.
    ///
    /// # Errors
    /// [`ReloadError`]: nothing has changed then.
    pub async fn reload(&self, operator: &OperatorHandle) -> Result<ReloadReport, ReloadError> {
        let reloaded = self.try_reload(operator).await;
        match &reloaded {
            Ok(report) => {
                let (applied, needs_restart) = (report.applied.join(", "), report.needs_restart.join(", "));
                let (from, to) = (report.roster.from.0, report.roster.to.0);
                tracing::info!(roster_from = from, roster_to = to, applied, needs_restart, "reloaded");
                metric::config_reload(ActionResult::Ok);
            }
            Err(error) => {
                tracing::error!(reason = %error, "not reloaded: the relay goes on as before");
                let refused = !matches!(error, ReloadError::Unanswered | ReloadError::Node(OperatorError::Stopping));
                metric::config_reload(if refused { ActionResult::Refused } else { ActionResult::Failed });
            }
        }
        reloaded
    }

    async fn try_reload(&self, operator: &OperatorHandle) -> Result<ReloadReport, ReloadError> {
        let config = RelayConfig::load(&self.file)?;
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // What a restart would fail on is said now, while the old process still serves.
        let loaded = config.clone();
        let keys = tokio::task::spawn_blocking(move || Keys::load(&loaded)).await;
        let problems = match keys {
            Ok(Ok(_)) => Vec::new(),
            Ok(Err(problems)) => problems.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        };
        if !problems.is_empty() {
            return Err(ReloadError::Files(problems));
        }
        let signed = read_public(&running.roster, ROSTER_FILE_BYTES_MAX);
        let signed = Bytes::from(signed.map_err(|error| ReloadError::Files(vec![error.to_string()]))?);
        let asked = tokio::time::timeout(ANSWER_MAX, operator.reload_roster(signed)).await;
        let roster = asked.map_err(|_| ReloadError::Unanswered)??;
        let mut applied = Vec::new();
        if config.telemetry.log != running.telemetry.log {
            self.logs.set(&config.telemetry.log);
            applied.push("[telemetry] log".into());
        }
        let needs_restart = config.needs_restart(&running).into_iter().map(Into::into).collect();
        self.running.lock().unwrap_or_else(PoisonError::into_inner).telemetry.log = config.telemetry.log;
        Ok(ReloadReport { roster, applied, needs_restart })
    }
}
