//! What a node's shell must do.

use liaison_protocol::frame::{Ack, Comparison, CustodyProof, Inquiry, InquiryAnswer};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{AgencyId, Hour, MessageId, NodeId, Precedence, Timestamp};

use crate::conserve::Finding;
use crate::event::Ticket;
use crate::link::LinkKey;
use crate::op::{DedupeKey, Entry, Op, Position};

/// What the shell must do. In the order given; an action never waits for a later one.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send acknowledgements: everything that they say is durable.
    Acknowledge {
        /// To whom.
        link: LinkKey,
        /// On which lane.
        rank: u8,
        /// In the order of the transfers' commits.
        acks: Vec<Acknowledgement>,
    },
    /// Answer a local request: it is durable.
    Answer {
        /// Which.
        ticket: Ticket,
        /// Whether it was.
        outcome: Outcome,
    },
    /// Ask a next holder where a message is.
    Ask {
        /// Whom.
        link: LinkKey,
        /// What.
        inquiry: Inquiry,
    },
    /// A message that was delivered here is asked after: its receipt has not reached its sender.
    AskedAfter {
        /// Which.
        id: MessageId,
    },
    /// Send a receipt, made anew, for what is held here.
    Attest {
        /// To whom.
        link: LinkKey,
        /// Index into the `custody` of the commit that has just ended.
        custody: usize,
        /// What it says.
        taken: Taken,
    },
    /// Close a link that broke a rule or does not answer.
    Close {
        /// Which.
        link: LinkKey,
        /// Why.
        why: CloseReason,
    },
    /// Commit these, all or none, and answer with [`crate::Event::Committed`]. One at a time.
    Commit {
        /// What.
        ops: Vec<Op>,
        /// What custody they take: leaves of one receipt, whose body the shell commits with them and signs after.
        custody: Vec<Taken>,
    },
    /// Send a frame of a comparison.
    Compare {
        /// To whom.
        link: LinkKey,
        /// What.
        frame: Comparison,
    },
    /// What was released to a peer in one hour has been compared with what it accepted.
    Compared {
        /// With whom.
        peer: NodeId,
        /// Which hour.
        hour: Hour,
        /// What it does not know: an alarm. `None`: nothing is missing.
        finding: Option<Box<Finding>>,
    },
    /// Make what ends this entry (a notice, or this agency's own records), and answer with [`crate::Event::Ended`].
    End {
        /// Which.
        position: Position,
        /// What it holds.
        entry: Entry,
        /// Why it ends.
        reason: RefusalReason,
        /// In words, from whoever refused it.
        detail: String,
    },
    /// Read a queue from the store, and answer with [`crate::Event::Loaded`].
    Load {
        /// Which.
        queue: AgencyId,
        /// Its rank.
        rank: u8,
        /// Sequences above this.
        after: u64,
        /// At most so many.
        limit: usize,
    },
    /// Read what expires until then, and answer with [`crate::Event::Expiring`].
    LoadExpiring {
        /// Until when.
        until: Timestamp,
        /// At most so many.
        limit: usize,
    },
    /// Read from the dedupe memory what was released to a peer in some hours, and answer with
    /// [`crate::Event::ReleasedPage`].
    LoadReleased {
        /// The link of the comparison.
        link: LinkKey,
        /// To whom.
        peer: NodeId,
        /// When custody had been accepted here.
        hours: Vec<Hour>,
        /// After this key.
        after: Option<DedupeKey>,
    },
    /// Count something.
    Measure(Measure),
    /// A next holder acknowledged: pass its proof back towards the sender.
    Passed(Passed),
    /// Tell another home relay which agencies' links have come up or gone here.
    Presence {
        /// To whom.
        link: LinkKey,
        /// What.
        presence: liaison_protocol::frame::Presence,
    },
    /// Tell the peers which relays are reached from here.
    Reach {
        /// To whom.
        link: LinkKey,
        /// What.
        relays: Vec<liaison_protocol::frame::ReachEntry>,
    },
    /// Send an envelope to its next holder.
    Send(SendTransfer),
    /// Answer where a message is.
    Tell {
        /// Whom.
        link: LinkKey,
        /// What.
        answer: InquiryAnswer,
    },
    /// A relay has acknowledged a transfer without a receipt that holds. What it acknowledged is kept: an alarm.
    Unproven {
        /// Which relay.
        peer: NodeId,
    },
}

/// One transfer to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendTransfer {
    /// By which link.
    pub link: LinkKey,
    /// On which lane.
    pub rank: u8,
    /// Its number on that lane, from 1.
    pub seq: u64,
    /// Which envelope: its bytes are in the store.
    pub id: MessageId,
    /// Submission of it by its sender.
    pub attempt: u8,
    /// For which recipients, ascending.
    pub branch: Vec<u16>,
    /// Relays passed, with this one.
    pub path: Vec<NodeId>,
    /// When custody was accepted here.
    pub accepted: Timestamp,
}

/// One acknowledgement, and which custody it rests on.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    /// What goes on the wire; `proof` is the shell's to add.
    pub ack: Ack,
    /// Index into the `custody` of the commit that has just ended; `None` where nothing was taken.
    pub custody: Option<usize>,
}

/// Custody taken in a commit: one leaf of its receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The envelope.
    pub id: MessageId,
    /// From whom.
    pub from: NodeId,
    /// For which recipients, ascending.
    pub indices: Vec<u16>,
}

/// That a relay has taken over, by a receipt that holds.
#[derive(Clone, Debug)]
pub struct Passed {
    /// From whom this node had it: where the proof goes; this node itself, for its own.
    pub from: NodeId,
    /// The proof.
    pub proof: CustodyProof,
}

/// Whether a local request was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Done {
        /// For a cancellation: the recipients whose entries were withdrawn.
        withdrawn: Vec<u16>,
    },
    /// The disk is full: nothing was written.
    Full,
}

/// Why the core closes a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// It acknowledged what was never sent, or sent what SPEC.md forbids.
    Protocol,
    /// It does not acknowledge.
    Timeout,
}

/// What is counted (the metrics' names are the shell's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Custody accepted for one recipient.
    Accepted(Precedence),
    /// A transfer for a recipient that was held, or had been.
    Duplicate(Precedence),
    /// Custody that ended by expiry.
    Expired(Precedence),
    /// A non-delivery notice accepted for its sender.
    Notice(Precedence),
    /// Custody refused for one recipient.
    Refused(RefusalReason),
    /// Custody released to a next holder, after so many milliseconds.
    Released {
        /// Of which precedence.
        precedence: Precedence,
        /// How long it was held.
        held_ms: u64,
    },
}
