//! Which agencies can reach each other: once all faults are over, and in a span of time.

use std::collections::BTreeSet;

use liaison_protocol::limits::HOPS_MAX;
use liaison_protocol::refusal::RefusalReason;

use super::Found;
use super::end::{KEYS_END_MS, parts};
use super::model::{Model, Part, Submitted};
use crate::sim::fixture::START;
use crate::sim::plan::{Change, Fault, FaultKind, Place};
use crate::sim::trace::NodeNo;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
/// After so long without a delivery receipt a message goes by another home relay, from flash to routine.
const RESUBMIT_MS: [u64; 4] = [30 * SECOND_MS, 2 * MINUTE_MS, 10 * MINUTE_MS, 60 * MINUTE_MS];
/// A node that was touched is itself again: its links are up, its backoffs over.
const RECOVERED_MS: u64 = 2 * MINUTE_MS;
/// One minute until a peer that is asleep is noticed, one of backoff, and one on the way.
const ON_THE_WAY_MS: u64 = 3 * MINUTE_MS;

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

    /// Whether some home of `from` and some home of `to`, the same or linked, are sound in this span, with their links.
    fn has_sound_way(&self, from: NodeNo, to: NodeNo, span: (u64, u64)) -> bool {
        let faults: Vec<&Fault> = self.plan.faults.iter().filter(|fault| is_felt(fault, span)).collect();
        let sound = |way: &[NodeNo]| !faults.iter().any(|fault| self.touches(&fault.kind, way));
        self.homes(from).into_iter().any(|a| {
            let linked = |b: &NodeNo| *b == a || self.plan.shape.are_linked(a, *b);
            self.homes(to).into_iter().filter(linked).any(|b| sound(&[from, a, b, to]))
        })
    }

    fn touches(&self, kind: &FaultKind, way: &[NodeNo]) -> bool {
        let on_way = |place: &Place| self.plan.shape.node(*place).is_some_and(|node| way.contains(&node));
        match kind {
            FaultKind::Cut(a, b) | FaultKind::Flap(a, b) | FaultKind::Stall(a, b) => on_way(a) && on_way(b),
            FaultKind::Dark(region) => on_way(&Place::Relay(*region)) && way.get(1) != way.get(2),
            FaultKind::Frames { .. } => true,
            FaultKind::Roster(Change::Nothing) => false,
            FaultKind::Roster(Change::Rekeyed(agency) | Change::Removed(agency) | Change::Suspended(agency)) => {
                on_way(&Place::Agency(*agency))
            }
            kind => kind.place().is_some_and(|place| on_way(&place)),
        }
    }
}

/// Whether a fault is felt in this span. A node that has lost something, or plays false, may be felt at any later time.
fn is_felt(fault: &Fault, (from_ms, until_ms): (u64, u64)) -> bool {
    let lasting = matches!(
        fault.kind,
        FaultKind::Gone(_)
            | FaultKind::KeysLost(_)
            | FaultKind::Roster(_)
            | FaultKind::Stolen(_)
            | FaultKind::Trick(..)
    );
    let set_back_ms = if let FaultKind::ClockJump(_, by_ms) = fault.kind { by_ms.unsigned_abs() } else { 0 };
    let over_ms = fault.at_ms + fault.for_ms + set_back_ms + RECOVERED_MS;
    fault.at_ms <= until_ms && (lasting || over_ms >= from_ms)
}

/// I15: where one way from agency to agency is sound all the time, a message goes by it, whatever is wrong with the others.
pub(super) fn one_way_is_enough(model: &Model<'_>, found: &mut Found) {
    let shape = &model.plan.shape;
    if shape.quota_bytes.is_some() || shape.rate.is_some() {
        return;
    }
    for (part, submitted) in parts(model).filter(|(part, it)| it.accepted && !model.attached.contains_key(&part.0)) {
        let Some(to) = model.recipient(part) else { continue };
        let by_ms = submitted.at_ms + bound_ms(model, submitted.rank);
        let may_write = shape.may_write(submitted.node - model.report.relays, to - model.report.relays);
        let in_time = expires_ms(&submitted) > by_ms && by_ms < KEYS_END_MS && !is_withdrawn(model, part);
        let due = in_time && may_write.is_some_and(|rank| submitted.rank >= rank);
        // What a relay on the way has spoilt comes back, and its sender is told.
        let told = model.told_ms.get(&part).filter(|_| model.has_false_relay());
        let late = model.delivered_ms.get(&part).into_iter().chain(told).min().is_none_or(|at_ms| *at_ms > by_ms);
        if due && late && model.has_sound_way(submitted.node, to, (submitted.at_ms, by_ms)) {
            let (id, index) = part;
            let at = model.delivered_ms.get(&part);
            found.add("I15", by_ms, format!("{id:?}/{index} has a sound way, and comes at {at:?}, after {by_ms} ms"));
        }
    }
}

/// By the preferred home relay, and by the other one; after a day of silence, where a relay plays false, or where agencies
/// are not whole and know no other rule.
fn bound_ms(model: &Model<'_>, rank: u8) -> u64 {
    let resubmit_ms = RESUBMIT_MS[usize::from(rank)];
    let patience_ms = if model.has_false_relay() || !model.plan.office { 26 * 60 * MINUTE_MS } else { 0 };
    3 * resubmit_ms + ON_THE_WAY_MS + patience_ms
}

fn expires_ms(submitted: &Submitted) -> u64 {
    submitted.expires.as_millis().saturating_sub(START.as_millis())
}

fn is_withdrawn(model: &Model<'_>, part: Part) -> bool {
    let cancelled = RefusalReason::Cancelled.code();
    model.reasons.iter().any(|(_, of, _, reason)| *of == part && *reason == cancelled)
}
