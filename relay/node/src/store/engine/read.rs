//! Reads: each sees one instant of the store.

use std::ops::Bound;

use bytes::Bytes;
use fjall::{Guard, Readable, Snapshot, UserKey, UserValue};
use liaison_core::op::{DedupeKey, Entry, Position, Remembered, Table};
use liaison_protocol::{AgencyId, MessageId, Timestamp};

use super::keys;
use super::spaces::{Space, Spaces, corrupt, failed};
use super::values::{self, Wrong};
use crate::store::{Expiring, IdPrefix, Record, StoreError};

/// The store as it was when this was made.
pub(super) struct View<'a> {
    spaces: &'a Spaces,
    snapshot: Snapshot,
}

impl<'a> View<'a> {
    pub(super) fn new(spaces: &'a Spaces) -> Self {
        Self { spaces, snapshot: spaces.database().snapshot() }
    }

    /// Entries of one queue and rank from `from_seq` on.
    pub(super) fn head(
        &self,
        queue: &AgencyId,
        rank: u8,
        from_seq: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, StoreError> {
        let at = |seq| keys::queue(&Position { queue: queue.clone(), rank, seq });
        let range = (Bound::Included(at(from_seq)), Bound::Included(at(u64::MAX)));
        let rows = self.range(Space::Queue, range).take(limit);
        rows.map(|row| {
            let (key, value) = row?;
            let position = parsed(Space::Queue, &key, keys::parse_queue(&key))?;
            Ok((position.seq, decoded(Space::Queue, &key, &value, values::decode_entry)?))
        })
        .collect()
    }

    pub(super) fn envelope(&self, id: &MessageId) -> Result<Option<Bytes>, StoreError> {
        Ok(self.get(Space::Envelopes, &keys::envelope(id))?.map(|value| Bytes::copy_from_slice(&value)))
    }

    pub(super) fn positions_of(&self, id: &MessageId) -> Result<Vec<(Position, Entry)>, StoreError> {
        let mut found = Vec::new();
        for row in self.range(Space::Ids, (Bound::Included(id.0.0.to_vec()), upper(&id.0.0))) {
            let (key, value) = row?;
            if let Some(position) = decoded(Space::Ids, &key, &value, values::decode_known)?.position {
                let entry = self.entry(Space::Ids, &key, &keys::queue(&position))?;
                found.push((position, entry));
            }
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    pub(super) fn ids_with_prefix(&self, prefix: &IdPrefix, limit: usize) -> Result<Vec<MessageId>, StoreError> {
        let (first, last) = prefix.range();
        let range = (Bound::Included(keys::envelope(&first)), Bound::Included(keys::envelope(&last)));
        let ids = self.keys(Space::Envelopes, range).take(limit);
        ids.map(|key| key.and_then(|key| parsed(Space::Envelopes, &key, keys::parse_envelope(&key)))).collect()
    }

    pub(super) fn remembered(&self, key: &DedupeKey) -> Result<Option<Remembered>, StoreError> {
        let key = keys::id(key);
        let Some(value) = self.get(Space::Ids, &key)? else { return Ok(None) };
        Ok(decoded(Space::Ids, &key, &value, values::decode_known)?.remembered)
    }

    pub(super) fn remembered_after(
        &self,
        after: Option<&DedupeKey>,
        limit: usize,
    ) -> Result<Vec<(DedupeKey, Remembered)>, StoreError> {
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(keys::id(key)));
        let mut found = Vec::new();
        for row in self.range(Space::Ids, (start, Bound::Unbounded)) {
            let (key, value) = row?;
            // The heartbeat: no id is as short.
            if key.as_ref() == keys::HEARTBEAT {
                continue;
            }
            if found.len() == limit {
                break;
            }
            if let Some(record) = decoded(Space::Ids, &key, &value, values::decode_known)?.remembered {
                found.push((parsed(Space::Ids, &key, keys::parse_id(&key))?, record));
            }
        }
        Ok(found)
    }

    /// Looks at `rows_max` of the dedupe memory from the key `from` on, for what may be forgotten at `now`; and says
    /// where to go on: at the beginning if that is empty.
    pub(super) fn forgettable(&self, sweep: &Sweep) -> Result<(Vec<DedupeKey>, Vec<u8>), StoreError> {
        let mut found = Vec::new();
        let start = Bound::Included(sweep.from.clone());
        for (count, row) in self.range(Space::Ids, (start, Bound::Unbounded)).enumerate() {
            let (key, value) = row?;
            if count == sweep.rows_max {
                return Ok((found, key.to_vec()));
            }
            // The heartbeat: no id is as short.
            if key.as_ref() == keys::HEARTBEAT {
                continue;
            }
            let known = decoded(Space::Ids, &key, &value, values::decode_known)?;
            if known.remembered.is_some_and(|record| record.until <= sweep.now) {
                found.push(parsed(Space::Ids, &key, keys::parse_id(&key))?);
            }
        }
        Ok((found, Vec::new()))
    }

    pub(super) fn expiring(&self, from: Timestamp, until: Timestamp, limit: usize) -> Result<Expiring, StoreError> {
        let mut found = Expiring::default();
        for key in self.keys(Space::Expiry, (Bound::Included(keys::time(from).to_vec()), Bound::Unbounded)) {
            let key = key?;
            let (expires, queue_key) = parsed(Space::Expiry, &key, keys::parse_expiry(&key))?;
            if expires > until || found.entries.len() == limit {
                found.next = Some(expires);
                break;
            }
            let position = parsed(Space::Expiry, &key, keys::parse_queue(queue_key))?;
            found.entries.push((position, self.entry(Space::Expiry, &key, queue_key)?));
        }
        Ok(found)
    }

    pub(super) fn record(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.get(Space::Records, &keys::record(table, key))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    pub(super) fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let prefix = keys::record(table, prefix);
        let start = match after.map(|after| keys::record(table, after)) {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix.clone()),
        };
        self.range(Space::Records, (start, upper(&prefix))).take(limit).map(|row| record(row?)).collect()
    }

    pub(super) fn scan_back(
        &self,
        table: Table,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let prefix = keys::record(table, prefix);
        let end = match (before.map(|before| keys::record(table, before)), keys::after_prefix(&prefix)) {
            (Some(before), Some(end)) => Bound::Excluded(before.min(end)),
            (Some(before), None) => Bound::Excluded(before),
            (None, Some(end)) => Bound::Excluded(end),
            (None, None) => Bound::Unbounded,
        };
        self.range(Space::Records, (Bound::Included(prefix), end)).rev().take(limit).map(|row| record(row?)).collect()
    }

    /// Rows of the store's own whose keys begin with `prefix`, in full.
    pub(super) fn own(&self, prefix: &[u8]) -> impl Iterator<Item = Result<(UserKey, UserValue), StoreError>> {
        self.range(Space::Records, (Bound::Included(prefix.to_vec()), upper(prefix)))
    }

    /// The entry that a row of another keyspace names: both are written together.
    fn entry(&self, space: Space, key: &[u8], queue_key: &[u8]) -> Result<Entry, StoreError> {
        let value = self.get(Space::Queue, queue_key)?;
        let value = value.ok_or_else(|| corrupt(space, key, "names an entry that is not in its queue"))?;
        decoded(Space::Queue, queue_key, &value, values::decode_entry)
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<UserValue>, StoreError> {
        self.snapshot.get(self.spaces.keyspace(space), key).map_err(|error| failed("reading", &error))
    }

    fn keys(&self, space: Space, range: Range) -> impl Iterator<Item = Result<UserKey, StoreError>> {
        self.guards(space, range).map(|guard| guard.key().map_err(|error| failed("reading", &error)))
    }

    fn range(
        &self,
        space: Space,
        range: Range,
    ) -> impl DoubleEndedIterator<Item = Result<(UserKey, UserValue), StoreError>> {
        self.guards(space, range).map(|guard| guard.into_inner().map_err(|error| failed("reading", &error)))
    }

    fn guards(&self, space: Space, range: Range) -> impl DoubleEndedIterator<Item = Guard> + use<> {
        // An inverted range is empty, and the engine would panic.
        let inverted = match &range {
            (Bound::Included(start), Bound::Excluded(end)) => start >= end,
            (Bound::Excluded(start), Bound::Excluded(end)) => keys::successor(start) >= *end,
            (Bound::Included(start), Bound::Included(end)) => start > end,
            _ => false,
        };
        let rows = (!inverted).then(|| self.snapshot.range(self.spaces.keyspace(space), range));
        rows.into_iter().flatten()
    }
}

/// One step of the search for what may be forgotten.
pub(super) struct Sweep {
    pub(super) from: Vec<u8>,
    pub(super) now: Timestamp,
    pub(super) rows_max: usize,
}

type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

fn upper(prefix: &[u8]) -> Bound<Vec<u8>> {
    keys::after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded)
}

fn record((key, value): (UserKey, UserValue)) -> Result<Record, StoreError> {
    let (_, key) = parsed(Space::Records, &key, key.split_first())?;
    Ok((key.to_vec(), Bytes::copy_from_slice(&value)))
}

pub(super) fn parsed<T>(space: Space, key: &[u8], value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| corrupt(space, key, "a key of another form"))
}

pub(super) fn decoded<T>(
    space: Space,
    key: &[u8],
    value: &[u8],
    decode: fn(&[u8]) -> Result<T, Wrong>,
) -> Result<T, StoreError> {
    decode(value).map_err(|what| corrupt(space, key, what))
}
