//! What a decision may read: everything that was committed, and how links stand.

use std::time::Duration;

use bytes::Bytes;
use liaison_core::LinkKey;
use liaison_core::op::{DedupeKey, Entry, Position, Remembered, Table};
use liaison_protocol::{AgencyId, MessageId, Timestamp};

use crate::query::{Expiring, IdPrefix, QueueTotals, Record, Usage};
use crate::store_error::StoreError;

/// Reads of a durable store. They see every commit that has returned, and may run on any thread beside a commit. They
/// block on the disk: async code calls them from a thread that may block. Every method answers
/// [`Fault`](crate::store_error::Fault) once one has.
pub trait Reads: Send + Sync + 'static {
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

    /// The record that remembers a message and recipient.
    ///
    /// # Errors
    /// [`StoreError::Fault`].
    fn remembered(&self, key: &DedupeKey) -> Result<Option<Remembered>, StoreError>;

    /// Records of remembered messages, by key, from after `after` on; at most `limit`. Fewer are the last.
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

    /// The totals of every queue, by queue and rank, without empty ones. Costs one read a queue, whatever its depth.
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

/// Facts about links that only their host knows.
pub trait Links {
    /// The smoothed round trip of a link; `None` if the link is gone.
    fn rtt(&self, link: LinkKey) -> Option<Duration>;
}
