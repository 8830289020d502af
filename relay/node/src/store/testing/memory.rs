//! A store in memory: what every engine must do, in the plainest way.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use liaison_core::op::{DedupeKey, Entry, Op, Position, Remembered, Table};
use liaison_protocol::{AgencyId, MessageId, Timestamp, limits};

use crate::store::{Durable, Expiring, IdPrefix, Misuse, QueueTotals, Reads, Record, Store, StoreError, Usage};

/// Keeps everything in memory, under the rules of [`Store`]. It is a disk that never fails and never fills: what was
/// committed lasts as long as this value.
#[derive(Debug, Default)]
pub struct MemoryStore {
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    commits: u64,
    last_seq: u64,
    entries: BTreeMap<Position, Entry>,
    /// Where each message's entry for each recipient is.
    positions: BTreeMap<DedupeKey, Position>,
    envelopes: BTreeMap<MessageId, Bytes>,
    remembered: BTreeMap<DedupeKey, Remembered>,
    records: BTreeMap<(Table, Vec<u8>), Bytes>,
}

impl MemoryStore {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn commit(&self, ops: &[Op]) -> Result<Durable, StoreError> {
        let mut content = self.content();
        let mut batch = Batch { content: &mut content, undo: Vec::new(), touched: BTreeSet::new() };
        if let Err(misuse) = batch.apply(ops) {
            batch.revert();
            return Err(misuse.into());
        }
        content.commits += u64::from(!ops.is_empty());
        Ok(Durable::assertion(content.commits))
    }
}

impl Reads for MemoryStore {
    fn head(&self, queue: &AgencyId, rank: u8, after_seq: u64, limit: usize) -> Result<Vec<(u64, Entry)>, StoreError> {
        let at = |seq| Position { queue: queue.clone(), rank, seq };
        let content = self.content();
        let range = content.entries.range((Bound::Excluded(at(after_seq)), Bound::Unbounded));
        let lane = range.take_while(|(position, _)| position.queue == *queue && position.rank == rank);
        Ok(lane.take(limit).map(|(position, entry)| (position.seq, entry.clone())).collect())
    }

    fn envelope(&self, id: &MessageId) -> Result<Option<Bytes>, StoreError> {
        Ok(self.content().envelopes.get(id).cloned())
    }

    fn positions_of(&self, id: &MessageId) -> Result<Vec<(Position, Entry)>, StoreError> {
        let content = self.content();
        let positions: BTreeSet<_> = content.positions_of(id).collect();
        let entries = positions.into_iter().filter_map(|at| content.entries.get_key_value(at));
        Ok(entries.map(|(position, entry)| (position.clone(), entry.clone())).collect())
    }

    fn ids_with_prefix(&self, prefix: &IdPrefix, limit: usize) -> Result<Vec<MessageId>, StoreError> {
        let ((first, last), content) = (prefix.range(), self.content());
        Ok(content.envelopes.range(first..=last).take(limit).map(|(id, _)| *id).collect())
    }

    fn remembered(&self, key: &DedupeKey) -> Result<Option<Remembered>, StoreError> {
        Ok(self.content().remembered.get(key).cloned())
    }

