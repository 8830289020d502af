//! What can happen to a node.

use std::sync::Arc;

use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::frame::{Ack, Comparison, Inquiry, InquiryAnswer, Presence, ReachEntry};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::roster::Roster;
use liaison_protocol::{MessageId, NodeId, Timestamp};

use crate::conserve::ReleasedItem;
use crate::durable::Durable;
use crate::link::{LinkKey, NodeKind};
use crate::op::{DedupeKey, Entry, Op, Position, Remembered};
use crate::proofs::VerifiedReceipt;

/// Names a local request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What happens to a node. Time comes beside it, as an argument.
#[derive(Debug)]
pub enum Event {
    /// A peer's acknowledgements on one lane.
    Acked {
        /// Whose.
        link: LinkKey,
        /// Which lane.
        rank: u8,
        /// What became of our transfers.
        acks: Vec<Ack>,
        /// The receipt that came with them, once its signature has been verified. `None`: there was none, or it does not
        /// hold.
        receipt: Option<VerifiedReceipt>,
    },
    /// A peer says what time it is there.
    ClockTold {
        /// Its link.
        link: LinkKey,
        /// By its clock.
        theirs: Timestamp,
    },
    /// The commit in flight has ended.
    Committed(CommitResult),
    /// An operator wants what was released to be compared now.
    Compare,
    /// A frame of a comparison.
    Compared {
        /// The link.
        link: LinkKey,
        /// What the peer says or asks.
        frame: Comparison,
        /// Whether the store remembers the items of a roll, one by one; looked up in the same turn.
        known: Vec<bool>,
    },
    /// The disk fell below its low-water mark, or rose above it.
    Disk(Disk),
    /// An operator starts or ends a drain.
    Drain(Drain),
    /// What [`crate::Action::End`] asked for is made.
    Ended {
        /// The entry that ends.
        position: Position,
        /// What ends it.
        outcome: Ended,
    },
    /// The agency withdraws a message of its own. What is in flight stays: its acknowledgement may be on the way.
    Cancel {
        /// Answered once it is durable.
        ticket: Ticket,
        /// Its entries.
        entries: Vec<(Position, Entry)>,
        /// Committed with the removal, if anything is removed.
        ops: Vec<Op>,
    },
    /// Entries whose expiry has come, as [`crate::Action::LoadExpiring`] asked.
    Expiring {
        /// Those due.
        entries: Vec<(Position, Entry)>,
        /// When the next one after them is due.
        next: Option<Timestamp>,
    },
    /// Entries of a queue, as [`crate::Action::Load`] asked.
    Loaded {
        /// The queue.
        queue: liaison_protocol::AgencyId,
        /// Its rank.
        rank: u8,
        /// In order of sequence.
        entries: Vec<(u64, Entry)>,
        /// Whether the queue held no more.
        end: bool,
    },
    /// A peer asks where a message is.
    Inquired {
        /// The link.
        link: LinkKey,
        /// What it asks.
        inquiry: Inquiry,
        /// What the store remembers of it, looked up in the same turn.
        seen: Option<Remembered>,
    },
    /// A peer answers.
    InquiryAnswered {
        /// The link.
        link: LinkKey,
        /// What it says.
        answer: InquiryAnswer,
    },
    /// A link is up: the peer's hello has been checked.
    LinkUp {
        /// The link.
        link: LinkKey,
        /// Who is there.
        peer: NodeId,
        /// What the roster says it is.
        kind: NodeKind,
    },
    /// A link is gone. Nothing more comes from it.
    LinkDown {
        /// The link.
        link: LinkKey,
    },
    /// A peer says which agencies' links have come up or gone there.
    Presence {
        /// The link.
        link: LinkKey,
        /// What has changed.
        presence: Presence,
    },
    /// A peer says which relays it reaches.
    Reach {
        /// The link.
        link: LinkKey,
        /// Its relays.
        relays: Vec<ReachEntry>,
    },
    /// A transfer whose envelope has been verified.
    Received(Box<Received>),
    /// A transfer whose envelope is not what its sender signed.
    Rejected {
        /// The link.
        link: LinkKey,
        /// The lane.
        rank: u8,
        /// The transfer.
        seq: u64,
        /// For whom it was.
        branch: Vec<u16>,
        /// Why.
        reason: RefusalReason,
        /// In words.
        detail: String,
    },
    /// What [`crate::Action::LoadReleased`] asked for.
    ReleasedPage {
        /// The link of the comparison.
        link: LinkKey,
        /// Entries released to its peer, at most as many as a roll holds, ascending.
        items: Vec<ReleasedItem>,
        /// Where to go on; `None` at the end.
        next: Option<DedupeKey>,
    },
    /// A newer roster has taken effect.
    Roster(Arc<Roster>),
    /// Forget what makes entries wait, and try them now.
    Retry,
    /// Local records to commit, with nothing to forward.
    Records {
        /// Answered when they are durable.
        ticket: Ticket,
        /// What to commit.
        ops: Vec<Op>,
    },
    /// A message of this node's own agency, for those recipients whose wraps it holds (all, where its kind has none).
    Submitted {
        /// Answered when it is durable.
        ticket: Ticket,
        /// Signed by this node.
        envelope: VerifiedEnvelope,
        /// 1, and one more for each time that it is submitted again.
        attempt: u8,
        /// Home relays that have had it: the others come first now.
        tried: Vec<NodeId>,
        /// What is stored of this envelope already, for other recipients: its wraps are kept. Looked up in the same turn
        /// as this event is handled, as in [`Received`].
        stored: Option<Box<VerifiedEnvelope>>,
        /// Committed with it.
        ops: Vec<Op>,
    },
    /// Time has passed.
    Timer,
}

