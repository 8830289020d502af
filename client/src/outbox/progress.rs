//! What the run loop and receipts tell of sent messages, turned into facts and things to do.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use liaison_core::op::{Op, Table};
use liaison_node::bundles;
use liaison_node::local::{Custody, OwnEvent};
use liaison_protocol::frame::{CustodyState, InquiryAnswer};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{AgencyId, MessageId, NodeId, Timestamp, limits};

use super::fact::{CustodyFact, Fact, Facts};
use super::work::{Because, Work};
use super::{EnvelopePart, EnvelopeRef};
use crate::events::{EventRecord, What};
use crate::office::Office;
use crate::shelf::ReadError;

/// A recipient's prekey may be lost again and again; past this, somebody plays.
const RESEALS_MAX: u8 = 8;

/// So long after an envelope was sent the receipts of its first holders are written down.
const SETTLED: Duration = Duration::from_secs(60);

/// That an envelope will not be delivered to one recipient.
pub(crate) struct Refusal {
    pub(crate) envelope: MessageId,
    /// The recipient's place in the header.
    pub(crate) index: u16,
    pub(crate) by: NodeId,
    pub(crate) reason: RefusalReason,
    pub(crate) detail: String,
    pub(crate) at: Timestamp,
    /// Signed for; empty where only said.
    pub(crate) receipt: Bytes,
}

impl Office {
    /// See [`liaison_node::local::LocalAgency::progress`].
    pub(crate) fn learn(&self, event: OwnEvent, now: Timestamp) -> Result<Vec<Op>, ReadError> {
        let announce = |event: EventRecord| Ok(vec![Work::Announce(event).put(&self.shelf, now)]);
        match event {
            OwnEvent::Answer { id, index, by, via, state } => {
                self.answered(&InquiryAnswer { id, index, by, state }, &via, now)
            }
            OwnEvent::AskedAfter { id } => Ok(self.asked_after(id, now)),
            OwnEvent::Bundle { agency } => self.keyed(&agency, now),
            OwnEvent::Custody(custody) => self.in_custody(*custody, now),
            OwnEvent::Expired { id, index } => self.refused(self.local(id, index, RefusalReason::Expired, now), now),
            OwnEvent::ForeignBundle(foreign) => Ok(self.met_foreign(&foreign, now)),
            OwnEvent::LinkDown { peer, reason } => {
                self.linked.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
                Ok(self.link_changed(&peer, What::LinkDown, reason, now))
            }
            OwnEvent::LinkUp { peer } => {
                self.linked.lock().unwrap_or_else(PoisonError::into_inner).insert(peer.clone());
                self.wake.ask.notify_one();
                Ok(self.link_changed(&peer, What::LinkUp, String::new(), now))
            }
            OwnEvent::Refused { id, index, by, reason, detail } => {
                let refusal = Refusal { by, detail, ..self.local(id, index, reason, now) };
                self.refused(refusal, now)
            }
            OwnEvent::Roster => {
                let version = self.roster().version();
                announce(EventRecord::new(What::RosterChanged, now).because(format!("version {version}")))
            }
        }
    }

    fn local(&self, envelope: MessageId, index: u16, reason: RefusalReason, at: Timestamp) -> Refusal {
        let by = NodeId::from(&self.me);
        Refusal { envelope, index, by, reason, detail: String::new(), at, receipt: Bytes::new() }
    }

