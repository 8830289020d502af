//! What nodes hold, hand over, remember and hand out.

use liaison_protocol::limits::DEDUPE_MARGIN;
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{Hash, MessageId};

use super::Found;
use super::model::{Arrival, Model, Part};
use crate::sim::trace::{Fact, MailKind, NodeNo, Step, Told};

/// I1, while it runs: whoever sends an envelope holds it, bytes and all.
pub(super) fn sent_is_held(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Sent { node, transfer, .. } = step else { return };
    let disk = &model.nodes[*node].disk;
    if !disk.bodies.contains(&transfer.id) {
        found.add("I1", at_ms, format!("node {node} sends {:?}, whose bytes are not on its disk", transfer.id));
    }
    for index in &transfer.branch {
        if !disk.queued.values().any(|entry| entry.part == (transfer.id, *index)) {
            found.add("I1", at_ms, format!("node {node} sends {:?}/{index}, which is not in its queues", transfer.id));
        }
    }
}

/// I2: a message is in an inbox once.
pub(super) fn once(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Commit { node, facts, .. } = step else { return };
    let mut new = std::collections::BTreeSet::new();
    for fact in facts {
        let Fact::Inbox { id, .. } = fact else { continue };
        if model.nodes[*node].disk.inbox.contains_key(id) || !new.insert(*id) {
            found.add("I2", at_ms, format!("{id:?} is delivered again at node {node}"));
        }
    }
}

/// I2, on the way ([CUST-4]): a relay takes each attempt of a message once, unless another relay brings it back.
pub(super) fn once_an_attempt(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Commit { node, facts, .. } = step else { return };
    let mut new = std::collections::BTreeSet::new();
    for fact in facts.iter().filter(|_| model.is_relay(*node)) {
        let Fact::Known { id, index, attempt, held: true, .. } = fact else { continue };
        let before = model.nodes[*node].disk.known.get(&(*id, *index));
        let of_it = |((at, ..), arrival): (&(NodeNo, _, _, _), &Arrival)| at == node && arrival.transfer.id == *id;
        let brought_back = || model.arrivals.iter().any(|it| of_it(it) && model.is_relay(it.1.from));
        let again = before.is_some_and(|(_, before)| attempt <= before) && !brought_back();
        if again || !new.insert((*id, *index)) {
            found.add("I2", at_ms, format!("node {node} takes attempt {attempt} of {id:?}/{index} again"));
        }
    }
}

/// I3: what is delivered is what the named sender wrote, to a recipient of its choice.
pub(super) fn authentic(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    match step {
        Step::Commit { node, facts, .. } => {
            for fact in facts {
                if let Fact::Inbox { id, sender, text } = fact {
                    is_authentic(model, at_ms, *node, (*id, *sender, text.as_deref()), found);
                }
            }
        }
        Step::Shown { node, id, sender, text } => is_authentic(model, at_ms, *node, (*id, *sender, Some(text)), found),
        _ => {}
    }
}

fn is_authentic(
    model: &Model<'_>,
    at_ms: u64,
    node: NodeNo,
    (id, sender, text): (MessageId, NodeNo, Option<&str>),
    found: &mut Found,
) {
    let Some(submitted) = model.submitted.get(&id) else {
        return found.add("I3", at_ms, format!("{id:?} at node {node} was never written"));
    };
    let other_text = text.is_some_and(|text| submitted.text != *text);
    if submitted.node != sender || other_text || !submitted.recipients.contains(&node) {
        found.add("I3", at_ms, format!("{id:?} at node {node} is not what node {} wrote", submitted.node));
    }
}

/// I2, as an application sees it: it reads a message once, what is in its inbox, and none under two names.
pub(super) fn shown_once(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Shown { node, id, text, .. } = step else { return };
    let state = &model.nodes[*node];
    // With its store, an agency forgets under which keys its applications have submitted.
    let sender = model.submitted.get(id).map(|submitted| submitted.node);
    let twice = sender.is_some_and(|sender| model.is_restored(sender));
    if let Some(before) = state.shown.get(text).filter(|_| !twice) {
        found.add("I2", at_ms, format!("node {node} hands {id:?} to its application, which has had it as {before:?}"));
    }
    if !state.disk.inbox.contains_key(id) {
        found.add("I2", at_ms, format!("node {node} hands {id:?} to its application: not in its inbox"));
    }
}

