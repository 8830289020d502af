//! In which state a sent message is, from its facts and the queue.

use std::collections::BTreeSet;

use liaison_node::bundles;
use liaison_node::store::StoreError;
use liaison_protocol::frame::CustodyState;
use liaison_protocol::inner::Message;
use liaison_protocol::receipt::SignedReceipt;
use liaison_protocol::receipt::{Payload, ReceiptBody};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{AgencyId, MessageId, NodeId};

use super::fact::{Fact, Facts, Proven};
use super::{SentHead, in_words};
use crate::api::model::{MessageState, RecipientState, RecipientStatus};
use crate::office::Office;
use crate::shelf::ReadError;

/// A sent message as it stands.
pub(crate) struct Standing {
    pub(crate) head: SentHead,
    pub(crate) facts: Facts,
    /// By their place in the header.
    pub(crate) recipients: Vec<RecipientStatus>,
    pub(crate) state: MessageState,
}

impl Office {
    pub(crate) fn standing(&self, first: MessageId) -> Result<Option<Standing>, ReadError> {
        let Some(head) = self.sent_head(first)? else { return Ok(None) };
        let facts = self.facts(first)?;
        let mut recipients = Vec::with_capacity(head.recipients.len());
        let mut queued = Queued::default();
        for (index, _) in (0u16..).zip(&head.recipients) {
            recipients.push(self.recipient(first, index, &head, &facts, &mut queued)?);
        }
        let state = overall(recipients.iter().map(|recipient| recipient.state));
        Ok(Some(Standing { head, facts, recipients, state }))
    }

    fn recipient(
        &self,
        first: MessageId,
        index: u16,
        head: &SentHead,
        facts: &Facts,
        queued: &mut Queued,
    ) -> Result<RecipientStatus, ReadError> {
        let agency = head.recipients.get(usize::from(index)).cloned().unwrap_or_else(|| self.me.clone());
        let mut status = RecipientStatus {
            holder: None,
            at: None,
            detail: String::new(),
            next_try: None,
            state: RecipientState::Outbox,
            agency,
        };
        if settled(&mut status, index, facts) {
            return Ok(status);
        }
        let envelope = facts.envelope_of(index, first);
        if queued.holds(self, envelope, index)? {
            status.holder = Some(NodeId::from(&self.me));
            status.at = Some(head.created.into());
            if let Some(again) = facts.resubmitted(index, first) {
                status.detail = format!("to be sent again: {}", again.in_words());
            }
            return Ok(status);
        }
        if facts.is_unkeyed(index, first) {
            status.holder = Some(NodeId::from(&self.me));
            status.detail = self.waits_for_keys(&status.agency)?;
            return Ok(status);
        }
        if let Some(custody) = facts.holders(index, first).next_back() {
            status.state = RecipientState::Custody;
            status.holder = Some(custody.holder.clone());
            status.at = Some(custody.at.into());
        } else {
            status.state = RecipientState::Custody;
            status.detail = "handed over; the relay's receipt is not in yet".into();
        }
        if let Some(told) = told(facts, index, first) {
            status.detail = told;
        } else if let Some(again) = facts.resubmitted(index, first) {
            let me = NodeId::from(&self.me);
            let by = facts.holders(index, first).rfind(|fact| fact.from == me);
            let by = by.map_or_else(String::new, |fact| format!(" by {}", fact.holder));
            status.detail = format!("sent again{by}: {}", again.in_words());
        }
        Ok(status)
    }
}

impl Office {
    /// Why a message waits for keys of `agency`, in words.
    fn waits_for_keys(&self, agency: &AgencyId) -> Result<String, ReadError> {
        let known = bundles::get(self.shelf.store(), agency, &self.roster(), self.now())?;
        Ok(match known {
            None => format!("waits for keys of {agency}, which has not come online yet"),
            Some(_) => format!("waits for new keys of {agency}, which come once that agency is online"),
        })
    }
}

/// What was answered since it was last sent, in words.
fn told(facts: &Facts, index: u16, first: MessageId) -> Option<String> {
    let (by, state, at) = facts.told(index, first)?;
    let sent = facts.of(index).find_map(|fact| match fact {
        Fact::Resubmitted { at, .. } => Some(*at),
        _ => None,
    });
    if sent.is_some_and(|sent| sent >= at) {
        return None;
    }
    Some(match state {
        CustodyState::Held => format!("held at {by} until the next hand-over"),
        CustodyState::Released { to } => format!("handed over by {by} to {to}, which has not answered yet"),
        CustodyState::Unknown => format!("{by} does not know the message, which is sent again"),
        CustodyState::Delivered => format!("{by} says that the message arrived; the receipt is not in yet"),
    })
}

