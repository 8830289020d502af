//! The embedded engine: [`Store`] over `fjall`.
//!
//! One commit is one batch in the engine's journal and one `fdatasync`; the rows go to memory tables after it, and to
//! tables on disk in the background. Why this engine: docs/decisions.

pub(super) mod keys;
mod plan;
mod read;
mod reclaim;
mod rows;
mod spaces;
mod stage;
mod state;
#[cfg(test)]
mod tests;
mod values;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub use self::rows::Row;
use bytes::Bytes;
use liaison_core::op::{DedupeKey, Entry, Op, Position, Remembered, Table};
use liaison_protocol::{AgencyId, MessageId, Timestamp};

use self::plan::Before;
use self::read::{Sweep, View, decoded, parsed};
use self::reclaim::{Pressure, RECLAIM_BYTES_MIN, Reclaimer, Removed};
use self::spaces::{Space, Spaces, corrupt, failed};
use self::state::State;
use super::brand::Brand;
use super::directory::{self, Directory};
use super::{
    Durable, Expiring, Fault, IdPrefix, OpenError, QueueTotals, Reads, Record, Store, StoreConfig, StoreError, Usage,
    recover,
};

/// A row in every keyspace after so many bytes: see [`Spaces::beat`].
const BEAT_BYTES: u64 = 16 * 1024 * 1024;
/// Batches that add no more than this, and no envelope, are taken when the disk is low: they belong to removing.
const SMALL_BYTES: u64 = 64 * 1024;

/// A store in a directory of the local file system, of one process.
pub struct DiskStore {
    /// Dropped first: its thread uses the keyspaces.
    reclaimer: Reclaimer,
    spaces: Spaces,
    state: Mutex<State>,
    /// Held through a commit: one at a time.
    committer: Mutex<Progress>,
    fault: Arc<OnceLock<Fault>>,
    directory: PathBuf,
    free_bytes_min: u64,
    reclaim_bytes_min: u64,
    /// Dropped last: the lock outlives the engine's threads.
    _claim: Directory,
}

#[derive(Default)]
struct Progress {
    commits: u64,
    bytes_since_beat: u64,
    removed_envelopes: Removed,
    removed_records: Removed,
    /// The last batch that would have added found no room.
    disk_is_low: bool,
}

impl DiskStore {
    /// Opens the store, or makes it where its directory is empty or missing. What a crash left half written behind the
    /// last commit is dropped, and kept aside for whoever wants to look. Takes time with the size of the journals, not
    /// of the store.
    ///
    /// # Errors
    /// [`OpenError`]; in none of them has anything that was committed been touched.
    pub fn open(config: &StoreConfig) -> Result<Self, OpenError> {
        Self::open_reclaiming(config, RECLAIM_BYTES_MIN)
    }

    fn open_reclaiming(config: &StoreConfig, reclaim_bytes_min: u64) -> Result<Self, OpenError> {
        let mut claim = Directory::claim(&config.directory)?;
        let known = if claim.is_fresh() { None } else { Brand::read(claim.path())? };
        if !claim.is_fresh() {
            recover::check_journals(&claim.data(), claim.path(), known.as_ref())?;
        }
        let brand = known.clone().map_or_else(Brand::draw, Ok)?;
        let (spaces, state) = caught("opening", || {
            let spaces = Spaces::open(&claim.data(), brand.clone()).map_err(|error| failed("opening", &error))?;
            let state = read_state(&spaces)?;
            if known.is_none() {
                // A store that is new, or older than brands: from this batch on whatever follows bears one.
                spaces.batch(0).commit().map_err(|error| failed("branding", &error))?;
                brand.write(claim.path())?;
            }
            Ok((spaces, state))
        })?;
        if claim.is_fresh() {
            claim.complete()?;
        }
        let fault = Arc::default();
        Ok(Self {
            reclaimer: Reclaimer::spawn(Arc::clone(&fault))?,
            spaces,
            state: Mutex::new(state),
            committer: Mutex::default(),
            fault,
            directory: config.directory.clone(),
            free_bytes_min: config.free_bytes_min,
            reclaim_bytes_min,
            _claim: claim,
        })
    }

