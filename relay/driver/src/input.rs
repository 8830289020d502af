//! Everything that a driver is told.

use std::time::Duration;

use liaison_core::{LinkKey, NodeKind};
use liaison_protocol::envelope::{EnvelopeError, VerifiedEnvelope};
use liaison_protocol::frame::{Acks, ControlFrame, Transfer};
use liaison_protocol::roster::RosterVersion;
use liaison_protocol::{Hash, NodeId};

use crate::agency::{Received, Request, RequestId};
use crate::operator::OperatorRequest;
use crate::store_error::StoreError;
use crate::work::WorkDone;
use liaison_core::durable::Durable;

/// Something happened.
#[derive(Debug)]
pub enum Input {
    /// Transfers of one rank have been verified, in the order in which they came.
    Checked(Vec<Checked>),
    /// The commit under way has ended.
    Committed {
        /// The engine's proof; or nothing is known to be on disk.
        result: Result<Durable, StoreError>,
        /// From its start to its end.
        took: Duration,
        /// Envelopes that it stored.
        envelopes: u64,
    },
    /// A link, or something that came over it.
    Link(LinkInput),
    /// An operator asks.
    Operator(RequestId, OperatorRequest),
    /// The agency of this node asks.
    Request(RequestId, Request),
    /// A deadline has passed.
    Timer,
    /// Work has ended.
    Work(WorkDone),
}

/// A transfer that has been checked.
#[derive(Debug)]
pub struct Checked {
    /// The link that it came by.
    pub link: LinkKey,
    /// The lane's rank.
    pub rank: u8,
    /// As the peer sent it.
    pub transfer: Transfer,
    /// The check's result.
    pub outcome: Outcome,
}

/// The result of a transfer's check.
#[derive(Debug)]
pub enum Outcome {
    /// The envelope is not what its sender signed.
    Rejected(EnvelopeError),
    /// The envelope is signed.
    Verified {
        /// The envelope.
        envelope: Box<VerifiedEnvelope>,
        /// The agency's decision, where this node's agency is a recipient.
        local: Option<Received>,
    },
}

/// News from links.
#[derive(Debug)]
pub enum LinkInput {
    /// Acknowledgements came.
    Acks {
        /// The link.
        link: LinkKey,
        /// The lane's rank.
        rank: u8,
        /// The frame.
        acks: Acks,
    },
    /// A frame of the control stream came.
    Control {
        /// The link.
        link: LinkKey,
        /// The frame.
        frame: ControlFrame,
    },
    /// A peer could not be reached.
    DialFailed {
        /// The peer.
        peer: NodeId,
        /// The reason, in words.
        reason: String,
    },
    /// A link has ended.
    Down {
        /// The link.
        link: LinkKey,
        /// The peer.
        peer: NodeId,
        /// The reason, in words.
        reason: String,
    },
    /// Two programs use the link key of one node.
    Rivals {
        /// The node.
        peer: NodeId,
        /// The address of the link that was there.
        older: String,
        /// The address of the link that took its place.
        newer: String,
    },
    /// A transfer came. It is verified elsewhere, and comes back as [`Input::Checked`].
    TransferCame {
        /// The link.
        link: LinkKey,
    },
    /// A link is up.
    Up {
        /// The link.
        link: LinkKey,
        /// The peer.
        peer: NodeId,
        /// The peer's kind, by its certificate and the roster.
        kind: NodeKind,
        /// The roster that the peer follows, as its hello says.
        roster: (RosterVersion, Hash),
    },
}
