//! Links that come and go: what is said of them, and when they are an alarm.
//!
//! Two machines with one agency's keys throw each other out, again and again. Each change is an event as long as changes
//! are few. After that the last state is told once a minute, so that whoever follows the events still learns it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::PoisonError;
use std::time::Duration;

use liaison_protocol::{NodeId, Timestamp};

use crate::events::{EventRecord, What};
use crate::office::Office;
use crate::outbox::work::Work;

/// Changes are counted over this time.
const WINDOW: Duration = Duration::from_secs(600);
/// So many changes within a minute are told one by one: the link comes up three times.
const TOLD_MAX: usize = 6;
const MINUTE: Duration = Duration::from_secs(60);
/// Changes within [`WINDOW`] that are an alarm: a relay that restarts makes two.
const ALARM: usize = 12;
/// More are not remembered.
const CHANGES_MAX: usize = 256;

/// What is known of each relay's link. Bounded by the relays of the roster.
#[derive(Debug, Default)]
pub(crate) struct Links(BTreeMap<NodeId, Changes>);

#[derive(Debug, Default)]
struct Changes {
    /// When the link came up or went down, the latest last.
    at: VecDeque<Timestamp>,
    /// The last state, if no event tells it yet.
    untold: Option<EventRecord>,
    /// When the state of a link that comes and goes was told last.
    told: Option<Timestamp>,
}

impl Links {
    /// Notes a change. Gives the event back if it is to be told now.
    fn change(&mut self, peer: &NodeId, event: EventRecord, now: Timestamp) -> Option<EventRecord> {
        let changes = self.0.entry(peer.clone()).or_default();
        // A clock that was set back starts the count anew.
        changes.at.retain(|at| *at <= now && now.since(*at) < WINDOW);
        changes.at.push_back(now);
        if changes.at.len() > CHANGES_MAX {
            changes.at.pop_front();
        }
        if changes.at.iter().filter(|at| now.since(**at) < MINUTE).count() <= TOLD_MAX {
            changes.untold = None;
            return Some(event);
        }
        changes.untold = Some(event);
        None
    }

    /// What is to be told now of links that come and go: the last state, once a minute.
    fn due(&mut self, now: Timestamp) -> Vec<EventRecord> {
        let mut due = Vec::new();
        for changes in self.0.values_mut() {
            let waits = changes.told.is_some_and(|told| told <= now && now.since(told) < MINUTE);
            if let Some(event) = changes.untold.take_if(|_| !waits) {
                changes.told = Some(now);
                due.push(event);
            }
        }
        due
    }

    /// Relays whose link comes and goes, each with how often it came up or went down of late.
    pub(crate) fn flapping(&self, now: Timestamp) -> Vec<(NodeId, usize)> {
        let recent = |changes: &Changes| changes.at.iter().filter(|at| now.since(**at) < WINDOW).count();
        let counted = self.0.iter().map(|(peer, changes)| (peer.clone(), recent(changes)));
        counted.filter(|(_, changes)| *changes >= ALARM).collect()
    }
}

impl Office {
    /// What is written down when the link to `peer` has come up or gone down.
    pub(crate) fn link_changed(
        &self,
        peer: &NodeId,
        what: What,
        reason: String,
        now: Timestamp,
    ) -> Vec<liaison_core::op::Op> {
        let event = EventRecord::new(what, now).with_node(peer).because(reason);
        let told = self.links.lock().unwrap_or_else(PoisonError::into_inner).change(peer, event, now);
        told.map(|event| Work::Announce(event).put(&self.shelf, now)).into_iter().collect()
    }

    /// What is still to be told of links that come and go.
    pub(crate) fn links_untold(&self, now: Timestamp) -> Vec<liaison_core::op::Op> {
        let due = self.links.lock().unwrap_or_else(PoisonError::into_inner).due(now);
        due.into_iter().map(|event| Work::Announce(event).put(&self.shelf, now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn peer() -> NodeId {
        "ap-1".parse().unwrap()
    }

    fn event(n: u32, at: Timestamp) -> EventRecord {
        let what = if n.is_multiple_of(2) { What::LinkUp } else { What::LinkDown };
        EventRecord::new(what, at).because(n.to_string())
    }

    #[test]
    fn a_link_that_comes_and_goes_floods_nothing_and_its_last_state_is_told() {
        let mut links = Links::default();
        let (mut told, mut now) = (Vec::new(), START);
        // 9,500 changes in ten seconds, and what is due every half minute.
        for n in 0..9_500 {
            now = START.after(Duration::from_millis(u64::from(n)));
            told.extend(links.change(&peer(), event(n, now), now));
        }
        assert_eq!(told.len(), TOLD_MAX);
        let due = links.due(now.after(Duration::from_secs(1)));
        assert_eq!(due, [event(9_499, now)], "the last state");
        assert_eq!(links.due(now.after(Duration::from_secs(30))), [], "nothing has changed");
        // It goes on: once a minute.
        let later = now.after(Duration::from_secs(31));
        for n in 0..10 {
            links.change(&peer(), event(n, later), later);
        }
        assert_eq!(links.due(later), []);
        assert_eq!(links.due(later.after(MINUTE)).len(), 1);
        assert_eq!(links.flapping(later).len(), 1);
        assert_eq!(links.flapping(later.after(WINDOW)), [], "in peace again");
    }

    #[test]
    fn restarts_and_single_losses_are_told_at_once_and_are_no_alarm() {
        let mut links = Links::default();
        for n in 0..10 {
            let now = START.after(Duration::from_secs(120 * u64::from(n)));
            assert!(links.change(&peer(), event(n, now), now).is_some());
            assert_eq!(links.flapping(now), []);
        }
        assert_eq!(links.due(START.after(Duration::from_secs(3_600))), []);
    }
}
