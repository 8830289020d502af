//! What a check found: a fact, how bad it is, and what mends it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Will become a failure.
    Warn,
    /// The relay does not start, or does not serve, like this.
    Fail,
}

impl Level {
    /// The word that people see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One check and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable name of the check: `roster`, `link-key`.
    pub id: String,
    /// How bad.
    pub level: Level,
    /// What is so.
    pub text: String,
    /// The command or deed that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    pub(crate) fn new(id: &str, level: Level, text: impl fmt::Display) -> Self {
        Self { id: id.into(), level, text: text.to_string(), fix: None }
    }

    pub(crate) fn ok(id: &str, text: impl fmt::Display) -> Self {
        Self::new(id, Level::Ok, text)
    }

    pub(crate) fn warn(id: &str, text: impl fmt::Display) -> Self {
        Self::new(id, Level::Warn, text)
    }

    pub(crate) fn fail(id: &str, text: impl fmt::Display) -> Self {
        Self::new(id, Level::Fail, text)
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
