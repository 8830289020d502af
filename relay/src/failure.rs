//! Why a command failed: a line for people, an object for programs, an exit code.

use std::fmt;
use std::io;

use liaison_node::config::ConfigError;
use liaison_node::exit::Exit;
use liaison_node::text::safe_line as safe;
use serde_json::json;

use crate::admin::client::ClientError;
use crate::finding::Finding;

/// Ends a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// Stable, for programs.
    pub code: String,
    /// What and where. Several lines where several things are wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Lines that name their own file stand alone.
    bare: bool,
}

impl Failure {
    /// With `code` stable for programs.
    pub fn new(exit: Exit, code: &str, message: impl fmt::Display) -> Self {
        Self { exit, code: code.into(), message: message.to_string(), hint: None, bare: false }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What keeps a relay from starting.
    pub(crate) fn findings(findings: &[Finding]) -> Self {
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        Self::new(Exit::Config, "check_failed", lines.join("\n"))
    }

    /// The last word on stderr.
    #[must_use]
    pub fn render(&self, json: bool) -> String {
        if json {
            let retryable = matches!(self.exit, Exit::TryLater | Exit::Unavailable);
            let mut error = json!({
                "code": self.code, "exit": self.exit.code(), "message": self.message, "retryable": retryable,
            });
            if let (Some(hint), Some(object)) = (&self.hint, error.as_object_mut()) {
                object.insert("hint".into(), hint.as_str().into());
            }
            return liaison_node::text::json(&json!({ "error": error })).unwrap_or_default();
        }
        let prefix = if self.bare { "" } else { "liaison-relay: " };
        let lines: Vec<_> = self.message.lines().map(|line| format!("{prefix}{}", safe(line))).collect();
        let hint = self.hint.as_ref().map(|hint| format!("\n  {}", safe(hint))).unwrap_or_default();
        lines.join("\n") + &hint
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { bare: true, ..Self::new(Exit::Config, "config_invalid", error) }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let hint = error.hint();
        Self { hint, ..Self::new(error.exit(), error.code(), &error) }
    }
}

/// Standard output failed. A reader that has seen enough (`| head`) is no failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, "reader_gone", "the reader of standard output is gone");
        }
        Self::new(Exit::Io, "output_failed", format!("standard output: {error}"))
    }
}
