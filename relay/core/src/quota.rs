//! How fast a sender may submit, and how much of a recipient's queue it may fill.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{AgencyId, NodeId, Timestamp, codec};
use serde::{Deserialize, Serialize};

use crate::op::{Op, Table};

/// Envelopes a second, with bursts of ten seconds' worth. A token bucket in whole milliseconds.
#[derive(Clone, Debug)]
pub struct Rate {
    per_second: u32,
    /// Thousandths of a token.
    millitokens: u64,
    last: Timestamp,
}

const BURST_S: u64 = 10;

impl Rate {
    /// Full at `now`. `per_second` is at least 1.
    #[must_use]
    pub fn new(per_second: u32, now: Timestamp) -> Self {
        let per_second = per_second.max(1);
        Self { per_second, millitokens: u64::from(per_second) * BURST_S * 1000, last: now }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// When there is none: how long until there is.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Duration> {
        let elapsed_ms = u64::try_from(now.since(self.last).as_millis()).unwrap_or(u64::MAX);
        self.last = self.last.max(now);
        let full = u64::from(self.per_second) * BURST_S * 1000;
        self.millitokens = self.millitokens.saturating_add(elapsed_ms.saturating_mul(self.per_second.into())).min(full);
        match self.millitokens.checked_sub(1000) {
            Some(rest) => {
                self.millitokens = rest;
                Ok(())
            }
            None => Err(Duration::from_millis((1000 - self.millitokens).div_ceil(self.per_second.into()).max(1))),
        }
    }
}

/// Which room of a queue an envelope takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The room of all mail.
    Common,
    /// The room of all mail, and behind it the reserve of flash.
    WithReserve,
}

/// How much room a recipient's queue has, and one sender in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole queue, the reserve of flash included.
    pub queue_bytes: u64,
    /// Bytes of that which are the reserve of flash.
    pub reserve_bytes: u64,
    /// Bytes of this sender alone; `None` for no other bound than the fair share.
    pub sender_bytes: Option<u64>,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// The queue is full, whoever sends.
    Queue {
        /// Bytes held.
        held: u64,
        /// Bytes that may be.
        max: u64,
    },
    /// The sender holds as much as its agreement allows.
    Sender {
        /// Bytes held for it.
        held: u64,
        /// Bytes that may be.
        max: u64,
    },
    /// The sender holds its fair share: as much as is left for everybody.
    Share {
        /// Bytes held for it.
        held: u64,
        /// Bytes that are free.
        free: u64,
    },
}

/// Bytes that one sender has in one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Use {
    common: u64,
    flash: u64,
}

/// Bytes held of each sender, queue by queue, and the share of each.
///
/// The rule is the dynamic threshold of Choudhury and Hahne (1998): a sender may hold as much as is still free. It needs
/// no number of senders. Whoever fills a queue alone gets half of it; with `n` who fill it, each gets one part of `n + 1`,
/// and as much is left for the next one. What a queue holds of flash counts apart, so that a sender's routine mail does
/// not use up its flash, and no sender's flash uses up the reserve.
///
/// A record for each queue and sender is committed together with the entries that change it. The records of an older
/// store are missing: its entries then count for the queue, and for no sender.
#[derive(Debug, Default)]
pub struct Shares {
    queues: BTreeMap<AgencyId, QueueUse>,
    /// One name for all queues: a million pairs fit into memory.
    names: BTreeSet<NodeId>,
    /// Pairs whose records are not what the memory says.
    changed: BTreeSet<(AgencyId, NodeId)>,
}

#[derive(Debug, Default)]
struct QueueUse {
    total: u64,
    senders: BTreeMap<NodeId, Use>,
}

/// Two numbers of at most 10 bytes each.
const USE_BYTES_MAX: usize = 20;