    fn try_commit(&self, progress: &mut Progress, ops: &[Op]) -> Result<(), StoreError> {
        if adds_much(ops) {
            let room = self.check_room(ops);
            progress.disk_is_low = room.is_err();
            room?;
        }
        let (stage, effects) = plan::plan(&self.spaces, &Known(&self.state), ops)?;
        progress.bytes_since_beat += ops.iter().map(Op::weight).sum::<usize>() as u64;
        let beat = progress.bytes_since_beat >= BEAT_BYTES;
        stage.write(beat).map_err(|error| failed("committing", &error))?;
        if beat {
            progress.bytes_since_beat = 0;
        }
        progress.commits += 1;
        progress.removed_envelopes.add(effects.freed_envelopes);
        progress.removed_records.add(effects.freed_records);
        lock(&self.state).apply(effects);
        self.reclaim(progress);
        Ok(())
    }

    fn reclaim(&self, progress: &mut Progress) {
        let held_bytes = Some(lock(&self.state).held_bytes());
        let pressure = Pressure { bytes_min: self.reclaim_bytes_min, disk_is_low: progress.disk_is_low, held_bytes };
        let envelopes = self.spaces.keyspace(Space::Envelopes);
        if progress.removed_envelopes.take_if_due(|| envelopes.disk_space(), pressure) {
            self.reclaimer.request(envelopes);
        }
        let pressure = Pressure { held_bytes: None, ..pressure };
        let records = self.spaces.keyspace(Space::Records);
        if progress.removed_records.take_if_due(|| records.disk_space(), pressure) {
            self.reclaimer.request(records);
        }
    }

