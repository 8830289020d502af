//! Where a sent message went, from verified receipts.

use std::sync::Arc;

use liaison_protocol::receipt::SignedReceipt;
use liaison_protocol::{AgencyId, MessageId, NodeId, Timestamp};

use crate::api::model::{
    Attempt, CustodyTrace, Direction, Hop, ReceiptKind, ReceiptView, Receipts, RecipientState, RecipientStatus, Stage,
};
use crate::inbox::head_place;
use crate::office::Office;
use crate::outbox::fact::{CustodyFact, Fact, Facts};
use crate::outbox::order::{Turn, turns};
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
        let mut hops = in_order(head, facts, &self.me);
        hops.extend(standing.recipients.iter().filter_map(waiting));
        let resealed = facts.resealed().into_iter();
        let attempts =
            resealed.map(|(index, id, at)| Attempt { id: id.into(), at: at.into(), recipients: names(head, &[index]) });
        Ok(CustodyTrace {
            id: first.into(),
            subject: letter.message.subject.clone(),
            tlp: letter.message.tlp.into(),
            precedence: head.precedence.into(),
            created: head.created.into(),
            expires: head.expires.into(),
            state: standing.state,
            hops,
            attempts: attempts.collect(),
            recipients: standing.ordered(&letter.message),
        })
    }

    /// `GET /v1/messages/{id}/receipts`.
    ///
    /// # Errors
    /// A problem document.
    pub fn receipts(&self, id: MessageId, way: Direction) -> Answer<Receipts> {
        if way == Direction::In {
            let entry = self.entry(id)?;
            if !self.shelf.has(&head_place(entry))? {
                return Err(unknown(id));
            }
            // This agency has signed for what it received; the receipts are its sender's.
            let id = self.name_of(entry)?.into();
            return Ok(Receipts {
                id,
                direction: way,
                receipts: Vec::new(),
                complete: false,
                awaited: Vec::new(),
                undelivered: Vec::new(),
            });
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
        let so = |is: fn(RecipientState) -> bool| -> Vec<AgencyId> {
            let so = standing.recipients.iter().filter(|recipient| is(recipient.state));
            so.map(|recipient| recipient.agency.clone()).collect()
        };
        let delivered = so(|state| matches!(state, RecipientState::Delivered | RecipientState::Read));
        Ok(Receipts {
            id: id.into(),
            direction: way,
            receipts,
            complete: delivered.len() == standing.recipients.len(),
            awaited: so(|state| matches!(state, RecipientState::Outbox | RecipientState::Custody)),
            undelivered: so(|state| {
                matches!(state, RecipientState::Expired | RecipientState::Refused | RecipientState::Cancelled)
            }),
        })
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

/// What has happened, in the order in which it must have happened: a relay is after the relay that handed the message to
/// it, a recipient after a relay, whatever their clocks say.
fn in_order(head: &SentHead, facts: &Facts, me: &AgencyId) -> Vec<Hop> {
    let sender = NodeId::from(me);
    let turns = turns(&facts.custody, &sender);
    let mut hops = vec![(Turn { at: head.created, depth: 0 }, outbox(&sender, head))];
    for (fact, turn) in facts.custody.iter().zip(&turns) {
        hops.push((Turn { depth: turn.depth + 1, ..*turn }, custody(head, fact)));
    }
    for (index, fact) in &facts.by_recipient {
        let Some(hop) = hop(head, *index, fact, me) else { continue };
        let at = hop.at.map_or(head.created, |at| at.0);
        let turn = match fact {
            Fact::Delivered(_) => Turn { at: at.max(handed_over(facts, &turns, *index)), depth: u8::MAX - 1 },
            Fact::Read(_) => Turn { at: at.max(handed_over(facts, &turns, *index)), depth: u8::MAX },
            _ => Turn { at, depth: 0 },
        };
        hops.push((turn, hop));
    }
    // What was done at the sender comes after its outbox, whatever a clock that was set back says.
    hops.sort_by_key(|(turn, hop)| (hop.stage != Stage::Outbox, *turn));
    hops.into_iter().map(|(_, hop)| hop).collect()
}

/// When the first relay at the end of a way had the message for a recipient: the recipient has it from such a relay.
fn handed_over(facts: &Facts, turns: &[Turn], index: u16) -> Timestamp {
    let of_recipient = || facts.custody.iter().zip(turns).filter(|(fact, _)| fact.indices.contains(&index));
    let is_last = |fact: &CustodyFact| {
        !of_recipient().any(|(other, _)| other.envelope == fact.envelope && other.from == fact.holder)
    };
    of_recipient().filter(|(fact, _)| is_last(fact)).map(|(_, turn)| turn.at).min().unwrap_or(Timestamp::ZERO)
}

fn custody(head: &SentHead, fact: &CustodyFact) -> Hop {
    Hop {
        at: Some(fact.at.into()),
        node: fact.holder.clone(),
        stage: Stage::Custody,
        recipients: names(head, &fact.indices),
        verified: true,
        detail: "receipt ok".into(),
    }
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
        Fact::Resealed { at, .. } => {
            let there = recipients.first().map_or("the recipient", |agency| agency.as_str());
            (*at, NodeId::from(me), Stage::Resealed, true, format!("sealed again, to a newer key of {there}"))
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
        RecipientState::Outbox if recipient.detail.is_empty() => "in the outbox, until a home relay takes over".into(),
        RecipientState::Custody if recipient.detail.is_empty() => match &recipient.holder {
            Some(holder) => format!("held at {holder} until the next hand-over"),
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