/// A message is said to be whole when every chunk of it has come, durably, and once; so is it read.
pub(super) fn whole(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    match step {
        Step::Commit { node, facts, .. } => {
            for fact in facts {
                let Fact::Complete { id } = fact else { continue };
                if !model.is_whole(*node, *id) {
                    found.add("I4", at_ms, format!("node {node} says that {id:?} is whole, and chunks are missing"));
                }
                if model.nodes[*node].disk.complete.contains(id) {
                    found.add("I2", at_ms, format!("node {node} says again that {id:?} is whole"));
                }
            }
        }
        Step::ShownPart { node, id, n, digest } => {
            let at = usize::try_from(*n).ok().and_then(|n| n.checked_sub(1));
            let files = model.attached.get(id);
            let file = at.and_then(|at| files?.get(at)).map(|(hash, _)| *hash);
            if file.is_none() || file != *digest {
                found.add("I3", at_ms, format!("attachment {n} of {id:?} at node {node} is not what was attached"));
            }
            let state = &model.nodes[*node];
            if !state.disk.complete.contains(id) || state.shown_parts.contains(&(*id, *n)) {
                found.add("I2", at_ms, format!("node {node} hands attachment {n} of {id:?} out again, or too soon"));
            }
        }
        _ => {}
    }
}

/// What comes into an inbox is announced in the same commit, and what is announced is there.
pub(super) fn announced(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Commit { node, facts, .. } = step else { return };
    if !model.plan.office {
        return;
    }
    let listed = |fact: &Fact| if let Fact::Listed { id } = fact { Some(*id) } else { None };
    let told = |fact: &Fact| if let Fact::Inbox { id, .. } = fact { Some(*id) } else { None };
    let sorted = |of: &dyn Fn(&Fact) -> Option<MessageId>| {
        let mut ids: Vec<MessageId> = facts.iter().filter_map(of).collect();
        ids.sort_unstable();
        ids
    };
    if sorted(&listed) != sorted(&told) {
        found.add("I2", at_ms, format!("node {node} lists messages that it does not announce, or announces others"));
    }
}

/// I4: what is acknowledged is on this node's disk, in a commit that has ended.
pub(super) fn acknowledged_is_durable(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    if let Step::Answered { node, id, done: true } = step {
        return answered_is_durable(model, at_ms, *node, *id, found);
    }
    if let Step::Marked { node, id, done } = step {
        return marked_is_durable(model, at_ms, (*node, *id, *done), found);
    }
    let Step::Acknowledged { node, link, rank, seq, ack } = step else { return };
    if model.nodes[*node].hostile {
        return;
    }
    let arrival = model.arrivals.get(&(*node, *link, *rank, *seq));
    for index in ack.taken.iter().filter(|_| model.is_relay(*node)) {
        let holds = model.nodes[*node].disk.queued.values().any(|entry| entry.part == (ack.id, *index));
        if !holds && !arrival.is_some_and(|arrival| arrival.held.contains(index)) {
            found.add("I4", at_ms, format!("node {node} says that it holds {:?}/{index}, and does not", ack.id));
        }
    }
    for index in ack.taken.iter().chain(&ack.duplicate) {
        if !model.nodes[*node].disk.known.contains_key(&(ack.id, *index)) {
            found.add("I4", at_ms, format!("node {node} acknowledges {:?}/{index}: not on its disk", ack.id));
        }
    }
}

/// What an agency was told is submitted, is kept for each of its recipients.
fn answered_is_durable(model: &Model<'_>, at_ms: u64, node: NodeNo, id: MessageId, found: &mut Found) {
    let (disk, submitted) = (&model.nodes[node].disk, model.submitted.get(&id));
    for (index, _) in (0..).zip(submitted.iter().flat_map(|submitted| &submitted.recipients)) {
        let part = (id, index);
        if !disk.open.contains(&part) && !disk.told.contains_key(&part) && !disk.receipted.contains_key(&part) {
            found.add("I4", at_ms, format!("node {node} says that {id:?}/{index} is submitted: not on its disk"));
        }
    }
}

/// What an application was told is marked, stays marked. It may mark whatever it was shown.
fn marked_is_durable(model: &Model<'_>, at_ms: u64, (node, id, done): (NodeNo, MessageId, bool), found: &mut Found) {
    let disk = &model.nodes[node].disk;
    if model.is_restored(node) && !disk.inbox.contains_key(&id) {
        return;
    }
    if !done || !disk.handed_over.contains(&id) || !disk.read.contains(&id) {
        let detail = format!("node {node} answers that {id:?} is marked ({done}): not on its disk");
        found.add("I4", at_ms, detail);
    }
}

/// I5: an entry is removed after a next holder's acknowledgement, or in the commit that tells its sender.
pub(super) fn removed_only_when_taken_or_told(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Commit { node, facts, .. } = step else { return };
    for fact in facts {
        if let Fact::Unqueued { place, .. } = fact
            && let Some(entry) = model.nodes[*node].disk.queued.get(place)
            && !model.nodes[*node].acked.contains(&entry.part)
            && !is_told(model, *node, entry.part, facts)
        {
            let (id, index) = entry.part;
            found.add("I5", at_ms, format!("node {node} removes {id:?}/{index}, not acknowledged and nobody told"));
        }
        if let Fact::Closed { id, index } = fact {
            let known = |fact: &Fact| match fact {
                Fact::Receipted { id: of, index: at, .. } | Fact::Told { id: of, index: at, .. } => {
                    (of, at) == (id, index)
                }
                _ => false,
            };
            if !facts.iter().any(known) {
                found.add("I5", at_ms, format!("node {node} keeps {id:?}/{index} no longer, and does not know why"));
            }
        }
        if let Fact::Settled { id } = fact
            && let Some((_, index)) = model.nodes[*node].disk.open.range((*id, 0)..=(*id, u16::MAX)).next()
        {
            found.add("I5", at_ms, format!("node {node} keeps {id:?} no longer, and {index} waits for it"));
        }
    }
}

