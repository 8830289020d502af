//! Room for what peers have asked for: a link has a small part of its answers under way at a time, and all links together a
//! bounded one.

use std::time::Duration;

use bytes::Bytes;
use liaison_core::LinkKey;
use liaison_driver::{Driver, Time};
use tokio::time::Instant;

use super::host::LinkTable;

/// Bytes of answers under way on one link, from which on no further answer is made.
const LINK_BYTES_MAX: usize = 128 * 1024;
/// The same over all links, without what they share.
const ALL_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How often links are looked at that had no room.
const BEAT: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Default)]
pub(super) struct Answers {
    /// Frames that are queued, or that QUIC still has.
    out: Vec<(LinkKey, Bytes)>,
    /// When links without room are looked at next; `None`: nothing is owed.
    next: Option<Instant>,
}

impl Answers {
    /// When [`Answers::serve`] is next of use.
    pub(super) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Sends what the driver owes, as far as links have room.
    pub(super) fn serve(&mut self, driver: &mut Driver, links: &LinkTable, time: Time) {
        for link in driver.owing() {
            while self.has_room(link, links) {
                let Some(answer) = driver.next_answer(link, time) else { break };
                let sent = links.with(link, |handle| handle.control_encoded(&answer.frame).is_ok());
                // A link that is gone takes nothing, and its end comes as an event.
                if sent != Some(true) {
                    break;
                }
                driver.answered(link);
                if !answer.shared {
                    self.out.push((link, answer.frame));
                }
            }
        }
        self.next = (!driver.owing().is_empty()).then(|| Instant::now() + BEAT);
    }

    fn has_room(&mut self, link: LinkKey, links: &LinkTable) -> bool {
        let Some(backlog) = links.with(link, |handle| handle.control_backlog()) else { return false };
        self.out.retain(|(_, frame)| !frame.is_unique());
        let on_link: usize = self.out.iter().filter(|(on, _)| *on == link).map(|(_, frame)| frame.len()).sum();
        let in_all: usize = self.out.iter().map(|(_, frame)| frame.len()).sum();
        backlog.max(on_link) < LINK_BYTES_MAX && in_all < ALL_BYTES_MAX
    }
}
