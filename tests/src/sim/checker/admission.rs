//! What nodes take, from whom, and how they treat their peers.

use liaison_protocol::frame::PATH_MAX;
use liaison_protocol::limits::{CLOCK_AHEAD_MAX, HOPS_MAX};

use super::Found;
use super::model::{Arrival, Model, Submitted};
use crate::sim::plan::FaultKind;
use crate::sim::trace::{MailKind, NodeNo, Step};

/// I6, the retry storm: what was refused for now is not sent again by that link before the time that was asked for.
pub(super) fn patience(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Sent { node, link, transfer, .. } = step else { return };
    if model.nodes[*node].hostile || model.has(|kind| matches!(kind, FaultKind::ClockJump(..))) {
        return;
    }
    for index in &transfer.branch {
        let part = (transfer.id, *index);
        if model.nodes[*node].waits.get(&(part, *link)).is_some_and(|until| at_ms < *until) {
            found.add("I6", at_ms, format!("node {node} sends {:?}/{index} again too soon", transfer.id));
        }
    }
}

/// Parts that an honest node takes by this acknowledgement, and had not had before.
fn taken<'a>(model: &'a Model<'_>, step: &'a Step) -> Option<(NodeNo, &'a Arrival, Vec<u16>)> {
    let Step::Acknowledged { node, link, rank, seq, ack } = step else { return None };
    let arrival = model.arrivals.get(&(*node, *link, *rank, *seq))?;
    let new = ack.taken.iter().filter(|index| !arrival.had.contains(index)).copied().collect();
    (!model.nodes[*node].hostile).then_some((*node, arrival, new))
}

/// I10: at a quota, a low disk or in a drain nothing is taken.
pub(super) fn caps(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Some((node, arrival, new)) = taken(model, step) else { return };
    for index in new {
        let id = arrival.transfer.id;
        if arrival.low || arrival.draining {
            found.add("I10", at_ms, format!("node {node} takes {id:?}/{index} though it drains or its disk is low"));
        }
        if arrival.over.contains(&index) && model.is_relay(node) {
            found.add("I10", at_ms, format!("node {node} takes {id:?}/{index} beyond the recipient's quota"));
        }
    }
}

/// I18: no sender gets more than half of a recipient's queue, so that others find room.
pub(super) fn shares(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Some((node, arrival, new)) = taken(model, step) else { return };
    for index in new.iter().filter(|index| arrival.hogged.contains(index) && model.is_relay(node)) {
        let id = arrival.transfer.id;
        found.add("I18", at_ms, format!("node {node} takes {id:?}/{index}, whose sender has half of the queue"));
    }
}

/// I10, over time: what an agency hands over in ten seconds is at most its burst and what comes to it meanwhile.
pub(super) fn rates(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Some(rate) = model.plan.shape.rate.filter(|_| !model.has(|kind| matches!(kind, FaultKind::ClockJump(..))))
    else {
        return;
    };
    let Some((node, arrival, new)) = taken(model, step) else { return };
    if new.is_empty() || !model.is_relay(node) || model.is_relay(arrival.from) {
        return;
    }
    let before = model.taken_ms.get(&(node, arrival.from)).map_or(&[][..], Vec::as_slice);
    // By when they came: a slow commit brings the acknowledgements of many together.
    let lately = before.iter().filter(|before_ms| **before_ms + 10_000 > arrival.at_ms).count();
    // The burst, what comes meanwhile, and the burst after a restart in between.
    let most = 3 * 10 * usize::try_from(rate).expect("a small number");
    if lately >= most {
        found.add("I10", at_ms, format!("node {node} takes more than {most} envelopes from one agency in 10 s"));
    }
}

/// [CUST-6] [CUST-7]: signed, in time, by a member, from whom may hand it over, under an agreement.
pub(super) fn rules(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Some((node, arrival, new)) = taken(model, step) else { return };
    let Step::Acknowledged { rank, .. } = step else { return };
    let id = arrival.transfer.id;
    if !new.is_empty() && !arrival.good {
        return found.add("A", at_ms, format!("node {node} takes {id:?}, which nobody signed"));
    }
    let Some(submitted) = model.submitted.get(&id) else { return };
    for index in new {
        let mut broken = |rule: &str| found.add("A", at_ms, format!("node {node} takes {id:?}/{index}: {rule}"));
        if arrival.clock >= submitted.expires {
            broken("it has expired");
        }
        if submitted.created > arrival.clock.after(CLOCK_AHEAD_MAX) {
            broken("it comes from the future");
        }
        if !model.is_relay(arrival.from) && arrival.from != submitted.node {
            broken("an agency hands over another's");
        }
        let Some(to) = submitted.recipients.get(usize::from(index)) else {
            broken("there is no such recipient");
            continue;
        };
        if model.is_relay(node) && !may_write(model, submitted, *to, arrival) {
            broken("no agreement");
        }
        // A chunk has none: its key is in the message.
        if submitted.kind != MailKind::Chunk && !arrival.wraps.contains(&index) {
            broken("the recipient's wrap is missing");
        }
        let home = is_home(model, node, *to);
        if arrival.transfer.path.contains(&node) && !home {
            broken("it has been here");
        }
        let most = if home { PATH_MAX } else { HOPS_MAX };
        if model.is_relay(node) && passed(model, arrival) > most {
            broken("it has passed too many relays");
        }
        if *rank != submitted.rank {
            broken("on the lane of another precedence");
        }
        if model.is_relay(node) && arrival.clock > model.roster_ends(arrival.roster) {
            broken("the roster has expired");
        }
    }
}

/// Relays that it has passed, the one that handed it over among them.
fn passed(model: &Model<'_>, arrival: &Arrival) -> usize {
    arrival.transfer.path.len() + usize::from(model.is_relay(arrival.from))
}

fn is_home(model: &Model<'_>, relay: NodeNo, agency: NodeNo) -> bool {
    model.plan.shape.homes(agency - model.report.relays).contains(&relay)
}

fn may_write(model: &Model<'_>, submitted: &Submitted, to: NodeNo, arrival: &Arrival) -> bool {
    let relays = model.report.relays;
    let members = model.is_member(submitted.node, arrival.roster) && model.is_member(to, arrival.roster);
    let most_urgent = model.plan.shape.may_write(submitted.node - relays, to - relays);
    members && most_urgent.is_some_and(|most_urgent| submitted.rank >= most_urgent)
}

/// R: only what the roots have published is followed, and never an older one.
pub(super) fn rosters(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Roster { node, version, genuine } = step else { return };
    if !genuine {
        found.add("R", at_ms, format!("node {node} follows a roster that the roots have not published"));
    }
    if *version <= model.nodes[*node].roster {
        found.add("R", at_ms, format!("node {node} goes back to roster version {version}"));
    }
}

/// L: an honest peer on a network that keeps its word is not accused.
pub(super) fn links(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Closed { node, link, why: "protocol" } = step else { return };
    let hostile = model.nodes[*node].hostile || model.peers.get(&(*node, *link)).is_some_and(|it| model.is_false(*it));
    if !hostile && !model.has(|kind| matches!(kind, FaultKind::Frames { .. })) {
        found.add("L", at_ms, format!("node {node} closes the link of an honest peer"));
    }
}
