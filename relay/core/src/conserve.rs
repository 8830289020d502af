//! Comparing with a relay what was released to it: pure, one comparison at a time.
//!
//! ```text
//!            hours that have grown          hours that differ             ids released in them, page by page
//!  ┌──────┐ ─────────────────────► ┌───────┐ ────────────► ┌─────────┐ ─────────────────────────────────────► done
//!  │ idle │        Tally           │ asked │  TallyAnswer  │ walking │    Roll: which of these do you not know?
//!  └──────┘ ◄───────────────────── └───────┘ ◄──────────── └─────────┘ ◄───────────────────────────────────── the last
//!               link down, late               all agree                      RollAnswer, link down, late
//! ```
//! A difference of tallies alone is no loss: the peer may have taken what it was about to acknowledge, or have had an
//! item from somebody else first. Only an id that was released and that the peer does not remember is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use liaison_protocol::frame::{HourTally, RollItem};
use liaison_protocol::{Hour, MessageId, NodeId, Timestamp, codec};
use serde::{Deserialize, Serialize};

use crate::ledger::Tally;
use crate::link::LinkKey;
use crate::op::{DedupeKey, Op, Table};

/// How long a peer may take for one answer.
pub const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Missing items that a finding names; the others are counted.
pub const NAMED_MAX: usize = 1_000;
/// What keys of findings begin with.
const FINDING: u8 = b'f';
/// A finding, encoded: a thousand items, and room.
const FINDING_BYTES_MAX: usize = 64 * 1024;

/// One entry that was released to a peer: what the dedupe memory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasedItem {
    /// Which.
    pub key: DedupeKey,
    /// Submission of it by its sender.
    pub attempt: u8,
    /// In which hour custody was accepted here.
    pub hour: Hour,
    /// Who had handed it over.
    pub from: Option<NodeId>,
}

/// What of one hour a peer does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// When that was found.
    pub found: Timestamp,
    /// What this node had released.
    pub released: Tally,
    /// What the peer had accepted, it says.
    pub accepted: Tally,
    /// How many entries it does not know.
    pub missing: u64,
    /// The first [`NAMED_MAX`] of them: message, recipient's place in its header, attempt.
    pub named: Vec<(MessageId, u16, u8)>,
}

impl Finding {
    /// Writes it, over an earlier one of the same peer and hour.
    #[must_use]
    pub fn put(&self, peer: &NodeId, hour: Hour) -> Op {
        Op::Put { table: Table::Ledger, key: finding_key(peer, hour), value: codec::encode(self).into() }
    }

    /// From the store's record. `None`: another record, or another version's.
    #[must_use]
    pub fn parse(key: &[u8], value: &[u8]) -> Option<(NodeId, Hour, Self)> {
        let [FINDING, rest @ ..] = key else { return None };
        let (hour, peer) = rest.split_first_chunk()?;
        let peer = std::str::from_utf8(peer).ok()?.parse().ok()?;
        Some((peer, Hour(u32::from_be_bytes(*hour)), codec::decode("finding", value, FINDING_BYTES_MAX).ok()?))
    }
}

fn finding_key(peer: &NodeId, hour: Hour) -> Vec<u8> {
    [&[FINDING], hour.0.to_be_bytes().as_slice(), peer.as_str().as_bytes()].concat()
}

/// What comes out of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Agreed, or all is known although the tallies differ.
    Agreed { hour: Hour, tally: Tally },
    /// Something is missing.
    Found { hour: Hour, finding: Finding },
    /// Read what was released to `peer` in these hours from the dedupe memory, after this key.
    Load { hours: Vec<Hour>, after: Option<DedupeKey> },
    /// Ask the peer.
    Roll(Vec<RollItem>),
    /// It does not know this one: whoever handed it over is to hear of it.
    Missing(ReleasedItem),
}

#[derive(Debug)]
enum State {
    Asked { hours: BTreeMap<Hour, Tally> },
    Walking { hours: BTreeMap<Hour, Difference>, page: Vec<ReleasedItem>, next: Option<DedupeKey> },
}

#[derive(Debug)]
struct Difference {
    released: Tally,
    accepted: Tally,
    missing: u64,
    named: Vec<(MessageId, u16, u8)>,
}

#[derive(Debug)]
struct Underway {
    peer: NodeId,
    link: LinkKey,
    until: Timestamp,
    state: State,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Conserve {
    now: Option<Underway>,
    /// With whom to compare next, and whether the hour that is not over is compared too.
    waiting: BTreeSet<NodeId>,
}

impl Conserve {
    pub(crate) fn is_idle(&self) -> bool {
        self.now.is_none()
    }

    /// Puts a peer on the list.
    pub(crate) fn want(&mut self, peer: NodeId) {
        self.waiting.insert(peer);
    }

    /// Whom to compare with now.
    pub(crate) fn take_waiting(&mut self) -> Option<NodeId> {
        if self.now.is_some() { None } else { self.waiting.pop_first() }
    }

