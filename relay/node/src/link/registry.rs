//! Which links there are: at most one for each peer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use liaison_protocol::NodeId;
use liaison_protocol::frame::CloseCode;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::end::End;
use super::handle::{LinkId, Shared};
use super::rivals::{Rivalries, Rivals};

/// Two nodes that dial each other at the same moment make two links, and must both drop the same one. Later than
/// this after the first, a second link means that the peer has lost the first.
const CROSSING: Duration = Duration::from_secs(3);

/// The links of one endpoint.
pub(super) struct Registry {
    me: NodeId,
    slots: Mutex<BTreeMap<NodeId, Slot>>,
    rivalries: Mutex<Rivalries>,
    changed: Notify,
}

struct Slot {
    shared: Arc<Shared>,
    dialed: bool,
    since: Instant,
    doubted: bool,
    /// Cancelled once the link's `Down` was sent.
    gone: CancellationToken,
}

/// What came of a claim.
pub(super) enum Claim {
    /// The link is the peer's only one, once the one before it is gone.
    Granted {
        /// Cancelled when the link before is gone.
        before: Option<CancellationToken>,
        /// To be cancelled when this link is gone.
        gone: CancellationToken,
        /// The link before is another program's, with the same key.
        rivals: Option<Rivals>,
    },
    /// The other link of a crossing stays.
    Crossed,
    /// The link that another program has with the same key is kept for a while.
    Kept,
    /// As many links as may be.
    TooMany,
}

/// Whether the older of two links stays. Pure, and the same on both sides: of two that crossed, the one dialed by the
/// smaller name stays; else the newest.
// [LINK-6]
fn older_stays(older_dialed: bool, older_age: Duration, newer_dialed: bool, we_are_smaller: bool) -> bool {
    older_dialed != newer_dialed && older_age < CROSSING && older_dialed == we_are_smaller
}

impl Registry {
    pub(super) fn new(me: NodeId) -> Self {
        Self { me, slots: Mutex::default(), rivalries: Mutex::default(), changed: Notify::new() }
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<NodeId, Slot>> {
        // Nothing under the lock can panic half-way.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a link whose hello was good, and closes the peer's link before it.
    pub(super) fn claim(&self, shared: &Arc<Shared>, dialed: bool, links_max: usize) -> Claim {
        let mut slots = self.slots();
        let before = slots.get(&shared.peer);
        if before.is_none() && slots.len() >= links_max {
            return Claim::TooMany;
        }
        if before.is_some_and(|old| older_stays(old.dialed, old.since.elapsed(), dialed, self.me < shared.peer)) {
            return Claim::Crossed;
        }
        let (now, age) = (Instant::now(), before.map(|old| old.since.elapsed()));
        let answers = before.is_some_and(|old| !old.doubted);
        let mut rivalries = self.rivalries.lock().unwrap_or_else(PoisonError::into_inner);
        // [LINK-8]
        if answers && age.is_some_and(|age| rivalries.keeps(&shared.peer, age, now)) {
            return Claim::Kept;
        }
        let gone = CancellationToken::new();
        let slot = Slot { shared: shared.clone(), dialed, since: now, doubted: false, gone: gone.clone() };
        let old = slots.insert(shared.peer.clone(), slot);
        let rivals = old.as_ref().filter(|_| answers).and_then(|old| {
            let (older, newer) = (old.shared.connection.remote_address(), shared.connection.remote_address());
            // A restart looks like this, and so does a stolen key.
            tracing::info!(peer = %shared.peer, %older, %newer, "a second link of one identity: the newer stays");
            rivalries.note(&shared.peer, Rivals { older, newer }, now)
        });
        let before = old.map(|old| {
            old.shared.close(End::us(CloseCode::DuplicateLink, "the peer has a newer link"));
            old.gone
        });
        drop((slots, rivalries));
        self.changed.notify_waiters();
        Claim::Granted { before, gone, rivals }
    }

    /// Forgets a link, unless a newer one has taken its place.
    pub(super) fn release(&self, peer: &NodeId, link: LinkId) {
        let mut slots = self.slots();
        if slots.get(peer).is_some_and(|slot| slot.shared.id == link) {
            slots.remove(peer);
        }
        drop(slots);
        self.changed.notify_waiters();
    }

    /// Says whether a link answers. One that does not is dialed anew beside it.
    pub(super) fn set_doubted(&self, peer: &NodeId, link: LinkId, doubted: bool) {
        let mut slots = self.slots();
        if let Some(slot) = slots.get_mut(peer).filter(|slot| slot.shared.id == link) {
            slot.doubted = doubted;
        }
        drop(slots);
        self.changed.notify_waiters();
    }

    /// Whether the peer has a link that answers, other than `but`.
    pub(super) fn is_linked(&self, peer: &NodeId, but: Option<LinkId>) -> bool {
        self.slots().get(peer).is_some_and(|slot| !slot.doubted && Some(slot.shared.id) != but)
    }

    /// Waits until [`Registry::is_linked`] is `linked`.
    pub(super) async fn until(&self, peer: &NodeId, but: Option<LinkId>, linked: bool) {
        loop {
            // It hears of every change after this line.
            let changed = self.changed.notified();
            if self.is_linked(peer, but) == linked {
                return;
            }
            changed.await;
        }
    }

    /// Asks every link to close.
    pub(super) fn close_all(&self, code: CloseCode) {
        for slot in self.slots().values() {
            slot.shared.close(End::us(code, ""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [LINK-6]
    #[test]
    fn both_sides_of_a_crossing_keep_the_same_link() {
        let young = Duration::from_millis(5);
        // The smaller side dialed link 1, the larger side link 2. Each side may see either one first.
        let smaller_keeps_1 = [older_stays(true, young, false, true), !older_stays(false, young, true, true)];
        let larger_keeps_1 = [older_stays(false, young, true, false), !older_stays(true, young, false, false)];
        assert_eq!((smaller_keeps_1, larger_keeps_1), ([true, true], [true, true]));
    }

    // [LINK-6]
    #[test]
    fn the_newest_wins_when_nothing_crossed() {
        for we_are_smaller in [true, false] {
            for dialed in [true, false] {
                assert!(!older_stays(dialed, Duration::ZERO, dialed, we_are_smaller), "the peer dialed again");
                assert!(!older_stays(dialed, CROSSING, !dialed, we_are_smaller), "the peer has lost the old one");
            }
        }
    }
}
