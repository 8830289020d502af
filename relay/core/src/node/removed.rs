//! Mail for agencies that have left the federation: it ends in notices at once, in bounded batches.
// [CUST-17]

use liaison_protocol::AgencyId;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::refusal::RefusalReason;

use super::end::{ENDING_MAX, EndingEntry};
use super::{Node, QueueKey};
use crate::action::Action;
use crate::link::NodeKind;
use crate::op::Position;
use crate::queue::WINDOW;

impl Node {
    /// After a new roster, and at the start: which queues hold mail for nobody? A daemon's own mail is refused by its
    /// home relay.
    pub(super) fn find_removed(&mut self, actions: &mut Vec<Action>) {
        if std::mem::take(&mut self.look_for_removed) {
            self.removed = self.windows.keys().filter(|key| self.is_removed(&key.0)).cloned().collect();
            self.end_more_removed(actions);
        }
    }

    pub(super) fn is_removed(&self, agency: &AgencyId) -> bool {
        let relay = self.config.kind == NodeKind::Relay && !planted(Mutant::RemovedMailWaits);
        relay && self.roster.agency(agency).is_none()
    }

    /// What has ended is durable: there is room for more to end.
    pub(super) fn end_more_removed(&mut self, actions: &mut Vec<Action>) {
        let windows = &self.windows;
        self.removed.retain(|key| windows.get(key).is_some_and(|window| window.entries() > 0));
        let keys: Vec<QueueKey> = self.removed.iter().cloned().collect();
        keys.iter().for_each(|key| self.end_removed(key, actions));
    }

    /// Ends what is in memory of this queue, and loads more. What is in flight ends when it comes back.
    pub(super) fn end_removed(&mut self, key: &QueueKey, actions: &mut Vec<Action>) {
        let room = ENDING_MAX.saturating_sub(self.ending.len());
        let Some(window) = self.windows.get_mut(key) else { return };
        let idle = window.idle(room);
        if let Some(after) = window.wants_load() {
            actions.push(Action::Load { queue: key.0.clone(), rank: key.1, after, limit: WINDOW / 2 });
        }
        let detail = format!("{} has left the federation (roster version {})", key.0, self.roster.version());
        for (seq, entry) in idle {
            let position = Position { queue: key.0.clone(), rank: key.1, seq };
            if self.begin_end(&position, &entry) {
                let reason = RefusalReason::UnknownRecipient;
                self.end(position, EndingEntry { entry, reason, detail: detail.clone() }, actions);
            }
        }
    }
}
