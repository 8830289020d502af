//! What an operator asks of the run loop, apart from the agency's [`crate::local::NodeHandle`], so that a busy outbox
//! never keeps an operator waiting.

use bytes::Bytes;
use liaison_protocol::roster::RosterVersion;
use liaison_protocol::{AgencyId, Hash, MessageId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::audit::AuditReport;
use crate::status::{ForkReport, NodeStatus, QueueEntry, Trace};
use crate::store::IdPrefix;

/// Requests that wait for the run loop. Full: the operator waits.
pub const REQUESTS_MAX: usize = 32;

/// Why an operator's request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// Several messages begin so.
    #[error("several messages begin with '{prefix}': {}", list(ids))]
    Ambiguous {
        /// What was asked.
        prefix: String,
        /// The first few of them.
        ids: Vec<MessageId>,
    },
    /// The roster is not taken; the node stays on the one that it has.
    #[error("{reason}")]
    Roster {
        /// Why, in words.
        reason: String,
    },
    /// The run loop has ended, or is ending.
    #[error("the node is stopping")]
    Stopping,
    /// The disk failed; the node stops.
    #[error("the store failed: {cause}")]
    Store {
        /// In words.
        cause: String,
    },
    /// Not in the roster.
    #[error("unknown agency '{agency}'")]
    UnknownAgency {
        /// What was asked.
        agency: AgencyId,
    },
    /// Neither held nor remembered here.
    #[error("no message here begins with '{prefix}'")]
    UnknownMessage {
        /// What was asked.
        prefix: String,
    },
    /// This node dials no such peer.
    #[error("no link to '{peer}' is configured or up")]
    UnknownPeer {
        /// What was asked.
        peer: NodeId,
    },
}

fn list(ids: &[MessageId]) -> String {
    ids.iter().map(MessageId::short).collect::<Vec<_>>().join(", ")
}

/// Answers an operator.
pub type Reply<T> = oneshot::Sender<Result<T, OperatorError>>;

/// What is asked of the run loop.
#[derive(Debug)]
pub enum OperatorRequest {
    /// What went to and came from other relays, and what of it is missing.
    Audit {
        /// Hours from this one on.
        since: Timestamp,
        /// Whether to begin a comparison with every linked relay.
        compare: bool,
        /// As it is now.
        reply: Reply<AuditReport>,
    },
    /// Take no new custody; go on passing on what is held.
    Drain {
        /// How much is left.
        reply: Reply<DrainStatus>,
    },
    /// The head of one agency's queue.
    Queue {
        /// Whose.
        agency: AgencyId,
        /// At most so many.
        limit: usize,
        /// In drain order.
        reply: Reply<Vec<QueueEntry>>,
    },
    /// Follow this roster, if it is newer and signed.
    ReloadRoster {
        /// The DSSE envelope, as read from the operator's file: not yet verified.
        signed: Bytes,
        /// What has changed.
        reply: Reply<RosterReload>,
    },
    /// The fork that is not settled.
    RosterFork {
        /// `None`: there is none.
        reply: Reply<Option<ForkReport>>,
    },
    /// Decide which of two rosters of one version is right.
    SettleFork {
        /// SHA-256 of its payload.
        follow: Hash,
        /// The version.
        reply: Reply<RosterVersion>,
    },
    /// Dial at once, without waiting for the next try.
    RetryLinks {
        /// One peer; `None`: all that are down.
        peer: Option<NodeId>,
        /// Who is being dialed.
        reply: Reply<Vec<NodeId>>,
    },
    /// The node as it is now.
    Status {
        /// Boxed: it is large.
        reply: Reply<Box<NodeStatus>>,
    },
    /// All that is known of one message.
    Trace {
        /// How its id begins.
        prefix: IdPrefix,
        /// The same, as it was asked.
        text: String,
        /// Held entries and remembered events.
        reply: Reply<Trace>,
    },
    /// Take custody again.
    Undrain {
        /// How much is held.
        reply: Reply<DrainStatus>,
    },
}

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// Whether new custody is refused.
    pub draining: bool,
    /// Entries in custody.
    pub entries: u64,
    /// Transfers sent and not yet acknowledged.
    pub in_flight: u64,
}

