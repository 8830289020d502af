//! Where is this message? What a node answers, and which questions it passes on.
//!
//! ```text
//!              held, unknown, delivered
//!  question ──────────────────────────────────────────────► answer of this node
//!      │ released to X, linked, hops left, room          ┌► answer of X, as it came
//!      └──────────────────────────► one question to X ───┤
//!                                                        └► too late, link down: "released to X"
//! ```
//! One question gives at most one onward question, and of two about the same message only the first is passed on. The
//! table is bounded, and so is each link's rate: past the first a node answers for itself, past the second not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use liaison_protocol::limits::INQUIRY_HOPS_MAX;
use liaison_protocol::{NodeId, Timestamp};

use crate::link::{LinkKey, NodeKind};
use crate::op::{DedupeKey, Held, Remembered};
use crate::quota::Rate;

/// Questions that are passed on and not yet answered.
pub const OPEN_MAX: usize = 4_096;
/// Peers that wait for the answer to one question; who comes later hears what this node knows by itself.
pub const ASKERS_MAX: usize = 8;
/// Questions a second that a link may ask, with bursts of ten seconds' worth. Those above are not answered.
pub const PER_SECOND: u32 = 200;
/// How long an answer is waited for, for each time that the question may still be passed on: who asked first waits
/// longest, so that the nearest node to the silent one answers.
pub const WAIT_PER_HOP: Duration = Duration::from_secs(2);

const _: () = assert!(INQUIRY_HOPS_MAX as u64 * WAIT_PER_HOP.as_secs() <= 10, "people wait for the first answer");

/// What a node knows by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knows {
    /// It is in the inbox here.
    Delivered,
    /// Custody ended here, in a notice that is on its way; or whose word it is does not concern the one who asks.
    Nothing,
    /// It is here.
    Held,
    /// That node took it over.
    Released(NodeId),
    /// Never seen, or forgotten.
    Unknown,
}

/// What the dedupe memory says to a peer that asks. An agency hears of what it handed over itself, and nothing of
/// what others did.
#[must_use]
pub fn knows(kind: NodeKind, seen: Option<&Remembered>, asker: &NodeId, asker_kind: NodeKind) -> Knows {
    let Some(seen) = seen else { return Knows::Unknown };
    if asker_kind == NodeKind::Daemon && seen.from.as_ref() != Some(asker) {
        return Knows::Nothing;
    }
    match (&seen.to, seen.held) {
        (_, Held::Yes) => Knows::Held,
        (_, Held::Released) if kind == NodeKind::Daemon => Knows::Delivered,
        (Some(to), Held::Released) => Knows::Released(to.clone()),
        (None, Held::Released) => Knows::Nothing,
    }
}

/// A question that was passed on.
#[derive(Debug)]
struct Open {
    to: LinkKey,
    next: NodeId,
    askers: Vec<LinkKey>,
    until: Timestamp,
}

/// Who is still to hear that a question was not answered, and of which next holder.
pub(crate) type Unanswered = (DedupeKey, NodeId, Vec<LinkKey>);

/// What to do with a question about what has left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    /// Answer for this node.
    Answer,
    /// It was asked already: the answer serves both.
    Joined,
    /// Ask.
    Pass,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Inquiries {
    open: BTreeMap<DedupeKey, Open>,
    deadlines: BTreeSet<(Timestamp, DedupeKey)>,
    rates: BTreeMap<LinkKey, Rate>,
}

impl Inquiries {
    /// Whether `link` may ask now.
    pub(crate) fn admit(&mut self, link: LinkKey, now: Timestamp) -> bool {
        self.rates.entry(link).or_insert_with(|| Rate::new(PER_SECOND, now)).take(now).is_ok()
    }

    /// `asker` asks after what `next` took over, by the link `to`.
    pub(crate) fn pass(
        &mut self,
        key: DedupeKey,
        asker: LinkKey,
        (next, to): (&NodeId, Option<LinkKey>),
        hops: u8,
        now: Timestamp,
    ) -> Passing {
        if let Some(open) = self.open.get_mut(&key) {
            let asked_by_it = open.askers.contains(&asker) || open.to == asker;
            if asked_by_it || open.askers.len() >= ASKERS_MAX {
                return Passing::Answer;
            }
            open.askers.push(asker);
            return Passing::Joined;
        }
        let Some(to) = to.filter(|_| hops > 0 && self.open.len() < OPEN_MAX) else {
            return Passing::Answer;
        };
        let until = now.after(WAIT_PER_HOP * u32::from(hops));
        self.open.insert(key, Open { to, next: next.clone(), askers: vec![asker], until });
        self.deadlines.insert((until, key));
        Passing::Pass
    }

    /// An answer has come by `link`: who asked. Nobody, if that link was not asked.
    pub(crate) fn answered(&mut self, key: DedupeKey, link: LinkKey) -> Vec<LinkKey> {
        if self.open.get(&key).is_none_or(|open| open.to != link) {
            return Vec::new();
        }
        self.remove(key).map_or_else(Vec::new, |open| open.askers)
    }

    /// Questions whose time is over.
    pub(crate) fn overdue(&mut self, now: Timestamp) -> Vec<Unanswered> {
        let due: Vec<DedupeKey> =
            self.deadlines.iter().take_while(|(until, _)| *until <= now).map(|(_, key)| *key).collect();
        due.into_iter().filter_map(|key| self.give_up(key)).collect()
    }

    /// A link is gone: what was asked by it is not answered, and who asked by it no longer waits.
    pub(crate) fn handle_down(&mut self, link: LinkKey) -> Vec<Unanswered> {
        self.rates.remove(&link);
        self.open.values_mut().for_each(|open| open.askers.retain(|asker| *asker != link));
        let asked = self.open.iter().filter(|(_, open)| open.to == link || open.askers.is_empty());
        let keys: Vec<DedupeKey> = asked.map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.give_up(key)).collect()
    }

    fn give_up(&mut self, key: DedupeKey) -> Option<Unanswered> {
        self.remove(key).map(|open| (key, open.next, open.askers))
    }

    fn remove(&mut self, key: DedupeKey) -> Option<Open> {
        let open = self.open.remove(&key)?;
        self.deadlines.remove(&(open.until, key));
        Some(open)
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests;
