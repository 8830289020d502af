//! How the store fails.

use std::sync::Arc;

use liaison_core::op::Position;
use liaison_protocol::MessageId;

/// The failure of a call on an open store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Stop serving; never carry on.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Nothing was written. Batches that only remove are still taken: removing is how space comes back.
    #[error("the disk is too full: {free_bytes} bytes free, {needed_bytes} needed before anything new is stored")]
    Full {
        /// Free now.
        free_bytes: u64,
        /// The reserve and this batch.
        needed_bytes: u64,
    },
    /// The batch breaks a rule of the store: a bug in its maker. Nothing was written.
    #[error(transparent)]
    Misuse(#[from] Misuse),
}

/// The disk failed, or lies: the node must stop serving. Whatever was acknowledged before is on disk, or the disk lost
/// it after the sync.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A value that this store did not write, or that the disk has changed.
    #[error("corrupt store: {keyspace} has a bad value at key {key}: {what}")]
    Corrupt {
        /// The part of the store.
        keyspace: &'static str,
        /// The key, in hexadecimal.
        key: Box<str>,
        /// The value's fault.
        what: &'static str,
    },
    /// The engine or the file system failed. Never retried on the same files: after a failed sync, nobody knows what is
    /// on disk until it is read anew.
    #[error("store failed {doing}: {cause}")]
    Io {
        /// The step that failed.
        doing: &'static str,
        /// The failure, in words.
        cause: Arc<str>,
    },
    /// Batches that were committed follow damaged ones, so that the engine would drop them. Nothing was changed. What
    /// helps is a copy of the disk, or a new directory: peers submit again what this node does not know.
    #[error("corrupt store: {journal} is damaged at byte {start}, with committed batches behind the damage")]
    Journal {
        /// The file's name.
        journal: Box<str>,
        /// The place where the damage begins, or the batch that it is in.
        start: u64,
    },
    /// The thread that commits is gone.
    #[error("the store's writer has stopped: {cause}")]
    WriterGone {
        /// The reason.
        cause: Arc<str>,
    },
}

/// The rule of the store that a batch breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// Attempts are 1 to [`liaison_protocol::limits::ATTEMPTS_MAX`].
    #[error("attempt {attempt} is out of range")]
    Attempt {
        /// The attempt.
        attempt: u8,
    },
    /// Dequeued under another id or expiry than it was enqueued with.
    #[error("{position:?} holds another envelope or expiry than the dequeue of {id} names")]
    EntryMismatch {
        /// The position.
        position: Position,
        /// The id named.
        id: MessageId,
    },
    /// One envelope has one entry for one recipient.
    #[error("{position:?} is for a message and recipient that have an entry at {other:?}")]
    EntryTwice {
        /// The second position.
        position: Position,
        /// The first.
        other: Position,
    },
    /// Enqueued without its bytes.
    #[error("{id} is enqueued, but its envelope is neither in the store nor earlier in the batch")]
    EnvelopeMissing {
        /// The envelope.
        id: MessageId,
    },
    /// Bytes that no entry names would never be freed.
    #[error("{id} is stored, and neither the store nor the batch has an entry for this envelope")]
    EnvelopeUnnamed {
        /// The envelope.
        id: MessageId,
    },
    /// Longer than the engine can hold.
    #[error("a key of {bytes} bytes, at most {bytes_max} are possible")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// Longer than any path that the core would take.
    #[error("{position:?} has a path of more than {relays_max} relays")]
    PathTooLong {
        /// The position.
        position: Position,
        /// The bound.
        relays_max: usize,
    },
    /// A sequence must be above all before it, in the batch and in the store.
    #[error("{position:?} is used again, or out of order: the last sequence was {last_seq}")]
    SeqReused {
        /// The position.
        position: Position,
        /// The highest sequence so far.
        last_seq: u64,
    },
}
