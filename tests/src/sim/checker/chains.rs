//! A message that was sealed anew goes by the id of its first envelope: to people it is one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use liaison_protocol::MessageId;

use crate::sim::trace::{Fact, Step, Trace};

/// Envelopes that were sealed anew, and the first one of each.
pub(super) struct Chains(BTreeMap<MessageId, MessageId>);

impl Chains {
    pub(super) fn of(trace: &Trace) -> Self {
        let resealed = trace.steps.iter().filter_map(|(_, step)| match step {
            Step::Resealed { id, of, .. } => Some((*id, *of)),
            _ => None,
        });
        Self(resealed.collect())
    }

    pub(super) fn first(&self, id: MessageId) -> MessageId {
        self.0.get(&id).copied().unwrap_or(id)
    }

    /// All envelopes of a message, but the first.
    pub(super) fn later(&self, first: MessageId) -> impl Iterator<Item = MessageId> {
        self.0.iter().filter(move |(_, of)| **of == first).map(|(id, _)| *id)
    }

    /// The step, with what inboxes and applications say of a message said of its first envelope. What goes over links
    /// and through queues keeps its own ids.
    pub(super) fn as_first<'a>(&self, step: &'a Step) -> Cow<'a, Step> {
        let of_inbox = matches!(
            step,
            Step::Commit { .. }
                | Step::Marked { .. }
                | Step::Marking { .. }
                | Step::Shown { .. }
                | Step::ShownPart { .. }
        );
        if self.0.is_empty() || !of_inbox {
            return Cow::Borrowed(step);
        }
        let mut step = step.clone();
        match &mut step {
            Step::Commit { facts, .. } => {
                for fact in facts {
                    if let Fact::Complete { id }
                    | Fact::HandedOver { id }
                    | Fact::Inbox { id, .. }
                    | Fact::Listed { id }
                    | Fact::Read { id } = fact
                    {
                        *id = self.first(*id);
                    }
                }
            }
            Step::Marked { id, .. }
            | Step::Marking { id, .. }
            | Step::Shown { id, .. }
            | Step::ShownPart { id, .. } => {
                *id = self.first(*id);
            }
            _ => {}
        }
        Cow::Owned(step)
    }
}