    fn remembered_after(
        &self,
        after: Option<&DedupeKey>,
        limit: usize,
    ) -> Result<Vec<(DedupeKey, Remembered)>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let content = self.content();
        let records = content.remembered.range((after.map_or(Unbounded, |key| Excluded(*key)), Unbounded));
        Ok(records.take(limit).map(|(key, record)| (*key, record.clone())).collect())
    }

    /// All at once.
    fn forgettable(&self, now: Timestamp, _: usize) -> Result<Vec<DedupeKey>, StoreError> {
        let content = self.content();
        let due = content.remembered.iter().filter(|(_, record)| record.until <= now);
        Ok(due.map(|(key, _)| *key).collect())
    }

    fn expiring(&self, until: Timestamp, limit: usize) -> Result<Expiring, StoreError> {
        let content = self.content();
        let mut sorted: Vec<_> = content.entries.iter().collect();
        sorted.sort_by_key(|(position, entry)| (entry.expires, *position));
        let due = sorted.iter().take(limit).take_while(|(_, entry)| entry.expires <= until).count();
        Ok(Expiring {
            next: sorted.get(due).map(|(_, entry)| entry.expires),
            entries: sorted.into_iter().take(due).map(|(at, entry)| (at.clone(), entry.clone())).collect(),
        })
    }

    fn queues(&self) -> Result<Vec<QueueTotals>, StoreError> {
        let mut queues: Vec<QueueTotals> = Vec::new();
        for (position, entry) in &self.content().entries {
            let (bytes, queue, rank) = (u64::from(entry.bytes), position.queue.clone(), position.rank);
            match queues.last_mut().filter(|last| last.queue == queue && last.rank == rank) {
                Some(last) => {
                    last.entries += 1;
                    last.bytes += bytes;
                }
                None => queues.push(QueueTotals { queue, rank, entries: 1, bytes, oldest: entry.accepted }),
            }
        }
        Ok(queues)
    }

    fn last_seq(&self) -> Result<u64, StoreError> {
        Ok(self.content().last_seq)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.content().records.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        let content = self.content();
        let later =
            content.records_of(table, prefix).filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after));
        Ok(later.take(limit).collect())
    }

    fn scan_back(
        &self,
        table: Table,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let content = self.content();
        let records = content.records_of(table, prefix);
        let mut earlier: Vec<_> =
            records.filter(|(key, _)| before.is_none_or(|before| key.as_slice() < before)).collect();
        earlier.reverse();
        earlier.truncate(limit);
        Ok(earlier)
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        let content = self.content();
        let bodies: usize = content.envelopes.values().chain(content.records.values()).map(Bytes::len).sum();
        Ok(Usage { used_bytes: bodies as u64, free_bytes: u64::MAX })
    }
}

impl Content {
    fn positions_of(&self, id: &MessageId) -> impl Iterator<Item = &Position> {
        let key = |index| DedupeKey { id: *id, index };
        self.positions.range(key(0)..=key(u16::MAX)).map(|(_, position)| position)
    }

    fn records_of(&self, table: Table, prefix: &[u8]) -> impl Iterator<Item = Record> {
        let start = (table, prefix.to_vec());
        let here =
            self.records.range(start..).take_while(move |((at, key), _)| *at == table && key.starts_with(prefix));
        here.map(|((_, key), value)| (key.clone(), value.clone()))
    }
}

/// A batch being applied, and the way back.
struct Batch<'a> {
    content: &'a mut Content,
    undo: Vec<Change>,
    /// Envelopes that may have no entry at the end; whether the batch brought them and has named them not yet.
    touched: BTreeSet<(MessageId, bool)>,
}

enum Change {
    Entry(Position, Option<Entry>),
    Envelope(MessageId, Option<Bytes>),
    LastSeq(u64),
    Position(DedupeKey, Option<Position>),
    Record((Table, Vec<u8>), Option<Bytes>),
    Remembered(DedupeKey, Option<Remembered>),
}

