//! Sealing anew, and sending again.

use std::time::Duration;

use liaison_core::op::{Op, Table};
use liaison_protocol::envelope::{Header, VerifiedEnvelope};
use liaison_protocol::inner::{Content, Supersedes};
use liaison_protocol::{AgencyId, MessageId, NodeId, PrekeyId, Timestamp, limits};

use super::fact::{Fact, is_word};
use super::sealing::{Sealing, SealingError};
use super::{
    EnvelopePart, EnvelopeRef, Place, envelope_place, head_place, later_envelope_place, open_place, resealed_place,
    sealing_place, unkeyed_place,
};
use crate::attachment::feed::Next;
use crate::events::{EventRecord, What};
use crate::kept::Kept;
use crate::office::Office;
use crate::outbox::work::{Because, Work};
use crate::shelf::{ReadError, Shelf};

/// Answers that were on their way when an envelope was sent again do not send it once more.
pub(super) const UNDERWAY: Duration = Duration::from_secs(30);

/// What to submit, and to commit with it.
pub(crate) struct Submission {
    /// `None`: there is nothing to send, only to commit.
    pub(crate) envelope: Option<VerifiedEnvelope>,
    pub(crate) attempt: u8,
    /// Home relays that have had it.
    pub(crate) tried: Vec<NodeId>,
    pub(crate) ops: Vec<Op>,
}

impl Office {
    /// Seals the message `first` anew for recipient `index`. It supersedes what it replaces: to people it stays one
    /// message. `None`: there is nothing to do, or still no key.
    // [PREKEY-5]
    pub(crate) fn reseal(&self, first: MessageId, index: u16) -> Result<Option<Submission>, SealingError> {
        let Some(head) = self.sent_head(first)? else { return Ok(None) };
        let Some(agency) = head.recipients.get(usize::from(index)) else { return Ok(None) };
        let (facts, now) = (self.facts(first)?, self.now());
        let over = |fact: &Fact| matches!(fact, Fact::Delivered(_) | Fact::Cancelled { .. });
        if facts.of(index).any(over) || now >= head.expires {
            return Ok(None);
        }
        let Some(letter) = self.sent(first)? else { return Ok(None) };
        let previous = facts.envelope_of(index, first);
        let mut message = letter.message;
        message.chain = Some(Supersedes { first, previous, sent: head.created });
        let outgoing = self.seal(&Sealing {
            content: &Content::Message(message),
            recipients: &head.recipients,
            created: now,
            expires: head.expires,
            precedence: head.precedence,
        })?;
        let times = facts.of(index).find_map(|fact| match fact {
            Fact::Resealed { times, .. } => Some(*times),
            _ => None,
        });
        // The key that it was sealed to in vain would be refused again.
        let same = self.prekey_of(first, previous, index)? == key_of(outgoing.envelope.header(), index);
        let Some(envelope) = outgoing.branch([index]).filter(|_| !same) else {
            return Ok(Some(self.wait_for_key(first, previous, index, agency)?));
        };
        let id = envelope.id();
        let event = EventRecord::new(What::Resealed, now).about(first).with_agency(agency);
        let ops = vec![
            self.shelf.put(resealed_place(id), &self.keep(&outgoing)),
            Shelf::put_clear(envelope_place(id), &EnvelopeRef { first, part: EnvelopePart::Message }),
            Shelf::put_clear(later_envelope_place(first, id), &()),
            Fact::Resealed { envelope: id, at: now, times: times.unwrap_or(0).saturating_add(1) }.put(first, index),
            unkeyed_place(agency, first).delete(),
            Work::Announce(event).put(&self.shelf, now),
        ];
        Ok(Some(Submission { envelope: Some(envelope), attempt: 1, tried: Vec::new(), ops }))
    }

    /// As [`Office::reseal`], if the message still waits for a key: more than one thing may wake it.
    pub(crate) fn seal_waiting(&self, first: MessageId, index: u16) -> Result<Option<Submission>, SealingError> {
        let Some(head) = self.sent_head(first)? else { return Ok(None) };
        let Some(agency) = head.recipients.get(usize::from(index)) else { return Ok(None) };
        if self.shelf.has(&unkeyed_place(agency, first))? { self.reseal(first, index) } else { Ok(None) }
    }

    fn wait_for_key(
        &self,
        first: MessageId,
        envelope: MessageId,
        index: u16,
        agency: &AgencyId,
    ) -> Result<Submission, ReadError> {
        let (place, now) = (unkeyed_place(agency, first), self.now());
        let mut ops = vec![Fact::Unkeyed { at: now, envelope }.put(first, index)];
        if !self.shelf.has(&place)? {
            // The key may come between the look for it and this commit, with nobody waiting for it yet.
            ops.push(Work::Keyed { first, index }.put(&self.shelf, now));
        }
        ops.push(Shelf::put_clear(place, &(first, index)));
        Ok(Submission { envelope: None, attempt: 1, tried: Vec::new(), ops })
    }

    /// Which prekey a sealing of a message used for a recipient.
    fn prekey_of(&self, first: MessageId, envelope: MessageId, index: u16) -> Result<Option<PrekeyId>, ReadError> {
        let Some(kept) = self.shelf.get::<Kept>(&sealing_place(first, envelope))? else { return Ok(None) };
        let envelope = kept.envelope(Table::Outbox, &self.roster().federation())?;
        Ok(key_of(envelope.header(), index))
    }