    /// Whether there is room for what `ops` add, with the reserve left. Once the engine itself meets the end of the
    /// disk, it is in the middle of a write, and the only way on is to open the store anew: so it must not come to that.
    fn check_room(&self, ops: &[Op]) -> Result<(), StoreError> {
        // Once in the journal, once in the tables.
        let needed_bytes = self.free_bytes_min.saturating_add(2 * added_bytes(ops));
        let free_bytes = self.free_bytes()?;
        if free_bytes < needed_bytes { Err(StoreError::Full { free_bytes, needed_bytes }) } else { Ok(()) }
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        let stat = rustix::fs::statvfs(&self.directory);
        let stat = stat.map_err(|error| directory::fault("asking for free space", &self.directory, &error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn read<T>(&self, read: impl FnOnce(&View<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.guarded("reading", || read(&View::new(&self.spaces)))
    }

    /// Runs `work` unless there was a fault, and remembers the fault if it makes one. A panic of the engine is a fault.
    fn guarded<T>(&self, doing: &'static str, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(fault) = self.fault.get() {
            return Err(fault.clone().into());
        }
        caught(doing, work).inspect_err(|error| {
            if let StoreError::Fault(fault) = error {
                tracing::error!(directory = %self.directory.display(), "{fault}");
                // The first one tells why.
                let _ = self.fault.set(fault.clone());
            }
        })
    }
}

impl Store for DiskStore {
    fn commit(&self, ops: &[Op]) -> Result<Durable, StoreError> {
        let mut progress = lock(&self.committer);
        self.guarded("committing", || {
            if !ops.is_empty() {
                self.try_commit(&mut progress, ops)?;
            }
            Ok(Durable::assertion(progress.commits))
        })
    }
}

impl Reads for DiskStore {
    fn head(&self, queue: &AgencyId, rank: u8, after_seq: u64, limit: usize) -> Result<Vec<(u64, Entry)>, StoreError> {
        let totals = lock(&self.state).totals(queue, rank);
        let Some(next) = after_seq.checked_add(1).filter(|_| totals.entries > 0 && limit > 0) else {
            return self.read(|_| Ok(Vec::new()));
        };
        let entries = self.read(|view| view.head(queue, rank, next.max(totals.floor), limit))?;
        if let Some((seq, _)) = entries.first().filter(|_| next <= totals.floor) {
            lock(&self.state).raise_queue(queue, rank, *seq);
        }
        Ok(entries)
    }

    fn envelope(&self, id: &MessageId) -> Result<Option<Bytes>, StoreError> {
        self.read(|view| view.envelope(id))
    }

    fn positions_of(&self, id: &MessageId) -> Result<Vec<(Position, Entry)>, StoreError> {
        self.read(|view| view.positions_of(id))
    }

    fn ids_with_prefix(&self, prefix: &IdPrefix, limit: usize) -> Result<Vec<MessageId>, StoreError> {
        self.read(|view| view.ids_with_prefix(prefix, limit))
    }

    fn remembered(&self, key: &DedupeKey) -> Result<Option<Remembered>, StoreError> {
        self.read(|view| view.remembered(key))
    }

    fn remembered_after(
        &self,
        after: Option<&DedupeKey>,
        limit: usize,
    ) -> Result<Vec<(DedupeKey, Remembered)>, StoreError> {
        self.read(|view| view.remembered_after(after, limit))
    }

    fn forgettable(&self, now: Timestamp, rows_max: usize) -> Result<Vec<DedupeKey>, StoreError> {
        let sweep = Sweep { from: lock(&self.state).sweep(), now, rows_max };
        let (found, next) = self.read(|view| view.forgettable(&sweep))?;
        lock(&self.state).set_sweep(next);
        Ok(found)
    }

    fn expiring(&self, until: Timestamp, limit: usize) -> Result<Expiring, StoreError> {
        let floor = lock(&self.state).expiry();
        let found = self.read(|view| view.expiring(floor.at, until, limit))?;
        let first = found.entries.first().map(|(_, entry)| entry.expires).or(found.next);
        lock(&self.state).raise_expiry(floor, first.unwrap_or(Timestamp::MAX));
        Ok(found)
    }

    fn queues(&self) -> Result<Vec<QueueTotals>, StoreError> {
        let all = lock(&self.state).all_totals();
        self.read(|view| {
            let mut queues = Vec::with_capacity(all.len());
            for ((queue, rank), totals) in all {
                // None: it was emptied just now.
                let Some((_, oldest)) = view.head(&queue, rank, totals.floor, 1)?.pop() else { continue };
                let (entries, bytes) = (totals.entries, totals.bytes);
                queues.push(QueueTotals { queue, rank, entries, bytes, oldest: oldest.accepted });
            }
            Ok(queues)
        })
    }

    fn last_seq(&self) -> Result<u64, StoreError> {
        self.guarded("reading", || Ok(lock(&self.state).last_seq()))
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read(|view| view.record(table, key))
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.read(|view| view.scan(table, prefix, after, limit))
    }

    fn scan_back(
        &self,
        table: Table,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.read(|view| view.scan_back(table, prefix, before, limit))
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        self.guarded("measuring", || {
            // A background thread that failed shows here, even while nothing is committed. A commit that is under way
            // will see it itself, and holds what the question would wait for.
            if let Ok(_idle) = self.committer.try_lock() {
                let persisted = self.spaces.database().persist(fjall::PersistMode::Buffer);
                persisted.map_err(|error| failed("writing in the background", &error))?;
            }
            let used_bytes = self.spaces.disk_bytes().map_err(|error| failed("measuring", &error))?;
            Ok(Usage { used_bytes, free_bytes: self.free_bytes()? })
        })
    }
}

/// The state, for a plan: locked for each question, so that readers never wait for a disk.
struct Known<'a>(&'a Mutex<State>);

impl Before for Known<'_> {
    fn totals(&self, queue: &AgencyId, rank: u8) -> state::Totals {
        lock(self.0).totals(queue, rank)
    }

    fn last_seq(&self) -> u64 {
        lock(self.0).last_seq()
    }
}

fn read_state(spaces: &Spaces) -> Result<State, StoreError> {
    let view = View::new(spaces);
    let mut last_seq = 0;
    for row in view.own(keys::LAST_SEQ) {
        let (key, value) = row?;
        last_seq = decoded(Space::Records, &key, &value, values::decode_seq)?;
    }
    let mut totals = BTreeMap::new();
    for row in view.own(keys::TOTALS) {
        let (key, value) = row?;
        let lane = parsed(Space::Records, &key, keys::parse_totals(&key))?;
        let held = decoded(Space::Records, &key, &value, values::decode_totals)?;
        if held.floor > last_seq {
            return Err(corrupt(Space::Records, &key, "a floor above the last sequence"));
        }
        totals.insert(lane, held);
    }
    Ok(State::new(totals, last_seq))
}

fn adds_much(ops: &[Op]) -> bool {
    added_bytes(ops) > SMALL_BYTES || ops.iter().any(|op| matches!(op, Op::PutEnvelope { .. }))
}

fn added_bytes(ops: &[Op]) -> u64 {
    ops.iter().filter(|op| adds(op)).map(|op| op.weight() as u64).sum()
}

fn adds(op: &Op) -> bool {
    match op {
        Op::Enqueue { .. } | Op::Put { .. } | Op::PutEnvelope { .. } => true,
        Op::Delete { .. } | Op::Dequeue { .. } | Op::Forget { .. } | Op::Remember { .. } => false,
    }
}

fn caught<T>(doing: &'static str, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let cause = format!("the engine panicked: {}", panic_text(panic.as_ref())).into();
        Err(Fault::Io { doing, cause }.into())
    })
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}

/// A thread that panicked left a fault behind, which every call looks at: the lock itself may be taken.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