impl Batch<'_> {
    fn apply(&mut self, ops: &[Op]) -> Result<(), Misuse> {
        for op in ops {
            match op {
                Op::Delete { table, key } => self.set(Change::Record((*table, key.clone()), None)),
                Op::Dequeue { position, id, expires } => self.dequeue(position, id, *expires)?,
                Op::Enqueue { position, entry } => self.enqueue(position, entry)?,
                Op::Forget { key } => self.set(Change::Remembered(*key, None)),
                Op::Put { table, key, value } => self.set(Change::Record((*table, key.clone()), Some(value.clone()))),
                Op::PutEnvelope { id, bytes } => self.put_envelope(id, bytes),
                Op::Remember { key, record } => {
                    check_attempt(record.attempt)?;
                    self.set(Change::Remembered(*key, Some(record.clone())));
                }
            }
        }
        self.settle()
    }

    fn put_envelope(&mut self, id: &MessageId, bytes: &Bytes) {
        if !self.content.envelopes.contains_key(id) {
            self.touched.insert((*id, true));
        }
        self.set(Change::Envelope(*id, Some(bytes.clone())));
    }

    fn enqueue(&mut self, position: &Position, entry: &Entry) -> Result<(), Misuse> {
        check_attempt(entry.attempt)?;
        let last_seq = self.content.last_seq;
        if position.seq <= last_seq {
            let same = self.content.entries.get(position) == Some(entry);
            return if same { Ok(()) } else { Err(Misuse::SeqReused { position: position.clone(), last_seq }) };
        }
        let key = DedupeKey { id: entry.id, index: entry.index };
        if let Some(other) = self.content.positions.get(&key).cloned() {
            return Err(Misuse::EntryTwice { position: position.clone(), other });
        }
        if !self.content.envelopes.contains_key(&entry.id) {
            return Err(Misuse::EnvelopeMissing { id: entry.id });
        }
        self.touched.remove(&(entry.id, true));
        self.set(Change::LastSeq(position.seq));
        self.set(Change::Position(key, Some(position.clone())));
        self.set(Change::Entry(position.clone(), Some(entry.clone())));
        Ok(())
    }

    fn dequeue(&mut self, position: &Position, id: &MessageId, expires: Timestamp) -> Result<(), Misuse> {
        let Some(entry) = self.content.entries.get(position) else { return Ok(()) };
        if entry.id != *id || entry.expires != expires {
            return Err(Misuse::EntryMismatch { position: position.clone(), id: *id });
        }
        let key = DedupeKey { id: *id, index: entry.index };
        self.touched.insert((*id, false));
        self.set(Change::Position(key, None));
        self.set(Change::Entry(position.clone(), None));
        Ok(())
    }

    /// Frees what lost its last entry; refuses what never had one.
    fn settle(&mut self) -> Result<(), Misuse> {
        for (id, unnamed) in std::mem::take(&mut self.touched) {
            if unnamed {
                return Err(Misuse::EnvelopeUnnamed { id });
            }
            if self.content.positions_of(&id).next().is_none() {
                self.set(Change::Envelope(id, None));
            }
        }
        Ok(())
    }

    /// Makes a change, and keeps what it replaced.
    fn set(&mut self, change: Change) {
        let undo = self.content.swap(change);
        self.undo.push(undo);
    }

    fn revert(self) {
        for undo in self.undo.into_iter().rev() {
            self.content.swap(undo);
        }
    }
}

impl Content {
    /// Makes a change and gives its inverse.
    fn swap(&mut self, change: Change) -> Change {
        fn put<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, key: &K, value: Option<V>) -> Option<V> {
            match value {
                Some(value) => map.insert(key.clone(), value),
                None => map.remove(key),
            }
        }
        match change {
            Change::Entry(key, value) => {
                let before = put(&mut self.entries, &key, value);
                Change::Entry(key, before)
            }
            Change::Envelope(key, value) => {
                let before = put(&mut self.envelopes, &key, value);
                Change::Envelope(key, before)
            }
            Change::LastSeq(seq) => Change::LastSeq(std::mem::replace(&mut self.last_seq, seq)),
            Change::Position(key, value) => {
                let before = put(&mut self.positions, &key, value);
                Change::Position(key, before)
            }
            Change::Record(key, value) => {
                let before = put(&mut self.records, &key, value);
                Change::Record(key, before)
            }
            Change::Remembered(key, value) => {
                let before = put(&mut self.remembered, &key, value);
                Change::Remembered(key, before)
            }
        }
    }
}

fn check_attempt(attempt: u8) -> Result<(), Misuse> {
    if (1..=limits::ATTEMPTS_MAX).contains(&attempt) { Ok(()) } else { Err(Misuse::Attempt { attempt }) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::conformance::{Place, conformance};

    #[derive(Default)]
    struct InMemory(Arc<MemoryStore>);

    impl Place for InMemory {
        fn open(&self) -> Arc<dyn Store> {
            self.0.clone()
        }
    }

    conformance!(InMemory::default());
}