    /// An envelope of ours will not arrive at one recipient: sealed anew where that helps, undeliverable otherwise.
    pub(crate) fn refused(&self, refusal: Refusal, now: Timestamp) -> Result<Vec<Op>, ReadError> {
        let Some(EnvelopeRef { first, part }) = self.envelope_ref(refusal.envelope)? else {
            return Ok(Vec::new());
        };
        let Some(head) = self.sent_head(first)? else { return Ok(Vec::new()) };
        let index = match part {
            EnvelopePart::Chunk { only: Some(only), .. } => only,
            _ => refusal.index,
        };
        let Some(agency) = head.recipients.get(usize::from(index)) else { return Ok(Vec::new()) };
        let facts = self.facts(first)?;
        let delivered = facts.of(index).any(|fact| matches!(fact, Fact::Delivered(_)));
        let over = facts.of(index).find_map(|fact| match fact {
            Fact::Refused { receipt, .. } => Some(receipt),
            _ => None,
        });
        // Of a message and its hundred thousand chunks, the first that fails says as much as all of them.
        let stale = match part {
            EnvelopePart::Message => facts.envelope_of(index, first) != refusal.envelope,
            EnvelopePart::Chunk { .. } => over.is_some(),
        };
        if delivered || stale {
            return Ok(Vec::new());
        }
        let times = facts.of(index).find_map(|fact| match fact {
            Fact::Resealed { times, .. } => Some(*times),
            _ => None,
        });
        let lost_key = refusal.reason == RefusalReason::KeyUnavailable && part == EnvelopePart::Message;
        if lost_key && times.unwrap_or(0) < RESEALS_MAX && now < head.expires {
            return Ok(vec![Work::Reseal { first, index }.put(&self.shelf, now)]);
        }
        let detail = match part {
            EnvelopePart::Message => refusal.detail,
            EnvelopePart::Chunk { attachment, .. } if refusal.detail.is_empty() => {
                format!("attachment {}", attachment + 1)
            }
            EnvelopePart::Chunk { attachment, .. } => format!("attachment {}: {}", attachment + 1, refusal.detail),
        };
        let told = over.is_some_and(|held| !held.is_empty() || refusal.receipt.is_empty());
        if told {
            return Ok(Vec::new());
        }
        let known = over.is_some();
        let event = EventRecord::new(What::Undeliverable, now).about(first).with_agency(agency);
        let event = event.with_node(&refusal.by).because(in_words(refusal.reason, &detail));
        let Refusal { envelope, by, reason, at, receipt, .. } = refusal;
        let fact = Fact::Refused { envelope, by, reason, detail, at, receipt };
        let mut ops = vec![fact.put(first, index), Work::Settle { first }.put(&self.shelf, now)];
        // A signed word instead of a bare one is no news for people.
        ops.extend((!known).then(|| Work::Announce(event).put_once(head.created, first, index)));
        Ok(ops)
    }

    fn in_custody(&self, custody: Custody, now: Timestamp) -> Result<Vec<Op>, ReadError> {
        let Some(EnvelopeRef { first, part: EnvelopePart::Message }) = self.envelope_ref(custody.id)? else {
            return Ok(Vec::new());
        };
        let Custody { id: envelope, indices, holder, from, at, receipt, proof } = custody;
        self.note_witness(&holder, at, now);
        let fact = CustodyFact { envelope, indices, holder, from, at, receipt, proof };
        if fact.from == NodeId::from(&self.me)
            && let Some(head) = self.sent_head(first)?
        {
            self.look(first, now.after(self.policy.another_way.of(head.precedence) / 2));
        }
        let facts = self.facts(first)?;
        let last = |index: &u16| facts.holders(*index, first).next_back().map(|fact| &fact.holder);
        // A receipt that was made anew because it was asked for says nothing new. Shortly after sending again it does:
        // what the holder before this one signed may not be written down yet.
        let mut settled = true;
        for index in &fact.indices {
            settled &= now.since(self.last_sent(first, fact.envelope, *index)?) >= SETTLED;
        }
        let known = settled && fact.indices.iter().all(|index| last(index) == Some(&fact.holder));
        if known || self.shelf.has(&fact.place(first))? {
            return Ok(Vec::new());
        }
        let event = EventRecord::new(What::Custody, now).about(first).with_node(&fact.holder);
        Ok(vec![fact.put(first), Work::Announce(event).put(&self.shelf, now)])
    }

    fn asked_after(&self, id: MessageId, now: Timestamp) -> Vec<Op> {
        let due = self.reminders.lock().unwrap_or_else(PoisonError::into_inner).is_due(id, now);
        if due { vec![Work::Remind { id }.put(&self.shelf, now)] } else { Vec::new() }
    }

