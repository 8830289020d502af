//! What must be so when nothing more happens.

use std::collections::BTreeSet;

use super::Found;
use super::model::{Model, Part, Submitted};
use liaison_protocol::Precedence;
use liaison_protocol::limits::PREKEY_DAYS_AHEAD;
use liaison_protocol::refusal::RefusalReason;

use crate::sim::fixture::START;
use crate::sim::plan::{Change, FaultKind, Place};
use crate::sim::trace::{MailKind, NodeNo, Step};

const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600 * SECOND_MS;
/// A minute of backoff after the longest time that a peer asks for, one until a silent link is closed, half of one for
/// retried ends, and as much again for each of three hops.
const DRAIN_MS: u64 = 15 * 60 * SECOND_MS;

/// Nobody makes prekeys in a run: by then those from before it are over.
pub(super) const KEYS_END_MS: u64 = (PREKEY_DAYS_AHEAD as u64 - 1) * 24 * HOUR_MS;
/// Receipts are mail, and live as long as any.
const RECEIPT_LIFE_MS: u64 = 6 * 24 * HOUR_MS;

/// I1: what was accepted is delivered, or its sender knows that it is not.
pub(super) fn custody(model: &Model<'_>, found: &mut Found) {
    for (part, submitted) in parts(model) {
        if submitted.accepted && !model.delivered_ms.contains_key(&part) && !model.told_ms.contains_key(&part) {
            let (id, index) = part;
            found.add("I1", model.now_ms, format!("{id:?}/{index} was accepted, and is nowhere"));
        }
    }
}

/// I6: everything has drained, in the time that the faults leave for it.
pub(super) fn drains(model: &Model<'_>, found: &mut Found) {
    if !model.report.ended {
        found.add("I6", model.now_ms, "it does not end: some node is never done");
    }
    for (node, state) in model.nodes.iter().enumerate() {
        if state.hostile || model.is_gone(node) {
            continue;
        }
        if let Some((place, entry)) = state.disk.queued.first_key_value() {
            found.add("I6", model.now_ms, format!("node {node} still holds {:?} in {place:?}", entry.part));
        }
        if let Some((id, index)) = state.disk.open.first() {
            found.add("I6", model.now_ms, format!("node {node} still waits for {id:?}/{index}"));
        }
        if let Some(id) = state.disk.unsettled.first() {
            found.add("I6", model.now_ms, format!("node {node} still keeps {id:?} to send it again"));
        }
    }
    for (part, submitted) in parts(model).filter(|(_, submitted)| submitted.accepted) {
        let delivered = model.delivered_ms.get(&part);
        let Some(ended_ms) = delivered.into_iter().chain(model.told_ms.get(&part)).min() else { continue };
        let bound_ms = bound(model, &submitted);
        if *ended_ms > bound_ms && model.is_honest(part) {
            let (id, index) = part;
            found.add("I6", *ended_ms, format!("{id:?}/{index} ended later than {bound_ms} ms"));
        }
    }
}

/// I1, to the end: what is in an inbox was read by its application, which follows it.
pub(super) fn shown(model: &Model<'_>, found: &mut Found) {
    for (node, state) in model.nodes.iter().enumerate().filter(|_| model.plan.office) {
        for id in state.disk.inbox.keys().filter(|id| !state.shown.values().any(|shown| shown == *id)) {
            found.add("I1", model.now_ms, format!("{id:?} is in the inbox of node {node}, and was never shown"));
        }
        for id in &state.disk.complete {
            let files = model.attached.get(id).map_or(0, Vec::len);
            if state.shown_parts.range((*id, 0)..=(*id, u32::MAX)).count() != files {
                found.add("I1", model.now_ms, format!("what is attached to {id:?} was not shown to node {node}"));
            }
        }
    }
}

/// I6: what passes through leaves nothing behind.
pub(super) fn nothing_left(_: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    if let Step::Left { node, what, count } = step {
        found.add("I6", at_ms, format!("{what} ({count}) is left on the disk of node {node}"));
    }
}

