//! Receipts that were taken a moment ago, and whose commit may not have ended: what comes next is measured by them, too.

use std::collections::{BTreeMap, VecDeque};

use liaison_protocol::MessageId;

use crate::outbox::fact::{FactKind, Proven};

/// More than the commits that are under way can hold.
const FRESH_MAX: usize = 4_096;

/// Which fact: of which message, for which recipient.
pub(crate) type Key = (MessageId, u16, FactKind);

/// The last ones, whatever becomes of their commits: none of them is believed to be on the disk.
#[derive(Default)]
pub(crate) struct Fresh {
    taken: BTreeMap<Key, Proven>,
    order: VecDeque<Key>,
}

impl Fresh {
    pub(crate) fn get(&self, key: Key) -> Option<&Proven> {
        self.taken.get(&key)
    }

    pub(crate) fn put(&mut self, key: Key, proven: Proven) {
        if self.taken.insert(key, proven).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > FRESH_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.taken.remove(&oldest);
        }
    }
}