/// What a reload of the roster changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterReload {
    /// Followed before.
    pub from: RosterVersion,
    /// Followed now; the same, if the file holds no newer one.
    pub to: RosterVersion,
    /// Peers whose links were closed because of it.
    pub closed: Vec<NodeId>,
}

/// Asks the run loop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OperatorHandle {
    requests: mpsc::Sender<OperatorRequest>,
}

/// The run loop's end of its [`OperatorHandle`]s.
pub type OperatorRequests = mpsc::Receiver<OperatorRequest>;

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
        self.ask(|reply| OperatorRequest::Status { reply }).await
    }

    /// All that is known of the message whose id begins with `text`.
    ///
    /// # Errors
    /// [`OperatorError`]; what cannot begin an id is unknown.
    pub async fn trace(&self, text: &str) -> Result<Trace, OperatorError> {
        let Ok(prefix) = text.parse::<IdPrefix>() else {
            return Err(OperatorError::UnknownMessage { prefix: text.chars().take(80).collect() });
        };
        self.ask(|reply| OperatorRequest::Trace { prefix, text: text.into(), reply }).await
    }

    /// The first `limit` entries of an agency's queue, in drain order.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn queue(&self, agency: AgencyId, limit: usize) -> Result<Vec<QueueEntry>, OperatorError> {
        self.ask(|reply| OperatorRequest::Queue { agency, limit, reply }).await
    }

    /// Offers a roster from the operator's file.
    ///
    /// # Errors
    /// [`OperatorError`]; the node then stays on the roster that it has.
    pub async fn reload_roster(&self, signed: Bytes) -> Result<RosterReload, OperatorError> {
        self.ask(|reply| OperatorRequest::ReloadRoster { signed, reply }).await
    }

    /// The fork of the roster that is not settled.
    ///
    /// # Errors
    /// [`OperatorError::Stopping`].
    pub async fn roster_fork(&self) -> Result<Option<ForkReport>, OperatorError> {
        self.ask(|reply| OperatorRequest::RosterFork { reply }).await
    }

    /// Settles it: the roster with this hash is followed, the other one refused from now on.
    ///
    /// # Errors
    /// [`OperatorError::Roster`] if there is no fork, or neither roster has this hash.
    pub async fn settle_fork(&self, follow: Hash) -> Result<RosterVersion, OperatorError> {
        self.ask(|reply| OperatorRequest::SettleFork { follow, reply }).await
    }

    /// Dials one peer, or all that are down, at once.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn retry_links(&self, peer: Option<NodeId>) -> Result<Vec<NodeId>, OperatorError> {
        self.ask(|reply| OperatorRequest::RetryLinks { peer, reply }).await
    }

    /// What went to and came from other relays since `since`; with `compare`, comparisons begin now.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn audit(&self, since: Timestamp, compare: bool) -> Result<AuditReport, OperatorError> {
        self.ask(|reply| OperatorRequest::Audit { since, compare, reply }).await
    }

    /// Takes no new custody from now on.
    ///
    /// # Errors
    /// [`OperatorError::Stopping`].
    pub async fn drain(&self) -> Result<DrainStatus, OperatorError> {
        self.ask(|reply| OperatorRequest::Drain { reply }).await
    }

    /// Takes custody again.
    ///
    /// # Errors
    /// [`OperatorError::Stopping`].
    pub async fn undrain(&self) -> Result<DrainStatus, OperatorError> {
        self.ask(|reply| OperatorRequest::Undrain { reply }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> OperatorRequest) -> Result<T, OperatorError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| OperatorError::Stopping)?;
        answer.await.unwrap_or(Err(OperatorError::Stopping))
    }
}