    /// A key of an agency has come: what waits for one is sealed.
    fn keyed(&self, agency: &AgencyId, now: Timestamp) -> Result<Vec<Op>, ReadError> {
        self.keys.forget(agency);
        // Receipts may have waited for the key.
        self.wake.receipts.notify_one();
        if let Some(known) = bundles::get(self.shelf.store(), agency, &self.roster(), now)? {
            self.note_witness(&agency.into(), known.bundle().issued, now);
        }
        let prefix = [b"n", agency.as_str().as_bytes(), &[0]].concat();
        let mut ops = Vec::new();
        for record in self.shelf.scan(Table::Outbox, &prefix) {
            let (_, value) = record?;
            let (first, index): (MessageId, u16) = crate::shelf::decode(Table::Outbox, &value)?;
            ops.push(Work::Keyed { first, index }.put(&self.shelf, now));
        }
        Ok(ops)
    }

    /// What an inquiry was answered. An answer is no proof: it is written down, and believed where sending again, which
    /// loses nothing, is all that follows.
    // [CUST-12]
    fn answered(&self, answer: &InquiryAnswer, via: &NodeId, now: Timestamp) -> Result<Vec<Op>, ReadError> {
        let InquiryAnswer { id: envelope, index, ref by, ref state } = *answer;
        let Some(EnvelopeRef { first, part }) = self.envelope_ref(envelope)? else { return Ok(Vec::new()) };
        let unknown = *state == CustodyState::Unknown;
        let again = |index| {
            let because = Because::Unknown { by: by.clone() };
            Work::Resubmit { envelope, index, because }.put(&self.shelf, now)
        };
        if let EnvelopePart::Chunk { only, .. } = part {
            // Nobody asks after chunks: whoever handed it on has missed it there. Sent again it may be lost again, which
            // is left to time.
            let lost = unknown && only.is_none() && !planted(Mutant::LostChunksIgnored);
            return Ok(if lost { vec![again(index)] } else { Vec::new() });
        }
        let facts = self.facts(first)?;
        let delivered = facts.of(index).any(|fact| matches!(fact, Fact::Delivered(_)));
        if delivered
            || facts.envelope_of(index, first) != envelope
            || unknown && !should_know(&facts, index, first, &NodeId::from(&self.me), by, via)
        {
            return Ok(Vec::new());
        }
        let told = Fact::Told { envelope, by: by.clone(), state: state.clone(), at: now };
        let mut ops = vec![told.put(first, index)];
        ops.extend(unknown.then(|| again(index)));
        Ok(ops)
    }
}

/// Whether it means something that `by` does not know a message. It does for the last holder that is known; for whoever
/// took over from a holder that still knows; and for the home relay that took it last, because with what that one has
/// forgotten nobody can be asked who is behind it. It does not for a home relay that never had it, or had it before
/// another one did.
fn should_know(facts: &Facts, index: u16, first: MessageId, me: &NodeId, by: &NodeId, via: &NodeId) -> bool {
    let Some(last) = facts.holders(index, first).next_back() else {
        // Handed over, and the receipt of whoever took it was lost with its word.
        return true;
    };
    let taken_last = facts.holders(index, first).rfind(|fact| fact.from == *me);
    let is_known = facts.holders(index, first).any(|fact| fact.holder == *by);
    last.holder == *by || taken_last.is_some_and(|fact| fact.holder == *by) || by != via && !is_known
}

/// A refusal for people.
pub(crate) fn in_words(reason: RefusalReason, detail: &str) -> String {
    let mut text = reason.to_string();
    if !detail.is_empty() {
        text.push_str(": ");
        text.push_str(detail);
    }
    let ends = text.char_indices().map(|(start, character)| start + character.len_utf8());
    let end = ends.take_while(|end| *end <= limits::DETAIL_BYTES_MAX).last();
    text.truncate(end.unwrap_or(0));
    text
}