impl Shares {
    /// From the store's records, and what each queue holds in all.
    #[must_use]
    pub fn restored<'a>(records: Vec<(Vec<u8>, Bytes)>, totals: impl Iterator<Item = (&'a AgencyId, u64)>) -> Self {
        let mut shares = Self::default();
        for (queue, bytes) in totals {
            shares.queues.entry(queue.clone()).or_default().total += bytes;
        }
        for (key, value) in records {
            let Some((queue, sender)) = parse_key(&key) else { continue };
            let Ok(held) = codec::decode::<Use>("share", &value, USE_BYTES_MAX) else { continue };
            let sender = shares.name(&sender);
            shares.queues.entry(queue).or_default().senders.insert(sender, held);
        }
        shares
    }

    /// Whether `sender` may add `bytes` to `queue`.
    ///
    /// # Errors
    /// Why not.
    // [CUST-21]
    pub fn admit(
        &self,
        (queue, sender): (&AgencyId, &NodeId),
        bytes: u64,
        room: Room,
        limits: Limits,
    ) -> Result<(), NoRoom> {
        let empty = QueueUse::default();
        let of_queue = self.queues.get(queue).unwrap_or(&empty);
        let (total, held) = (of_queue.total, of_queue.senders.get(sender).copied().unwrap_or_default());
        let mine = held.common.saturating_add(held.flash);
        let reserve = if planted(Mutant::FlashReserveForAll) { 0 } else { limits.reserve_bytes };
        let common_max = limits.queue_bytes.saturating_sub(reserve);
        let max = if room == Room::Common { common_max } else { limits.queue_bytes };
        let Some(free) = max.checked_sub(total).filter(|free| bytes <= *free) else {
            return Err(NoRoom::Queue { held: total, max });
        };
        if let Some(max) = limits.sender_bytes.filter(|max| mine.saturating_add(bytes) > *max) {
            return Err(NoRoom::Sender { held: mine, max });
        }
        let reserve_free = limits.queue_bytes.saturating_sub(total.max(common_max));
        let fits = match room {
            Room::Common => is_fair(mine, bytes, free),
            // A first envelope of flash always has its place, as any first one has.
            Room::WithReserve if held.flash == 0 => true,
            Room::WithReserve => {
                is_fair(mine, bytes, common_max.saturating_sub(total)) || is_fair(held.flash, bytes, reserve_free)
            }
        };
        if fits || planted(Mutant::ShareIgnored) { Ok(()) } else { Err(NoRoom::Share { held: mine, free }) }
    }

    /// An entry joins a queue.
    pub fn add(&mut self, (queue, sender): (&AgencyId, &NodeId), bytes: u32, room: Room) {
        let sender = self.name(sender);
        let of_queue = self.queues.entry(queue.clone()).or_default();
        of_queue.total = of_queue.total.saturating_add(bytes.into());
        let held = of_queue.senders.entry(sender.clone()).or_default();
        let part = held.part(room);
        *part = part.saturating_add(bytes.into());
        self.changed.insert((queue.clone(), sender));
    }

    /// An entry has left a queue.
    pub fn remove(&mut self, (queue, sender): (&AgencyId, &NodeId), bytes: u32, room: Room) {
        let Some(of_queue) = self.queues.get_mut(queue) else { return };
        of_queue.total = of_queue.total.saturating_sub(bytes.into());
        if let Some(held) = of_queue.senders.get_mut(sender) {
            let part = held.part(room);
            *part = part.saturating_sub(bytes.into());
            if *held == Use::default() {
                of_queue.senders.remove(sender);
            }
            self.changed.insert((queue.clone(), self.names.get(sender).unwrap_or(sender).clone()));
        }
        if of_queue.total == 0 && of_queue.senders.is_empty() {
            self.queues.remove(queue);
        }
    }

    /// The records that say what the memory says, for the commit that carries all changes until now.
    pub(crate) fn records(&mut self) -> Vec<Op> {
        let op = |(queue, sender): (AgencyId, NodeId)| {
            let (table, key) = (Table::Shares, record_key(&queue, &sender));
            match self.queues.get(&queue).and_then(|of_queue| of_queue.senders.get(&sender)) {
                Some(held) => Op::Put { table, key, value: codec::encode(held).into() },
                None => Op::Delete { table, key },
            }
        };
        std::mem::take(&mut self.changed).into_iter().map(op).collect()
    }

    /// The records of a commit were not written: the next one has to carry them.
    pub(crate) fn write_again<'a>(&mut self, ops: impl Iterator<Item = &'a Op>) {
        let key = |op: &Op| match op {
            Op::Put { table: Table::Shares, key, .. } | Op::Delete { table: Table::Shares, key } => parse_key(key),
            _ => None,
        };
        self.changed.extend(ops.filter_map(key));
    }

    fn name(&mut self, name: &NodeId) -> NodeId {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        self.names.insert(name.clone());
        name.clone()
    }
}

