//! Asks a running relay over its admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use liaison_node::exit::Exit;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::Problem;

/// Longest answer: a status with 10,000 agencies' queues.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// An answer has to be there by then: longer than the relay itself waits for its run loop.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// This user may not ask.
    #[error("{}: permission denied", socket.display())]
    Denied {
        /// The socket.
        socket: PathBuf,
    },
    /// The connection broke: whether the relay acted on the request is not known.
    #[error("the relay hung up in the middle of an answer: {reason}")]
    HungUp {
        /// In words.
        reason: String,
    },
    /// Not an answer that this version understands.
    #[error("the relay's answer is not understood ({reason}); are both programs of one version?")]
    NotUnderstood {
        /// What is wrong with it.
        reason: String,
    },
    /// The relay answered with a problem.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// Nobody listens there.
    #[error("no relay answers at {}: {error}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl ClientError {
    /// How a command ends with it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Denied { .. } => Exit::Refused,
            Self::HungUp { .. } | Self::Unreachable { .. } => Exit::Unavailable,
            Self::NotUnderstood { .. } => Exit::Internal,
            Self::Problem(problem) => Exit::from_code(problem.exit).unwrap_or(Exit::Internal),
        }
    }

    /// Stable, for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Denied { .. } => "socket_denied",
            Self::HungUp { .. } => "relay_hung_up",
            Self::NotUnderstood { .. } => "answer_not_understood",
            Self::Problem(problem) => &problem.code,
            Self::Unreachable { .. } => "relay_unreachable",
        }
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Denied { .. } => Some(
                "run this as the relay's user, or set [listen] admin_socket_mode = \"0660\" and join its group".into(),
            ),
            Self::Problem(problem) => problem.hint.clone(),
            Self::Unreachable { .. } => Some("start the relay: liaison-relay --config FILE run".into()),
            Self::HungUp { .. } | Self::NotUnderstood { .. } => None,
        }
    }
}

/// A relay's admin socket. Connects with each request.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Asks whoever listens on `socket`.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET path`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path).await
    }

    /// `POST path`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::POST, path).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, ClientError> {
        let hung_up = |reason: String| ClientError::HungUp { reason };
        let exchange = tokio::time::timeout(ANSWER_MAX, self.exchange(method, path));
        let (success, body) =
            exchange.await.map_err(|_| hung_up(format!("no answer within {} s", ANSWER_MAX.as_secs())))??;
        let not_understood = |error: serde_json::Error| ClientError::NotUnderstood { reason: error.to_string() };
        if success {
            return serde_json::from_slice(&body).map_err(not_understood);
        }
        Err(ClientError::Problem(Box::new(serde_json::from_slice(&body).map_err(not_understood)?)))
    }

    /// Whether it is a success, and the body.
    async fn exchange(&self, method: Method, path: &str) -> Result<(bool, Bytes), ClientError> {
        let hung_up = |error: &dyn std::fmt::Display| ClientError::HungUp { reason: error.to_string() };
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => ClientError::Denied { socket: self.socket.clone() },
            _ => ClientError::Unreachable { socket: self.socket.clone(), error },
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| hung_up(&error))?;
        let request = Request::builder().method(method).uri(path).header(HOST, "localhost").body(Empty::<Bytes>::new());
        let request = request.map_err(|error| ClientError::NotUnderstood { reason: error.to_string() })?;
        let answer = async move {
            let response = sender.send_request(request).await.map_err(|error| hung_up(&error))?;
            let success = response.status().is_success();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok((success, body.map_err(|error| hung_up(&error))?.to_bytes()))
        };
        // The connection has to be driven beside the exchange; its own end says nothing that the answer does not.
        let (mut answer, mut connection) = (std::pin::pin!(answer), std::pin::pin!(connection));
        tokio::select! {
            biased;
            answer = answer.as_mut() => answer,
            _ = connection.as_mut() => answer.await,
        }
    }
}
