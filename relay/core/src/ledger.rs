//! Counts and sums of what this node released to each relay and accepted from it, hour by hour.
//!
//! A sum does not depend on order: it is that of the items' hashes, modulo 2^256. Two nodes that counted the same items
//! have the same tally. It finds faults, not lies: whoever hears the other's tally can repeat it (receipts are what
//! convicts). The hour is that in which the **releasing** node accepted custody, by its clock; the transfer carries it,
//! so that both put an item into the same hour, however late it moves or is acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use liaison_protocol::frame::HourTally;
use liaison_protocol::{Hour, NodeId, Timestamp, codec, limits};
use serde::{Deserialize, Serialize};

use crate::op::{DedupeKey, Op, Table};

pub use liaison_protocol::frame::Tally;

/// Tallies are kept for the longest lifetime of a message, and two days more.
const KEEP: Duration = Duration::from_secs(limits::LIFETIME_MAX.as_secs() + 2 * 86_400);
/// Hours further ahead than this are not counted: no clock of a correct peer is.
const AHEAD: Duration = Duration::from_secs(3_600);
/// How often old tallies are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);

/// Which way custody went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Way {
    /// From the peer to this node.
    Accepted,
    /// From this node to the peer.
    Released,
}

/// One item for one tally.
#[derive(Clone, Debug)]
pub(crate) struct Count {
    pub(crate) peer: NodeId,
    pub(crate) way: Way,
    pub(crate) hour: Hour,
    pub(crate) item: Tally,
}

impl Count {
    pub(crate) fn new(peer: NodeId, way: Way, hour: Hour, key: &DedupeKey, attempt: u8) -> Self {
        Self { peer, way, hour, item: Tally::of(&key.id, key.index, attempt) }
    }
}

type Key = (NodeId, Way, Hour);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    tallies: BTreeMap<Key, Tally>,
    /// Released hours that have grown since they were compared.
    changed: BTreeSet<(NodeId, Hour)>,
    forget_at: Option<Timestamp>,
}

impl Ledger {
    /// From the store's records. What does not decode is another version's, and is not ours to interpret.
    pub(crate) fn restored(records: Vec<(Vec<u8>, Bytes)>) -> Self {
        let mut ledger = Self::default();
        for (key, value) in records {
            let Some((key, tally)) = parse_key(&key).zip(codec::decode("tally", &value, VALUE_BYTES_MAX).ok()) else {
                continue;
            };
            if key.1 == Way::Released {
                ledger.changed.insert((key.0.clone(), key.2));
            }
            ledger.tallies.insert(key, tally);
        }
        ledger
    }

    /// Whether items of this hour are counted at `now`.
    pub(crate) fn covers(hour: Hour, now: Timestamp) -> bool {
        hour >= Hour::of(now.before(KEEP)) && hour <= Hour::of(now.after(AHEAD))
    }

    /// The records that make `counts` durable, and what to forget. Nothing changes yet: see [`Ledger::apply`].
    pub(crate) fn records<'a>(&mut self, counts: impl Iterator<Item = &'a Count>, now: Timestamp) -> Vec<Op> {
        let mut grown: BTreeMap<Key, Tally> = BTreeMap::new();
        for count in counts {
            let key = (count.peer.clone(), count.way, count.hour);
            let before = self.tallies.get(&key).copied().unwrap_or_default();
            grown.entry(key).or_insert(before).add(&count.item);
        }
        let mut ops: Vec<Op> = grown.iter().map(|(key, tally)| put(key, tally)).collect();
        if !ops.is_empty() && self.forget_at.is_none_or(|at| now >= at) {
            self.forget_at = Some(now.after(FORGET_EVERY));
            ops.extend(self.forget(Hour::of(now.before(KEEP))));
        }
        ops
    }

    fn forget(&mut self, before: Hour) -> Vec<Op> {
        let old: Vec<Key> = self.tallies.keys().filter(|(_, _, hour)| *hour < before).cloned().collect();
        for key in &old {
            self.tallies.remove(key);
            self.changed.remove(&(key.0.clone(), key.2));
        }
        old.iter().map(|key| Op::Delete { table: Table::Ledger, key: record_key(key) }).collect()
    }

    /// The commit that carried [`Ledger::records`] is durable.
    pub(crate) fn apply(&mut self, counts: Vec<Count>) {
        for Count { peer, way, hour, item } in counts {
            if way == Way::Released {
                self.changed.insert((peer.clone(), hour));
            }
            self.tallies.entry((peer, way, hour)).or_default().add(&item);
        }
    }

    pub(crate) fn tally(&self, peer: &NodeId, way: Way, hour: Hour) -> Tally {
        self.tallies.get(&(peer.clone(), way, hour)).copied().unwrap_or_default()
    }

    /// Hours released to `peer` up to `last` that have grown since they were compared.
    pub(crate) fn changed(&self, peer: &NodeId, last: Hour) -> Vec<HourTally> {
        let hours = self.changed.range((peer.clone(), Hour(0))..=(peer.clone(), last));
        hours.map(|(_, hour)| HourTally { hour: *hour, tally: self.tally(peer, Way::Released, *hour) }).collect()
    }

    /// Whether what was released to `peer` in this hour has grown since it was compared.
    pub(crate) fn has_changed(&self, peer: &NodeId, hour: Hour) -> bool {
        self.changed.contains(&(peer.clone(), hour))
    }

    /// The peer has compared this tally: until it grows it need not again.
    pub(crate) fn compared(&mut self, peer: &NodeId, hour: Hour, tally: &Tally) {
        if self.tally(peer, Way::Released, hour) == *tally {
            self.changed.remove(&(peer.clone(), hour));
        }
    }

    /// All hours are to be compared with `peer` again.
    pub(crate) fn compare_again(&mut self, peer: &NodeId) {
        let hours = self.tallies.keys().filter(|(other, way, _)| other == peer && *way == Way::Released);
        self.changed.extend(hours.map(|(peer, _, hour)| (peer.clone(), *hour)).collect::<Vec<_>>());
    }

    /// Every tally, by peer, way and hour.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&NodeId, Way, Hour, &Tally)> {
        self.tallies.iter().map(|((peer, way, hour), tally)| (peer, *way, *hour, tally))
    }
}

/// A tally, encoded.
const VALUE_BYTES_MAX: usize = 64;
/// What keys of tallies begin with.
const TALLY: u8 = b't';

fn put(key: &Key, tally: &Tally) -> Op {
    Op::Put { table: Table::Ledger, key: record_key(key), value: codec::encode(tally).into() }
}

fn record_key((peer, way, hour): &Key) -> Vec<u8> {
    let way = match way {
        Way::Accepted => b'a',
        Way::Released => b'r',
    };
    [&[TALLY, way], hour.0.to_be_bytes().as_slice(), peer.as_str().as_bytes()].concat()
}

fn parse_key(key: &[u8]) -> Option<Key> {
    let [TALLY, way, rest @ ..] = key else { return None };
    let way = match way {
        b'a' => Way::Accepted,
        b'r' => Way::Released,
        _ => return None,
    };
    let (hour, peer) = rest.split_first_chunk()?;
    Some((std::str::from_utf8(peer).ok()?.parse().ok()?, way, Hour(u32::from_be_bytes(*hour))))
}

#[cfg(test)]
mod tests;
