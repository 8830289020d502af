//! Group commit: one in flight, the next one gathering.

use std::collections::BTreeMap;
use std::time::Duration;

use liaison_protocol::Timestamp;
use liaison_protocol::mutant::{Mutant, planted};

use super::Node;
use crate::action::{Acknowledgement, Action, Outcome};
use crate::batch::{Batch, no_room};
use crate::durable::Durable;
use crate::event::{CommitResult, Disk, Ticket};
use crate::link::LinkKey;

/// A full disk is tried again this much later.
const FULL_RETRY: Duration = Duration::from_secs(1);

impl Node {
    pub(super) fn start_commit(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.flying.is_some() || self.open.is_empty() || self.retry_commit_at.is_some_and(|at| at > now) {
            return;
        }
        let mut batch = std::mem::take(&mut self.open);
        let mut ops = batch.take_ops();
        ops.extend(self.ledger.records(batch.accepted.iter().chain(&batch.released), now));
        batch.shares = self.shares.records();
        ops.extend(batch.shares.iter().cloned());
        let custody = batch.custody.clone();
        if planted(Mutant::AckBeforeSync) {
            acknowledge(std::mem::take(&mut batch.acks), &Durable::assertion(0), actions);
        }
        if planted(Mutant::AnswerBeforeSync) {
            answer(std::mem::take(&mut batch.answers), actions);
        }
        self.flying = Some(batch);
        actions.push(Action::Commit { ops, custody });
    }

    pub(super) fn handle_committed(&mut self, result: CommitResult, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(batch) = self.flying.take() else { return };
        match result {
            CommitResult::Durable(durable) => self.settle(batch, durable, actions),
            CommitResult::Full => self.undo(batch, now, actions),
        }
    }

    fn settle(&mut self, batch: Batch, durable: Durable, actions: &mut Vec<Action>) {
        self.open.leaning.clear();
        self.forget_undurable(&batch);
        for position in self.releasing_in(&batch) {
            self.releasing.remove(&position);
        }
        self.ledger.apply(batch.accepted);
        self.ledger.apply(batch.released);
        for ending in batch.endings {
            self.ending.remove(&ending.position);
        }
        acknowledge(batch.acks, &durable, actions);
        let attest = |(link, custody, taken)| Action::Attest { link, custody, taken };
        actions.extend(batch.attests.into_iter().map(attest));
        if planted(Mutant::AckNextCommit) {
            acknowledge(std::mem::take(&mut self.open.acks), &durable, actions);
        }
        answer(batch.answers, actions);
        for (position, entry) in batch.added.into_iter().filter(|_| !planted(Mutant::DurableNotQueued)) {
            self.queue_added(position, entry, actions);
        }
        self.end_more_removed(actions);
    }

    fn releasing_in(&self, batch: &Batch) -> Vec<crate::op::Position> {
        let dequeued = batch.releases.iter().filter_map(|op| match op {
            crate::op::Op::Dequeue { position, .. } => Some(position.clone()),
            _ => None,
        });
        dequeued.collect()
    }

    fn forget_undurable(&mut self, batch: &Batch) {
        for (_, entry) in &batch.added {
            if !self.open.added.iter().any(|(_, other)| other.id == entry.id) {
                self.undurable.remove(&entry.id);
            }
        }
    }

    /// Nothing was written: what was to be taken is refused, what was to be released is tried again.
    fn undo(&mut self, mut batch: Batch, now: Timestamp, actions: &mut Vec<Action>) {
        self.disk = Disk::Low;
        self.retry_commit_at = Some(now.after(FULL_RETRY));
        self.forget_undurable(&batch);
        for (position, entry) in &batch.added {
            self.give_room_back(position, entry);
        }
        self.shares.write_again(batch.shares.iter());
        for (_, _, acknowledgement) in batch.acks.iter_mut().filter(|_| !planted(Mutant::AckOnFullDisk)) {
            refuse_taken(acknowledgement);
        }
        gather(batch.acks, actions);
        if !planted(Mutant::LeaningAcknowledged) {
            self.open.refuse_leaning();
        }
        if planted(Mutant::AnswerDoneOnFullDisk) {
            answer(std::mem::take(&mut batch.answers), actions);
        }
        let full = |(ticket, _)| Action::Answer { ticket, outcome: Outcome::Full };
        actions.extend(batch.answers.into_iter().map(full));
        for ending in batch.endings.into_iter().filter(|_| !planted(Mutant::FullDiskForgetsEndings)) {
            self.undo_ending(&ending, now, actions);
        }
        for op in batch.releases.into_iter().filter(|_| !planted(Mutant::FullDiskForgetsReleases)) {
            self.open.release(op);
        }
        self.open.released.extend(batch.released);
    }
}

fn refuse_taken(acknowledgement: &mut Acknowledgement) {
    let ack = &mut acknowledgement.ack;
    for index in std::mem::take(&mut ack.taken) {
        ack.refused.push(no_room(index));
    }
    // No receipt is signed, and without one a relay's word is worth nothing.
    if acknowledgement.custody.take().is_some() {
        ack.refused.extend(std::mem::take(&mut ack.duplicate).into_iter().map(no_room));
    }
    ack.refused.sort_by_key(|refused| refused.index);
}

fn answer(answers: Vec<(Ticket, Vec<u16>)>, actions: &mut Vec<Action>) {
    let done = |(ticket, withdrawn)| Action::Answer { ticket, outcome: Outcome::Done { withdrawn } };
    actions.extend(answers.into_iter().map(done));
}

/// Acknowledges what a commit has made durable.
fn acknowledge(acks: Vec<(LinkKey, u8, Acknowledgement)>, _proof: &Durable, actions: &mut Vec<Action>) {
    gather(acks, actions);
}

/// Gathers answers to transfers by lane, in their order.
fn gather(acks: Vec<(LinkKey, u8, Acknowledgement)>, actions: &mut Vec<Action>) {
    let mut by_lane: BTreeMap<(LinkKey, u8), Vec<Acknowledgement>> = BTreeMap::new();
    for (link, rank, ack) in acks {
        by_lane.entry((link, rank)).or_default().push(ack);
    }
    actions.extend(by_lane.into_iter().map(|((link, rank), acks)| Action::Acknowledge { link, rank, acks }));
}