/// I6: the sender learns in time what was read. As far as that is promised: a receipt that is lost with a relay is asked
/// for again only where it is the delivery's.
pub(super) fn read(model: &Model<'_>, found: &mut Found) {
    let gone = |kind: &FaultKind| may_lose(kind) || matches!(kind, FaultKind::ClockJump(..));
    // The quotas of plans are smaller than a letter of many receipts, as no relay's may be.
    if model.has(gone) || model.plan.shape.quota_bytes.is_some() {
        return;
    }
    for (part, read_ms) in &model.read_ms {
        let (Some(submitted), Some(to)) = (model.submitted.get(&part.0), model.recipient(*part)) else { continue };
        let relays = model.report.relays;
        let answers = model.plan.shape.may_write(to - relays, submitted.node - relays).is_some();
        // Of what is not whole there is no delivery receipt, which the read receipt would have to name.
        let whole = !model.attached.contains_key(&part.0) || model.nodes[to].disk.complete.contains(&part.0);
        let lives = read_ms + RECEIPT_LIFE_MS > model.plan.quiet_ms() + DRAIN_MS && *read_ms < KEYS_END_MS;
        let bound_ms = model.plan.quiet_ms().max(*read_ms) + DRAIN_MS;
        let in_time = model.known_read_ms.get(part).is_some_and(|known_ms| *known_ms <= bound_ms);
        if answers && whole && lives && !in_time && model.is_honest(*part) {
            let (id, index) = part;
            found.add("I6", model.now_ms, format!("{id:?}/{index} is read, its sender does not know by {bound_ms} ms"));
        }
    }
}

/// I1, where a disk was lost: the sender finds out and sends again, long before it gives up. An inquiry goes out every
/// hour, and a day of silence is enough.
pub(super) fn sent_again(model: &Model<'_>, found: &mut Found) {
    let leaves = |kind: &FaultKind| matches!(kind, FaultKind::Roster(Change::Removed(_) | Change::Suspended(_)));
    let hard = |kind: &FaultKind| matches!(kind, FaultKind::Trick(Place::Relay(_), ..) | FaultKind::ClockJump(..));
    if model.has(leaves) || model.has(hard) {
        return;
    }
    for (at_ms, part, by, reason) in &model.reasons {
        let Some(submitted) = model.submitted.get(&part.0).filter(|submitted| submitted.node == *by) else { continue };
        let expires_ms = submitted.expires.as_millis() - START.as_millis();
        let time_enough = expires_ms > model.plan.quiet_ms().max(submitted.at_ms) + 50 * HOUR_MS;
        // Once prekeys are over a whole daemon waits for new ones, which nobody makes in a run.
        let ends_ms = if model.plan.office { KEYS_END_MS } else { 90 * 24 * HOUR_MS };
        let in_force = submitted.at_ms < ends_ms;
        // Daemons refuse what could never be receipted; the simulated ones do not.
        let (from, relays) = (submitted.node, model.report.relays);
        let answers = |to: NodeNo| model.plan.shape.may_write(to - relays, from - relays).is_some();
        // What it signed with its first key is not taken any more.
        let rekeyed = model.generation(from, u32::MAX) > 0;
        let reached = |to: NodeNo| !rekeyed && answers(to) && model.has_way(from, to) && model.is_honest(*part);
        if !model.recipient(*part).is_some_and(reached) {
            continue;
        }
        // For a key that is lost, there is another one.
        let given_up = [RefusalReason::Expired, RefusalReason::KeyUnavailable].map(|reason| reason.code());
        if given_up.contains(reason) && time_enough && in_force {
            let known = if model.delivered_ms.contains_key(part) { "though it was delivered" } else { "and lost" };
            let (id, index) = part;
            found.add("I1", *at_ms, format!("{id:?}/{index} was given up {known}"));
        }
    }
}

/// When a message must have ended. Where custody may be lost, its sender has to find out: by the expiry at the latest.
fn bound(model: &Model<'_>, submitted: &Submitted) -> u64 {
    let soon = model.plan.quiet_ms().max(submitted.at_ms) + DRAIN_MS;
    let expires_ms = submitted.expires.as_millis().saturating_sub(START.as_millis());
    // A clock that is set back stops a node for as long as it was ahead, up to eleven hours (the product's goes on at half
    // its speed); then comes the hourly look.
    let clocks = if model.has(|kind| matches!(kind, FaultKind::ClockJump(..))) { 13 * HOUR_MS } else { 0 };
    // A whole daemon waits for new prekeys until the expiry, and an hour more for receipts.
    let unkeyed = model.plan.office && submitted.at_ms > KEYS_END_MS;
    let late = if unkeyed || model.has(may_lose) { soon.max(expires_ms + 4 * HOUR_MS) } else { soon };
    late + clocks
}

