//! Which agencies can reach each other once all faults are over.

use std::collections::BTreeSet;

use liaison_protocol::limits::HOPS_MAX;

use super::model::Model;
use crate::sim::trace::NodeNo;

impl Model<'_> {
    /// Whether a chain of relays that still stand leads from a home of `from` to one of `to`, short enough for an
    /// envelope: four relays and one more that is a home.
    pub(super) fn has_way(&self, from: NodeNo, to: NodeNo) -> bool {
        let stands = |relay: &NodeNo| !self.is_gone(*relay);
        let mut reached: BTreeSet<NodeNo> = self.homes(from).into_iter().filter(stands).collect();
        for _ in 0..HOPS_MAX {
            let next = (0..self.report.relays).filter(stands);
            let next = next.filter(|relay| reached.iter().any(|other| self.plan.shape.are_linked(*relay, *other)));
            let next: Vec<NodeNo> = next.collect();
            reached.extend(next);
        }
        self.homes(to).iter().any(|home| reached.contains(home))
    }
}
