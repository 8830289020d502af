//! One queue and rank in memory: a window over what the store holds, never all of it.
//!
//! ```text
//!  stored:  [ released | window: loaded, in order | not loaded ]
//!                                            cursor ┘
//! ```
//! Invariant: every stored entry at or below `cursor` is in `loaded`, or its removal is on its way to the disk. So a load
//! asks for what lies above the cursor, and nothing is sent twice because a removal was not yet committed.

use std::collections::{BTreeMap, BTreeSet};

use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{MessageId, Timestamp};

use crate::op::Entry;

/// Entries of one queue and rank in memory: some lanes' worth.
pub(crate) const WINDOW: usize = 256;

#[derive(Debug)]
struct Slot {
    entry: Entry,
    state: State,
    /// Another relay's copy was taken for this one while it was in flight.
    merged: bool,
    /// What the last refusal for now said.
    refused: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Something is being made that ends it: a notice.
    Ending,
    /// Sent, not yet acknowledged.
    InFlight,
    /// No link leads on that it has not been to. Waits for the routes to change.
    Parked,
    /// Every peer that it may go to has refused it for now.
    Stalled,
    Waiting,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Window {
    loaded: BTreeMap<u64, Slot>,
    waiting: BTreeSet<u64>,
    cursor: u64,
    /// Nothing is stored above the cursor.
    complete: bool,
    loading: bool,
    /// Entries were added that a load under way may not have seen.
    missed: bool,
    entries: u64,
    bytes: u64,
    oldest: Timestamp,
    hold_until: Timestamp,
    last_error: Option<String>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            loaded: BTreeMap::new(),
            waiting: BTreeSet::new(),
            cursor: 0,
            complete: true,
            loading: false,
            missed: false,
            entries: 0,
            bytes: 0,
            oldest: Timestamp::MAX,
            hold_until: Timestamp::ZERO,
            last_error: None,
        }
    }
}

impl Window {
    /// What the store held at start: nothing is loaded yet.
    pub(crate) fn restored(entries: u64, bytes: u64, oldest: Timestamp) -> Self {
        Self { complete: entries == 0 || planted(Mutant::QueuesNotReplayed), entries, bytes, oldest, ..Self::default() }
    }

    pub(crate) const fn entries(&self) -> u64 {
        self.entries
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the oldest entry was accepted here, as far as known.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        if self.entries == 0 {
            return None;
        }
        Some(self.loaded.values().next().map_or(self.oldest, |slot| slot.entry.accepted))
    }

    pub(crate) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Nothing of it is sent before then.
    pub(crate) fn held_until(&self, now: Timestamp) -> Option<Timestamp> {
        (self.hold_until > now).then_some(self.hold_until)
    }

    pub(crate) const fn hold(&mut self, until: Timestamp) {
        self.hold_until = until;
    }

    pub(crate) fn note_error(&mut self, why: String) {
        self.last_error = Some(why);
    }

    /// An entry has become durable. True if it is in the window, and waits there.
    pub(crate) fn add(&mut self, seq: u64, entry: Entry) -> bool {
        if self.entries == 0 {
            self.oldest = entry.accepted;
        }
        self.entries += 1;
        self.bytes += u64::from(entry.bytes);
        self.missed |= self.loading;
        if !self.complete || self.loading || self.loaded.len() >= WINDOW {
            self.complete = false;
            return false;
        }
        self.insert(seq, entry);
        true
    }

    /// A peer has refused an entry for now: said of it if it expires.
    pub(crate) fn note_refusal(&mut self, seq: u64, words: &str) {
        if let Some(slot) = self.loaded.get_mut(&seq) {
            slot.refused = Some(words.into());
        }
    }

    /// The last refusal of an entry, as far as is known.
    pub(crate) fn refusal(&self, seq: u64) -> Option<&str> {
        self.loaded.get(&seq)?.refused.as_deref()
    }

    /// Where to load from, if more should be loaded now.
    pub(crate) fn wants_load(&mut self) -> Option<u64> {
        if self.complete || self.loading || self.loaded.len() > WINDOW / 2 {
            return None;
        }
        self.loading = true;
        Some(self.cursor)
    }

    /// Entries from the store, `gone` left out (their removal is not committed yet). Gives what now waits.
    pub(crate) fn handle_loaded(
        &mut self,
        entries: Vec<(u64, Entry)>,
        end: bool,
        gone: impl Fn(u64) -> bool,
    ) -> Vec<u64> {
        self.loading = false;
        self.complete = end && !self.missed;
        self.missed = false;
        let mut added = Vec::new();
        for (seq, entry) in entries {
            if seq <= self.cursor {
                continue;
            }
            self.cursor = if planted(Mutant::LoadSkipsOne) { seq + 1 } else { seq };
            if !gone(seq) {
                self.insert(seq, entry);
                added.push(seq);
            }
        }
        added
    }

    fn insert(&mut self, seq: u64, entry: Entry) {
        self.cursor = self.cursor.max(seq);
        self.loaded.insert(seq, Slot { entry, state: State::Waiting, merged: false, refused: None });
        self.waiting.insert(seq);
    }

