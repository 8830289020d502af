//! What people ask about a message on its way: call it back, try again.

use std::sync::Arc;

use liaison_core::op::{Op, Table};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{Hash, MessageId};

use super::fact::Fact;
use super::ways::Out;
use super::work::{Because, Work};
use crate::api::model::{CustodyTrace, Problem, ProblemCode, RecipientState, RecipientStatus, Retried};
use crate::events::{EventRecord, What};
use crate::office::Office;
use crate::problem::Answer;
use crate::shelf::{Place, ReadError};

/// What of a message may still be called back.
struct Withdrawable {
    /// Its envelopes, with the recipients that each counts for.
    envelopes: Vec<(MessageId, Vec<u16>)>,
    /// Recipients that wait for a key: nothing of them is queued.
    unkeyed: Vec<u16>,
    /// Whether something of it was called back before.
    again: bool,
}

impl Office {
    /// Calls back what no relay has taken. Asked again, it says so again.
    ///
    /// # Errors
    /// A problem document; `already_sent` if nothing could be called back.
    pub async fn cancel(self: &Arc<Self>, first: MessageId) -> Answer<CustodyTrace> {
        let office = Arc::clone(self);
        let Withdrawable { envelopes, unkeyed, again } = crate::blocking(move || office.withdrawable(first)).await??;
        let mut withdrawn = !unkeyed.is_empty();
        self.node.commit(unkeyed.into_iter().flat_map(|index| self.called_back(first, index)).collect()).await?;
        // One by one: what is withdrawn, and that it is, are one commit, and only its commit tells what had left already.
        for (envelope, indices) in envelopes {
            for index in indices {
                let (with_it, after) = match self.called_back(first, index) {
                    ops if planted(Mutant::RecallInTwoCommits) => (Vec::new(), ops),
                    ops => (ops, Vec::new()),
                };
                let gone = self.node.cancel(envelope, Some(index), with_it).await?;
                self.node.commit(after).await?;
                withdrawn |= !gone.is_empty();
            }
        }
        if !withdrawn && !again {
            let problem =
                Problem::new(ProblemCode::AlreadySent, "every recipient's copy is with a relay, or on its way to one");
            return Err(
                problem.with_hint("a copy that has left cannot be called back; liaison status shows where each is")
            );
        }
        self.wake.work.notify_one();
        let office = Arc::clone(self);
        for chunk in crate::blocking(move || office.idle_chunks(first)).await?? {
            self.node.cancel(chunk, None, Vec::new()).await?;
        }
        self.trace(first).await
    }

    /// What is written down of a recipient whose copy goes nowhere.
    fn called_back(&self, first: MessageId, index: u16) -> Vec<Op> {
        let now = self.now();
        let event = EventRecord::new(What::Cancelled, now).about(first);
        let announce = Work::Announce(event.because("for one recipient"));
        vec![
            Fact::Cancelled { at: now }.put(first, index),
            announce.put(&self.shelf, now),
            Work::Settle { first }.put(&self.shelf, now),
        ]
    }

    /// Chunks that are queued here of a message that goes to nobody any more.
    fn idle_chunks(&self, first: MessageId) -> Result<Vec<MessageId>, ReadError> {
        let called_back = |recipient: &RecipientStatus| recipient.state == RecipientState::Cancelled;
        if !self.standing(first)?.is_some_and(|standing| standing.recipients.iter().all(called_back)) {
            return Ok(Vec::new());
        }
        let mut chunks = Vec::new();
        for record in self.shelf.scan(Table::Outbox, &Place::new(Table::Outbox, b'z', &[&first.0.0]).key) {
            let chunk = record?.0.last_chunk().map(|id| MessageId(Hash(*id)));
            let Some(chunk) = chunk else { continue };
            if !self.shelf.store().positions_of(&chunk)?.is_empty() {
                chunks.push(chunk);
            }
        }
        Ok(chunks)
    }

