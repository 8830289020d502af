//! Receipts and notices that come in: believed as far as their signatures go, and written down as facts.

use std::collections::BTreeSet;

use bytes::Bytes;
use liaison_core::op::Op;
use liaison_node::local::Received;
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::inner::SignedStatement;
use liaison_protocol::receipt::{DeliveryLeaf, ReadFacts, ReceiptBody, RefusalFacts, Statement, verify_statement};
use liaison_protocol::{AgencyId, MessageId, Timestamp};

use crate::events::{EventRecord, What};
use crate::inbox::receive::taken;
use crate::office::Office;
use crate::outbox::fact::{Fact, FactKind, Proven};
use crate::outbox::state::follows;
use crate::outbox::work::Work;
use crate::outbox::{EnvelopePart, Refusal};
use crate::shelf::ReadError;

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
            if let Some(held) = self.proven(first, index, FactKind::Delivered)? {
                let read = self.proven(first, index, FactKind::Read)?;
                let fits = |it: &Proven| read.as_ref().is_some_and(|read| follows(read, it));
                ops.extend(proven.is_better(&held, fits).then(|| Fact::Delivered(proven).put(first, index)));
                continue;
            }
            ops.push(Fact::Delivered(proven).put(first, index));
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
        if let Some(held) = self.proven(first, index, FactKind::Read)? {
            let delivered = self.proven(first, index, FactKind::Delivered)?;
            let fits = |it: &Proven| delivered.as_ref().is_some_and(|delivered| follows(it, delivered));
            let better = proven.is_better(&held, fits).then(|| Fact::Read(proven).put(first, index));
            return Ok(better.into_iter().collect());
        }
        let event = EventRecord::new(What::Read, now).about(first).with_agency(&facts.recipient);
        Ok(vec![Fact::Read(proven).put(first, index), Work::Announce(event).put(&self.shelf, now)])
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

    fn proven(&self, first: MessageId, index: u16, kind: FactKind) -> Result<Option<Proven>, ReadError> {
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
