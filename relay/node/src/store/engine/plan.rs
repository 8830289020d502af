//! From operations to changes of rows: the rules of the store, before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use liaison_core::op::{DedupeKey, Entry, Op, Position, Remembered};
use liaison_protocol::{AgencyId, MessageId, Timestamp, limits};

use super::keys;
use super::spaces::{Space, Spaces, corrupt};
use super::stage::Stage;
use super::state::Totals;
use super::values::{self, Known, PATH_MAX};
use crate::store::{Misuse, StoreError};

/// Keys are this long at most, tag included: the engine's journal has 16 bits for it.
const KEY_BYTES_MAX: usize = 32 * 1024;

/// What a written batch means for what the store keeps in memory.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Every queue that changed, as it is now; no entries: it is empty.
    pub(super) totals: BTreeMap<(AgencyId, u8), Totals>,
    /// Unchanged if `None`.
    pub(super) last_seq: Option<u64>,
    /// Bytes of bodies that were freed.
    pub(super) freed_envelopes: u64,
    /// Bytes of records that were deleted.
    pub(super) freed_records: u64,
    /// The soonest expiry among the entries added.
    pub(super) soonest_expiry: Option<Timestamp>,
}

/// What the store knew before the batch.
pub(super) trait Before {
    fn totals(&self, queue: &AgencyId, rank: u8) -> Totals;
    fn last_seq(&self) -> u64;
}

/// Applies `ops`, in order, to nothing but the stage.
pub(super) fn plan<'a>(
    spaces: &'a Spaces,
    before: &dyn Before,
    ops: &[Op],
) -> Result<(Stage<'a>, Effects), StoreError> {
    let mut plan = Plan {
        stage: Stage::new(spaces),
        before,
        effects: Effects::default(),
        unnamed: BTreeSet::new(),
        dequeued: BTreeMap::new(),
    };
    for op in ops {
        plan.apply(op)?;
    }
    plan.finish()
}

struct Plan<'a, 'b> {
    stage: Stage<'a>,
    before: &'b dyn Before,
    effects: Effects,
    /// Envelopes that this batch brought and no entry has named yet.
    unnamed: BTreeSet<MessageId>,
    /// Envelopes that lost an entry, and their size.
    dequeued: BTreeMap<MessageId, u32>,
}

