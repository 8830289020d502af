//! The budget of chunks that no message announces yet.
//!
//! A chunk may overtake its message, so it is taken before anybody can say what it belongs to. Until a message announces
//! it, it counts against a budget of its sender and against one of all senders, and it goes after a day. Past the
//! budgets a chunk is refused for now: it waits at the relay, and is taken once its message is here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use liaison_core::op::{Op, Table};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{AgencyId, Hash, Timestamp, limits};

use super::arrive::Arrived;
use super::{ChunkName, arrived_place, chunk_place, claims_prefix};
use crate::office::{Office, size};
use crate::shelf::{ReadError, Shelf, decode};

/// Bytes of one chunk at rest: its content and its tag.
const CHUNK: u64 = (limits::CHUNK_BYTES + limits::AEAD_TAG_BYTES) as u64;

/// `[inbox]` of liaisond.toml: what may wait here without a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnannouncedLimits {
    /// Bytes of all senders together. One sender has an eighth of it.
    pub bytes_max: u64,
    /// A chunk that no message has announced goes after this time.
    pub life: Duration,
}

impl UnannouncedLimits {
    /// 512 MiB, so that one sender has 64 MiB; a day, as a sender sends everything again after a day's silence.
    pub const DEFAULT: Self = Self { bytes_max: 512 << 20, life: Duration::from_secs(86_400) };

    const fn sender_bytes_max(self) -> u64 {
        self.bytes_max / 8
    }
}

/// The unannounced chunks that are here, or are being taken.
pub(crate) struct Unannounced {
    limits: UnannouncedLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    chunks: BTreeMap<ChunkName, AgencyId>,
    by_sender: BTreeMap<AgencyId, u64>,
}

impl Unannounced {
    /// Counts those of the store.
    pub(crate) fn open(limits: UnannouncedLimits, shelf: &Shelf) -> Result<Self, ReadError> {
        let unannounced = Self { limits, state: Mutex::default() };
        for record in shelf.scan(Table::Chunks, b"x") {
            let name = ChunkName(decode(Table::Chunks, &record?.1)?);
            if let Some(arrived) = shelf.get_clear::<Arrived>(&arrived_place(name))?
                && !is_announced(shelf, name)?
            {
                unannounced.add(name, &arrived.sender);
            }
        }
        Ok(unannounced)
    }

    /// Takes one more into the budgets. In words, which one is used up.
    // [CHUNK-4]
    fn reserve(&self, name: ChunkName, sender: &AgencyId) -> Result<(), String> {
        let mut state = self.lock();
        if state.chunks.contains_key(&name) {
            return Ok(());
        }
        let room = |used: u64, max: u64| used.saturating_add(1).saturating_mul(CHUNK) <= max;
        let of_sender = state.by_sender.get(sender).copied().unwrap_or(0);
        let all = state.chunks.len() as u64;
        let (one, bytes_max) = (self.limits.sender_bytes_max(), self.limits.bytes_max);
        if planted(Mutant::UnannouncedUnbounded) || room(of_sender, one) && room(all, bytes_max) {
            state.add(name, sender);
            return Ok(());
        }
        let (whose, max) = if room(of_sender, one) { ("all senders", bytes_max) } else { (sender.as_str(), one) };
        Err(format!("no message announces this chunk, and {} of such chunks of {whose} are here", size(max)))
    }

    /// One is here, and no message announces it.
    pub(crate) fn add(&self, name: ChunkName, sender: &AgencyId) {
        self.lock().add(name, sender);
    }

    /// One is announced, or is not here any more.
    pub(crate) fn remove(&self, name: ChunkName) {
        self.lock().remove(name);
    }

    /// Bytes of all, and of the sender that has the most.
    pub(crate) fn standing(&self) -> (u64, Option<(AgencyId, u64)>) {
        let state = self.lock();
        let most = state.by_sender.iter().max_by_key(|(_, chunks)| **chunks);
        (state.chunks.len() as u64 * CHUNK, most.map(|(sender, chunks)| (sender.clone(), chunks * CHUNK)))
    }

    pub(crate) const fn limits(&self) -> UnannouncedLimits {
        self.limits
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, name: ChunkName, sender: &AgencyId) {
        if self.chunks.insert(name, sender.clone()).is_none() {
            *self.by_sender.entry(sender.clone()).or_default() += 1;
        }
    }

    fn remove(&mut self, name: ChunkName) {
        let Some(sender) = self.chunks.remove(&name) else { return };
        if let Some(chunks) = self.by_sender.get_mut(&sender) {
            *chunks = chunks.saturating_sub(1);
            if *chunks == 0 {
                self.by_sender.remove(&sender);
            }
        }
    }
}

/// Whether a message that is here announces this chunk.
fn is_announced(shelf: &Shelf, name: ChunkName) -> Result<bool, ReadError> {
    Ok(!shelf.store().scan(Table::Chunks, &claims_prefix(name), None, 1)?.is_empty())
}

impl Office {
    /// Room for a chunk: an announced one always has it. In words, why there is none.
    pub(super) fn room_for_chunk(&self, name: ChunkName, sender: &AgencyId) -> Result<Result<(), String>, ReadError> {
        if is_announced(&self.shelf, name)? {
            return Ok(Ok(()));
        }
        Ok(self.unannounced.reserve(name, sender))
    }

    /// Removes chunks whose time is over and that no message has announced.
    pub(crate) fn forget_unannounced(&self, now: Timestamp, limit: usize) -> Result<Vec<Op>, ReadError> {
        let mut ops = Vec::new();
        for (key, value) in self.shelf.store().scan(Table::Chunks, b"x", None, limit)? {
            let until = key.get(1..).and_then(|rest| rest.first_chunk()).map(|at| u64::from_be_bytes(*at));
            if Timestamp::from_millis(until.unwrap_or(0)) > now {
                break;
            }
            let name = ChunkName(decode::<Hash>(Table::Chunks, &value)?);
            if !is_announced(&self.shelf, name)? {
                ops.extend([chunk_place(name).delete(), arrived_place(name).delete()]);
                self.unannounced.remove(name);
            }
            ops.push(Op::Delete { table: Table::Chunks, key });
        }
        Ok(ops)
    }
}
