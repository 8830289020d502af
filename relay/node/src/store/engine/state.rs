//! What the store keeps in memory: totals, and where reading begins.
//!
//! Deleted rows stay in an LSM tree as tombstones until compaction, and a scan steps over each. A queue is deleted from
//! its head, and so is the index by expiry, so that every scan from the beginning would step over all tombstones there
//! are. *Floors* prevent that: below one, nothing is live.

use std::collections::BTreeMap;

use liaison_protocol::{AgencyId, Timestamp};
use serde::{Deserialize, Serialize};

use super::plan::{Before, Effects};

/// What one rank of one queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// No entry has a lower sequence.
    pub(super) floor: u64,
}

impl Totals {
    pub(super) fn add(&mut self, seq: u64, bytes: u32) {
        if self.entries == 0 {
            self.floor = seq;
        }
        self.entries += 1;
        self.bytes += u64::from(bytes);
    }

    /// `None` if there was no such entry.
    pub(super) fn subtract(&mut self, seq: u64, bytes: u32) -> Option<()> {
        self.entries = self.entries.checked_sub(1)?;
        self.bytes = self.bytes.checked_sub(u64::from(bytes))?;
        if seq == self.floor {
            self.floor += 1;
        }
        Some(())
    }
}

/// Where the live rows of an index by time begin.
///
/// A scan raises it to what it found. A commit that adds below lowers it, after its rows can be seen and before it
/// returns: a scan that may have missed them has an older generation, and raises nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    pub(super) at: Timestamp,
    generation: u64,
}

impl Default for Floor {
    fn default() -> Self {
        Self { at: Timestamp::ZERO, generation: 0 }
    }
}

impl Floor {
    fn lower(&mut self, at: Timestamp) {
        self.at = self.at.min(at);
        self.generation += 1;
    }

    /// `seen`: the floor as it was before the scan that found nothing live before `at`.
    fn raise(&mut self, seen: Self, at: Timestamp) {
        if seen.generation == self.generation {
            self.at = self.at.max(at);
        }
    }
}

/// One for a store, behind a lock that is held for moments.
#[derive(Debug, Default)]
pub(super) struct State {
    totals: BTreeMap<(AgencyId, u8), Totals>,
    /// The sum over the totals.
    held_bytes: u64,
    last_seq: u64,
    expiry: Floor,
    /// Where the sweep for what may be forgotten goes on: a key of the dedupe memory; empty: at the beginning.
    sweep: Vec<u8>,
}

impl State {
    pub(super) fn new(totals: BTreeMap<(AgencyId, u8), Totals>, last_seq: u64) -> Self {
        let held_bytes = totals.values().map(|totals| totals.bytes).sum();
        Self { totals, held_bytes, last_seq, ..Self::default() }
    }

    /// After a batch is written.
    pub(super) fn apply(&mut self, effects: Effects) {
        for (lane, mut totals) in effects.totals {
            let before = self.totals.remove(&lane).unwrap_or_default();
            self.held_bytes = self.held_bytes - before.bytes + totals.bytes;
            totals.floor = totals.floor.max(before.floor);
            if totals.entries > 0 {
                self.totals.insert(lane, totals);
            }
        }
        self.last_seq = effects.last_seq.unwrap_or(self.last_seq);
        if let Some(at) = effects.soonest_expiry {
            self.expiry.lower(at);
        }
    }

    /// Sum of the entries' bytes: a body that several queues share counts in each.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Every queue that holds anything.
    pub(super) fn all_totals(&self) -> BTreeMap<(AgencyId, u8), Totals> {
        self.totals.clone()
    }

    /// A scan from the queue's floor found `seq` first. Later sequences are higher, so this stays true.
    pub(super) fn raise_queue(&mut self, queue: &AgencyId, rank: u8, seq: u64) {
        if let Some(totals) = self.totals.get_mut(&(queue.clone(), rank)) {
            totals.floor = totals.floor.max(seq);
        }
    }

    pub(super) fn expiry(&self) -> Floor {
        self.expiry
    }

    pub(super) fn raise_expiry(&mut self, seen: Floor, at: Timestamp) {
        self.expiry.raise(seen, at);
    }

    pub(super) fn sweep(&self) -> Vec<u8> {
        self.sweep.clone()
    }

    pub(super) fn set_sweep(&mut self, from: Vec<u8>) {
        self.sweep = from;
    }
}

impl Before for State {
    fn totals(&self, queue: &AgencyId, rank: u8) -> Totals {
        self.totals.get(&(queue.clone(), rank)).copied().unwrap_or_default()
    }

    fn last_seq(&self) -> u64 {
        self.last_seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_of_a_queue_follows_its_head() {
        let mut totals = Totals::default();
        for seq in [10, 12, 15] {
            totals.add(seq, 100);
        }
        assert_eq!(totals, Totals { entries: 3, bytes: 300, floor: 10 });
        totals.subtract(12, 100).unwrap();
        assert_eq!(totals.floor, 10);
        totals.subtract(10, 100).unwrap();
        assert_eq!(totals, Totals { entries: 1, bytes: 100, floor: 11 });
        totals.subtract(15, 100).unwrap();
        assert_eq!(totals.subtract(16, 100), None);
        totals.add(20, 1);
        assert_eq!(totals.floor, 20);
    }

    #[test]
    fn a_scan_that_missed_a_commit_raises_no_floor() {
        let at = Timestamp::from_millis;
        let mut floor = Floor::default();
        let seen = floor;
        floor.raise(seen, at(50));
        assert_eq!(floor.at, at(50));
        let seen = floor;
        floor.lower(at(20));
        floor.raise(seen, at(90));
        assert_eq!(floor.at, at(20));
        floor.raise(floor, at(30));
        assert_eq!(floor.at, at(30));
    }
}