/// Fills in what no longer changes, but for a late receipt.
fn settled(status: &mut RecipientStatus, index: u16, facts: &Facts) -> bool {
    let delivered = facts.of(index).find_map(|fact| match fact {
        Fact::Delivered(proven) => Some(proven),
        _ => None,
    });
    let read = facts.of(index).find_map(|fact| match fact {
        Fact::Read(proven) => Some(proven),
        _ => None,
    });
    let here = Some(NodeId::from(&status.agency));
    if let Some(delivered) = delivered {
        status.holder = here;
        let read = read.filter(|read| follows(read, delivered));
        let (state, at) =
            read.map_or((RecipientState::Delivered, delivered.at), |read| (RecipientState::Read, read.at));
        (status.state, status.at) = (state, Some(at.into()));
        return true;
    }
    if read.is_some() {
        status.detail = "a read receipt came without a delivery receipt, and does not count".into();
    }
    for fact in facts.of(index) {
        match fact {
            Fact::Cancelled { at } => (status.state, status.at) = (RecipientState::Cancelled, Some((*at).into())),
            Fact::Refused { by, reason, detail, at, .. } => {
                let expired = *reason == RefusalReason::Expired;
                status.state = if expired { RecipientState::Expired } else { RecipientState::Refused };
                status.at = Some((*at).into());
                status.detail = format!("{by}: {}", in_words(*reason, detail));
            }
            _ => continue,
        }
        return true;
    }
    false
}

/// Whether a read receipt names the delivery receipt that is held.
pub(crate) fn follows(read: &Proven, delivered: &Proven) -> bool {
    let body = SignedReceipt::decode(&read.receipt).ok().and_then(|receipt| receipt.decode_body().ok());
    let delivery = SignedReceipt::decode(&delivered.receipt).ok();
    match (body, delivery) {
        (Some(ReceiptBody { payload: Payload::Read(facts), .. }), Some(delivery)) => {
            facts.delivery == delivery.hash() && facts.id == delivered.envelope
        }
        _ => false,
    }
}

/// Which recipients' entries of an envelope are still queued here. Reads each envelope's entries once.
#[derive(Default)]
struct Queued(Vec<(MessageId, BTreeSet<u16>)>);

impl Queued {
    fn holds(&mut self, office: &Office, envelope: MessageId, index: u16) -> Result<bool, StoreError> {
        if let Some((_, queued)) = self.0.iter().find(|(known, _)| *known == envelope) {
            return Ok(queued.contains(&index));
        }
        let entries = office.shelf.store().positions_of(&envelope)?;
        let queued: BTreeSet<u16> = entries.into_iter().map(|(_, entry)| entry.index).collect();
        let holds = queued.contains(&index);
        self.0.push((envelope, queued));
        Ok(holds)
    }
}

/// As far as the slowest recipient; undeliverable as soon as one cannot get it.
fn overall(states: impl Iterator<Item = RecipientState>) -> MessageState {
    let mut states: Vec<RecipientState> = states.collect();
    if states.iter().any(|state| matches!(state, RecipientState::Expired | RecipientState::Refused)) {
        return MessageState::Undeliverable;
    }
    if states.iter().all(|state| *state == RecipientState::Cancelled) {
        return MessageState::Cancelled;
    }
    states.retain(|state| *state != RecipientState::Cancelled);
    let any = |wanted| states.contains(&wanted);
    if any(RecipientState::Outbox) {
        MessageState::Outbox
    } else if any(RecipientState::Custody) {
        MessageState::Custody
    } else if any(RecipientState::Delivered) {
        MessageState::Delivered
    } else {
        MessageState::Read
    }
}

impl Standing {
    /// `to` first, then those for information.
    pub(crate) fn ordered(&self, message: &Message) -> Vec<RecipientStatus> {
        let (to, info): (Vec<_>, Vec<_>) =
            self.recipients.iter().cloned().partition(|recipient| !message.info.contains(&recipient.agency));
        [to, info].concat()
    }

    /// Whether nothing more is to be done for any recipient.
    pub(crate) fn is_over(&self) -> bool {
        self.recipients
            .iter()
            .all(|recipient| !matches!(recipient.state, RecipientState::Outbox | RecipientState::Custody))
    }
}
