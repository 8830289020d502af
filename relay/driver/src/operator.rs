//! What an operator asks of a node, and the answers.

use bytes::Bytes;
use liaison_protocol::roster::RosterVersion;
use liaison_protocol::{AgencyId, Hash, MessageId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::audit::AuditReport;
use crate::query::IdPrefix;
use crate::status::{ForkReport, NodeStatus, QueueEntry, Trace};

/// The reason why an operator's request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// Several messages begin so.
    #[error("several messages begin with '{prefix}': {}", list(ids))]
    Ambiguous {
        /// The asked name.
        prefix: String,
        /// The first few of them.
        ids: Vec<MessageId>,
    },
    /// The roster is not taken; the node stays on the one that it has.
    #[error("{reason}")]
    Roster {
        /// The reason, in words.
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
        /// The asked name.
        agency: AgencyId,
    },
    /// Neither held nor remembered here.
    #[error("no message here begins with '{prefix}'")]
    UnknownMessage {
        /// The asked name.
        prefix: String,
    },
    /// This node dials no such peer.
    #[error("no link to '{peer}' is configured or up")]
    UnknownPeer {
        /// The asked name.
        peer: NodeId,
    },
}

fn list(ids: &[MessageId]) -> String {
    ids.iter().map(MessageId::short).collect::<Vec<_>>().join(", ")
}

/// Requests of an operator to the driver.
#[derive(Debug)]
pub enum OperatorRequest {
    /// Entries released to and accepted from other relays, and missing ones.
    Audit {
        /// Hours from this one on.
        since: Timestamp,
        /// True if to begin a comparison with every linked relay.
        compare: bool,
    },
    /// Take no new custody; go on passing on what is held.
    Drain,
    /// The head of one agency's queue.
    Queue {
        /// The agency.
        agency: AgencyId,
        /// At most so many.
        limit: usize,
    },
    /// Follow this roster, if it is newer and signed.
    ReloadRoster {
        /// The DSSE envelope, as read from the operator's file: not yet verified.
        signed: Bytes,
    },
    /// The fork that is not settled.
    RosterFork,
    /// Decide which of two rosters of one version is right.
    SettleFork {
        /// SHA-256 of its payload.
        follow: Hash,
    },
    /// Dial at once, without waiting for the next try.
    RetryLinks {
        /// One peer; `None`: all that are down.
        peer: Option<NodeId>,
    },
    /// The node as it is now.
    Status,
    /// All that is known of one message.
    Trace {
        /// The beginning of the message's id.
        prefix: IdPrefix,
        /// The same, as it was asked.
        text: String,
    },
    /// Take custody again.
    Undrain,
}

/// The result of an operator's request.
#[derive(Clone, Debug, PartialEq)]
pub enum OperatorAnswer {
    /// As it is now.
    Audit(AuditReport),
    /// The custody that is left.
    Drain(DrainStatus),
    /// The fork that is not settled, if there is one.
    Fork(Option<ForkReport>),
    /// Relays that are being dialed.
    Links(Vec<NodeId>),
    /// The head of a queue, in drain order.
    Queue(Vec<QueueEntry>),
    /// The changes of a reload.
    Reload(RosterReload),
    /// The version that is followed now.
    Settled(RosterVersion),
    /// The node as it is now.
    Status(Box<NodeStatus>),
    /// Held entries and remembered events.
    Trace(Trace),
}

/// The progress of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// True if new custody is refused.
    pub draining: bool,
    /// Entries in custody.
    pub entries: u64,
    /// Transfers sent and not yet acknowledged.
    pub in_flight: u64,
}

/// The changes of a roster's reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterReload {
    /// Followed before.
    pub from: RosterVersion,
    /// Followed now; the same, if the file holds no newer one.
    pub to: RosterVersion,
    /// Peers whose links were closed because of it.
    pub closed: Vec<NodeId>,
}