impl<'a> Plan<'a, '_> {
    fn apply(&mut self, op: &Op) -> Result<(), StoreError> {
        match op {
            Op::Delete { table, key } => self.delete(record_key(keys::record(*table, key))?)?,
            Op::Dequeue { position, id, expires } => self.dequeue(position, id, *expires)?,
            Op::Enqueue { position, entry } => self.enqueue(position, entry)?,
            Op::Forget { key } => self.forget(key)?,
            Op::Put { table, key, value } => {
                self.stage.put(Space::Records, record_key(keys::record(*table, key))?, value.clone());
            }
            Op::PutEnvelope { id, bytes } => self.put_envelope(id, bytes)?,
            Op::Remember { key, record } => self.remember(key, record)?,
        }
        Ok(())
    }

    fn delete(&mut self, key: Vec<u8>) -> Result<(), StoreError> {
        self.effects.freed_records += self.stage.size_of(Space::Records, &key)?;
        self.stage.remove(Space::Records, key);
        Ok(())
    }

    fn put_envelope(&mut self, id: &MessageId, bytes: &Bytes) -> Result<(), StoreError> {
        let key = keys::envelope(id);
        if !self.stage.contains(Space::Envelopes, &key)? {
            self.unnamed.insert(*id);
        }
        self.stage.put(Space::Envelopes, key, bytes.clone());
        Ok(())
    }

    fn enqueue(&mut self, position: &Position, entry: &Entry) -> Result<(), StoreError> {
        check_entry(position, entry)?;
        if position.seq <= self.last_seq() {
            return self.enqueue_again(position, entry);
        }
        let dedupe = DedupeKey { id: entry.id, index: entry.index };
        let known = self.known(&dedupe)?;
        if let Some(other) = known.position {
            return Err(Misuse::EntryTwice { position: position.clone(), other }.into());
        }
        self.name_envelope(&entry.id)?;
        self.set_known(&dedupe, &Known { position: Some(position.clone()), ..known });
        let key = keys::queue(position);
        self.stage.put(Space::Expiry, keys::expiry(entry.expires, &key), Bytes::new());
        self.stage.put(Space::Queue, key, values::encode_entry(entry));
        self.totals(position).add(position.seq, entry.bytes);
        soonest(&mut self.effects.soonest_expiry, entry.expires);
        self.effects.last_seq = Some(position.seq);
        Ok(())
    }

    /// Only a batch that is submitted again may name a position again.
    fn enqueue_again(&mut self, position: &Position, entry: &Entry) -> Result<(), StoreError> {
        let held = self.stage.get(Space::Queue, &keys::queue(position), values::decode_entry)?;
        if held.as_ref() == Some(entry) {
            return Ok(());
        }
        Err(Misuse::SeqReused { position: position.clone(), last_seq: self.last_seq() }.into())
    }

    /// The first entry of a new envelope names it alone; any other makes it shared, see [`Self::free`].
    fn name_envelope(&mut self, id: &MessageId) -> Result<(), StoreError> {
        if self.unnamed.remove(id) {
            return Ok(());
        }
        if !self.stage.contains(Space::Envelopes, &keys::envelope(id))? {
            return Err(Misuse::EnvelopeMissing { id: *id }.into());
        }
        self.stage.put(Space::Records, keys::shared(id), Bytes::new());
        Ok(())
    }

    fn dequeue(&mut self, position: &Position, id: &MessageId, expires: Timestamp) -> Result<(), StoreError> {
        let key = keys::queue(position);
        // Gone already: this batch is submitted again.
        let Some(entry) = self.stage.get(Space::Queue, &key, values::decode_entry)? else { return Ok(()) };
        if entry.id != *id || entry.expires != expires {
            return Err(Misuse::EntryMismatch { position: position.clone(), id: *id }.into());
        }
        let dedupe = DedupeKey { id: *id, index: entry.index };
        let known = self.known(&dedupe)?;
        self.set_known(&dedupe, &Known { position: None, ..known });
        self.stage.remove(Space::Expiry, keys::expiry(expires, &key));
        self.stage.remove(Space::Queue, key);
        self.dequeued.insert(*id, entry.bytes);
        let subtracted = self.totals(position).subtract(position.seq, entry.bytes);
        subtracted.ok_or_else(|| {
            corrupt(Space::Records, &keys::totals(&position.queue, position.rank), "less than the queue holds")
        })
    }

    fn remember(&mut self, key: &DedupeKey, record: &Remembered) -> Result<(), StoreError> {
        check_attempt(record.attempt)?;
        let known = self.known(key)?;
        self.set_known(key, &Known { remembered: Some(record.clone()), ..known });
        Ok(())
    }

    fn forget(&mut self, key: &DedupeKey) -> Result<(), StoreError> {
        let known = self.known(key)?;
        self.set_known(key, &Known { remembered: None, ..known });
        Ok(())
    }

    fn known(&self, key: &DedupeKey) -> Result<Known, StoreError> {
        Ok(self.stage.get(Space::Ids, &keys::id(key), values::decode_known)?.unwrap_or_default())
    }

    fn set_known(&mut self, key: &DedupeKey, known: &Known) {
        let row = keys::id(key);
        if *known == Known::default() {
            self.stage.remove(Space::Ids, row);
        } else {
            self.stage.put(Space::Ids, row, values::encode_known(known));
        }
    }

    fn finish(mut self) -> Result<(Stage<'a>, Effects), StoreError> {
        if let Some(id) = self.unnamed.first() {
            return Err(Misuse::EnvelopeUnnamed { id: *id }.into());
        }
        for (id, bytes) in std::mem::take(&mut self.dequeued) {
            self.free(&id, bytes)?;
        }
        for ((queue, rank), totals) in &self.effects.totals {
            let key = keys::totals(queue, *rank);
            match totals.entries {
                0 => self.stage.remove(Space::Records, key),
                _ => self.stage.put(Space::Records, key, values::encode_totals(totals)),
            }
        }
        if let Some(seq) = self.effects.last_seq {
            self.stage.put(Space::Records, keys::LAST_SEQ.to_vec(), seq.to_be_bytes().to_vec());
        }
        Ok((self.stage, self.effects))
    }

    /// Frees an envelope that lost an entry, if that was its last. Only a shared one needs the search: for the others,
    /// which are nearly all, a filter in memory answers that there is no such record.
    fn free(&mut self, id: &MessageId, bytes: u32) -> Result<(), StoreError> {
        let shared = keys::shared(id);
        if self.stage.contains(Space::Records, &shared)? {
            let named = |value: &[u8]| Ok(values::decode_known(value)?.position.is_some());
            if self.stage.any(Space::Ids, &id.0.0, named)? {
                return Ok(());
            }
            self.stage.remove(Space::Records, shared);
        }
        self.stage.remove(Space::Envelopes, keys::envelope(id));
        self.effects.freed_envelopes += u64::from(bytes);
        Ok(())
    }

    fn totals(&mut self, position: &Position) -> &mut Totals {
        let lane = (position.queue.clone(), position.rank);
        let before = self.before;
        self.effects.totals.entry(lane).or_insert_with_key(|(queue, rank)| before.totals(queue, *rank))
    }

    fn last_seq(&self) -> u64 {
        self.effects.last_seq.unwrap_or_else(|| self.before.last_seq())
    }
}

fn soonest(slot: &mut Option<Timestamp>, at: Timestamp) {
    *slot = Some(slot.map_or(at, |soonest| soonest.min(at)));
}

fn check_entry(position: &Position, entry: &Entry) -> Result<(), Misuse> {
    if entry.path.len() > PATH_MAX {
        return Err(Misuse::PathTooLong { position: position.clone(), relays_max: PATH_MAX });
    }
    check_attempt(entry.attempt)
}

fn check_attempt(attempt: u8) -> Result<(), Misuse> {
    if (1..=limits::ATTEMPTS_MAX).contains(&attempt) { Ok(()) } else { Err(Misuse::Attempt { attempt }) }
}

fn record_key(key: Vec<u8>) -> Result<Vec<u8>, Misuse> {
    if key.len() > KEY_BYTES_MAX {
        return Err(Misuse::KeyTooLong { bytes: key.len(), bytes_max: KEY_BYTES_MAX });
    }
    Ok(key)
}
