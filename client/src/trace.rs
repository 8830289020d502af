//! Where a sent message went, from verified receipts.

use std::sync::Arc;

use liaison_protocol::receipt::SignedReceipt;
use liaison_protocol::{AgencyId, MessageId, NodeId, Timestamp};

use crate::api::model::{
    CustodyTrace, Direction, Hop, ReceiptKind, ReceiptView, Receipts, RecipientState, RecipientStatus, Stage,
};
use crate::inbox::{head_place, receipt_place};
use crate::office::Office;
use crate::outbox::fact::{Fact, Facts};
use crate::outbox::{SentHead, in_words, unknown};
use crate::problem::Answer;

impl Office {
    /// `GET /v1/messages/{id}/custody`.
    ///
    /// # Errors
    /// A problem document.
    pub async fn trace(self: &Arc<Self>, first: MessageId) -> Answer<CustodyTrace> {
        let office = Arc::clone(self);
        crate::blocking(move || office.trace_now(first)).await?
    }

    fn trace_now(&self, first: MessageId) -> Answer<CustodyTrace> {
        let standing = self.standing(first)?.ok_or_else(|| unknown(first))?;
        let letter = self.sent(first)?.ok_or_else(|| unknown(first))?;
        let (head, facts) = (&standing.head, &standing.facts);
        let mut hops = vec![outbox(&NodeId::from(&self.me), head)];
        hops.extend(custody(head, facts));
        for (index, fact) in &facts.by_recipient {
            hops.extend(hop(head, *index, fact, &self.me));
        }
        hops.sort_by_key(|hop| hop.at.map(|at| at.0));
        hops.extend(standing.recipients.iter().filter_map(waiting));
        Ok(CustodyTrace {
            id: first.into(),
            subject: letter.message.subject.clone(),
            tlp: letter.message.tlp.into(),
            precedence: head.precedence.into(),
            created: head.created.into(),
            expires: head.expires.into(),
            state: standing.state,
            hops,
            recipients: standing.ordered(&letter.message),
        })
    }

    /// `GET /v1/messages/{id}/receipts`.
    ///
    /// # Errors
    /// A problem document.
    pub fn receipts(&self, id: MessageId, way: Direction) -> Answer<Receipts> {
        if way == Direction::In {
            if !self.shelf.has(&head_place(id))? {
                return Err(unknown(id));
            }
            // What was received is receipted by this agency itself; the sender holds it.
            return Ok(Receipts { id: id.into(), receipts: Vec::new(), complete: self.shelf.has(&receipt_place(id))? });
        }
        let standing = self.standing(id)?.ok_or_else(|| unknown(id))?;
        let (head, facts) = (&standing.head, &standing.facts);
        let mut receipts = Vec::new();
        for fact in &facts.custody {
            let recipients = names(head, &fact.indices);
            receipts.extend(self.receipt(ReceiptKind::Custody, &fact.receipt, fact.at, recipients, String::new()));
        }
        for (index, fact) in &facts.by_recipient {
            let recipients = names(head, &[*index]);
            receipts.extend(match fact {
                Fact::Delivered(proven) => {
                    self.receipt(ReceiptKind::Delivery, &proven.receipt, proven.at, recipients, String::new())
                }
                Fact::Read(proven) => {
                    self.receipt(ReceiptKind::Read, &proven.receipt, proven.at, recipients, String::new())
                }
                Fact::Refused { receipt, reason, detail, at, .. } => {
                    self.receipt(ReceiptKind::NonDelivery, receipt, *at, recipients, in_words(*reason, detail))
                }
                _ => None,
            });
        }
        receipts.sort_by_key(|receipt| receipt.at.0);
        let delivered =
            |recipient: &RecipientStatus| matches!(recipient.state, RecipientState::Delivered | RecipientState::Read);
        Ok(Receipts { id: id.into(), receipts, complete: standing.recipients.iter().all(delivered) })
    }

