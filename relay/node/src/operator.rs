//! How an operator asks the run loop, apart from the agency's [`crate::local::NodeHandle`], so that a busy outbox never
//! keeps an operator waiting.

use bytes::Bytes;
use liaison_protocol::roster::RosterVersion;
use liaison_protocol::{AgencyId, Hash, NodeId, Timestamp};
use tokio::sync::{mpsc, oneshot};

pub use liaison_driver::operator::*;

use crate::audit::AuditReport;
use crate::status::{ForkReport, NodeStatus, QueueEntry, Trace};
use crate::store::IdPrefix;

/// Requests that wait for the run loop. Full: the operator waits.
pub const REQUESTS_MAX: usize = 32;

/// A request, and the operator who waits for its answer.
#[derive(Debug)]
pub struct OperatorAsked {
    /// What is asked.
    pub request: OperatorRequest,
    /// Takes the answer.
    pub reply: oneshot::Sender<Result<OperatorAnswer, OperatorError>>,
}

/// The driver answers each request with its own kind of answer.
macro_rules! answer {
    ($handle:expr, $request:expr, $kind:ident) => {
        match $handle.ask($request).await? {
            OperatorAnswer::$kind(answer) => Ok(answer),
            _ => Err(OperatorError::Stopping),
        }
    };
}

/// Asks the run loop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OperatorHandle {
    requests: mpsc::Sender<OperatorAsked>,
}

/// The run loop's end of its [`OperatorHandle`]s.
pub type OperatorRequests = mpsc::Receiver<OperatorAsked>;

/// A handle, and the end that the run loop reads.
#[must_use]
pub fn channel() -> (OperatorHandle, OperatorRequests) {
    let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
    (OperatorHandle { requests }, receiver)
}

impl OperatorHandle {
    /// The node as it is now.
    ///
    /// # Errors
    /// [`OperatorError::Stopping`].
    pub async fn status(&self) -> Result<Box<NodeStatus>, OperatorError> {
        answer!(self, OperatorRequest::Status, Status)
    }

    /// All that is known of the message whose id begins with `text`.
    ///
    /// # Errors
    /// [`OperatorError`]; what cannot begin an id is unknown.
    pub async fn trace(&self, text: &str) -> Result<Trace, OperatorError> {
        let Ok(prefix) = text.parse::<IdPrefix>() else {
            return Err(OperatorError::UnknownMessage { prefix: text.chars().take(80).collect() });
        };
        answer!(self, OperatorRequest::Trace { prefix, text: text.into() }, Trace)
    }

    /// The first `limit` entries of an agency's queue, in drain order.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn queue(&self, agency: AgencyId, limit: usize) -> Result<Vec<QueueEntry>, OperatorError> {
        answer!(self, OperatorRequest::Queue { agency, limit }, Queue)
    }

    /// Offers a roster from the operator's file.
    ///
    /// # Errors
    /// [`OperatorError`]; the node then stays on the roster that it has.
    pub async fn reload_roster(&self, signed: Bytes) -> Result<RosterReload, OperatorError> {
        answer!(self, OperatorRequest::ReloadRoster { signed }, Reload)
    }

    /// The fork of the roster that is not settled.
    ///
    /// # Errors
    /// [`OperatorError::Stopping`].
    pub async fn roster_fork(&self) -> Result<Option<ForkReport>, OperatorError> {
        answer!(self, OperatorRequest::RosterFork, Fork)
    }

    /// Settles it: the roster with this hash is followed, the other one refused from now on.
    ///
    /// # Errors
    /// [`OperatorError::Roster`] if there is no fork, or neither roster has this hash.
    pub async fn settle_fork(&self, follow: Hash) -> Result<RosterVersion, OperatorError> {
        answer!(self, OperatorRequest::SettleFork { follow }, Settled)
    }

    /// Dials one peer, or all that are down, at once.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn retry_links(&self, peer: Option<NodeId>) -> Result<Vec<NodeId>, OperatorError> {
        answer!(self, OperatorRequest::RetryLinks { peer }, Links)
    }

    /// What went to and came from other relays since `since`; with `compare`, comparisons begin now.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn audit(&self, since: Timestamp, compare: bool) -> Result<AuditReport, OperatorError> {
        answer!(self, OperatorRequest::Audit { since, compare }, Audit)
    }

    /// Takes no new custody from now on.
    ///
    /// # Errors
    /// [`OperatorError::Stopping`].
    pub async fn drain(&self) -> Result<DrainStatus, OperatorError> {
        answer!(self, OperatorRequest::Drain, Drain)
    }

    /// Takes custody again.
    ///
    /// # Errors
    /// [`OperatorError::Stopping`].
    pub async fn undrain(&self) -> Result<DrainStatus, OperatorError> {
        answer!(self, OperatorRequest::Undrain, Drain)
    }

    async fn ask(&self, request: OperatorRequest) -> Result<OperatorAnswer, OperatorError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(OperatorAsked { request, reply }).await.map_err(|_| OperatorError::Stopping)?;
        answer.await.unwrap_or(Err(OperatorError::Stopping))
    }
}
