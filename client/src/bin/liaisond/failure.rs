//! What keeps the daemon from starting, in one line each.

use std::fmt;

use liaison_node::config::ConfigError;
use liaison_node::exit::Exit;

/// One check that did not go well, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) id: &'static str,
    pub(crate) ok: bool,
    pub(crate) text: String,
    pub(crate) fix: Option<String>,
}

impl Finding {
    pub(crate) fn ok(id: &'static str, text: impl fmt::Display) -> Self {
        Self { id, ok: true, text: text.to_string(), fix: None }
    }

    pub(crate) fn fail(id: &'static str, text: impl fmt::Display) -> Self {
        Self { id, ok: false, text: text.to_string(), fix: None }
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.text)?;
        self.fix.iter().try_for_each(|fix| write!(f, "; {fix}"))
    }
}

/// Ends the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    pub(crate) fn findings(findings: &[Finding]) -> Self {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        Self::new(Exit::Config, lines.join("\n"))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Config, error)
    }
}