impl Use {
    const fn part(&mut self, room: Room) -> &mut u64 {
        match room {
            Room::Common => &mut self.common,
            Room::WithReserve => &mut self.flash,
        }
    }
}

/// Whether a sender that holds `mine` bytes may add `bytes` to a room with `free` ones: it holds no more than is left
/// then. A first envelope always has its place, or a small queue would never take a large one.
const fn is_fair(mine: u64, bytes: u64, free: u64) -> bool {
    bytes <= free && (mine == 0 || mine.saturating_add(bytes) <= free - bytes)
}

/// Names hold no zero byte.
fn record_key(queue: &AgencyId, sender: &NodeId) -> Vec<u8> {
    [queue.as_str().as_bytes(), &[0], sender.as_str().as_bytes()].concat()
}

fn parse_key(key: &[u8]) -> Option<(AgencyId, NodeId)> {
    let (queue, sender) = std::str::from_utf8(key).ok()?.split_once('\0')?;
    Some((queue.parse().ok()?, sender.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Timestamp::from_millis(5_000);
        let mut rate = Rate::new(10, start);
        assert_eq!((0..200).filter(|_| rate.take(start).is_ok()).count(), 100);
        let wait = rate.take(start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert!(rate.take(start.after(wait)).is_ok());
    }

    #[test]
    fn a_clock_that_jumps_back_grants_nothing() {
        let start = Timestamp::from_millis(5_000);
        let mut rate = Rate::new(1, start);
        while rate.take(start).is_ok() {}
        assert!(rate.take(Timestamp::ZERO).is_err());
        assert!(rate.take(start).is_err());
    }

    const LIMITS: Limits = Limits { queue_bytes: 1_000, reserve_bytes: 100, sender_bytes: None };

    /// Adds envelopes of one size until there is no room; gives the bytes added.
    fn fill(shares: &mut Shares, sender: &str, bytes: u32, room: Room, limits: Limits) -> u64 {
        let (queue, sender) = ("ncb.ee".parse().unwrap(), sender.parse().unwrap());
        let mut added = 0;
        while shares.admit((&queue, &sender), bytes.into(), room, limits).is_ok() {
            shares.add((&queue, &sender), bytes, room);
            added += u64::from(bytes);
        }
        added
    }

    // [CUST-21]
    #[test]
    fn one_sender_leaves_half_and_every_next_one_finds_room() {
        let mut shares = Shares::default();
        assert_eq!(fill(&mut shares, "ncb.sg", 10, Room::Common, LIMITS), 450);
        assert_eq!(fill(&mut shares, "ncb.jp", 10, Room::Common, LIMITS), 220);
        assert_eq!(fill(&mut shares, "ncb.fr", 10, Room::Common, LIMITS), 110);
        assert!(fill(&mut shares, "ncb.us", 10, Room::Common, LIMITS) > 0);
    }

    #[test]
    fn flash_has_a_reserve_of_its_own() {
        let mut shares = Shares::default();
        assert_eq!(fill(&mut shares, "ncb.sg", 900, Room::Common, LIMITS), 900);
        assert_eq!(fill(&mut shares, "ncb.jp", 100, Room::Common, LIMITS), 0);
        assert_eq!(fill(&mut shares, "ncb.jp", 100, Room::WithReserve, LIMITS), 100);
    }

    // [CUST-21]
    #[test]
    fn nobody_fills_the_reserve_of_flash_and_routine_mail_does_not_use_up_ones_own() {
        let mut shares = Shares::default();
        fill(&mut shares, "ncb.sg", 10, Room::Common, LIMITS);
        fill(&mut shares, "ncb.sg", 10, Room::WithReserve, LIMITS);
        for sender in ["ncb.jp", "ncb.fr", "ncb.us", "ncb.de"] {
            fill(&mut shares, sender, 10, Room::Common, LIMITS);
        }
        assert!(fill(&mut shares, "ncb.jp", 10, Room::WithReserve, LIMITS) > 0, "another sender's flash");
        let mut alone = Shares::default();
        fill(&mut alone, "ncb.sg", 10, Room::Common, LIMITS);
        assert!(fill(&mut alone, "ncb.sg", 10, Room::WithReserve, LIMITS) > 0, "its own flash");
    }

    // [CUST-21]
    #[test]
    fn a_sender_never_holds_more_than_its_agreement_says_flash_included() {
        let mut shares = Shares::default();
        let limits = Limits { sender_bytes: Some(100), ..LIMITS };
        assert_eq!(fill(&mut shares, "ncb.sg", 30, Room::Common, limits), 90);
        assert_eq!(fill(&mut shares, "ncb.sg", 30, Room::WithReserve, limits), 0);
        assert_eq!(fill(&mut shares, "ncb.jp", 30, Room::WithReserve, limits), 90);
    }

    #[test]
    fn a_small_queue_takes_a_first_large_envelope_of_anybody_and_no_more_than_it_has_room_for() {
        let mut shares = Shares::default();
        assert_eq!(fill(&mut shares, "ncb.sg", 800, Room::Common, LIMITS), 800);
        assert_eq!(fill(&mut shares, "ncb.jp", 150, Room::Common, LIMITS), 0);
        assert_eq!(fill(&mut shares, "ncb.jp", 150, Room::WithReserve, LIMITS), 150);
    }

    #[test]
    fn what_leaves_gives_its_room_back_and_nothing_is_kept_of_an_empty_queue() {
        let (queue, sender): (AgencyId, NodeId) = ("ncb.ee".parse().unwrap(), "ncb.sg".parse().unwrap());
        let mut shares = Shares::default();
        for room in [Room::Common, Room::WithReserve] {
            shares.add((&queue, &sender), 10, room);
        }
        for room in [Room::Common, Room::WithReserve] {
            shares.remove((&queue, &sender), 10, room);
        }
        assert!(shares.queues.is_empty());
        assert_eq!(fill(&mut shares, "ncb.sg", 10, Room::Common, LIMITS), 450);
    }

    #[test]
    fn what_is_committed_is_known_after_a_restart_and_what_was_not_written_is_written_again() {
        let (queue, sender): (AgencyId, NodeId) = ("ncb.ee".parse().unwrap(), "ncb.sg".parse().unwrap());
        let mut shares = Shares::default();
        shares.add((&queue, &sender), 400, Room::Common);
        let lost = shares.records();
        assert!(shares.records().is_empty());
        shares.write_again(lost.iter());
        let written = shares.records();
        assert_eq!(written, lost);
        let records = written.into_iter().map(|op| match op {
            Op::Put { table: Table::Shares, key, value } => (key, value),
            other => panic!("{other:?}"),
        });
        let mut after = Shares::restored(records.collect(), [(&queue, 400)].into_iter());
        assert_eq!(fill(&mut after, "ncb.sg", 10, Room::Common, LIMITS), 50);
        after.remove((&queue, &sender), 450, Room::Common);
        assert!(matches!(after.records().as_slice(), [Op::Delete { table: Table::Shares, .. }]));
    }
}