/// Faults with which custody may be lost, or what was sealed not be opened, or its sender be no member any more.
const fn may_lose(kind: &FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::DiskLost(_)
            | FaultKind::Gone(_)
            | FaultKind::KeysLost(_)
            | FaultKind::Restored(_)
            | FaultKind::Rot(_)
            | FaultKind::Stolen(_)
            | FaultKind::Trick(Place::Relay(_), ..)
            | FaultKind::Roster(Change::Rekeyed(_) | Change::Removed(_) | Change::Suspended(_))
    )
}

/// I14: agencies and relays that no fault touches exchange mail as if there were none.
pub(super) fn isolation(model: &Model<'_>, found: &mut Found) {
    let Some(touched) = touched(model) else { return };
    let pace = &model.plan.pace;
    // Three hops of transfer, commit and acknowledgement, each maybe behind one more of the same; and where lanes give way
    // to more urgent ones, a second on each. Receipts are routine mail.
    let one_lane = model.plan.mail.iter().all(|mail| mail.precedence == Precedence::Routine);
    let gives_way_ms = if one_lane { 0 } else { 2 * SECOND_MS };
    let bound_ms = 3 * (4 * pace.delay_ms_max + 4 * pace.commit_ms_max + gives_way_ms) + gives_way_ms;
    for (part, submitted) in parts(model) {
        let Some(to) = model.recipient(part) else { continue };
        let spared = [submitted.node, to].iter().all(|node| is_spared(model, *node, &touched));
        // Chunks go after everything else.
        let spared = spared && !model.attached.contains_key(&part.0);
        if !spared || !direct(model, submitted.node, to) || !submitted.accepted || model.told_ms.contains_key(&part) {
            continue;
        }
        let delay_ms = model.delivered_ms.get(&part).map(|at_ms| at_ms - submitted.at_ms);
        // Links come up within the first second.
        if delay_ms.is_some_and(|delay_ms| delay_ms > bound_ms + SECOND_MS) {
            let (id, index) = part;
            found.add("I14", model.now_ms, format!("{id:?}/{index} was delayed by {delay_ms:?} ms, not {bound_ms}"));
        }
    }
}

/// Nodes that some fault names. `None`: all of them, in some way.
fn touched(model: &Model<'_>) -> Option<BTreeSet<NodeNo>> {
    if model.plan.shape.quota_bytes.is_some() || model.plan.shape.rate.is_some() {
        return None;
    }
    let mut touched = BTreeSet::new();
    for fault in &model.plan.faults {
        let places = match fault.kind {
            FaultKind::Frames { .. } | FaultKind::Roster(_) => return None,
            FaultKind::Dark(region) => vec![Place::Relay(region)],
            FaultKind::Cut(a, b) | FaultKind::Flap(a, b) | FaultKind::Stall(a, b) => vec![a, b],
            kind => kind.place().into_iter().collect(),
        };
        touched.extend(places.into_iter().filter_map(|place| model.plan.shape.node(place)));
    }
    Some(touched)
}

/// Neither an agency nor a home of its own is touched.
fn is_spared(model: &Model<'_>, node: NodeNo, touched: &BTreeSet<NodeNo>) -> bool {
    !touched.contains(&node) && !model.homes(node).iter().any(|home| touched.contains(home))
}

/// Whether their relays are the same or linked with each other.
fn direct(model: &Model<'_>, from: NodeNo, to: NodeNo) -> bool {
    let first = model.homes(from)[0];
    model.plan.shape.meshed || model.homes(to).contains(&first)
}

/// Every message of people, for each of its recipients.
pub(super) fn parts<'a>(model: &'a Model<'_>) -> impl Iterator<Item = (Part, Submitted)> + 'a {
    let messages = model.submitted.iter().filter(|(_, submitted)| submitted.kind == MailKind::Message);
    messages.flat_map(|(id, submitted)| {
        (0..).zip(&submitted.recipients).map(|(index, _)| ((*id, index), submitted.clone()))
    })
}
