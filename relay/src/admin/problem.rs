//! Errors as problem documents (RFC 9457), with the exit code of the command that ends with one.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use liaison_node::exit::Exit;
use liaison_node::operator::OperatorError;
use serde::{Deserialize, Serialize};

/// Body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:liaison:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// HTTP status.
    pub status: u16,
    /// What is wrong this time.
    pub detail: String,
    /// Stable, for programs.
    pub code: String,
    /// Exit code of a command that ends with it.
    pub exit: u8,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The same request may succeed later.
    pub retryable: bool,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &str, exit: Exit, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:liaison:problem:{code}"),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.into(),
            exit: exit.code(),
            hint: None,
            retryable: matches!(exit, Exit::TryLater | Exit::Unavailable),
        }
    }

    pub(crate) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// The run loop does not answer.
    pub(crate) fn busy() -> Self {
        let detail = format!("the run loop did not answer within {} s", crate::reload::ANSWER_MAX.as_secs());
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", Exit::Unavailable, detail)
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", Exit::Usage, detail)
    }
}

impl From<OperatorError> for Problem {
    fn from(error: OperatorError) -> Self {
        let (status, code, exit) = match &error {
            OperatorError::Ambiguous { .. } => (StatusCode::CONFLICT, "ambiguous_id", Exit::Data),
            OperatorError::Roster { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "roster_refused", Exit::Data),
            OperatorError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping", Exit::Unavailable),
            OperatorError::Store { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "store_fault", Exit::Io),
            OperatorError::UnknownAgency { .. } => (StatusCode::NOT_FOUND, "unknown_agency", Exit::NoAgency),
            OperatorError::UnknownMessage { .. } => (StatusCode::NOT_FOUND, "unknown_message", Exit::Data),
            OperatorError::UnknownPeer { .. } => (StatusCode::NOT_FOUND, "unknown_peer", Exit::Data),
        };
        Self::new(status, code, exit, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
