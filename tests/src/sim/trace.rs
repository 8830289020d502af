//! What happened, step by step: all that the checker reads, what a person reads of a seed, and what the digest covers.

use std::hash::{Hash, Hasher};

use liaison_core::LinkKey;
use liaison_core::op::{Held, Op, Table};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{Hash as Digest, MessageId, Timestamp};

use super::records;

/// A node's number: relays first, then daemons.
pub type NodeNo = usize;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Acknowledgements of one transfer leave `node`.
    Acknowledged { node: NodeNo, link: LinkKey, rank: u8, seq: u64, ack: AckFacts },
    /// They have arrived at `node`, which had sent the transfer.
    AckReceived { node: NodeNo, link: LinkKey, rank: u8, seq: u64, ack: AckFacts },
    /// A local request about `id` is answered: done, or nothing was written.
    Answered { node: NodeNo, id: MessageId, done: bool },
    /// Files are attached to a message: their hashes and sizes.
    Attached { node: NodeNo, id: MessageId, files: Vec<(Digest, usize)> },
    /// An envelope is a chunk of an attachment of the message `of`.
    Chunk { node: NodeNo, id: MessageId, of: MessageId, attachment: u32, index: u32 },
    /// A clock jumps.
    ClockJumped { node: NodeNo, by_ms: i64 },
    /// A hostile node signs the body of the envelope `of` as its own.
    Copied { node: NodeNo, id: MessageId, of: MessageId },
    /// A node closes a link for what its peer did.
    Closed { node: NodeNo, link: LinkKey, why: &'static str },
    /// A commit begins.
    Commit { node: NodeNo, batch: u64, facts: Vec<Fact> },
    /// The power fails. `kept`: the batch that was being synced got to the disk nevertheless.
    Crashed { node: NodeNo, kept: bool },
    /// The node stops by itself: its disk failed. `kept` as above.
    Died { node: NodeNo, kept: bool, why: &'static str },
    /// The disk is replaced by an empty one, or by a copy of what it was after `batch`.
    DiskReplaced { node: NodeNo, by: Option<u64> },
    /// A commit is durable.
    Durable { node: NodeNo, batch: u64 },
    /// What ends an entry is made.
    Ended { node: NodeNo, id: MessageId, index: u16, reason: RefusalReason, clock: Timestamp, told: Told },
    /// A fault begins.
    Fault { name: &'static str },
    /// A commit found the disk full: nothing was written.
    Full { node: NodeNo, batch: u64 },
    /// Records that should have gone are on a disk when all is over.
    Left { node: NodeNo, what: &'static str, count: usize },
    /// A link is up at this end.
    LinkUp { node: NodeNo, peer: NodeNo, link: LinkKey },
    /// A link is gone at this end.
    LinkDown { node: NodeNo, link: LinkKey },
    /// A disk falls below its low-water mark, or rises above it.
    Low { node: NodeNo, low: bool },
    /// A drain begins or ends.
    Drained { node: NodeNo, draining: bool },
    /// An application takes over a message that it was shown, and says that it is read.
    Marking { node: NodeNo, id: MessageId },
    /// It is answered: both marks are kept (`done`), or they cannot be.
    Marked { node: NodeNo, id: MessageId, done: bool },
    /// A comparison has found parts that `peer` does not know, though it had taken them.
    Missing { node: NodeNo, peer: NodeNo, parts: Vec<(MessageId, u16)> },
    /// A transfer has arrived, and is what its sender signed (`good`) or not. `wraps`: for whom it can be opened.
    Received {
        node: NodeNo,
        from: NodeNo,
        link: LinkKey,
        rank: u8,
        seq: u64,
        transfer: Carried,
        wraps: Vec<u16>,
        clock: Timestamp,
        good: bool,
    },
    /// An envelope is the message `of` (by its first envelope's id), sealed anew for one recipient.
    Resealed { node: NodeNo, id: MessageId, of: MessageId, index: u16 },
    /// A roster is followed from now on. `genuine`: the roots have published this very one.
    Roster { node: NodeNo, version: u32, genuine: bool },
    /// A transfer leaves.
    Sent { node: NodeNo, peer: NodeNo, link: LinkKey, rank: u8, seq: u64, transfer: Carried },
    /// An application reads a message that has come.
    Shown { node: NodeNo, id: MessageId, sender: NodeNo, text: String },
    /// An application reads an attachment, if it can.
    ShownPart { node: NodeNo, id: MessageId, n: u32, digest: Option<Digest> },
    /// An envelope is sealed to a prekey of the agency `to`. `signers`: which of that agency's keys, the first one (0) or the
    /// next (1), have signed bundles with this prekey.
    Sealed { node: NodeNo, id: MessageId, to: NodeNo, signers: Vec<u8> },
    /// A node signs a receipt, which leaves it.
    Signed { node: NodeNo, seq: u64, receipt: Digest },
    /// A node starts from its disk.
    Started { node: NodeNo },
    /// An agency submits a message of its own, for the first time or again.
    Submitted {
        node: NodeNo,
        id: MessageId,
        recipients: Vec<NodeNo>,
        rank: u8,
        kind: MailKind,
        text: String,
        expires: Timestamp,
    },
    /// A hostile node plays false, or stops doing so.
    Hostile { node: NodeNo, hostile: bool },
}

/// What an envelope is for, as its sender meant it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// From people.
    Message,
    /// From daemon to daemon: delivery receipts.
    Receipts,
    /// A message, submitted again.
    Again,
    /// A message, sealed anew.
    Anew,
    /// A chunk of an attachment.
    Chunk,
}

/// What one transfer carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Carried {
    /// The envelope.
    pub id: MessageId,
    /// For which recipients.
    pub branch: Vec<u16>,
    /// Which submission.
    pub attempt: u8,
    /// Relays that it says it has passed, without the one that sends it.
    pub path: Vec<NodeNo>,
}

/// What an acknowledgement says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AckFacts {
    /// Of which envelope; a receiver knows it by its transfer.
    pub id: MessageId,
    /// In custody.
    pub taken: Vec<u16>,
    /// Was in custody.
    pub duplicate: Vec<u16>,
    /// Index, code, and milliseconds until another try makes sense.
    pub refused: Vec<(u16, u16, u32)>,
}

