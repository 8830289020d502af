//! Custody that ends without a next holder: expiry, a final refusal, a sender's wish. Never in silence.

use std::time::Duration;

use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{Precedence, Timestamp};

use super::Node;
use super::forward::released;
use crate::action::{Action, Measure};
use crate::batch::{Ending, dequeue};
use crate::event::{Ended, Ticket};
use crate::op::{Entry, Op, Position};

/// Expired entries that are worked on at a time.
const EXPIRED_MAX: usize = 256;
/// Entries that may be ending at a time, before expired ones wait in the store: memory stays bounded.
pub(super) const ENDING_MAX: usize = 4 * EXPIRED_MAX;
/// What could not be ended (no key of the sender's is known, the disk is full) is tried again this much later.
const END_RETRY: Duration = Duration::from_secs(30);

/// An entry that something is being made for: a notice to its sender, or its own agency's records.
#[derive(Clone, Debug)]
pub(super) struct EndingEntry {
    pub(super) entry: Entry,
    pub(super) reason: RefusalReason,
    pub(super) detail: String,
}

impl Node {
    pub(super) fn load_expired(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let now = if planted(Mutant::ExpiryEarly) { now.after(Duration::from_secs(60)) } else { now };
        if self.loading_expired || self.next_expiry.is_none_or(|next| next > now) {
            return;
        }
        if self.ending.len() >= ENDING_MAX {
            return self.expire_again(now);
        }
        self.loading_expired = true;
        // As many again as are ending already: those are still in the store, first in order.
        let limit = EXPIRED_MAX + self.ending.len() + self.releasing.len();
        actions.push(Action::LoadExpiring { until: now, limit });
    }

    pub(super) fn handle_expiring(
        &mut self,
        entries: Vec<(Position, Entry)>,
        next: Option<Timestamp>,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        self.loading_expired = false;
        self.next_expiry = next.filter(|_| !planted(Mutant::ExpiryForgotten));
        for (position, entry) in entries {
            if self.releasing.contains_key(&position) || self.ending.contains_key(&position) {
                continue;
            }
            if self.begin_end(&position, &entry) {
                let window = self.windows.get(&(position.queue.clone(), position.rank));
                let refused = window.and_then(|window| window.refusal(position.seq));
                let detail = refused.map(|words| format!("refused until then, at last with {words}"));
                let ending = EndingEntry { entry, reason: RefusalReason::Expired, detail: detail.unwrap_or_default() };
                self.end(position, ending, actions);
            } else {
                // [CUST-11]
                // In flight: it expires once its acknowledgement is known to be lost.
                self.expire_again(now);
            }
        }
    }

    fn expire_again(&mut self, now: Timestamp) {
        let at = now.after(END_RETRY);
        self.next_expiry = Some(self.next_expiry.filter(|next| *next > now).map_or(at, |next| next.min(at)));
    }

    /// False if it is in flight.
    pub(super) fn begin_end(&mut self, position: &Position, entry: &Entry) -> bool {
        let window = self.windows.entry((position.queue.clone(), position.rank)).or_default();
        if !window.begin_end(position.seq) {
            return false;
        }
        self.no_longer_waiting(entry.id, position);
        true
    }

    pub(super) fn end(&mut self, position: Position, ending: EndingEntry, actions: &mut Vec<Action>) {
        let EndingEntry { entry, reason, detail } = ending.clone();
        self.ending.insert(position.clone(), ending);
        actions.push(Action::End { position, entry, reason, detail });
    }

    pub(super) fn handle_ended(
        &mut self,
        position: &Position,
        outcome: Ended,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let Some(EndingEntry { entry, .. }) = self.ending.get(position).cloned() else { return };
        let precedence = Precedence::from_rank(position.rank).unwrap_or_default();
        let mut ops = self.removal(position, &entry);
        match outcome {
            Ended::Later if planted(Mutant::EndNotRetried) => return,
            Ended::Later => {
                self.end_retries.insert((now.after(END_RETRY), position.clone()));
                return;
            }
            Ended::Notice(_) if planted(Mutant::RemovalWithoutNotice) => {}
            Ended::Notice(notice) => {
                self.enqueue_own(&notice, (1, Vec::new()), None, now, actions);
                actions.push(Action::Measure(Measure::Notice(precedence)));
            }
            Ended::Records(records) => ops.extend(records),
        }
        if entry.expires <= now {
            actions.push(Action::Measure(Measure::Expired(precedence)));
        }
        self.remove_ended(position, &entry);
        self.open.end(position.clone(), entry.bytes, ops);
    }

    fn removal(&self, position: &Position, entry: &Entry) -> Vec<Op> {
        let mut ops = vec![dequeue(position, entry)];
        ops.extend(released(entry, None, &self.config.me));
        ops
    }

    fn remove_ended(&mut self, position: &Position, entry: &Entry) {
        self.holds.gone(position);
        if let Some(window) = self.windows.get_mut(&(position.queue.clone(), position.rank)) {
            window.remove(position.seq, entry.bytes);
        }
        self.give_room_back(position, entry);
    }

    pub(super) fn retry_ends(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        while let Some((at, position)) = self.end_retries.first().cloned() {
            if at > now {
                return;
            }
            self.end_retries.remove(&(at, position.clone()));
            if let Some(EndingEntry { entry, reason, detail }) = self.ending.get(&position).cloned() {
                actions.push(Action::End { position, entry, reason, detail });
            }
        }
    }

    pub(super) fn handle_cancel(&mut self, ticket: Ticket, entries: &[(Position, Entry)], ops: Vec<Op>) {
        let mut withdrawn = Vec::new();
        for (position, entry) in entries {
            let busy = self.releasing.contains_key(position) || self.ending.contains_key(position);
            if busy || !self.begin_end(position, entry) {
                continue;
            }
            let removal = self.removal(position, entry);
            let ending = EndingEntry { entry: entry.clone(), reason: RefusalReason::Cancelled, detail: String::new() };
            self.ending.insert(position.clone(), ending);
            self.remove_ended(position, entry);
            self.open.end(position.clone(), entry.bytes, removal);
            withdrawn.push(entry.index);
        }
        if !withdrawn.is_empty() {
            ops.into_iter().for_each(|op| self.open.accept(op));
        }
        self.open.answers.push((ticket, withdrawn));
    }

    /// The disk was full: nothing has ended. What was withdrawn waits again, as if nobody had asked; anything else is
    /// ended again later.
    pub(super) fn undo_ending(&mut self, ending: &Ending, now: Timestamp, actions: &mut Vec<Action>) {
        let position = &ending.position;
        let key = (position.queue.clone(), position.rank);
        if let Some(EndingEntry { entry, .. }) = self.ending.get(position).cloned() {
            self.take_room(position, &entry);
        }
        let window = self.windows.entry(key.clone()).or_default();
        window.undo_remove(ending.bytes);
        match self.ending.get(position).cloned() {
            Some(EndingEntry { entry, reason: RefusalReason::Cancelled, .. }) if entry.from == self.config.me => {
                self.ending.remove(position);
                if window.wait_again(position.seq, entry.clone()) {
                    self.waiting.entry(entry.id).or_default().insert(position.clone());
                }
                self.wake(&key, actions);
            }
            _ => drop(self.end_retries.insert((now.after(END_RETRY), position.clone()))),
        }
    }
}
