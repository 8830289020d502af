//! The seam between a node's driver and the agency whose daemon it is: plain types and one trait.
//!
//! ```text
//!            receive, progress            Submit, Commit, Cancel …
//!  driver ────────────────────► LocalAgency ─────────────────────► Request ──► driver
//!    │  ◄──── ops to commit ───────┘  ▲                                          │
//!    └──── committed / dropped ───────┘            Answer, once it is durable ◄──┘
//! ```
//!
//! A relay has no agency.

use bytes::Bytes;
use liaison_core::op::Op;
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::frame::CustodyState;
use liaison_protocol::prekey::BundlePosition;
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{AgencyId, Hash, KeyId, MessageId, NodeId, Timestamp};

/// A daemon's own part: envelopes addressed to the daemon, and the fate of its messages.
///
/// Called by the run loop and its worker pool. Nothing here waits for the run loop: that would wait for itself.
pub trait LocalAgency: Send + Sync + 'static {
    /// Opens an envelope that is addressed to this agency as recipient `index` of its header. Costly: the run loop calls
    /// it on a worker. Changes nothing by itself: the operations that it returns are committed together with the
    /// dedupe ids, once, or not at all. Called again for the same envelope it gives the same answer.
    fn receive(&self, envelope: &VerifiedEnvelope, index: u16, now: Timestamp) -> Received;

    /// The operations that [`LocalAgency::receive`] returned for this envelope are durable.
    fn committed(&self, id: MessageId);

    /// They were not committed, and will not be (a duplicate, a full disk): if the envelope comes again, so does
    /// [`LocalAgency::receive`].
    fn dropped(&self, id: MessageId);

    /// Something became known about the outside, or about this agency's own messages. Quick: it runs in the run loop.
    /// Returns what to commit, soon, alone or with anything else.
    fn progress(&self, event: OwnEvent, now: Timestamp) -> Vec<Op>;
}

/// An agency's decision about an envelope addressed to the agency.
#[derive(Clone, Debug)]
pub enum Received {
    /// It is taken: inbox record, receipt due, events. Also for what turns out to be known already: `ops` may be few.
    Deliver {
        /// Operations that make the delivery durable.
        ops: Vec<Op>,
        /// For a message that supersedes another: names its chain, the same for all of one sender's envelopes in it
        /// and for no other sender's. Of two in flight at once only the first is taken.
        chain: Option<MessageId>,
    },
    /// This node cannot read its own records. Stop serving.
    Fault(String),
    /// Not now: nothing is taken, and the peer tries again.
    Later {
        /// The reason.
        reason: RefusalReason,
        /// In words.
        detail: String,
    },
    /// It cannot be taken, now or later. Whoever handed it over is told, and tells its sender.
    Refuse {
        /// The reason.
        reason: RefusalReason,
        /// In words, at most 256 bytes; goes to the sender.
        detail: String,
        /// Committed with the refusal's dedupe record.
        ops: Vec<Op>,
    },
}

/// News about the outside, or about the agency's own messages.
#[derive(Clone, Debug)]
pub enum OwnEvent {
    /// A relay answered a [`Request::Inquire`], or passed on the answer of the holder that it had handed over to.
    Answer {
        /// The envelope.
        id: MessageId,
        /// The recipient's place in its header.
        index: u16,
        /// The speaker: the relay that was asked, or a holder behind it.
        by: NodeId,
        /// The home relay that the answer came by.
        via: NodeId,
        /// The holder's state.
        state: CustodyState,
    },
    /// The sender of a message that was delivered here asks after it, or has sent it again: it has no receipt yet.
    AskedAfter {
        /// The envelope.
        id: MessageId,
    },
    /// A verified prekey bundle of `agency`, newer than what was known, is in the store.
    Bundle {
        /// The agency.
        agency: AgencyId,
    },
    /// A bundle of this agency itself that it did not make: its signature is good, and it takes the place of the agency's
    /// own, or stands in the same place.
    ForeignBundle(ForeignBundle),
    /// A relay has custody of one of this agency's envelopes, by its receipt. Receipt, proof and roster agree.
    Custody(Box<Custody>),
    /// An entry of this agency's own outbox expired before any relay took it.
    Expired {
        /// The envelope.
        id: MessageId,
        /// The recipient's place in its header.
        index: u16,
    },
    /// A link is down.
    LinkDown {
        /// To whom.
        peer: NodeId,
        /// The reason, in words.
        reason: String,
    },
    /// A link is up.
    LinkUp {
        /// To whom.
        peer: NodeId,
    },
    /// A newer roster has taken effect.
    Roster,
    /// The next hop refused one of this agency's envelopes for good; or the entry was withdrawn
    /// ([`RefusalReason::Cancelled`], by this node).
    Refused {
        /// The envelope.
        id: MessageId,
        /// The recipient's place in its header.
        index: u16,
        /// The node that refused it.
        by: NodeId,
        /// The reason.
        reason: RefusalReason,
        /// In words.
        detail: String,
    },
}

