//! Sending a message by another way while its recipient has not signed for it.
//!
//! A relay that holds a message may be dead, cut off, or lie. Its sender cannot tell these from a recipient that is away,
//! and need not: after a time that goes with the precedence, each other home relay gets the message once, whatever is
//! claimed. Inboxes take it once, so that a recipient that is away for a month costs one transfer for each home relay.
//!
//! ```text
//!  handed over ──½ delay──► asked after ──½ delay──► sent by the next home relay ──2 delays──► … until each has had it
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use liaison_core::retry::Jitter;
use liaison_protocol::frame::CustodyState;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{AgencyId, MessageId, NodeId, Precedence, Timestamp};

use super::fact::{Fact, Facts, is_word};
use super::reseal::UNDERWAY;
use super::work::Because;
use crate::office::Office;
use crate::shelf::ReadError;

/// Other ways use no higher attempts than this, of 16: the rest is for what is known to be lost, and for silence.
pub(crate) const ATTEMPT_MAX: u8 = 8;

/// How long after a message was handed over it is sent by another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// Of flash messages.
    pub flash: Duration,
    /// Of immediate ones.
    pub immediate: Duration,
    /// Of priority ones.
    pub priority: Duration,
    /// Of routine ones.
    pub routine: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self { flash: Duration::from_secs(30), immediate: minutes(2), priority: minutes(10), routine: minutes(60) }
    }
}

impl Delays {
    pub(crate) const fn of(&self, precedence: Precedence) -> Duration {
        match precedence {
            Precedence::Flash => self.flash,
            Precedence::Immediate => self.immediate,
            Precedence::Priority => self.priority,
            Precedence::Routine => self.routine,
        }
    }
}

/// Another way for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// When the message is asked after, so that the answer is here in time.
    pub(crate) ask: Timestamp,
    /// When it is sent again.
    pub(crate) due: Timestamp,
    /// Since when it is out.
    out: Timestamp,
    /// The holder that does not answer, or the one that says that it has the message.
    holder: NodeId,
    unreachable: bool,
}

impl Way {
    /// Why it is taken at `now`.
    pub(crate) fn because(&self, now: Timestamp) -> Because {
        let (holder, for_ms) =
            (self.holder.clone(), u64::try_from(now.since(self.out).as_millis()).unwrap_or(u64::MAX));
        if self.unreachable { Because::Unreachable { holder, for_ms } } else { Because::Unsigned { holder, for_ms } }
    }
}

/// A message as far as its ways depend on it.
pub(crate) struct Out<'a> {
    pub(crate) first: MessageId,
    pub(crate) index: u16,
    pub(crate) recipient: &'a AgencyId,
    pub(crate) precedence: Precedence,
    pub(crate) facts: &'a Facts,
}

impl Office {
    /// The next way that is left for a message that a relay has taken over. `None`: it has gone by all of them.
    // [CUST-15]
    pub(crate) fn another_way(&self, out: &Out<'_>) -> Result<Option<Way>, ReadError> {
        let &Out { first, index, facts, .. } = out;
        let envelope = facts.envelope_of(index, first);
        let attempt = self.last_attempt(envelope, index)?;
        let since = self.out_since(out, envelope)?;
        let told = facts.told(index, first).filter(|(_, _, at)| *at > since);
        let answered = told.is_some_and(|(_, state, _)| is_word(state));
        if attempt >= ATTEMPT_MAX || !self.is_way_left(out, attempt, answered) || planted(Mutant::OneWayOnly) {
            return Ok(None);
        }
        let last = facts.holders(index, first).next_back().map(|fact| fact.holder.clone());
        let holder = match told {
            Some((_, CustodyState::Released { to }, _)) => Some(to.clone()),
            Some((by, ..)) => Some(by.clone()),
            None => None,
        };
        // Without a receipt nobody knows which home relay took it.
        let holder = holder.or(last).unwrap_or_else(|| NodeId::from(&self.me));
        // Each further way takes longer.
        let delay = self.policy.another_way.of(out.precedence).saturating_mul(attempt.into());
        let delay = if attempt > 1 { delay.max(UNDERWAY) } else { delay };
        let mut jitter = Jitter::new(self.jitter ^ seed(envelope, index, attempt));
        let due = since.after(delay).after(jitter.within(delay / 4));
        Ok(Some(Way { ask: since.after(delay / 2), due, out: since, holder, unreachable: !answered }))
    }

    /// Another home relay of this agency; another one of the recipient's; or, for what nobody says where it is, another
    /// relay between them.
    fn is_way_left(&self, out: &Out<'_>, attempt: u8, answered: bool) -> bool {
        let roster = self.roster();
        let homes = |agency| roster.agency(agency).map_or(&[][..], |agency| &agency.home);
        let (ours, theirs) = (homes(&self.me), homes(out.recipient));
        let had = self.had(out.facts, out.index, out.first);
        let linked = self.linked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fresh = ours.iter().any(|home| linked.contains(home) && !had.contains(home));
        let between = || {
            let ends: BTreeSet<&NodeId> = ours.iter().chain(theirs).collect();
            roster.relays().count() > ends.len()
        };
        fresh || usize::from(attempt) < theirs.len() || (!answered && attempt == 1 && between())
    }

    /// Home relays that have had the message, by their receipts.
    pub(crate) fn had(&self, facts: &Facts, index: u16, first: MessageId) -> BTreeSet<NodeId> {
        let me = NodeId::from(&self.me);
        let taken = facts.holders(index, first).filter(|fact| fact.from == me);
        taken.map(|fact| fact.holder.clone()).collect()
    }

    /// When it was sealed or submitted last, or handed over since. What a relay signs of a later time than now counts for
    /// nothing, so that no relay delays this.
    fn out_since(&self, out: &Out<'_>, envelope: MessageId) -> Result<Timestamp, ReadError> {
        let sent = self.last_sent(out.first, envelope, out.index)?;
        let resealed = out.facts.of(out.index).find_map(|fact| match fact {
            Fact::Resealed { envelope: of, at, .. } if *of == envelope => Some(*at),
            _ => None,
        });
        let sent = resealed.map_or(sent, |at| at.max(sent));
        let (me, now) = (NodeId::from(&self.me), self.now());
        let taken = out.facts.holders(out.index, out.first).filter(|fact| fact.from == me).map(|fact| fact.at);
        Ok(taken.filter(|at| (sent..=now).contains(at)).min().unwrap_or(sent))
    }
}

/// Spreads what waits for one relay.
fn seed(envelope: MessageId, index: u16, attempt: u8) -> u64 {
    let id = envelope.0.0.first_chunk().map_or(0, |start| u64::from_be_bytes(*start));
    id ^ u64::from(index) << 8 ^ u64::from(attempt)
}
