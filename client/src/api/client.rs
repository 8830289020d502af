//! Asks the daemon: HTTP/1.1 over its Unix socket, one connection a request.
//!
//! Nothing here retries or prints. Every error knows the exit code of a command that ends with it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde::de::DeserializeOwned;

use super::model::{
    Agencies, CustodyTrace, Doctor, EventPage, EventQuery, ListPage, ListQuery, Message, NewUpload, Problem, Receipts,
    Retried, RetryRequest, Status, Submission, Submitted, Thread, Upload,
};

mod query;
mod transport;

use query::Query;
use transport::Call;
pub use transport::Octets;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon answered with a problem document.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// Nobody listens there, or this user may not ask.
    #[error("cannot reach the daemon at {}: {source}", socket.display())]
    Unreachable {
        /// The socket that was tried.
        socket: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The connection broke in the middle: whether the daemon acted on the request is not known.
    #[error("the daemon hung up in the middle of an answer: {reason}")]
    HungUp {
        /// What hyper says.
        reason: String,
    },
    /// No answer in time: whether the daemon acted on the request is not known.
    #[error("the daemon did not answer within {} s", after.as_secs())]
    Timeout {
        /// How long it was waited for.
        after: Duration,
    },
    /// Not an answer that this version understands.
    #[error("the daemon's answer is not understood ({reason}); are liaison and liaisond of the same version?")]
    NotUnderstood {
        /// What is wrong with it.
        reason: String,
    },
}

impl ClientError {
    /// Exit code of a command that ends with this error.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Problem(problem) => problem.exit,
            Self::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => 77,
            Self::Unreachable { .. } | Self::HungUp { .. } | Self::Timeout { .. } => 69,
            Self::NotUnderstood { .. } => 70,
        }
    }

    /// Stable code for programs, as in problem documents.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Problem(problem) => &problem.code,
            Self::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => "socket_denied",
            Self::Unreachable { .. } => "daemon_unreachable",
            Self::HungUp { .. } => "daemon_hung_up",
            Self::Timeout { .. } => "daemon_timeout",
            Self::NotUnderstood { .. } => "answer_not_understood",
        }
    }

    /// The same request may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Problem(problem) => problem.retryable,
            Self::Unreachable { .. } | Self::HungUp { .. } | Self::Timeout { .. } => true,
            Self::NotUnderstood { .. } => false,
        }
    }
}

/// A daemon's local API. Cheap to make and to clone; connects with each request.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    deadline: Duration,
}

