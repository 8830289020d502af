//! I13: no receipt and no notice says what is not so.

use std::collections::BTreeSet;

use liaison_protocol::MessageId;
use liaison_protocol::refusal::RefusalReason;

use super::Found;
use super::model::{Chunk, Model, Part};
use crate::sim::plan::{Change, FaultKind, Place};
use crate::sim::trace::{Fact, NodeNo, Step};

/// Custody ends as expired only after the expiry, and not while an acknowledgement may be on its way ([CUST-11]).
pub(super) fn truthful_ends(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Ended { node, id, index, reason: RefusalReason::Expired, clock, .. } = step else { return };
    let state = &model.nodes[*node];
    if state.hostile {
        return;
    }
    let entry = state.disk.queued.values().find(|entry| entry.part == (*id, *index));
    // What was refused as expired by a peer has its reason from there.
    let refused = model.has(|kind| matches!(kind, FaultKind::ClockJump(..) | FaultKind::Trick(..)));
    if !refused && entry.is_some_and(|entry| *clock < entry.expires) {
        found.add("I13", at_ms, format!("node {node} lets {id:?}/{index} expire before its time"));
    }
    let flies = |(of, ..): &super::model::TransferKey| of == node;
    let mut flights = model.in_flight.iter().filter(|(key, _)| flies(key));
    if flights.any(|(_, transfer)| transfer.id == *id && transfer.branch.contains(index)) {
        found.add("I13", at_ms, format!("node {node} lets {id:?}/{index} expire while it is in flight"));
    }
}

/// Senders are told what is so: by a node that ended custody for that reason, by a recipient that has the message.
pub(super) fn truthful_receipts(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Commit { node, facts, .. } = step else { return };
    for fact in facts {
        match fact {
            Fact::Told { id, index, by, reason }
                if by != node && !is_so(model, (*node, *by), (*id, *index), *reason) =>
            {
                found.add("I13", at_ms, format!("node {node} was told of an end that node {by} did not make"));
            }
            Fact::Receipted { id, index, .. } => {
                let to = model.recipient((*id, *index));
                let disk = to.map(|to| &model.nodes[to].disk);
                let here = disk.is_some_and(|disk| disk.inbox.contains_key(id));
                let whole = !model.attached.contains_key(id) || disk.is_some_and(|disk| disk.complete.contains(id));
                let was_here =
                    to.is_some_and(|to| model.is_restored(to)) && model.delivered_ms.contains_key(&(*id, *index));
                if !(here && whole || was_here) {
                    found.add("I13", at_ms, format!("{id:?}/{index} is receipted, and not in the recipient's inbox"));
                }
            }
            _ => {}
        }
    }
}

/// What its application has not marked is not read, and of what is not read, durably, no receipt says so.
pub(super) fn truthful_reading(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Commit { node, facts, .. } = step else { return };
    for fact in facts {
        match fact {
            Fact::Read { id } | Fact::HandedOver { id } if !model.nodes[*node].marking.contains(id) => {
                found.add("I13", at_ms, format!("node {node} marks {id:?}, which its application has not"));
            }
            Fact::ReadReceipted { id, index, .. } => {
                let disk = model.recipient((*id, *index)).map(|to| &model.nodes[to].disk);
                let read = disk.is_some_and(|disk| disk.inbox.contains_key(id) && disk.read.contains(id));
                if !read && !model.read_ms.contains_key(&(*id, *index)) {
                    found.add("I13", at_ms, format!("{id:?}/{index} is said to be read, and its recipient has not"));
                }
            }
            _ => {}
        }
    }
}

/// Whether this node has ended custody of this part, for this reason; or has refused it, and the sender ended it for
/// that. Of a hostile one anything may be.
fn is_so(model: &Model<'_>, (node, by): (NodeNo, NodeNo), part: Part, reason: u16) -> bool {
    let of_it = |chunk: &(&MessageId, &Chunk)| chunk.1.0 == part.0;
    let chunks = model.chunks.iter().filter(of_it).map(|(chunk, _)| (*chunk, part.1));
    let anew = model.chains.later(part.0).map(|id| (id, part.1));
    let so = |part: Part| {
        let refused = model.nodes[node].refused.contains(&(part, reason)) && model.is_relay(by);
        model.notices.contains(&(by, part, reason)) || (refused && model.notices.contains(&(node, part, reason)))
    };
    model.nodes[by].hostile || std::iter::once(part).chain(chunks).chain(anew).any(so)
}

/// No peer is said to have lost something that has lost nothing ([CONS-2]).
pub(super) fn accused_for_cause(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Missing { node, peer, parts } = step else { return };
    let forgets = |kind: &FaultKind| match kind {
        FaultKind::DiskLost(place) | FaultKind::Restored(place) | FaultKind::Rot(place) => {
            model.plan.shape.node(*place) == Some(*peer)
        }
        // Ids are forgotten by the clock.
        FaultKind::ClockJump(..) => true,
        _ => false,
    };
    if !model.nodes[*node].hostile && !model.nodes[*peer].hostile && !model.has(forgets) {
        found.add(
            "I13",
            at_ms,
            format!("node {node} says that node {peer} has lost {parts:?}, and it has lost nothing"),
        );
    }
}

/// Nothing is refused for good without a cause that the plan holds.
pub(super) fn refused_for_cause(model: &Model<'_>, found: &mut Found) {
    let mut causes: BTreeSet<u16> = [RefusalReason::Expired, RefusalReason::Cancelled].map(|r| r.code()).into();
    let mut may = |when: bool, reasons: &[RefusalReason]| {
        causes.extend(reasons.iter().filter(|_| when).map(|reason| reason.code()));
    };
    if model.has(|kind| matches!(kind, FaultKind::Trick(Place::Relay(_), ..))) {
        return; // its word is passed on
    }
    may(model.plan.shape.strict, &[RefusalReason::NoAgreement]);
    may(model.has(|kind| matches!(kind, FaultKind::ClockJump(..))), &[RefusalReason::Clock]);
    // A copy of the store lacks keys that were made since.
    let keys_lost = |kind: &FaultKind| matches!(kind, FaultKind::KeysLost(_) | FaultKind::Restored(Place::Agency(_)));
    may(model.has(keys_lost), &[RefusalReason::KeyUnavailable]);
    let stolen = |kind: &FaultKind| matches!(kind, FaultKind::Stolen(_) | FaultKind::Roster(Change::Rekeyed(_)));
    may(model.has(stolen), &[RefusalReason::KeyUnavailable]);
    let rekeyed = |kind: &FaultKind| matches!(kind, FaultKind::Roster(Change::Rekeyed(_)));
    may(model.has(rekeyed), &[RefusalReason::RevokedSender]);
    let leaves = |kind: &FaultKind| matches!(kind, FaultKind::Roster(Change::Removed(_) | Change::Suspended(_)));
    may(
        model.has(leaves),
        &[
            RefusalReason::NoAgreement,
            RefusalReason::RevokedSender,
            RefusalReason::UnknownSender,
            RefusalReason::UnknownRecipient,
        ],
    );
    for (at_ms, (id, index), by, reason) in &model.reasons {
        if !causes.contains(reason) && model.is_honest((*id, *index)) {
            found.add("I13", *at_ms, format!("{id:?}/{index} is refused by node {by} for no cause: code {reason}"));
        }
    }
}
