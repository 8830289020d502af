//! What the office sees of a simulated disk: what is committed. It writes only through the run loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::{io, path::Path};

use bytes::Bytes;
use liaison_client::prekeys::slots::{SlotFile, SlotOctets};
use liaison_core::op::{DedupeKey, Entry, Op, Position, Remembered, Table};
use liaison_node::store::testing::MemoryStore;
use liaison_node::store::{
    Durable, Expiring, IdPrefix, Lease, LeaseOctets, QueueTotals, Reads, Record, Store, StoreError, Usage,
};
use liaison_protocol::{AgencyId, MessageId, Timestamp};
use zeroize::Zeroizing;

use crate::sim::disk::Disk;

/// Free bytes of a disk that is neither full nor low.
pub(super) const FREE_BYTES: u64 = 1 << 40;

pub(super) struct SimStore {
    pub(super) disk: Arc<RwLock<Disk>>,
    /// It is below its low-water mark.
    pub(super) low: Arc<AtomicBool>,
}

impl SimStore {
    fn disk(&self) -> RwLockReadGuard<'_, Disk> {
        self.disk.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for SimStore {
    /// An office commits through its run loop, but where it finds its keys lost: before that one runs.
    fn commit(&self, ops: &[Op]) -> Result<Durable, StoreError> {
        self.disk.write().unwrap_or_else(PoisonError::into_inner).apply(ops.to_vec());
        MemoryStore::default().commit(&[])
    }
}

impl Reads for SimStore {
    fn head(&self, queue: &AgencyId, rank: u8, after_seq: u64, limit: usize) -> Result<Vec<(u64, Entry)>, StoreError> {
        Ok(self.disk().head(queue, rank, after_seq, limit))
    }

    fn envelope(&self, id: &MessageId) -> Result<Option<Bytes>, StoreError> {
        // No plan lets an agency's disk rot.
        Ok(self.disk().envelope(id).expect("a sound disk"))
    }

    fn positions_of(&self, id: &MessageId) -> Result<Vec<(Position, Entry)>, StoreError> {
        Ok(self.disk().entries_of(id))
    }

    fn ids_with_prefix(&self, _: &IdPrefix, _: usize) -> Result<Vec<MessageId>, StoreError> {
        unreachable!("operators ask for this")
    }

    fn remembered(&self, key: &DedupeKey) -> Result<Option<Remembered>, StoreError> {
        Ok(self.disk().remembered(key))
    }

    fn remembered_after(
        &self,
        after: Option<&DedupeKey>,
        limit: usize,
    ) -> Result<Vec<(DedupeKey, Remembered)>, StoreError> {
        let disk = self.disk();
        let after = disk.remembered_after(after).take(limit);
        Ok(after.map(|(key, remembered)| (*key, remembered.clone())).collect())
    }

    fn forgettable(&self, now: Timestamp, _: usize) -> Result<Vec<DedupeKey>, StoreError> {
        Ok(self.disk().forgettable(now).0)
    }

    fn expiring(&self, until: Timestamp, limit: usize) -> Result<Expiring, StoreError> {
        let (entries, next) = self.disk().expiring(until, limit);
        Ok(Expiring { entries, next })
    }

    fn queues(&self) -> Result<Vec<QueueTotals>, StoreError> {
        let restored = self.disk().restored().queues.into_iter();
        let totals = restored.map(|queue| QueueTotals {
            queue: queue.queue,
            rank: queue.rank,
            entries: queue.entries,
            bytes: queue.bytes,
            oldest: queue.oldest,
        });
        Ok(totals.collect())
    }

    fn last_seq(&self) -> Result<u64, StoreError> {
        Ok(self.disk().restored().last_seq)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.disk().record(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        Ok(self.disk().scan(table, prefix, after).take(limit).collect())
    }

    fn scan_back(
        &self,
        table: Table,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        Ok(self.disk().scan_back(table, prefix, before).take(limit).collect())
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        let free_bytes = if self.low.load(Ordering::Relaxed) { 0 } else { FREE_BYTES };
        Ok(Usage { used_bytes: 0, free_bytes })
    }
}

/// A slot file that no power cut tears: those are tested where it is.
#[derive(Clone, Default)]
pub(in crate::sim) struct SimSlots(Arc<Mutex<Zeroizing<Vec<u8>>>>);

impl SimSlots {
    pub(super) fn open(&self) -> SlotFile {
        SlotFile::over(Path::new("slots"), Box::new(self.clone())).expect("it is a slot file")
    }
}

impl SlotOctets for SimSlots {
    fn read(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset).expect("a small file");
        let end = start + octets.len();
        if all.len() < end {
            all.resize(end, 0);
        }
        all[start..end].copy_from_slice(octets);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A lease file, under the same terms.
#[derive(Clone, Default)]
pub(in crate::sim) struct SimLease(SimSlots);

impl SimLease {
    pub(super) fn open(&self) -> Lease {
        Lease::over(Path::new("lease"), Box::new(self.clone())).expect("it is a lease file")
    }
}

impl LeaseOctets for SimLease {
    fn read(&self) -> io::Result<Vec<u8>> {
        self.0.read().map(|octets| octets.to_vec())
    }

    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        SlotOctets::write(&self.0, offset, octets)
    }
}