    fn receipt(
        &self,
        kind: ReceiptKind,
        bytes: &[u8],
        at: Timestamp,
        recipients: Vec<AgencyId>,
        detail: String,
    ) -> Option<ReceiptView> {
        let receipt = SignedReceipt::decode(bytes).ok()?;
        let body = receipt.decode_body().ok()?;
        // It was verified, with its proof, when it came; checking again shows a key that has left the roster since.
        let (verified, detail) = match receipt.verify(&self.roster()) {
            Ok(_) => (true, detail),
            Err(error) => (false, error.to_string()),
        };
        Some(ReceiptView {
            kind,
            issuer: body.issuer,
            at: at.into(),
            recipients,
            number: body.seq,
            key: body.issuer_key.to_string(),
            verified,
            detail,
        })
    }
}

fn outbox(me: &NodeId, head: &SentHead) -> Hop {
    let count = head.recipients.len();
    let plural = if count == 1 { "" } else { "s" };
    Hop {
        at: Some(head.created.into()),
        node: me.clone(),
        stage: Stage::Outbox,
        recipients: head.recipients.clone(),
        verified: true,
        detail: format!("signed and sealed, {count} recipient{plural}"),
    }
}

fn custody<'a>(head: &'a SentHead, facts: &'a Facts) -> impl Iterator<Item = Hop> + 'a {
    facts.custody.iter().map(|fact| Hop {
        at: Some(fact.at.into()),
        node: fact.holder.clone(),
        stage: Stage::Custody,
        recipients: names(head, &fact.indices),
        verified: true,
        detail: "receipt ok".into(),
    })
}

fn hop(head: &SentHead, index: u16, fact: &Fact, me: &AgencyId) -> Option<Hop> {
    let recipients = names(head, &[index]);
    let there = recipients.first().map_or_else(|| NodeId::from(me), NodeId::from);
    let (at, node, stage, verified, detail) = match fact {
        Fact::Delivered(proven) => (proven.at, there, Stage::Inbox, true, "opened, receipt ok".into()),
        Fact::Read(proven) => (proven.at, there, Stage::Read, true, "receipt ok".into()),
        Fact::Refused { by, reason, detail, at, receipt, .. } => {
            let expired = *reason == liaison_protocol::refusal::RefusalReason::Expired;
            let stage = if expired { Stage::Expired } else { Stage::Refused };
            (*at, by.clone(), stage, !receipt.is_empty(), in_words(*reason, detail))
        }
        Fact::Cancelled { at } => (*at, NodeId::from(me), Stage::Cancelled, true, "called back".into()),
        Fact::Resealed { at, envelope, .. } => {
            (*at, NodeId::from(me), Stage::Resealed, true, format!("sealed anew as {}", envelope.short()))
        }
        Fact::Resubmitted { at, attempt, because, .. } => {
            (*at, NodeId::from(me), Stage::Resubmitted, true, format!("attempt {attempt}: {}", because.in_words()))
        }
        Fact::Told { .. } | Fact::Unkeyed { .. } => return None,
    };
    Some(Hop { at: Some(at.into()), node, stage, recipients, verified, detail })
}

fn waiting(recipient: &RecipientStatus) -> Option<Hop> {
    let detail = match recipient.state {
        RecipientState::Outbox if recipient.detail.is_empty() => "in the outbox, until a home relay takes it".into(),
        RecipientState::Custody if recipient.detail.is_empty() => match &recipient.holder {
            Some(holder) => format!("held at {holder}, until it can be handed over"),
            None => String::new(),
        },
        RecipientState::Outbox | RecipientState::Custody => recipient.detail.clone(),
        _ => return None,
    };
    Some(Hop {
        at: None,
        node: NodeId::from(&recipient.agency),
        stage: Stage::Waiting,
        recipients: vec![recipient.agency.clone()],
        verified: false,
        detail,
    })
}

fn names(head: &SentHead, indices: &[u16]) -> Vec<AgencyId> {
    indices.iter().filter_map(|index| head.recipients.get(usize::from(*index))).cloned().collect()
}