    /// Sends an envelope again to one recipient: a message as it is, a chunk sealed anew. `None`: it is over, or has been
    /// sent as often as allowed.
    pub(crate) fn resubmit(
        &self,
        envelope: MessageId,
        index: u16,
        because: Because,
    ) -> Result<Option<Submission>, ReadError> {
        let Some(EnvelopeRef { first, part }) = self.envelope_ref(envelope)? else { return Ok(None) };
        let facts = self.facts(first)?;
        let over = |fact: &Fact| matches!(fact, Fact::Delivered(_) | Fact::Cancelled { .. } | Fact::Refused { .. });
        if facts.of(index).any(over) {
            return Ok(None);
        }
        if let EnvelopePart::Chunk { attachment, index: chunk, .. } = part {
            let ops = self.lost_chunk(first, Next { attachment, index: chunk }, index)?;
            return Ok(Some(Submission { envelope: None, attempt: 1, tried: Vec::new(), ops }));
        }
        if facts.envelope_of(index, first) != envelope {
            return Ok(None);
        }
        if self.is_underway(envelope, index, &because)? {
            return Ok(None);
        }
        let Some(attempt) = self.next_attempt(envelope, index)? else { return Ok(None) };
        let Some(kept) = self.shelf.get::<Kept>(&sealing_place(first, envelope))? else { return Ok(None) };
        let whole = kept.envelope(Table::Outbox, &self.roster().federation())?;
        let now = self.now();
        let Some(head) = self.sent_head(first)? else { return Ok(None) };
        let recipient = head.recipients.get(usize::from(index));
        if let Some(agency) = recipient
            && kept.roster_version != self.roster().version()
            && !self.is_vouched_for(whole.header(), index, agency)?
        {
            // [PREKEY-7] The roster may have ended the signer of this key: it is not used again.
            let ops = self.without_key(first, envelope, index, agency);
            return Ok(Some(Submission { envelope: None, attempt: 1, tried: Vec::new(), ops }));
        }
        let event = EventRecord::new(What::Resubmitted, now).about(first).because(because.in_words());
        let event = recipient.into_iter().fold(event, |event, agency| event.with_agency(agency));
        let mut ops = vec![
            Shelf::put_clear(attempt_place(envelope, index), &(attempt, now)),
            Fact::Resubmitted { envelope, attempt, because: because.clone(), at: now }.put(first, index),
            Work::Announce(event).put(&self.shelf, now),
        ];
        let handed_on = facts.told(index, first).is_some_and(|(_, state, _)| !is_word(state));
        let lost = match because {
            Because::Silence => !handed_on,
            Because::Unknown { .. } => true,
            Because::Asked | Because::Unreachable { .. } | Because::Unsigned { .. } => false,
        };
        if lost {
            // Whoever lost the message has lost its chunks as well. Whoever only does not answer has them.
            ops.extend(self.feed_again(first, &head)?);
        }
        let tried = self.had(&facts, index, first).into_iter().collect();
        Ok(Some(Submission { envelope: Some(whole.prune(&[index])), attempt, tried, ops }))
    }

    /// Whether its last submission may still be on its way: queued here, or made a moment ago. Who says again and again that
    /// a message is lost is believed after twice the time each time, so that nobody uses up the attempts.
    // [CUST-15]
    fn is_underway(&self, envelope: MessageId, index: u16, because: &Because) -> Result<bool, ReadError> {
        let last: Option<(u8, Timestamp)> = self.shelf.get_clear(&attempt_place(envelope, index))?;
        if let Some((attempt, at)) = last {
            let doubled = 1 << attempt.saturating_sub(2).min(limits::ATTEMPTS_MAX);
            let underway = if matches!(because, Because::Unknown { .. }) { UNDERWAY * doubled } else { UNDERWAY };
            if self.now().since(at) < underway {
                return Ok(true);
            }
        }
        let queued = self.shelf.store().positions_of(&envelope)?;
        Ok(queued.iter().any(|(_, entry)| entry.index == index))
    }

    fn next_attempt(&self, envelope: MessageId, index: u16) -> Result<Option<u8>, ReadError> {
        let next = self.last_attempt(envelope, index)?.saturating_add(1);
        Ok((next <= limits::ATTEMPTS_MAX).then_some(next))
    }

    /// The number of an envelope's last submission.
    pub(crate) fn last_attempt(&self, envelope: MessageId, index: u16) -> Result<u8, ReadError> {
        let last: Option<(u8, Timestamp)> = self.shelf.get_clear(&attempt_place(envelope, index))?;
        Ok(last.map_or(1, |(attempt, _)| attempt))
    }

    /// When an envelope was last sent to a recipient.
    pub(crate) fn last_sent(&self, first: MessageId, envelope: MessageId, index: u16) -> Result<Timestamp, ReadError> {
        let again: Option<(u8, Timestamp)> = self.shelf.get_clear(&attempt_place(envelope, index))?;
        if let Some((_, at)) = again {
            return Ok(at);
        }
        let head: Option<super::SentHead> = self.shelf.get_clear(&head_place(first))?;
        Ok(head.map_or(Timestamp::ZERO, |head| head.created))
    }

    /// Whether the message still waits for a receipt.
    pub(crate) fn is_open(&self, first: MessageId) -> Result<bool, ReadError> {
        self.shelf.has(&open_place(first))
    }
}

fn key_of(header: &Header, index: u16) -> Option<PrekeyId> {
    header.recipients.get(usize::from(index)).map(|recipient| recipient.prekey_id)
}

pub(crate) fn attempt_place(envelope: MessageId, index: u16) -> Place {
    Place::new(Table::Outbox, b'y', &[&envelope.0.0, &index.to_be_bytes()])
}