/// Who learns of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// Nobody yet: it is tried again later.
    Later,
    /// Nobody: the sender has left, or it was a notice itself.
    Nobody,
    /// The sender, by this notice.
    Notice(MessageId),
    /// This node's own agency, which sent it.
    Sender,
}

/// What a commit changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// An envelope's bytes are stored.
    Body(MessageId),
    /// The sender's own copy of a message is waited for no more, for this recipient.
    Closed { id: MessageId, index: u16 },
    /// All that is attached to a message is there, and announced.
    Complete { id: MessageId },
    /// An id is forgotten.
    Forgot { id: MessageId, index: u16 },
    /// An application has taken a message over.
    HandedOver { id: MessageId },
    /// A message is in the inbox, and announced. Without its text, its application says what that is ([`Step::Shown`]).
    Inbox { id: MessageId, sender: NodeNo, text: Option<String> },
    /// An id is remembered.
    Known { id: MessageId, index: u16, attempt: u8, held: bool, until: Timestamp },
    /// A message is listed in an inbox.
    Listed { id: MessageId },
    /// The sender keeps a message for this recipient.
    Open { id: MessageId, index: u16, attempt: u8 },
    /// A message in an inbox is read.
    Read { id: MessageId },
    /// The sender has a read receipt, which follows this delivery receipt.
    ReadReceipted { id: MessageId, index: u16, delivery: Digest },
    /// The sender has a delivery receipt; this one, where its daemon is whole.
    Receipted { id: MessageId, index: u16, receipt: Option<Digest> },
    /// A receipt that a node keeps: whose it is, its number, its hash.
    ReceiptKept { by: NodeNo, seq: u64, receipt: Digest },
    /// The sender is to seal a message anew for this recipient, once it has a key for it.
    Resealing { id: MessageId, index: u16 },
    /// An entry is in a queue.
    Queued { place: QueuePlace, id: MessageId, index: u16, bytes: u32, expires: Timestamp },
    /// The sender knows that its message will not arrive, from whom, and why.
    Told { id: MessageId, index: u16, by: NodeNo, reason: u16 },
    /// The sender keeps a message no longer, so that it could send it again: for no recipient.
    Settled { id: MessageId },
    /// The sender keeps a message, so that it can send it again.
    Unsettled { id: MessageId },
    /// An entry has left.
    Unqueued { place: QueuePlace, id: MessageId },
}

/// Where an entry stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueuePlace {
    /// The recipient whose queue it is.
    pub queue: Box<str>,
    /// Its rank.
    pub rank: u8,
    /// Its number.
    pub seq: u64,
}

impl From<&liaison_core::op::Position> for QueuePlace {
    fn from(position: &liaison_core::op::Position) -> Self {
        Self { queue: position.queue.as_str().into(), rank: position.rank, seq: position.seq }
    }
}

impl Fact {
    /// What the checker is told of an operation; none for what only the store's owner reads.
    pub(super) fn of(op: &Op) -> Option<Self> {
        Some(match op {
            Op::Dequeue { position, id, .. } => Self::Unqueued { place: position.into(), id: *id },
            Op::Enqueue { position, entry } => Self::Queued {
                place: position.into(),
                id: entry.id,
                index: entry.index,
                bytes: entry.bytes,
                expires: entry.expires,
            },
            Op::Forget { key } => Self::Forgot { id: key.id, index: key.index },
            Op::PutEnvelope { id, .. } => Self::Body(*id),
            Op::Remember { key, record } => Self::Known {
                id: key.id,
                index: key.index,
                attempt: record.attempt,
                held: record.held == Held::Yes,
                until: record.until,
            },
            Op::Put { table, key, value } => return records::fact(*table, key, value),
            Op::Delete { table: Table::Outbox, key } => {
                let (id, index) = records::open_key(key)?;
                Self::Closed { id, index }
            }
            Op::Delete { .. } => return None,
        })
    }
}

/// The steps of a run, in order.
#[derive(Debug, Default)]
pub struct Trace {
    /// Milliseconds since the beginning, and what happened.
    pub steps: Vec<(u64, Step)>,
}

impl Trace {
    pub(super) fn note(&mut self, at_ms: u64, step: Step) {
        self.steps.push((at_ms, step));
    }

    /// Of the whole trace: the same for the same seed, on every machine.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        self.steps.hash(&mut hasher);
        hasher.finish()
    }

    /// As a person reads it.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.steps.iter().map(|(at, step)| format!("{at:>12} ms  {step:?}"))
    }
}

/// FNV-1a: the same bytes give the same number everywhere, unlike the standard library's hasher.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