    /// The first entry that waits.
    pub(crate) fn next(&self) -> Option<(u64, &Entry)> {
        let seq = *self.waiting.first()?;
        self.loaded.get(&seq).map(|slot| (seq, &slot.entry))
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// An entry that is in the window and waits.
    pub(crate) fn waiting_entry(&self, seq: u64) -> Option<&Entry> {
        self.loaded.get(&seq).filter(|slot| slot.state == State::Waiting).map(|slot| &slot.entry)
    }

    pub(crate) fn send(&mut self, seq: u64) {
        self.set(seq, State::InFlight);
    }

    pub(crate) fn park(&mut self, seq: u64) {
        self.set(seq, State::Parked);
    }

    /// Entries that are set aside until routes change.
    pub(crate) fn parked(&self) -> usize {
        self.loaded.values().filter(|slot| slot.state == State::Parked).count()
    }

    pub(crate) fn stall(&mut self, seq: u64) {
        self.set(seq, State::Stalled);
    }

    /// It waits again: its link is gone, or the next holder could not take it.
    pub(crate) fn put_back(&mut self, seq: u64) {
        self.set(seq, State::Waiting);
    }

    /// Something ends it. False if it is in flight, or ending already: then nothing may end it now.
    pub(crate) fn begin_end(&mut self, seq: u64) -> bool {
        match self.loaded.get(&seq).map(|slot| slot.state) {
            Some(State::InFlight) if planted(Mutant::ExpiryInFlight) => {
                self.set(seq, State::Ending);
                true
            }
            Some(State::Ending | State::InFlight) => false,
            Some(State::Parked | State::Stalled | State::Waiting) => {
                self.set(seq, State::Ending);
                true
            }
            // Not loaded: it can be neither in flight nor ending by this window's doing.
            None => true,
        }
    }

    /// Entries in memory that wait or are set aside, the first ones.
    pub(crate) fn idle(&self, limit: usize) -> Vec<(u64, Entry)> {
        let idle = self
            .loaded
            .iter()
            .filter(|(_, slot)| matches!(slot.state, State::Parked | State::Stalled | State::Waiting));
        idle.take(limit).map(|(seq, slot)| (*seq, slot.entry.clone())).collect()
    }

    /// What was in flight was refused for good: it ends, and is not sent again.
    pub(crate) fn end_in_flight(&mut self, seq: u64) {
        self.set(seq, State::Ending);
    }

    fn set(&mut self, seq: u64, state: State) {
        if let Some(slot) = self.loaded.get_mut(&seq) {
            (slot.state, slot.merged) = (state, false);
            if state == State::Waiting {
                self.waiting.insert(seq);
            } else {
                self.waiting.remove(&seq);
            }
        }
    }

    /// What is set aside waits again: routes have changed, or a hold is over. Gives the envelopes that now wait.
    pub(crate) fn look_anew(&mut self) -> Vec<(MessageId, u64)> {
        self.hold_until = Timestamp::ZERO;
        let aside = self.loaded.iter().filter(|(_, slot)| matches!(slot.state, State::Parked | State::Stalled));
        let aside: Vec<(MessageId, u64)> = aside.map(|(seq, slot)| (slot.entry.id, *seq)).collect();
        for (_, seq) in &aside {
            self.set(*seq, State::Waiting);
        }
        aside
    }

    /// It has left this node's custody, or is about to in the commit that is being gathered.
    pub(crate) fn remove(&mut self, seq: u64, bytes: u32) {
        self.waiting.remove(&seq);
        self.loaded.remove(&seq);
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(u64::from(bytes));
        if self.entries == 0 {
            self.last_error = None;
        }
    }

    /// Its removal could not be committed: it is still stored, and no longer in the window.
    pub(crate) fn undo_remove(&mut self, bytes: u32) {
        self.entries += 1;
        self.bytes += u64::from(bytes);
    }

    /// What was removed from the window, and is still stored, waits again. False: it is still to be loaded.
    pub(crate) fn wait_again(&mut self, seq: u64, entry: Entry) -> bool {
        let loaded = seq <= self.cursor;
        if loaded {
            self.insert(seq, entry);
        }
        loaded
    }

    /// A relay was told that its copy of this entry is held here. If it is in flight, its acknowledgement says no more
    /// that another holds it: that one may have been told so by whoever has just let go.
    pub(crate) fn merge(&mut self, id: MessageId, index: u16) {
        let of = |slot: &&mut Slot| (slot.entry.id, slot.entry.index) == (id, index) && slot.state == State::InFlight;
        if let Some(slot) = self.loaded.values_mut().find(of) {
            slot.merged = true;
        }
    }

    /// Whether its acknowledgement releases nothing ([`Window::merge`]).
    pub(crate) fn is_merged(&self, seq: u64) -> bool {
        self.loaded.get(&seq).is_some_and(|slot| slot.merged)
    }

    /// The entry, wherever it stands in the window.
    pub(crate) fn entry(&self, seq: u64) -> Option<&Entry> {
        self.loaded.get(&seq).map(|slot| &slot.entry)
    }
}