    fn withdrawable(&self, first: MessageId) -> Answer<Withdrawable> {
        let standing = self.standing(first)?.ok_or_else(|| unknown(first))?;
        let mut envelopes: Vec<(MessageId, Vec<u16>)> = Vec::new();
        let mut unkeyed = Vec::new();
        let again = standing.recipients.iter().any(|recipient| recipient.state == RecipientState::Cancelled);
        for (index, recipient) in (0..).zip(&standing.recipients) {
            if recipient.state != RecipientState::Outbox {
                continue;
            }
            let envelope = standing.facts.envelope_of(index, first);
            if standing.facts.is_unkeyed(index, first) {
                unkeyed.push(index);
            } else if let Some((_, indices)) = envelopes.iter_mut().find(|(known, _)| *known == envelope) {
                indices.push(index);
            } else {
                envelopes.push((envelope, vec![index]));
            }
        }
        Ok(Withdrawable { envelopes, unkeyed, again })
    }

    /// Tries at once what waits here, asks relays after what they hold, and sends it by another way if one is left.
    ///
    /// # Errors
    /// A problem document.
    pub async fn retry(self: &Arc<Self>, first: MessageId) -> Answer<Retried> {
        let office = Arc::clone(self);
        let waiting = crate::blocking(move || office.waiting(first)).await??;
        let mut here = 0;
        let mut asked = 0;
        for (envelope, index, state) in waiting {
            if state == RecipientState::Outbox {
                here += self.node.retry(Some(envelope)).await?.min(1);
            } else {
                self.node.inquire(envelope, index).await?;
                asked += 1;
            }
        }
        let office = Arc::clone(self);
        let ways = crate::blocking(move || office.ways_left(first)).await??;
        let again = ways.len();
        self.node.commit(ways).await?;
        self.wake.work.notify_one();
        let detail = format!(
            "{here} copies offered again, {again} sent again by another way, {asked} asked after at the relays"
        );
        Ok(Retried { messages: u64::from(here + asked > 0), detail })
    }

    /// Sends a message by another way where one is left, for every recipient whose receipt is not in.
    fn ways_left(&self, first: MessageId) -> Answer<Vec<Op>> {
        let standing = self.standing(first)?.ok_or_else(|| unknown(first))?;
        let mut ops = Vec::new();
        for (index, recipient) in (0..).zip(&standing.recipients) {
            let (facts, precedence) = (&standing.facts, standing.head.precedence);
            let out = Out { first, index, recipient: &recipient.agency, precedence, facts };
            if recipient.state == RecipientState::Custody && self.another_way(&out)?.is_some() {
                let envelope = facts.envelope_of(index, first);
                ops.push(Work::Resubmit { envelope, index, because: Because::Asked }.put(&self.shelf, self.now()));
            }
        }
        Ok(ops)
    }

    fn waiting(&self, first: MessageId) -> Answer<Vec<(MessageId, u16, RecipientState)>> {
        let standing = self.standing(first)?.ok_or_else(|| unknown(first))?;
        let open = |state| matches!(state, RecipientState::Outbox | RecipientState::Custody);
        let waiting = (0..).zip(&standing.recipients).filter(|(_, recipient)| open(recipient.state));
        Ok(waiting.map(|(index, r)| (standing.facts.envelope_of(index, first), index, r.state)).collect())
    }

    /// As [`Office::retry`], for every open message (to one agency).
    ///
    /// # Errors
    /// A problem document.
    pub async fn retry_all(self: &Arc<Self>, to: Option<liaison_protocol::AgencyId>) -> Answer<Retried> {
        const AT_ONCE: usize = 1000;
        let office = Arc::clone(self);
        let open = crate::blocking(move || {
            let open = office.open_messages(None, AT_ONCE)?;
            let to_it = |first: &MessageId| match (&to, office.sent_head(*first)) {
                (Some(to), Ok(Some(head))) => head.recipients.contains(to),
                _ => to.is_none(),
            };
            Ok::<_, Problem>(open.into_iter().filter(to_it).collect::<Vec<_>>())
        })
        .await??;
        self.node.retry(None).await?;
        let messages = open.len() as u64;
        for first in open {
            self.retry(first).await?;
        }
        Ok(Retried { messages, detail: format!("{messages} open messages offered again or asked after") })
    }
}

pub(crate) fn unknown(id: MessageId) -> Problem {
    Problem::new(ProblemCode::UnknownMessage, format!("no message {}", id.short()))
}
