//! Group commit: what is gathered while the previous commit is being synced.
//!
//! An idle node commits at once; a busy one commits as many as came meanwhile. No timer is needed for either.

use std::collections::BTreeSet;

use crate::action::{Acknowledgement, Taken};
use crate::event::Ticket;
use crate::ledger::Count;
use crate::link::LinkKey;
use crate::op::{DedupeKey, Entry, Op, Position};
use liaison_protocol::frame::Refused;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{Precedence, Timestamp};

/// Bytes in one commit, about; a batch that holds them takes nothing more until its commit has begun. Some forty small
/// messages: enough to share a sync, and so few that writing them takes no longer than the sync, for which what is
/// urgent must wait anyway (`docs/decisions/0010-small-commits.md`).
const BATCH_BYTES_MAX: usize = 128 * 1024;
/// When a peer tries again what found the disk full.
const FULL_RETRY_MS: u32 = 5_000;
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
    /// Records of the senders' shares; written by the next commit if the disk is full.
    pub(crate) shares: Vec<Op>,
    pub(crate) acks: Vec<(LinkKey, u8, Acknowledgement)>,
    /// Which of `acks` say, of which recipient, that a copy is held whose first one is in the batch before this one: not
    /// true if that finds the disk full.
    pub(crate) leaning: Vec<(usize, u16)>,
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

    /// The batch before this one found the disk full: what leaned on it is refused as well, and no receipt claims it.
    pub(crate) fn refuse_leaning(&mut self) {
        for (at, index) in std::mem::take(&mut self.leaning) {
            let Some((_, _, Acknowledgement { ack, custody })) = self.acks.get_mut(at) else { continue };
            ack.taken.retain(|taken| *taken != index);
            ack.duplicate.retain(|duplicate| *duplicate != index);
            ack.refused.push(no_room(index));
            ack.refused.sort_by_key(|refused| refused.index);
            let Some(claim) = *custody else { continue };
            if let Some(claimed) = self.custody.get_mut(claim) {
                claimed.indices.retain(|taken| *taken != index);
                if claimed.indices.is_empty() {
                    self.drop_claim(claim);
                }
            }
        }
    }

    fn drop_claim(&mut self, claim: usize) {
        self.custody.remove(claim);
        for (_, _, Acknowledgement { custody, .. }) in &mut self.acks {
            *custody = custody.filter(|other| *other != claim).map(|other| other - usize::from(other > claim));
        }
        for (_, other, _) in &mut self.attests {
            *other -= usize::from(*other > claim);
        }
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

/// What is said of a recipient for whom there was no room.
pub(crate) fn no_room(index: u16) -> Refused {
    let reason = RefusalReason::DiskLow.code();
    Refused { index, reason, detail: "the disk is full".into(), retry_after_ms: FULL_RETRY_MS }
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
    use liaison_protocol::frame::Ack;

    #[test]
    fn what_leaned_on_a_batch_without_room_is_refused_and_no_receipt_claims_it() {
        let mut batch = Batch::default();
        for (number, indices) in [(1, vec![0]), (2, vec![0, 1]), (3, vec![0])] {
            let from: liaison_protocol::NodeId = "ap-1".parse().unwrap();
            let id = liaison_protocol::MessageId(liaison_protocol::Hash([number; 32]));
            batch.custody.push(Taken { id, from, indices: indices.clone() });
            let ack = Ack { seq: number.into(), taken: indices, duplicate: vec![], refused: vec![], proof: None };
            let custody = Some(batch.custody.len() - 1);
            batch.acks.push((LinkKey(1), 1, Acknowledgement { ack, custody }));
        }
        batch.leaning = vec![(0, 0), (1, 1)];
        batch.refuse_leaning();
        let said = |at: usize| {
            let (_, _, Acknowledgement { ack, custody }) = &batch.acks[at];
            let refused: Vec<u16> = ack.refused.iter().map(|refused| refused.index).collect();
            (ack.taken.clone(), refused, *custody)
        };
        let expected = [(vec![], vec![0], None), (vec![0], vec![1], Some(0)), (vec![0], vec![], Some(1))];
        assert_eq!([0, 1, 2].map(said), expected);
        let claimed: Vec<_> = batch.custody.iter().map(|taken| (taken.id.0.0[0], taken.indices.clone())).collect();
        assert_eq!(claimed, [(2, vec![0]), (3, vec![0])]);
        assert!(batch.leaning.is_empty());
    }

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