/// A verified transfer, with what the store remembers of it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The link that it came by.
    pub link: LinkKey,
    /// The lane.
    pub rank: u8,
    /// The transfer's number on its lane.
    pub seq: u64,
    /// Submission of the envelope by its sender.
    pub attempt: u8,
    /// When the peer accepted custody, by its clock.
    pub accepted: Timestamp,
    /// Which recipients this copy is for.
    pub branch: Vec<u16>,
    /// Relays passed, without the peer.
    pub path: Vec<NodeId>,
    /// The envelope.
    pub envelope: VerifiedEnvelope,
    /// What the store remembers of each recipient in `branch`, in its order. **Looked up in the same turn as this event
    /// is handled**, by the task that owns the core: what is committed is in here, what is not yet is in the core, and
    /// nothing lies between the two.
    pub seen: Vec<Option<Remembered>>,
    /// What is stored of this envelope already, for other recipients: its wraps are kept. Looked up likewise.
    pub stored: Option<VerifiedEnvelope>,
    /// At a daemon, what opening it for this agency gave.
    pub local: Option<Local>,
}

/// What a daemon's agency makes of an envelope addressed to it.
#[derive(Clone, Debug)]
pub enum Local {
    /// It goes into the inbox, with these records.
    Deliver {
        /// Committed together with the dedupe ids.
        ops: Vec<Op>,
        /// First id of the chain that it supersedes, and what is remembered of that: to people it is one message.
        chain: Option<(MessageId, Option<Remembered>)>,
    },
    /// Not now: the peer tries again.
    Later {
        /// Why.
        reason: RefusalReason,
        /// In words.
        detail: String,
    },
    /// It cannot be opened: custody is refused, finally, and these records say so here.
    Refuse {
        /// Why.
        reason: RefusalReason,
        /// In words.
        detail: String,
        /// Committed before the refusal leaves.
        ops: Vec<Op>,
    },
}

/// What became of a commit.
#[derive(Debug)]
pub enum CommitResult {
    /// Every operation is durable, as the store's engine vouches.
    Durable(Durable),
    /// The disk is full: nothing was written.
    Full,
}

/// Room on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Below the low-water mark: no new custody.
    Low,
    /// Enough.
    Ok,
}

/// Whether a node takes new custody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// It does.
    Off,
    /// It only passes on what it holds.
    On,
}

/// How an entry ends other than by a next holder's acknowledgement.
#[derive(Clone, Debug)]
pub enum Ended {
    /// Not possible now (no key of the sender's is known): try again later, hold it meanwhile.
    Later,
    /// A notice to the sender, in the same commit.
    Notice(Box<VerifiedEnvelope>),
    /// Records, in the same commit: the sender is this node's own agency, or nobody is to be told.
    Records(Vec<Op>),
}
