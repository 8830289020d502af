//! Group commit: what is gathered while the previous commit is being synced.
//!
//! An idle node commits at once; a busy one commits as many as came meanwhile. No timer is needed for either.

use std::collections::BTreeSet;

use crate::action::{Acknowledgement, Taken};
use crate::event::{LinkKey, Ticket};
use crate::ledger::Count;
use crate::op::{DedupeKey, Entry, Op, Position};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{Precedence, Timestamp};

/// Bytes in one commit, about; a batch that holds them takes nothing more until its commit has begun. Some forty small
/// messages: enough to share a sync, and so few that writing them takes no longer than the sync, for which what is
/// urgent must wait anyway (`docs/decisions/0010-small-commits.md`).
const BATCH_BYTES_MAX: usize = 128 * 1024;
/// Room behind that bound for flash alone, so that it goes with the next commit and not with the one after.
const FLASH_BYTES_MAX: usize = BATCH_BYTES_MAX;

/// Everything that one commit makes true.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// New custody, own messages, records. Undone as a whole if the disk is full.
    accepts: Vec<Op>,
    /// What next holders acknowledged: kept and tried again if the disk is full.
    pub(crate) releases: Vec<Op>,
    pub(crate) endings: Vec<Ending>,
    weight: usize,
    /// What is accepted from relays; dropped with the rest if the disk is full.
    pub(crate) accepted: Vec<Count>,
    /// What is released to relays; kept with the releases.
    pub(crate) released: Vec<Count>,
    pub(crate) acks: Vec<(LinkKey, u8, Acknowledgement)>,
    pub(crate) custody: Vec<Taken>,
    /// Receipts made anew for what is held, by their place in `custody`: for whom.
    pub(crate) attests: Vec<(LinkKey, usize, Taken)>,
    pub(crate) answers: Vec<(Ticket, Vec<u16>)>,
    pub(crate) added: Vec<(Position, Entry)>,
    pub(crate) keys: BTreeSet<DedupeKey>,
}

/// An entry that ends in this commit, with what ends it.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) position: Position,
    pub(crate) bytes: u32,
    pub(crate) ops: Vec<Op>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.accepts.is_empty()
            && self.releases.is_empty()
            && self.endings.is_empty()
            && self.acks.is_empty()
            && self.attests.is_empty()
            && self.answers.is_empty()
    }

    /// For one more of this rank.
    pub(crate) const fn has_room(&self, rank: u8) -> bool {
        let reserve = if rank == Precedence::Flash.rank() { FLASH_BYTES_MAX } else { 0 };
        self.weight < BATCH_BYTES_MAX + reserve
    }

    pub(crate) fn accept(&mut self, op: Op) {
        self.weight += op.weight();
        self.accepts.push(op);
    }

    pub(crate) fn enqueue(&mut self, position: Position, entry: Entry) {
        self.accept(Op::Enqueue { position: position.clone(), entry: entry.clone() });
        self.added.push((position, entry));
    }

    pub(crate) fn release(&mut self, op: Op) {
        self.weight += op.weight();
        self.releases.push(op);
    }

    pub(crate) fn end(&mut self, position: Position, bytes: u32, ops: Vec<Op>) {
        self.weight += ops.iter().map(Op::weight).sum::<usize>();
        self.endings.push(Ending { position, bytes, ops });
    }

    /// All operations, in the order in which they must apply.
    pub(crate) fn take_ops(&mut self) -> Vec<Op> {
        let mut ops = std::mem::take(&mut self.accepts);
        ops.extend(self.releases.iter().cloned());
        for ending in &self.endings {
            ops.extend(ending.ops.iter().cloned());
        }
        ops
    }
}

/// Removing an entry, as every release and ending does.
pub(crate) fn dequeue(position: &Position, entry: &Entry) -> Op {
    Op::Dequeue { position: position.clone(), id: entry.id, expires: entry.expires }
}

/// Ids are remembered as long as anybody could still send them again.
pub(crate) fn remember_until(expires: Timestamp) -> Timestamp {
    if planted(Mutant::DedupeWithoutMargin) {
        return expires;
    }
    expires.after(liaison_protocol::limits::DEDUPE_MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{RANKS, Table};
    use bytes::Bytes;

    #[test]
    fn a_full_batch_takes_flash_and_nothing_else_and_flash_has_a_bound_too() {
        let mut batch = Batch::default();
        let fill = |batch: &mut Batch, bytes: usize| {
            batch.accept(Op::Put { table: Table::Inbox, key: Vec::new(), value: Bytes::from(vec![0; bytes]) });
        };
        let open_to = |batch: &Batch| (0..RANKS).filter(|rank| batch.has_room(*rank)).collect::<Vec<_>>();
        assert_eq!(open_to(&batch), [0, 1, 2, 3, 4]);
        fill(&mut batch, BATCH_BYTES_MAX);
        assert_eq!(open_to(&batch), [Precedence::Flash.rank()]);
        fill(&mut batch, FLASH_BYTES_MAX);
        assert!(open_to(&batch).is_empty());
    }
}
