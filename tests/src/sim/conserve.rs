//! Comparisons between relays of what was released and accepted, as the real shell makes them.

use std::collections::VecDeque;
use std::time::Duration;

use liaison_core::conserve::{Finding, ReleasedItem};
use liaison_core::op::DedupeKey;
use liaison_core::{Event, LinkKey};
use liaison_protocol::frame::{Comparison, ROLL_ITEMS_MAX};
use liaison_protocol::{Hour, NodeId};

use super::trace::{NodeNo, Step};
use super::world::World;

/// As the real shell: a peer whose clock is ahead may have forgotten what expires so soon.
const CLOCKS: Duration = Duration::from_secs(3_600);

impl World<'_> {
    pub(super) fn comparison(&mut self, node: NodeNo, link: LinkKey, frame: Comparison) {
        let disk = self.nodes[node].disk();
        let is_known = |id, index| disk.remembered(&DedupeKey { id, index }).is_some();
        let known = match &frame {
            Comparison::Roll(roll) => roll.items.iter().map(|item| is_known(item.id, item.index)).collect(),
            _ => Vec::new(),
        };
        drop(disk);
        self.handle(node, Event::Compared { link, frame, known });
    }

    pub(super) fn compared(&mut self, node: NodeNo, peer: &NodeId, finding: &Finding) {
        let peer = self.federation.number(peer).expect("a name of the plan");
        let parts = finding.named.iter().map(|(id, index, _)| (*id, *index)).collect();
        self.note(Step::Missing { node, peer, parts });
    }

    pub(super) fn load_released(
        &self,
        node: NodeNo,
        (link, peer): (LinkKey, &NodeId),
        hours: &[Hour],
        after: Option<DedupeKey>,
        events: &mut VecDeque<Event>,
    ) {
        let now = self.clock(node);
        let disk = self.nodes[node].disk();
        let rows = disk.remembered_after(after.as_ref());
        let released = rows.filter(|(_, record)| {
            record.to.as_ref() == Some(peer) && hours.contains(&record.hour) && record.until > now.after(CLOCKS)
        });
        let items: Vec<ReleasedItem> = released
            .take(ROLL_ITEMS_MAX)
            .map(|(key, record)| ReleasedItem {
                key: *key,
                attempt: record.attempt,
                hour: record.hour,
                from: record.from.clone(),
            })
            .collect();
        let next = items.last().filter(|_| items.len() == ROLL_ITEMS_MAX).map(|item| item.key);
        events.push_back(Event::ReleasedPage { link, items, next });
    }
}
