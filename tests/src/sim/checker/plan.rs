//! What the plan says that the checker goes by: who is at home where, who takes part, who plays false.

use std::time::Duration;

use liaison_protocol::Timestamp;

use super::model::{Model, Part};
use crate::sim::fixture::{ROSTER_LIFE, START};
use crate::sim::plan::{Change, FaultKind};
use crate::sim::trace::NodeNo;

impl Model<'_> {
    pub(super) fn has(&self, kind: impl Fn(&FaultKind) -> bool) -> bool {
        self.plan.faults.iter().any(|fault| kind(&fault.kind))
    }

    /// Home relays of an agency (by node), the preferred one first.
    pub(super) fn homes(&self, agency: NodeNo) -> Vec<NodeNo> {
        self.plan.shape.homes(agency - self.report.relays)
    }

    /// Whether this node stops for good in this run.
    pub(super) fn is_gone(&self, node: NodeNo) -> bool {
        self.has(|kind| matches!(kind, FaultKind::Gone(place) if self.plan.shape.node(*place) == Some(node)))
    }

    /// Whether an old copy of this node's disk takes the place of the disk in this run.
    pub(super) fn is_restored(&self, node: NodeNo) -> bool {
        self.has(|kind| matches!(kind, FaultKind::Restored(place) if self.plan.shape.node(*place) == Some(node)))
    }

    /// Which of its signing keys an agency (by node) has, by the roster of this version: 0 for the first.
    pub(super) fn generation(&self, node: NodeNo, version: u32) -> u8 {
        let changes = self.plan.faults.iter().filter_map(|fault| match fault.kind {
            FaultKind::Roster(change) => Some(change),
            _ => None,
        });
        let rekeyed = |change: Change| matches!(change, Change::Rekeyed(agency) if agency + self.report.relays == node);
        u8::from((2..=version).zip(changes).any(|(_, change)| rekeyed(change)))
    }

    /// Whether a relay plays false at some time in this run.
    pub(super) fn has_false_relay(&self) -> bool {
        (0..self.report.relays).any(|relay| self.is_false(relay))
    }

    /// Whether this node plays false at some time in this run.
    pub(super) fn is_false(&self, node: NodeNo) -> bool {
        self.has(|kind| matches!(kind, FaultKind::Trick(place, ..) if self.plan.shape.node(*place) == Some(node)))
    }

    /// Whether both ends of a message are honest.
    pub(super) fn is_honest(&self, part: Part) -> bool {
        let sender = self.submitted.get(&part.0).map(|submitted| submitted.node);
        ![sender, self.recipient(part)].into_iter().flatten().any(|end| self.is_false(end))
    }

    /// When the roster of this version ends, its grace included.
    pub(super) fn roster_ends(&self, version: u32) -> Timestamp {
        let published = self.plan.faults.iter().filter(|fault| matches!(fault.kind, FaultKind::Roster(_)));
        let issued_ms = std::iter::once(0).chain(published.map(|fault| fault.at_ms)).nth(version as usize - 1);
        let issued = START.after(Duration::from_millis(issued_ms.unwrap_or(0)));
        issued.after(ROSTER_LIFE).after(liaison_protocol::limits::ROSTER_GRACE)
    }

    /// Whether this agency (by node) takes part, by the roster of this version.
    pub(super) fn is_member(&self, node: NodeNo, version: u32) -> bool {
        let changes = self.plan.faults.iter().filter_map(|fault| match fault.kind {
            FaultKind::Roster(change) => Some(change),
            _ => None,
        });
        let gone = |change: Change| match change {
            Change::Nothing | Change::Rekeyed(_) => None,
            Change::Removed(agency) | Change::Suspended(agency) => Some(agency + self.report.relays),
        };
        !(2..=version).zip(changes).any(|(_, change)| gone(change) == Some(node))
    }
}
