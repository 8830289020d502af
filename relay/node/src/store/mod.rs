//! The durable store: where custody lives.
//!
//! [`Store`] is what the rest of a node sees: batches of operations that are atomic and durable when [`Store::commit`]
//! returns, and reads of what was committed. It does not decide anything (the core does), it is not a cache, and it
//! serves one process at a time.
//!
//! ```text
//!  core ── ops ──► Writer (a thread) ── commit ──► Store ── one write, one fdatasync ──► disk
//!  core ◄─ Durable ──────┘                           └── head, envelope, remembered … ──► anyone, any time
//! ```
//!
//! Invariants: a [`Durable`] exists only after the sync; a batch is there whole or not at all; an envelope's bytes are
//! there while, and only while, an entry names it; after a [`Fault`] nothing is written again.

mod brand;
mod config;
#[cfg(test)]
mod conformance;
mod directory;
mod engine;
mod error;
mod lease;
mod query;
mod recover;
pub mod testing;
mod writer;

use bytes::Bytes;
use liaison_core::op::{DedupeKey, Entry, Op, Position, Remembered, Table};
use liaison_protocol::{AgencyId, MessageId, Timestamp};

pub use config::StoreConfig;
pub use engine::DiskStore;
pub use error::{Fault, Misuse, OpenError, StoreError};
pub use lease::{Lease, LeaseOctets, Numbers};
pub use query::{Expiring, IdPrefix, ParseIdPrefixError, QueueTotals, Record, Usage};
pub use writer::{Committer, Pending, Writer};

/// Proof that a batch is on disk, under a completed sync. Only [`Store::commit`] makes one: acknowledging before the
/// sync does not compile.
#[derive(Debug)]
#[must_use = "the senders still wait for their acknowledgement"]
pub struct Durable {
    commit: u64,
}

impl Durable {
    /// Counts the commits of this store since it was opened, from 1.
    #[must_use]
    pub fn commit(&self) -> u64 {
        self.commit
    }
}

/// A durable store of queues, envelopes, the dedupe memory and records.
///
/// Reads see every commit that has returned, and may run on any thread beside a commit. They block on the disk: async
/// code calls them from a thread that may block. Every method answers [`Fault`] once one has.
pub trait Store: Send + Sync + 'static {
    /// Applies `ops` in their order, all or none, and returns once they are durable. An empty batch is durable at once.
    /// One caller at a time: a second one waits.
    ///
    /// # Errors
    /// [`StoreError::Full`] and [`StoreError::Misuse`]: nothing was written, and the store goes on. [`StoreError::Fault`]:
    /// whether the batch is on disk is unknown, and is found out by opening the store anew.
    fn commit(&self, ops: &[Op]) -> Result<Durable, StoreError>;

    /// Entries of one queue and rank with a sequence above `after_seq`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn head(&self, queue: &AgencyId, rank: u8, after_seq: u64, limit: usize) -> Result<Vec<(u64, Entry)>, StoreError>;

    /// An envelope's bytes, while an entry names it.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn envelope(&self, id: &MessageId) -> Result<Option<Bytes>, StoreError>;

    /// Every entry of one envelope, by position.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn positions_of(&self, id: &MessageId) -> Result<Vec<(Position, Entry)>, StoreError>;

    /// Ids of envelopes held that begin with `prefix`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn ids_with_prefix(&self, prefix: &IdPrefix, limit: usize) -> Result<Vec<MessageId>, StoreError>;

    /// What is remembered of a message and recipient.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn remembered(&self, key: &DedupeKey) -> Result<Option<Remembered>, StoreError>;

    /// What is remembered, by key, from after `after` on; at most `limit`. Fewer are the last.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn remembered_after(
        &self,
        after: Option<&DedupeKey>,
        limit: usize,
    ) -> Result<Vec<(DedupeKey, Remembered)>, StoreError>;

    /// Dedupe keys whose `until` is at or before `now`, among the next `rows_max` of the memory. The next call goes on
    /// from there, and begins anew after the end, so that an answer without keys says nothing of the rest.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn forgettable(&self, now: Timestamp, rows_max: usize) -> Result<Vec<DedupeKey>, StoreError>;

    /// Entries that expire at or before `until`, the soonest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn expiring(&self, until: Timestamp, limit: usize) -> Result<Expiring, StoreError>;

    /// What every queue holds, by queue and rank; empty ones are left out. Costs one read a queue, whatever its depth.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn queues(&self) -> Result<Vec<QueueTotals>, StoreError>;

    /// The highest sequence ever enqueued, or zero. It survives the entry.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn last_seq(&self) -> Result<u64, StoreError>;

    /// A record.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Records whose keys begin with `prefix` and come after `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError>;

    /// Records whose keys begin with `prefix` and come before `before`, the last first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn scan_back(
        &self,
        table: Table,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError>;

    /// Bytes used and free on disk.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn usage(&self) -> Result<Usage, StoreError>;
}
