//! Receipts and notices that come in: believed as far as their signatures go, and written down as facts.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use bytes::Bytes;
use liaison_core::op::Op;
use liaison_node::local::Received;
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::inner::SignedStatement;
use liaison_protocol::receipt::{DeliveryLeaf, ReadFacts, ReceiptBody, RefusalFacts, Statement, verify_statement};
use liaison_protocol::{AgencyId, MessageId, Timestamp};

use super::fresh::Key;
use crate::events::{EventRecord, What};
use crate::inbox::receive::taken;
use crate::office::Office;
use crate::outbox::fact::{Fact, FactKind, Proven};
use crate::outbox::state::follows;
use crate::outbox::work::Work;
use crate::outbox::{EnvelopePart, Refusal};
use crate::shelf::ReadError;

/// What is to be written down for a fact, and whether nothing was yet.
struct Choice {
    best: Option<Proven>,
    is_first: bool,
}

impl Office {
    pub(crate) fn take_receipts(
        &self,
        envelope: &VerifiedEnvelope,
        statements: &[SignedStatement],
        now: Timestamp,
    ) -> Result<Received, ReadError> {
        let mut ops = Vec::new();
        for statement in statements {
            ops.extend(self.take_statement(envelope, statement, now)?);
        }
        Ok(taken(ops))
    }

    pub(crate) fn take_notice(
        &self,
        envelope: &VerifiedEnvelope,
        statement: &SignedStatement,
        now: Timestamp,
    ) -> Result<Received, ReadError> {
        self.take_statement(envelope, statement, now).map(taken)
    }

    /// A statement that does not hold is logged and gives nothing: custody of it ends here all the same.
    fn take_statement(
        &self,
        envelope: &VerifiedEnvelope,
        statement: &SignedStatement,
        now: Timestamp,
    ) -> Result<Vec<Op>, ReadError> {
        let sender = &envelope.header().sender;
        match verify_statement(statement, &self.roster()) {
            Ok(Statement::Delivered(_, leaves)) => self.take_deliveries(statement, &leaves, now),
            Ok(Statement::Read(body, facts)) => self.take_read(&statement.receipt, &body, &facts, now),
            Ok(Statement::Refused(body, facts)) => self.take_refusal(&statement.receipt, body, facts, now),
            Ok(Statement::Custody(..)) => {
                tracing::warn!(%sender, "a custody receipt came as a message, and was ignored");
                Ok(Vec::new())
            }
            Err(error) => {
                tracing::warn!(%sender, %error, "a receipt does not hold, and was ignored");
                Ok(Vec::new())
            }
        }
    }

    fn take_deliveries(
        &self,
        statement: &SignedStatement,
        leaves: &[DeliveryLeaf],
        now: Timestamp,
    ) -> Result<Vec<Op>, ReadError> {
        let mut ops = Vec::new();
        let mut seen = BTreeSet::new();
        for (leaf, proof) in leaves.iter().zip(&statement.proofs) {
            let Some((first, index, _)) = self.own(leaf.id, &leaf.recipient)? else { continue };
            if !leaf.opened || !seen.insert((first, index)) {
                continue;
            }
            let (receipt, proof) = (statement.receipt.clone(), proof.clone());
            let proven = Proven { envelope: leaf.id, at: leaf.time, receipt, proof };
            let read = self.proven(first, index, FactKind::Read)?;
            let fits = |it: &Proven| read.as_ref().is_some_and(|read| follows(read, it));
            let Choice { best, is_first } = self.choose((first, index, FactKind::Delivered), proven, fits)?;
            ops.extend(best.map(|best| Fact::Delivered(best).put(first, index)));
            if !is_first {
                continue;
            }
            let event = EventRecord::new(What::Delivered, now).about(first).with_agency(&leaf.recipient);
            ops.push(Work::Announce(event).put(&self.shelf, now));
            ops.push(Work::Settle { first }.put(&self.shelf, now));
        }
        Ok(ops)
    }

    fn take_read(
        &self,
        receipt: &Bytes,
        body: &ReceiptBody,
        facts: &ReadFacts,
        now: Timestamp,
    ) -> Result<Vec<Op>, ReadError> {
        let Some((first, index, _)) = self.own(facts.id, &facts.recipient)? else { return Ok(Vec::new()) };
        let proven = Proven { envelope: facts.id, at: body.time, receipt: receipt.clone(), proof: Bytes::new() };
        let delivered = self.proven(first, index, FactKind::Delivered)?;
        let fits = |it: &Proven| delivered.as_ref().is_some_and(|delivered| follows(it, delivered));
        let Choice { best, is_first } = self.choose((first, index, FactKind::Read), proven, fits)?;
        let mut ops: Vec<Op> = best.map(|best| Fact::Read(best).put(first, index)).into_iter().collect();
        if is_first {
            let event = EventRecord::new(What::Read, now).about(first).with_agency(&facts.recipient);
            ops.push(Work::Announce(event).put(&self.shelf, now));
        }
        Ok(ops)
    }

    fn take_refusal(
        &self,
        receipt: &Bytes,
        body: ReceiptBody,
        facts: RefusalFacts,
        now: Timestamp,
    ) -> Result<Vec<Op>, ReadError> {
        if facts.retry_after_ms != 0 {
            // Not final: whoever holds it tries again.
            return Ok(Vec::new());
        }
        let Some((_, index, _)) = self.own(facts.id, &facts.recipient)? else { return Ok(Vec::new()) };
        let refusal = Refusal {
            envelope: facts.id,
            index,
            by: body.issuer,
            reason: facts.reason,
            detail: facts.detail,
            at: body.time,
            receipt: receipt.clone(),
        };
        self.refused(refusal, now)
    }

    /// Decides which of the receipts for one fact is kept: this one or those before it, one of which may still be on its
    /// way to the disk, or may have failed to come there.
    fn choose(&self, key: Key, proven: Proven, fits: impl Fn(&Proven) -> bool) -> Result<Choice, ReadError> {
        let stored = self.stored(key)?;
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let held = fresh.get(key).or(stored.as_ref());
        let best = match held {
            Some(held) if !proven.is_better(held, fits) => held.clone(),
            _ => proven,
        };
        fresh.put(key, best.clone());
        Ok(Choice { is_first: stored.is_none(), best: (stored.as_ref() != Some(&best)).then_some(best) })
    }

    fn proven(&self, first: MessageId, index: u16, kind: FactKind) -> Result<Option<Proven>, ReadError> {
        let key = (first, index, kind);
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if fresh.is_some() { Ok(fresh) } else { self.stored(key) }
    }

    fn stored(&self, (first, index, kind): Key) -> Result<Option<Proven>, ReadError> {
        Ok(self.fact(first, index, kind)?.and_then(|fact| match fact {
            Fact::Delivered(proven) | Fact::Read(proven) => Some(proven),
            _ => None,
        }))
    }

    /// Which message of ours an envelope belongs to, and the place of `recipient` in it.
    fn own(
        &self,
        envelope: MessageId,
        recipient: &AgencyId,
    ) -> Result<Option<(MessageId, u16, EnvelopePart)>, ReadError> {
        let Some(found) = self.envelope_ref(envelope)? else { return Ok(None) };
        let Some(head) = self.sent_head(found.first)? else { return Ok(None) };
        let index = head.recipients.iter().position(|agency| agency == recipient);
        Ok(index.and_then(|index| u16::try_from(index).ok()).map(|index| (found.first, index, found.part)))
    }
}