impl Client {
    /// Asks the daemon that listens on `socket`. An answer is waited for at most 30 s; see [`Client::with_deadline`].
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), deadline: Duration::from_secs(30) }
    }

    /// The same with another deadline for the first byte of an answer, and for each piece of a streamed one.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `POST /v1/messages`.
    ///
    /// # Errors
    /// After [`ClientError::HungUp`] or [`ClientError::Timeout`] the message may or may not be in the outbox: with a
    /// `key` the same call finds out.
    pub async fn submit(&self, submission: &Submission, key: Option<&str>) -> Result<Submitted, ClientError> {
        let mut call = Call::new(Method::POST, "/v1/messages".into()).json(submission)?;
        if let Some(key) = key {
            call = call.header("idempotency-key", key);
        }
        self.json(call).await
    }

    /// `GET /v1/messages/{id}`.
    ///
    /// # Errors
    /// As every request.
    pub async fn message(&self, id: &str) -> Result<Message, ClientError> {
        self.get(message_path(id, "")).await
    }

    /// `GET /v1/messages/{id}/custody`.
    ///
    /// # Errors
    /// As every request.
    pub async fn custody(&self, id: &str) -> Result<CustodyTrace, ClientError> {
        self.get(message_path(id, "/custody")).await
    }

    /// `GET /v1/messages/{id}/receipts`.
    ///
    /// # Errors
    /// As every request.
    pub async fn receipts(&self, id: &str) -> Result<Receipts, ClientError> {
        self.get(message_path(id, "/receipts")).await
    }

    /// `GET /v1/messages/{id}/evidence`: the file, whole.
    ///
    /// # Errors
    /// As every request.
    pub async fn evidence(&self, id: &str) -> Result<Vec<u8>, ClientError> {
        self.open(Call::new(Method::GET, message_path(id, "/evidence"))).await?.collect().await
    }

    /// `GET /v1/messages/{id}/parts/{n}`: the octets of attachment `n` (from 1) as they come.
    ///
    /// # Errors
    /// As every request.
    pub async fn part(&self, id: &str, n: u32) -> Result<Octets, ClientError> {
        self.open(Call::new(Method::GET, message_path(id, &format!("/parts/{n}")))).await
    }

    /// `POST /v1/messages/{id}/cancel`.
    ///
    /// # Errors
    /// As every request.
    pub async fn cancel(&self, id: &str) -> Result<CustodyTrace, ClientError> {
        self.json(Call::new(Method::POST, message_path(id, "/cancel"))).await
    }

    /// `POST /v1/messages/{id}/retry`.
    ///
    /// # Errors
    /// As every request.
    pub async fn retry(&self, id: &str) -> Result<Retried, ClientError> {
        self.json(Call::new(Method::POST, message_path(id, "/retry"))).await
    }

    /// `POST /v1/outbox/retry`.
    ///
    /// # Errors
    /// As every request.
    pub async fn retry_all(&self, request: &RetryRequest) -> Result<Retried, ClientError> {
        self.json(Call::new(Method::POST, "/v1/outbox/retry".into()).json(request)?).await
    }

    /// `POST /v1/messages/{id}/read`.
    ///
    /// # Errors
    /// As every request.
    pub async fn mark_read(&self, id: &str) -> Result<(), ClientError> {
        self.open(Call::new(Method::POST, message_path(id, "/read"))).await.map(drop)
    }

    /// `POST /v1/inbox/{id}/ack`.
    ///
    /// # Errors
    /// As every request.
    pub async fn ack(&self, id: &str) -> Result<(), ClientError> {
        let path = format!("/v1/inbox/{}/ack", query::encode(id));
        self.open(Call::new(Method::POST, path)).await.map(drop)
    }

    /// `GET /v1/threads/{id}`.
    ///
    /// # Errors
    /// As every request.
    pub async fn thread(&self, id: &str) -> Result<Thread, ClientError> {
        self.get(format!("/v1/threads/{}", query::encode(id))).await
    }

    /// `GET /v1/inbox`.
    ///
    /// # Errors
    /// As every request.
    pub async fn inbox(&self, query: &ListQuery) -> Result<ListPage, ClientError> {
        self.get(Query::list("/v1/inbox", query)).await
    }

    /// `GET /v1/outbox`.
    ///
    /// # Errors
    /// As every request.
    pub async fn outbox(&self, query: &ListQuery) -> Result<ListPage, ClientError> {
        self.get(Query::list("/v1/outbox", query)).await
    }

    /// `GET /v1/events` as a long poll: answers at once if there are events, after `query.wait` at the latest.
    ///
    /// # Errors
    /// As every request.
    pub async fn events(&self, query: &EventQuery) -> Result<EventPage, ClientError> {
        let wait = Duration::from_secs(u64::from(query.wait.unwrap_or(0)));
        let patient = self.clone().with_deadline(self.deadline.saturating_add(wait));
        patient.get(Query::events("/v1/events", query)).await
    }

    /// `POST /v1/uploads`.
    ///
    /// # Errors
    /// As every request.
    pub async fn new_upload(&self, request: &NewUpload) -> Result<Upload, ClientError> {
        self.json(Call::new(Method::POST, "/v1/uploads".into()).json(request)?).await
    }

    /// `DELETE /v1/uploads/{id}`.
    ///
    /// # Errors
    /// As every request.
    pub async fn delete_upload(&self, id: &str) -> Result<(), ClientError> {
        let path = format!("/v1/uploads/{}", query::encode(id));
        self.open(Call::new(Method::DELETE, path)).await.map(drop)
    }

    /// `GET /v1/uploads/{id}`.
    ///
    /// # Errors
    /// As every request.
    pub async fn upload(&self, id: &str) -> Result<Upload, ClientError> {
        self.get(format!("/v1/uploads/{}", query::encode(id))).await
    }

    /// `PATCH /v1/uploads/{id}`: appends `octets` (at most 4 MiB) at `offset`.
    ///
    /// # Errors
    /// As every request.
    pub async fn append(&self, id: &str, offset: u64, octets: Bytes) -> Result<Upload, ClientError> {
        let call = Call::new(Method::PATCH, format!("/v1/uploads/{}", query::encode(id)));
        self.json(call.octets(octets).header("upload-offset", offset.to_string())).await
    }

    /// `GET /v1/agencies`.
    ///
    /// # Errors
    /// As every request.
    pub async fn agencies(&self) -> Result<Agencies, ClientError> {
        self.get("/v1/agencies".into()).await
    }

    /// `GET /v1/status`.
    ///
    /// # Errors
    /// As every request.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status".into()).await
    }

    /// `GET /v1/doctor`.
    ///
    /// # Errors
    /// As every request.
    pub async fn doctor(&self) -> Result<Doctor, ClientError> {
        self.get("/v1/doctor".into()).await
    }

    async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, ClientError> {
        self.json(Call::new(Method::GET, path)).await
    }

    async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let answer = self.open(call).await?.collect().await?;
        serde_json::from_slice(&answer).map_err(|error| ClientError::NotUnderstood { reason: error.to_string() })
    }

    async fn open(&self, call: Call) -> Result<Octets, ClientError> {
        transport::open(&self.socket, call, self.deadline).await
    }
}

fn message_path(id: &str, tail: &str) -> String {
    format!("/v1/messages/{}{tail}", query::encode(id))
}
