//! A simulated disk: what has been committed survives a crash, what has not is lost.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use liaison_core::op::{DedupeKey, Entry, Op, Position, Remembered, Table};
use liaison_core::{Restored, RestoredQueue};
use liaison_protocol::{AgencyId, MessageId, Timestamp};

/// One node's durable state.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    entries: BTreeMap<Position, Entry>,
    envelopes: BTreeMap<MessageId, Bytes>,
    remembered: BTreeMap<DedupeKey, Remembered>,
    records: BTreeMap<(Table, Vec<u8>), Bytes>,
    last_seq: u64,
    /// The last batch that is in here.
    pub(super) batch: u64,
    /// Stored bytes have changed: whoever reads them learns of it by their checksum.
    rotten: bool,
}

/// A checksum does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotten;

impl Disk {
    /// All of them, as one.
    pub(super) fn apply(&mut self, ops: Vec<Op>) {
        for op in ops {
            match op {
                Op::Delete { table, key } => drop(self.records.remove(&(table, key))),
                Op::Dequeue { position, id, .. } => {
                    self.entries.remove(&position);
                    if !self.entries.values().any(|entry| entry.id == id) {
                        self.envelopes.remove(&id);
                    }
                }
                Op::Enqueue { position, entry } => {
                    self.last_seq = self.last_seq.max(position.seq);
                    self.entries.insert(position, entry);
                }
                Op::Forget { key } => drop(self.remembered.remove(&key)),
                Op::Put { table, key, value } => drop(self.records.insert((table, key), value)),
                Op::PutEnvelope { id, bytes } => drop(self.envelopes.insert(id, bytes)),
                Op::Remember { key, record } => drop(self.remembered.insert(key, record)),
            }
        }
    }

    pub(super) fn head(&self, queue: &AgencyId, rank: u8, after: u64, limit: usize) -> Vec<(u64, Entry)> {
        let first = Position { queue: queue.clone(), rank, seq: after + 1 };
        let last = Position { queue: queue.clone(), rank, seq: u64::MAX };
        self.entries.range(first..=last).take(limit).map(|(position, entry)| (position.seq, entry.clone())).collect()
    }

    pub(super) const fn rot(&mut self) {
        self.rotten = true;
    }

    pub(super) const fn is_rotten(&self) -> bool {
        self.rotten
    }

    pub(super) fn envelope(&self, id: &MessageId) -> Result<Option<Bytes>, Rotten> {
        let found = self.envelopes.get(id).cloned();
        if self.rotten && found.is_some() { Err(Rotten) } else { Ok(found) }
    }

    pub(super) fn entries_of(&self, id: &MessageId) -> Vec<(Position, Entry)> {
        let of = self.entries.iter().filter(|(_, entry)| entry.id == *id);
        of.map(|(position, entry)| (position.clone(), entry.clone())).collect()
    }

    pub(super) fn record(&self, (table, key): &(Table, Vec<u8>)) -> Option<&Bytes> {
        self.records.get(&(*table, key.clone()))
    }

    pub(super) fn records(&self, table: Table) -> impl Iterator<Item = (&[u8], &Bytes)> {
        let all = self.records.range((table, Vec::new())..);
        all.take_while(move |((other, _), _)| *other == table).map(|((_, key), value)| (key.as_slice(), value))
    }

    /// Records whose keys begin with `prefix` and come after `after`, in order.
    pub(super) fn scan<'a>(
        &'a self,
        table: Table,
        prefix: &'a [u8],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (Vec<u8>, Bytes)> + 'a {
        let from = match after.filter(|after| *after >= prefix) {
            Some(after) => Bound::Excluded((table, after.to_vec())),
            None => Bound::Included((table, prefix.to_vec())),
        };
        let records = self.records.range((from, Bound::Unbounded));
        let of_prefix = records.take_while(move |((other, key), _)| *other == table && key.starts_with(prefix));
        of_prefix.map(|((_, key), value)| (key.clone(), value.clone()))
    }

    /// The same from behind, before `before`.
    pub(super) fn scan_back<'a>(
        &'a self,
        table: Table,
        prefix: &'a [u8],
        before: Option<&[u8]>,
    ) -> impl Iterator<Item = (Vec<u8>, Bytes)> + 'a {
        let from = (table, prefix.to_vec());
        let until = before.map_or(Bound::Unbounded, |before| Bound::Excluded((table, before.max(prefix).to_vec())));
        let behind = move |((other, key), _): &(&(Table, Vec<u8>), &Bytes)| *other != table || !key.starts_with(prefix);
        let records = self.records.range((Bound::Included(from), until)).rev().skip_while(behind);
        let of_prefix = records.take_while(move |((other, key), _)| *other == table && key.starts_with(prefix));
        of_prefix.map(|((_, key), value)| (key.clone(), value.clone()))
    }

    /// Ids that may be forgotten at `now`, and when the next one may.
    pub(super) fn forgettable(&self, now: Timestamp) -> (Vec<DedupeKey>, Option<Timestamp>) {
        let (old, rest): (Vec<_>, Vec<_>) = self.remembered.iter().partition(|(_, record)| record.until <= now);
        (old.into_iter().map(|(key, _)| *key).collect(), rest.iter().map(|(_, record)| record.until).min())
    }

    pub(super) fn remembered(&self, key: &DedupeKey) -> Option<Remembered> {
        self.remembered.get(key).cloned()
    }

    pub(super) fn remembered_after(
        &self,
        after: Option<&DedupeKey>,
    ) -> impl Iterator<Item = (&DedupeKey, &Remembered)> {
        let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(*key));
        self.remembered.range((from, Bound::Unbounded))
    }

    pub(super) fn expiring(&self, until: Timestamp, limit: usize) -> (Vec<(Position, Entry)>, Option<Timestamp>) {
        let mut due: Vec<(Position, Entry)> = self.entries.clone().into_iter().collect();
        due.sort_by_key(|(position, entry)| (entry.expires, position.clone()));
        let expired = due.iter().take_while(|(_, entry)| entry.expires <= until).count().min(limit);
        let rest = due.split_off(expired);
        (due, rest.first().map(|(_, entry)| entry.expires))
    }

    pub(super) fn restored(&self) -> Restored {
        let mut totals: BTreeMap<(AgencyId, u8), RestoredQueue> = BTreeMap::new();
        for (position, entry) in &self.entries {
            let key = (position.queue.clone(), position.rank);
            let total = totals.entry(key).or_insert_with(|| RestoredQueue {
                queue: position.queue.clone(),
                rank: position.rank,
                entries: 0,
                bytes: 0,
                oldest: entry.accepted,
            });
            total.entries += 1;
            total.bytes += u64::from(entry.bytes);
        }
        let (_, next_expiry) = self.expiring(Timestamp::ZERO, 0);
        let all = |table| self.records(table).map(|(key, value)| (key.to_vec(), value.clone())).collect();
        let (ledger, shares) = (all(Table::Ledger), all(Table::Shares));
        Restored { last_seq: self.last_seq, queues: totals.into_values().collect(), next_expiry, ledger, shares }
    }
}
