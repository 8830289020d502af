//! Numbers of events and inbox entries, in the order in which readers may see them.
//!
//! A number is taken before its record is committed, and commits end in any order. A reader that asked for "all after
//! 7" while 6 was still being written would never see 6. So readers see only up to the first number whose commit is
//! open: [`Sequence::visible`].
//!
//! ```text
//!  taken      1 2 3 4 5 6      committed or given up  1 2 . 4 5 .      visible  2
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use liaison_node::store::{Lease, Numbers};
use liaison_protocol::MessageId;
use liaison_protocol::mutant::{Mutant, planted};
use tokio::sync::watch;

/// Hands out numbers, from one owner, rising over restarts. Cheap to clone.
#[derive(Clone)]
pub struct Sequence(Arc<Shared>);

struct Shared {
    lease: Lease,
    state: Mutex<State>,
    visible: watch::Sender<u64>,
}

struct State {
    next: u64,
    open: BTreeSet<u64>,
    /// Numbers whose commit the run loop makes: it reports by message.
    by_message: BTreeMap<MessageId, u64>,
}

/// A number whose commit is open. Dropping it closes the number, committed or not.
pub struct Ticket {
    sequence: Sequence,
    number: u64,
}

impl Sequence {
    /// Continues after `last`, the highest number that may have been handed out. Numbers are set aside in `lease`
    /// before they are handed out.
    #[must_use]
    pub fn after(last: u64, lease: Lease) -> Self {
        let state = State { next: last.saturating_add(1), open: BTreeSet::new(), by_message: BTreeMap::new() };
        Self(Arc::new(Shared { lease, state: Mutex::new(state), visible: watch::Sender::new(last) }))
    }

    /// The next number, open until the ticket is dropped.
    #[must_use]
    pub fn take(&self) -> Ticket {
        let number = self.next(&mut self.lock());
        Ticket { sequence: self.clone(), number }
    }

    /// The next number for a message that the run loop commits, open until [`Sequence::close`]. The same number as
    /// before while it is open.
    #[must_use]
    pub fn take_for(&self, id: MessageId) -> u64 {
        let mut state = self.lock();
        if let Some(number) = state.by_message.get(&id) {
            return *number;
        }
        let number = self.next(&mut state);
        state.by_message.insert(id, number);
        number
    }

    /// The message's commit has ended, one way or the other.
    pub fn close(&self, id: MessageId) {
        let mut state = self.lock();
        if let Some(number) = state.by_message.remove(&id) {
            self.finish(&mut state, number);
        }
    }

    /// Every record with this number or a lower one is in the store, or never will be.
    #[must_use]
    pub fn visible(&self) -> u64 {
        *self.0.visible.borrow()
    }

    /// Follows [`Sequence::visible`].
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.visible.subscribe()
    }

    fn next(&self, state: &mut State) -> u64 {
        let number = state.take();
        // What applications have seen of a number is no custody: the commits that follow show what the disk is worth.
        if let Err(error) = self.0.lease.reserve(Numbers::Events, number) {
            tracing::error!(%error, "if an old copy of the store is put back, cursors of events may be given again");
        }
        number
    }

    fn finish(&self, state: &mut State, number: u64) {
        state.open.remove(&number);
        let open = state.open.first().copied().filter(|_| !planted(Mutant::OpenNumbersShown));
        let visible = open.unwrap_or(state.next).saturating_sub(1);
        // Under the lock, so that it only rises.
        self.0.visible.send_if_modified(|seen| std::mem::replace(seen, visible) != visible);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> u64 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        self.open.insert(number);
        number
    }
}

impl Ticket {
    /// The number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.sequence.lock();
        self.sequence.finish(&mut state, self.number);
    }
}

#[cfg(test)]
mod tests {
    use liaison_protocol::Hash;

    use super::*;

    fn sequence(last: u64) -> Sequence {
        let temp = tempfile::tempdir().unwrap();
        Sequence::after(last, Lease::open(&temp.path().join("store.lease")).unwrap())
    }

    #[test]
    fn readers_see_no_number_past_an_open_one() {
        let sequence = sequence(10);
        let (first, second) = (sequence.take(), sequence.take());
        assert_eq!((first.number(), second.number(), sequence.visible()), (11, 12, 10));
        drop(second);
        assert_eq!(sequence.visible(), 10);
        drop(first);
        assert_eq!(sequence.visible(), 12);
    }

    #[test]
    fn a_message_keeps_its_number_while_its_commit_is_open() {
        let (sequence, id) = (sequence(0), MessageId(Hash([7; 32])));
        assert_eq!((sequence.take_for(id), sequence.take_for(id)), (1, 1));
        sequence.close(id);
        sequence.close(id);
        assert_eq!(sequence.visible(), 1);
        assert_eq!(sequence.take_for(id), 2);
    }
}
