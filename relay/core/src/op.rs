//! What the core asks of the store: operations that one durable commit carries together.

use bytes::Bytes;
use liaison_protocol::{AgencyId, Hour, MessageId, NodeId, Timestamp};

/// Where an entry stands: queues are per recipient agency, drained by rank (0 is flash), then by sequence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The recipient whose queue this is.
    pub queue: AgencyId,
    /// [`liaison_protocol::Precedence::rank`], or [`RANK_BULK`] for chunks of attachments.
    pub rank: u8,
    /// Rises over all queues of this node, and is never used again.
    pub seq: u64,
}

/// Rank of chunks: after every precedence.
pub const RANK_BULK: u8 = 4;
/// Ranks in use.
pub const RANKS: u8 = 5;

/// One envelope's custody for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The envelope.
    pub id: MessageId,
    /// Which of the header's recipients this entry is for.
    pub index: u16,
    /// 1 to 16 (`limits::ATTEMPTS_MAX`).
    pub attempt: u8,
    /// Who signed it: an agency, or a relay for a notice.
    pub sender: NodeId,
    /// Who handed it to us; ourselves, for what was submitted here.
    pub from: NodeId,
    /// Relays it has passed, in order, without us. Of an agency's own entry at its daemon: home relays that have had the
    /// message, so that it goes by another one now.
    pub path: Vec<NodeId>,
    /// When custody was accepted here.
    pub accepted: Timestamp,
    /// Custody ends then, in a notice.
    pub expires: Timestamp,
    /// Size of the stored envelope, for quotas.
    pub bytes: u32,
}

/// What is remembered about a (message, recipient) that this node has held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The highest attempt taken.
    pub attempt: u8,
    /// Whether it is still held.
    pub held: Held,
    /// Forget after this: expiry plus `limits::DEDUPE_MARGIN`.
    pub until: Timestamp,
    /// The hour in which custody was accepted here.
    pub hour: Hour,
    /// Who handed it over: what later holders say goes back that way. `None`: nobody, as with a chain's mark.
    pub from: Option<NodeId>,
    /// Who took it over. `None` while it is held, and where custody ended here: delivered, expired, refused, withdrawn.
    pub to: Option<NodeId>,
}

impl Remembered {
    /// A mark without a way: where it came from and went to is not known, or of no use.
    #[must_use]
    pub const fn mark(attempt: u8, held: Held, until: Timestamp) -> Self {
        Self { attempt, held, until, hour: Hour(0), from: None, to: None }
    }
}

/// Whether a remembered message is still in this node's custody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Passed on, delivered here, expired or refused.
    Released,
    /// In custody.
    Yes,
}

/// Key of the dedupe memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupeKey {
    /// The envelope.
    pub id: MessageId,
    /// The recipient's index in its header.
    pub index: u16,
}

/// Small records beside the queues. A table is an ordered map from bytes to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Agencies' prekey bundles and prekeys, by agency.
    Bundles,
    /// Custody receipts and proofs.
    Custody,
    /// Events of the local API, by cursor.
    Events,
    /// Chunks of attachments that have arrived, and uploads on their way out.
    Chunks,
    /// What went to and came from each relay, by hour; and what was found to be missing.
    Ledger,
    /// Messages delivered to this agency.
    Inbox,
    /// Single values: receipt chain head, roster, counters.
    Meta,
    /// Messages submitted here, until their receipt.
    Outbox,
    /// Receipts due to senders.
    ReceiptsDue,
    /// Bytes that each sender has in each queue.
    Shares,
    /// Idempotency keys.
    Submissions,
}

/// One change. A batch of them is atomic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Removes a record; none there is no error.
    Delete {
        /// Where.
        table: Table,
        /// Its key.
        key: Vec<u8>,
    },
    /// Removes a queue entry, and the envelope's bytes with its last entry.
    Dequeue {
        /// Which.
        position: Position,
        /// Its envelope.
        id: MessageId,
        /// As in the entry: the expiry index is keyed by it.
        expires: Timestamp,
    },
    /// Adds a queue entry. Its envelope is in the store, or earlier in the same batch.
    Enqueue {
        /// Where.
        position: Position,
        /// What.
        entry: Entry,
    },
    /// Forgets a dedupe key.
    Forget {
        /// Which.
        key: DedupeKey,
    },
    /// Writes a record, over what is there.
    Put {
        /// Where.
        table: Table,
        /// Its key.
        key: Vec<u8>,
        /// Its value.
        value: Bytes,
    },
    /// Stores an envelope's bytes once, whatever the number of its entries.
    PutEnvelope {
        /// Its id.
        id: MessageId,
        /// `Envelope::encode`.
        bytes: Bytes,
    },
    /// Remembers that a message was taken for a recipient.
    Remember {
        /// Which.
        key: DedupeKey,
        /// What.
        record: Remembered,
    },
}

impl Op {
    /// Bytes that this operation adds to a commit, about: the measure of group commit.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => 32 + key.len() + value.len(),
            Self::PutEnvelope { bytes, .. } => 64 + bytes.len(),
            Self::Enqueue { .. } => 256,
            Self::Delete { .. } | Self::Dequeue { .. } | Self::Forget { .. } | Self::Remember { .. } => 96,
        }
    }
}
