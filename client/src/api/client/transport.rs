//! One request over one connection, without a task of its own.

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::UnixStream;

use super::ClientError;

/// Longest answer that is read into memory: evidence of a message with every attachment's chunks stays below.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Sends `call` to `socket` and waits, at most `deadline`, for the head of a successful answer.
pub(super) async fn open(socket: &Path, call: Call, deadline: Duration) -> Result<Octets, ClientError> {
    let exchange = async {
        let unreachable = |source| ClientError::Unreachable { socket: socket.into(), source };
        let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(hung_up)?;
        exchange(sender, connection, call, deadline).await
    };
    let timeout = ClientError::Timeout { after: deadline };
    tokio::time::timeout(deadline, exchange).await.unwrap_or(Err(timeout))
}

fn hung_up(error: hyper::Error) -> ClientError {
    ClientError::HungUp { reason: error.to_string() }
}

/// One request before it is sent.
pub(super) struct Call {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Call {
    pub(super) const fn new(method: Method, path: String) -> Self {
        Self { method, path, headers: Vec::new(), body: Bytes::new() }
    }

    pub(super) fn json<T: Serialize>(self, body: &T) -> Result<Self, ClientError> {
        let encoded =
            serde_json::to_vec(body).map_err(|error| ClientError::NotUnderstood { reason: error.to_string() })?;
        Ok(Self { body: encoded.into(), ..self.header(CONTENT_TYPE.as_str(), "application/json") })
    }

    pub(super) fn octets(self, body: Bytes) -> Self {
        Self { body, ..self.header(CONTENT_TYPE.as_str(), "application/octet-stream") }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn into_request(self) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder().method(self.method).uri(self.path).header(HOST, "liaisond");
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let not_http = |error: hyper::http::Error| ClientError::NotUnderstood { reason: error.to_string() };
        request.body(Full::new(self.body)).map_err(not_http)
    }
}

type Connection = http1::Connection<TokioIo<UnixStream>, Full<Bytes>>;

async fn exchange(
    mut sender: http1::SendRequest<Full<Bytes>>,
    connection: Connection,
    call: Call,
    deadline: Duration,
) -> Result<Octets, ClientError> {
    let mut connection = Driver(Some(Box::pin(connection)));
    let answer = connection.while_driven(sender.send_request(call.into_request()?)).await.map_err(hung_up)?;
    let (head, body) = answer.into_parts();
    let octets = Octets { body, connection, deadline };
    if head.status.is_success() { Ok(octets) } else { Err(problem(head.status, octets.collect().await?)) }
}

fn problem(status: StatusCode, answer: Vec<u8>) -> ClientError {
    match serde_json::from_slice(&answer) {
        Ok(problem) => ClientError::Problem(Box::new(problem)),
        Err(_) => ClientError::NotUnderstood { reason: format!("HTTP {status} without a problem document") },
    }
}

/// Keeps hyper's connection moving while something else is waited for: no task is spawned, dropping it hangs up.
struct Driver(Option<Pin<Box<Connection>>>);

impl Driver {
    async fn while_driven<T>(&mut self, wanted: impl Future<Output = T>) -> T {
        tokio::pin!(wanted);
        if let Some(connection) = &mut self.0 {
            tokio::select! {
                biased;
                result = &mut wanted => return result,
                // Ended or failed: what was wanted says so itself, or is already buffered.
                _ = connection => self.0 = None,
            }
        }
        wanted.await
    }
}

/// A streamed answer.
pub struct Octets {
    body: Incoming,
    connection: Driver,
    deadline: Duration,
}

impl Octets {
    /// The next piece; `None` at the end, which the answer's framing has confirmed.
    ///
    /// # Errors
    /// The daemon hung up, or sent nothing for the deadline.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = self.connection.while_driven(self.body.frame());
            let timeout = |_| ClientError::Timeout { after: self.deadline };
            let Some(frame) = tokio::time::timeout(self.deadline, frame).await.map_err(timeout)? else {
                return Ok(None);
            };
            if let Ok(piece) = frame.map_err(hung_up)?.into_data() {
                return Ok(Some(piece));
            }
        }
    }

    /// All that is left.
    ///
    /// # Errors
    /// As [`Octets::next`], and longer than this program expects of any answer.
    pub(super) async fn collect(mut self) -> Result<Vec<u8>, ClientError> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            if all.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(ClientError::NotUnderstood { reason: format!("longer than {ANSWER_BYTES_MAX} bytes") });
            }
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}
