//! Everything that a driver asks of its host, in the order in which it is to be done.

use std::sync::Arc;

use liaison_core::LinkKey;
use liaison_core::action::Measure;
use liaison_core::op::Op;
use liaison_protocol::NodeId;
use liaison_protocol::frame::{Acks, CloseCode, ControlFrame, Transfer};
use liaison_protocol::roster::Roster;

use crate::agency::{Answer, RequestError, RequestId};
use crate::operator::{OperatorAnswer, OperatorError};
use crate::work::Work;

/// Something to do. A frame for a link that is gone is dropped.
#[derive(Debug)]
pub enum Output {
    /// Send acknowledgements.
    Acks {
        /// Over this link.
        link: LinkKey,
        /// On the lane of this rank.
        rank: u8,
        /// The frame.
        acks: Acks,
    },
    /// Answer the agency.
    Answer(RequestId, Result<Answer, RequestError>),
    /// End a link.
    Close {
        /// The link.
        link: LinkKey,
        /// The reason that its peer is told.
        code: CloseCode,
    },
    /// Commit these operations, all or none. The driver asks for the next commit when it has heard of this one.
    Commit {
        /// The operations.
        ops: Vec<Op>,
        /// Receipts up to this number must be set aside before.
        receipts: u64,
    },
    /// Send a frame on the control stream.
    Control {
        /// Over this link.
        link: LinkKey,
        /// The frame.
        frame: ControlFrame,
    },
    /// Keep a link with this relay; dial anew if it is dialed already.
    Dial {
        /// The relay.
        peer: NodeId,
        /// `host:port`, tried in turn.
        addresses: Vec<String>,
    },
    /// Count something.
    Measure(Metric),
    /// Answer an operator.
    Operator(RequestId, Result<OperatorAnswer, OperatorError>),
    /// A roster is in force.
    Roster(Arc<Roster>),
    /// Hand over an envelope.
    Transfer {
        /// Over this link.
        link: LinkKey,
        /// On the lane of this rank.
        rank: u8,
        /// The frame.
        transfer: Transfer,
    },
    /// Keep no link with this relay any more.
    Undial {
        /// The relay.
        peer: NodeId,
    },
    /// Do this on a worker, and give back what it gives.
    Work(Work),
}

/// Events that metrics count.
#[derive(Debug)]
pub enum Metric {
    /// A commit has ended well.
    Commit {
        /// From its start to its end.
        took: std::time::Duration,
        /// Envelopes that it stored.
        envelopes: u64,
    },
    /// Custody, as the core measures it.
    Custody(Measure),
    /// A commit found the disk full, and wrote nothing.
    DiskFull,
    /// An hour's releases were compared with what a peer accepted.
    HourCompared {
        /// The peer.
        peer: NodeId,
        /// Entries that the peer does not know.
        missing: u64,
    },
    /// An agency has signed two prekey bundles of one number.
    PrekeyEquivocation,
    /// A call on the store has failed.
    StoreError {
        /// `commit` or `read`.
        operation: &'static str,
    },
    /// A relay acknowledges without a receipt.
    Unproven {
        /// The relay.
        peer: NodeId,
    },
}
