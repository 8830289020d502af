//! Envelopes that were just accepted: most are sent on before the store has to be asked for them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use liaison_core::op::Op;
use liaison_protocol::MessageId;

/// Bytes kept.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// A bounded memory; the oldest go first. What is not here is in the store.
#[derive(Default)]
pub(crate) struct Recent {
    envelopes: BTreeMap<MessageId, Bytes>,
    order: VecDeque<(MessageId, usize)>,
    bytes: usize,
    /// Of the commit in flight: not to be used before it is durable.
    flying: Vec<(MessageId, Bytes)>,
}

impl Recent {
    /// Keeps aside what a commit stores.
    pub(crate) fn note(&mut self, ops: &[Op]) {
        let stored = ops.iter().filter_map(|op| match op {
            Op::PutEnvelope { id, bytes } => Some((*id, bytes.clone())),
            _ => None,
        });
        self.flying = stored.collect();
    }

    /// The commit is durable.
    pub(crate) fn settle(&mut self) {
        for (id, bytes) in std::mem::take(&mut self.flying) {
            self.bytes += bytes.len();
            self.order.push_back((id, bytes.len()));
            self.envelopes.insert(id, bytes);
        }
        while self.bytes > BYTES_MAX {
            let Some((id, bytes)) = self.order.pop_front() else { return };
            self.bytes -= bytes;
            // A second copy with more wraps stands later in the order, and leaves with it.
            if !self.order.iter().take(8).any(|(other, _)| *other == id) {
                self.envelopes.remove(&id);
            }
        }
    }

    pub(crate) fn get(&self, id: &MessageId) -> Option<Bytes> {
        self.envelopes.get(id).cloned()
    }
}
