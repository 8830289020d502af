//! The office as the run loop sees it.

use liaison_core::op::Op;
use liaison_node::local::{LocalAgency, OwnEvent, Received};
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::{MessageId, Timestamp};

use crate::office::Office;

impl LocalAgency for Office {
    fn receive(&self, envelope: &VerifiedEnvelope, index: u16, now: Timestamp) -> Received {
        self.note_taken(now);
        match self.take(envelope, index, now) {
            Ok(received) => received,
            Err(error) => Received::Fault(error.to_string()),
        }
    }

    fn committed(&self, id: MessageId) {
        if self.arrivals.committed(id) {
            self.wake.arrivals.notify_one();
        }
        self.chains.leave(id);
        self.sequence.close(id);
        self.wake.receipts.notify_one();
        self.wake.work.notify_one();
    }

    fn dropped(&self, id: MessageId) {
        if self.arrivals.dropped(id) {
            self.wake.arrivals.notify_one();
        }
        self.chains.leave(id);
        self.sequence.close(id);
    }

    fn progress(&self, event: OwnEvent, now: Timestamp) -> Vec<Op> {
        match self.learn(event, now) {
            Ok(ops) => {
                if !ops.is_empty() {
                    self.wake.work.notify_one();
                }
                ops
            }
            Err(error) => {
                // The store that failed here fails the run loop too, in its own turn.
                tracing::error!(%error, "what became of a message cannot be written down");
                Vec::new()
            }
        }
    }
}
