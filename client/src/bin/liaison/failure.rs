//! Why a command failed: one line for people, one object for programs, one exit code.

use std::fmt;
use std::io;
use std::path::Path;

use liaison_client::api::client::ClientError;
use serde::Serialize;

use crate::text::{safe_line, safe_text};
use liaison_node::exit::Exit;

/// Ends a command. `code` is stable, `message` names what and where, `hint` says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) exit: u8,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    pub(crate) retryable: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, code: &str, message: impl fmt::Display) -> Self {
        let retryable = exit == Exit::TryLater;
        Self { code: code.into(), exit: exit.code(), message: message.to_string(), hint: None, retryable }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// A file that the user named cannot be read.
    pub(crate) fn input(path: &Path, error: &io::Error) -> Self {
        Self::new(Exit::NoInput, "input_unreadable", format!("{}: {error}", path.display()))
    }

    /// A file that we write.
    pub(crate) fn output(path: &Path, error: &io::Error) -> Self {
        Self::new(Exit::Io, "output_failed", format!("{}: {error}", path.display()))
    }

    /// As the program's last word on stderr.
    pub(crate) fn render(&self, json: bool) -> String {
        if json {
            let error = liaison_node::text::json(self).unwrap_or_else(|_| "null".into());
            return format!("{{\"error\":{error}}}");
        }
        let hint = self.hint.as_ref().map(|hint| format!("\n  {}", safe_line(hint))).unwrap_or_default();
        // Several mistakes of a configuration stand a line each.
        format!("liaison: {}{hint}", safe_text(&self.message).replace('\n', "\n  "))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let hint = match &error {
            ClientError::Problem(problem) => problem.hint.clone(),
            ClientError::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("ask for membership of the group that owns the socket".into())
            }
            ClientError::Unreachable { .. } => Some(
                "liaisond, this agency's daemon, does not run, or has another socket (--socket PATH): ask the daemon's administrator"
                    .into(),
            ),
            _ => None,
        };
        let message = safe_line(&error.to_string());
        Self { code: error.code().into(), exit: error.exit(), message, hint, retryable: error.retryable() }
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

#[cfg(test)]
mod tests {
    use super::*;
    use liaison_client::api::model::{Problem, ProblemCode};

    #[test]
    fn a_failure_is_one_object_for_programs() {
        let failure = Failure::new(Exit::NoAgency, "unknown_agency", "unknown agency 'x'").hint("did you mean 'y'?");
        let json = r#"{"error":{"code":"unknown_agency","exit":67,"message":"unknown agency 'x'","hint":"did you mean 'y'?","retryable":false}}"#;
        assert_eq!(failure.render(true), json);
        assert_eq!(failure.render(false), "liaison: unknown agency 'x'\n  did you mean 'y'?");
    }

    #[test]
    fn a_daemons_words_cannot_move_the_cursor() {
        let problem = Problem::new(ProblemCode::BadRequest, "bad \u{1b}[2Jname\nliaison: fine");
        let failure = Failure::from(ClientError::Problem(Box::new(problem)));
        assert_eq!(failure.render(false), "liaison: bad \u{fffd}[2Jname\u{fffd}liaison: fine");
    }
}
