//! What must hold of a run, read from its trace and final disks alone.

use std::collections::{BTreeMap, BTreeSet};

use liaison_core::op::DedupeKey;
use liaison_protocol::{MessageId, NodeId};

use super::node::{INBOX, NOTICE, OUTBOX, end_key};
use super::world::{Report, Trace};

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

/// Every violation of the run: I1 (custody), I2 (at most once), I3 (authentic), I4 (acknowledged only when durable),
/// I5 (deleted only after the next holder has it), I6 (drains).
#[must_use]
pub fn check(report: &Report) -> Vec<Violation> {
    let mut found = report.broken.clone();
    let (inboxes, notices) = inboxes(report);
    let ends = ends(report);
    for submitted in &report.submitted {
        for (index, recipient) in submitted.recipients.iter().enumerate() {
            let key = DedupeKey { id: submitted.id, index: u16::try_from(index).expect("few recipients") };
            let copies = inboxes.get(&(NodeId::from(recipient), submitted.id)).map_or(0, Vec::len);
            let ended = ends.contains(&end_key(key)) || notices.contains(&end_key(key));
            match copies {
                0 if !submitted.accepted => {}
                0 if ended => {}
                0 => found
                    .push(Violation(format!("I1: {:?} for {recipient} was accepted, and is nowhere", submitted.id))),
                1 => {}
                n => found.push(Violation(format!("I2: {:?} is {n} times in the inbox of {recipient}", submitted.id))),
            }
        }
        for ((holder, id), texts) in &inboxes {
            if *id == submitted.id && texts.iter().any(|text| *text != submitted.text) {
                found.push(Violation(format!("I3: {holder} has other words than were signed in {id:?}")));
            }
        }
    }
    if !report.idle {
        found.push(Violation("I6: the federation has not drained".into()));
    }
    found
}

type Inboxes = BTreeMap<(NodeId, MessageId), Vec<String>>;

fn inboxes(report: &Report) -> (Inboxes, BTreeSet<Vec<u8>>) {
    let (mut messages, mut notices) = (Inboxes::new(), BTreeSet::new());
    for (node, disk) in &report.disks {
        for ((table, key), value) in &disk.records {
            if *table != INBOX {
                continue;
            }
            if let Some(end) = value.strip_prefix(NOTICE) {
                notices.insert(end.to_vec());
                continue;
            }
            let id: [u8; 32] = key[..32].try_into().expect("an id is 32 bytes");
            let text = String::from_utf8_lossy(value).into_owned();
            messages.entry((node.clone(), MessageId(liaison_protocol::Hash(id)))).or_default().push(text);
        }
    }
    (messages, notices)
}

fn ends(report: &Report) -> BTreeSet<Vec<u8>> {
    let records = report.disks.iter().flat_map(|(_, disk)| disk.records.keys());
    records.filter(|(table, _)| *table == OUTBOX).map(|(_, key)| key.clone()).collect()
}

/// How often each step occurs: what a report prints.
#[must_use]
pub(super) fn count<'a>(trace: impl Iterator<Item = &'a Trace>) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for step in trace {
        *counts.entry(step.kind()).or_insert(0) += 1;
    }
    counts
}
