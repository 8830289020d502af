//! Refusals for now, and what they keep waiting. What one peer cannot take, the next one is offered at once.

use std::time::Duration;

use liaison_protocol::frame::Refused;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{MessageId, NodeId, Timestamp};

use super::end::EndingEntry;
use super::{Node, QueueKey};
use crate::action::Action;
use crate::holds::Scope;
use crate::op::Position;
use crate::retry::Backoff;

/// The longest pause that a peer may ask for.
const ASKED_MAX: Duration = Duration::from_secs(3_600);

/// When a relay is tried again that has acknowledged without a receipt.
const UNPROVEN_RETRY_MS: u32 = 5_000;

impl Node {
    // [REF-1]
    pub(super) fn handle_refused(
        &mut self,
        peer: &NodeId,
        position: &Position,
        refused: &Refused,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let reason = RefusalReason::try_from(refused.reason).unwrap_or(RefusalReason::Malformed);
        let key = (position.queue.clone(), position.rank);
        let Some(window) = self.windows.get_mut(&key) else { return };
        let Some(entry) = window.entry(position.seq).cloned() else { return };
        if refused.retry_after_ms > 0 && planted(Mutant::DeleteOnRefusalForNow) {
            self.lose(position, now, actions);
            return;
        }
        let goes_on = self.holds.answered(peer, position, &entry.sender);
        if refused.retry_after_ms > 0 {
            let words = format!("{peer}: {reason}: {}", refused.detail);
            window.note_refusal(position.seq, &words);
            window.note_error(words);
            let asked = Duration::from_millis(u64::from(refused.retry_after_ms)).min(ASKED_MAX);
            let scope = Scope::of(reason, self.config.kind);
            self.holds.refused(peer, (scope, position, &entry.sender), (now, asked), &mut self.jitter);
            self.put_back_entry(entry.id, position.clone());
            self.wake(&key, actions);
        } else if planted(Mutant::RefusalForGoodIsSilent) {
            self.lose(position, now, actions);
        } else {
            window.end_in_flight(position.seq);
            self.end(position.clone(), EndingEntry { entry, reason, detail: refused.detail.clone() }, actions);
        }
        if goes_on {
            self.look_at_stalled(actions);
        }
    }

    /// It was acknowledged, and another relay was told meanwhile that it is held here: it still has to be. It is sent
    /// again after a moment, of another length at each of those who crossed; never a long one, so that a peer that
    /// repeats itself holds up nothing else.
    // [CUST-13]
    pub(super) fn keep(&mut self, id: MessageId, position: Position, now: Timestamp, actions: &mut Vec<Action>) {
        let key = (position.queue.clone(), position.rank);
        if let Some(window) = self.windows.get_mut(&key) {
            window.note_error("another relay has handed it over as well".into());
        }
        let until = Backoff::default().refused(now, Duration::ZERO, &mut self.jitter);
        self.holds.wait(&position, until);
        self.put_back_entry(id, position);
        self.wake(&key, actions);
    }

    /// Every peer that an entry may go to has refused it for now. Where they refuse whatever goes to this recipient, its
    /// queue waits as a whole.
    pub(super) fn stall(&mut self, position: &Position, id: MessageId, until: Timestamp) {
        let key = (position.queue.clone(), position.rank);
        let whole = self.whole_until(position);
        let Some(window) = self.windows.get_mut(&key) else { return };
        let until = match whole {
            Some(until) => {
                window.hold(until);
                until
            }
            None => {
                window.stall(position.seq);
                self.no_longer_waiting(id, position);
                until
            }
        };
        self.stalled.entry(key).and_modify(|first| *first = until.min(*first)).or_insert(until);
    }

    /// When the first of the peers that lead on takes anything again. `None`: one does.
    fn whole_until(&self, position: &Position) -> Option<Timestamp> {
        let links = self.routes.candidates(&position.queue, &self.roster);
        let peers = links.iter().filter_map(|link| self.peers.get(link));
        let holds: Option<Vec<Timestamp>> = peers.map(|(peer, _)| self.holds.whole_until(peer, self.now)).collect();
        holds?.into_iter().min()
    }

    /// A hold is over before its time.
    pub(super) fn look_at_stalled(&mut self, actions: &mut Vec<Action>) {
        for key in std::mem::take(&mut self.stalled).into_keys() {
            self.look_anew(&key, actions);
        }
    }

    /// Queues that have waited long enough look anew for a lane.
    pub(super) fn end_stalls(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let over = self.stalled.iter().filter(|(_, until)| **until <= now && !planted(Mutant::HoldNeverEnds));
        let keys: Vec<QueueKey> = over.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.stalled.remove(&key);
            self.look_anew(&key, actions);
        }
        self.holds.prune(now);
    }

    /// Somebody wants everything to be tried now.
    pub(super) fn handle_retry(&mut self, actions: &mut Vec<Action>) {
        self.holds.clear();
        self.reroute(actions);
    }
}

/// What an acknowledgement comes to that nobody has signed for: the entry stays here, and goes another way, or again.
pub(super) fn without_receipt(index: u16) -> Refused {
    let reason = RefusalReason::BadSignature.code();
    let detail = "it acknowledges without a custody receipt that holds".into();
    Refused { index, reason, detail, retry_after_ms: UNPROVEN_RETRY_MS }
}