fn is_told(model: &Model<'_>, node: NodeNo, part: Part, facts: &[Fact]) -> bool {
    let message = model.message_of(part);
    let told = |fact: &Fact| matches!(fact, Fact::Told { id, index, .. } if (*id, *index) == message);
    let Some(end) = model.nodes[node].ended.get(&part) else {
        // Withdrawn by its sender, or what is in the recipient's inbox already: its receipt was faster.
        let cancelled = RefusalReason::Cancelled.code();
        let withdrawn = |fact: &Fact| told(fact) && matches!(fact, Fact::Told { reason, .. } if *reason == cancelled);
        // Chunks of what has been called back go after it.
        let called_back = part != message && model.nodes[node].disk.told.get(&message) == Some(&cancelled);
        // Or it waits here under a key whose signer has ended, and is sealed anew.
        let anew = facts.iter().any(|fact| is_resealing(fact, message));
        return called_back
            || anew
            || facts.iter().any(withdrawn)
            || model.nodes[node].disk.receipted.contains_key(&message);
    };
    match end.told {
        Told::Later => false,
        Told::Notice(notice) => facts.iter().any(|fact| matches!(fact, Fact::Queued { id, .. } if *id == notice)),
        // Or it is sealed anew, and goes on so.
        Told::Sender => facts.iter().any(|fact| told(fact) || is_resealing(fact, message)),
        // A notice, receipts, or a sender that has left.
        Told::Nobody => model.submitted.get(&part.0).is_none_or(|submitted| {
            submitted.kind == MailKind::Receipts
                || submitted.node == node
                || !model.is_member(submitted.node, model.nodes[node].roster)
        }),
    }
}

fn is_resealing(fact: &Fact, message: Part) -> bool {
    matches!(fact, Fact::Resealing { id, index } if (*id, *index) == message)
}

/// I7: a node that is down, by a power cut or because its disk failed, does nothing.
pub(super) fn fail_stop(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let node = match step {
        Step::Acknowledged { node, .. }
        | Step::Answered { node, .. }
        | Step::Commit { node, .. }
        | Step::Durable { node, .. }
        | Step::Sent { node, .. } => *node,
        Step::Died { node, why, .. } if why.starts_with("its office") => {
            return found.add("I7", at_ms, format!("node {node} stops, and its disk is sound: {why}"));
        }
        _ => return,
    };
    if model.nodes[node].down {
        found.add("I7", at_ms, format!("node {node} is down, and goes on: {step:?}"));
    }
}

/// I17: nobody seals to a key that only a signer has vouched for who has ended, by the roster that the sealing node follows.
pub(super) fn no_revoked_keys(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Sealed { node, id, to, signers } = step else { return };
    let state = &model.nodes[*node];
    if !state.hostile && !signers.contains(&model.generation(*to, state.roster)) {
        found.add(
            "I17",
            at_ms,
            format!("node {node} seals {id:?} to a key of node {to} that its ended key has signed"),
        );
    }
}

/// I16: an honest node tells one history: of one number there is one receipt.
pub(super) fn one_history(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let mut look = |by: NodeNo, seq: u64, receipt: Hash| {
        let other = model.signed.get(&(by, seq)).is_some_and(|before| *before != receipt);
        if other && !model.is_false(by) {
            found.add("I16", at_ms, format!("node {by} has signed a second receipt of number {seq}"));
        }
    };
    match step {
        Step::Signed { node, seq, receipt } => look(*node, *seq, *receipt),
        Step::Commit { facts, .. } => {
            for fact in facts {
                if let Fact::ReceiptKept { by, seq, receipt } = fact {
                    look(*by, *seq, *receipt);
                }
            }
        }
        _ => {}
    }
}

/// I9: ids are remembered until a day after the message's expiry, and not forgotten before.
pub(super) fn dedupe_window(model: &Model<'_>, at_ms: u64, step: &Step, found: &mut Found) {
    let Step::Commit { node, facts, .. } = step else { return };
    for fact in facts {
        let (id, end) = match fact {
            Fact::Known { id, until, .. } => (id, *until),
            Fact::Forgot { id, .. } => (id, model.clock(*node, at_ms)),
            _ => continue,
        };
        if model.submitted.get(id).is_some_and(|submitted| end < submitted.expires.after(DEDUPE_MARGIN)) {
            found.add("I9", at_ms, format!("node {node} remembers {id:?} for too short: {fact:?}"));
        }
    }
}