    /// The tallies of these hours are sent to `peer`.
    pub(crate) fn begin(&mut self, peer: NodeId, link: LinkKey, hours: &[HourTally], now: Timestamp) {
        let hours = hours.iter().map(|hour| (hour.hour, hour.tally)).collect();
        self.now = Some(Underway { peer, link, until: now.after(ANSWER_MAX), state: State::Asked { hours } });
    }

    /// The peer whose answers come by `link`.
    pub(crate) fn peer_of(&self, link: LinkKey) -> Option<&NodeId> {
        self.now.as_ref().filter(|now| now.link == link).map(|now| &now.peer)
    }

    /// The peer's tallies of the hours that differ.
    pub(crate) fn answered(&mut self, link: LinkKey, theirs: &[HourTally], now: Timestamp) -> Vec<Step> {
        let Some(comparison) = self.now.as_mut().filter(|current| current.link == link) else { return Vec::new() };
        let State::Asked { hours } = &mut comparison.state else { return Vec::new() };
        let mut differing = BTreeMap::new();
        for HourTally { hour, tally } in theirs {
            if let Some(released) = hours.remove(hour).filter(|released| released != tally) {
                let difference = Difference { released, accepted: *tally, missing: 0, named: Vec::new() };
                differing.insert(*hour, difference);
            }
        }
        let mut steps: Vec<Step> =
            std::mem::take(hours).into_iter().map(|(hour, tally)| Step::Agreed { hour, tally }).collect();
        if differing.is_empty() {
            self.now = None;
            return steps;
        }
        steps.push(Step::Load { hours: differing.keys().copied().collect(), after: None });
        comparison.state = State::Walking { hours: differing, page: Vec::new(), next: None };
        comparison.until = now.after(ANSWER_MAX);
        steps
    }

    /// A page of what was released in those hours; `next` is where to go on.
    pub(crate) fn loaded(&mut self, items: Vec<ReleasedItem>, next: Option<DedupeKey>, now: Timestamp) -> Vec<Step> {
        let Some(comparison) = &mut self.now else { return Vec::new() };
        let State::Walking { hours, page, next: after } = &mut comparison.state else { return Vec::new() };
        comparison.until = now.after(ANSWER_MAX);
        if !items.is_empty() {
            let roll = items.iter().map(|item| RollItem { id: item.key.id, index: item.key.index }).collect();
            (*page, *after) = (items, next);
            return vec![Step::Roll(roll)];
        }
        match next {
            Some(next) => vec![Step::Load { hours: hours.keys().copied().collect(), after: Some(next) }],
            None => self.end(now),
        }
    }

    /// Places in the last roll that the peer does not know.
    pub(crate) fn unknown(&mut self, link: LinkKey, places: &[u16], now: Timestamp) -> Vec<Step> {
        let Some(comparison) = self.now.as_mut().filter(|current| current.link == link) else { return Vec::new() };
        let State::Walking { hours, page, next } = &mut comparison.state else { return Vec::new() };
        let page = std::mem::take(page);
        if page.is_empty() {
            return Vec::new();
        }
        let mut steps = Vec::new();
        for item in places.iter().filter_map(|place| page.get(usize::from(*place))) {
            if let Some(difference) = hours.get_mut(&item.hour) {
                difference.missing += 1;
                if difference.named.len() < NAMED_MAX {
                    difference.named.push((item.key.id, item.key.index, item.attempt));
                }
                steps.push(Step::Missing(item.clone()));
            }
        }
        comparison.until = now.after(ANSWER_MAX);
        match next.take() {
            Some(after) => {
                steps.push(Step::Load { hours: hours.keys().copied().collect(), after: Some(after) });
                steps
            }
            None => [steps, self.end(now)].concat(),
        }
    }

    fn end(&mut self, now: Timestamp) -> Vec<Step> {
        let Some(Underway { state: State::Walking { hours, .. }, .. }) = self.now.take() else { return Vec::new() };
        let step = |(hour, difference): (Hour, Difference)| {
            let Difference { released, accepted, missing, named } = difference;
            match missing {
                0 => Step::Agreed { hour, tally: released },
                _ => Step::Found { hour, finding: Finding { found: now, released, accepted, missing, named } },
            }
        };
        hours.into_iter().map(step).collect()
    }

    /// The link is gone: it is compared again when there is another one.
    pub(crate) fn handle_down(&mut self, link: LinkKey, peer: &NodeId) {
        self.waiting.remove(peer);
        if self.now.as_ref().is_some_and(|now| now.link == link) {
            self.now = None;
        }
    }

    /// A peer that does not answer is given up until the next time.
    pub(crate) fn give_up_late(&mut self, now: Timestamp) {
        if self.deadline().is_some_and(|until| until <= now) {
            self.now = None;
        }
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.now.as_ref().map(|now| now.until)
    }
}

/// A record's value, for those who read the table.
pub type Record = (Vec<u8>, Bytes);

#[cfg(test)]
mod tests;