/// A bundle of this agency that it did not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignBundle {
    /// Its place among the agency's bundles.
    pub position: BundlePosition,
    /// The time when it was made, it says.
    pub issued: Timestamp,
    /// The agency's key that signed it.
    pub signer: KeyId,
    /// SHA-256 of what was signed.
    pub hash: Hash,
}

/// A verified statement of custody about one of this agency's envelopes.
#[derive(Clone, Debug)]
pub struct Custody {
    /// The envelope.
    pub id: MessageId,
    /// For which recipients, by their place in its header, ascending.
    pub indices: Vec<u16>,
    /// The holder.
    pub holder: NodeId,
    /// From whom.
    pub from: NodeId,
    /// Since when, by the holder's clock.
    pub at: Timestamp,
    /// The signed receipt, encoded.
    pub receipt: Bytes,
    /// The leaf's place in the receipt's tree, encoded.
    pub proof: Bytes,
}

/// The reason why a request to the run loop was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Nothing was written.
    #[error("the disk is full, or at its low-water mark")]
    Full,
    /// True if anything was written is found out at the next start; the node stops.
    #[error("the store failed")]
    Fault,
    /// The node's own rules refuse it: nothing was written.
    #[error("{reason}: {detail}")]
    Refused {
        /// The reason.
        reason: RefusalReason,
        /// In words.
        detail: String,
    },
    /// The run loop has ended, or is ending.
    #[error("the node is stopping")]
    Stopping,
}

/// Names a request of this process; its answer carries the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, and durable where it writes.
    Done,
    /// Entries that a retry set going.
    Going(u64),
    /// Recipients, by their place in the header, whose entries a cancellation withdrew.
    Withdrawn(Vec<u16>),
}

/// Requests of an agency to its node's driver. Each is answered with an [`Answer`], or a [`RequestError`].
#[derive(Debug)]
pub enum Request {
    /// Withdraw what is queued here of an envelope: entries in flight stay, as their acknowledgement may be on the way.
    Cancel {
        /// The envelope.
        id: MessageId,
        /// For which recipient, by its place in the header; `None`: for all.
        index: Option<u16>,
        /// Committed with the removal, if anything was removed.
        ops: Vec<Op>,
    },
    /// Commit records, with nothing to forward. Answered with [`Answer::Done`] once they are durable.
    Commit {
        /// All or none.
        ops: Vec<Op>,
    },
    /// Ask along its path where an envelope of this agency's is; each answer comes as [`OwnEvent::Answer`], or never.
    Inquire {
        /// The envelope.
        id: MessageId,
        /// The recipient's place in its header.
        index: u16,
    },
    /// This agency's bundle in the store has changed: offer it to the relays.
    PublishBundle,
    /// Try at once what waits, and ask along their path after those that were taken: one envelope, or all.
    Retry {
        /// The envelope; `None`: all.
        id: Option<MessageId>,
    },
    /// Queue an envelope of this node's own for those recipients whose wraps it holds (all, where its kind has none).
    Submit {
        /// Signed by this node.
        envelope: Box<VerifiedEnvelope>,
        /// 1 for the first submission of an envelope; one more each time it is submitted again, after it was lost.
        attempt: u8,
        /// Home relays that have had it: the others come first now.
        tried: Vec<NodeId>,
        /// Committed with it.
        ops: Vec<Op>,
    },
}
