//! What recipients say about a message: delivered, read, or refused.

use serde::{Deserialize, Serialize};

use super::merkle::{LEAF, Proof};
use super::{Payload, ReceiptBody, ReceiptError, SignedReceipt};
use crate::codec::{self, Malformed};
use crate::hash::{Hash, push_lp8};
use crate::ids::{AgencyId, MessageId, NodeId};
use crate::mutant::{Mutant, planted};
use crate::refusal::RefusalReason;
use crate::roster::{Role, Roster};
use crate::time::Timestamp;
use crate::{bounded, label, limits};

/// One message that is durable in the recipient's inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryLeaf {
    /// The message.
    pub id: MessageId,
    /// The agency that has it.
    pub recipient: AgencyId,
    /// Since when.
    pub time: Timestamp,
    /// Whether it opened: signature, commitment, padding and the inner header all held.
    pub opened: bool,
}

/// Bytes of an encoded leaf at most: id, name, time and a flag.
pub const DELIVERY_LEAF_BYTES_MAX: usize = 32 + 64 + 10 + 1;

impl DeliveryLeaf {
    /// The leaf in the batch's tree.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut recipient = Vec::with_capacity(64);
        push_lp8(&mut recipient, self.recipient.as_str().as_bytes());
        let time = self.time.as_millis().to_be_bytes();
        let opened = [u8::from(self.opened)];
        Hash::of(&[LEAF, label::DELIVERY_LEAF, &self.id.0.0, &recipient, &time, &opened])
    }

    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// # Errors
    /// [`Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        codec::decode("delivery leaf", bytes, DELIVERY_LEAF_BYTES_MAX)
    }
}

/// That somebody at the recipient opened the message in an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFacts {
    /// The message.
    pub id: MessageId,
    /// The agency that read it.
    pub recipient: AgencyId,
    /// SHA-256 of the body of the delivery receipt that came before.
    pub delivery: Hash,
}

/// That a message will not be delivered to a recipient, or not yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalFacts {
    /// The message.
    pub id: MessageId,
    /// The recipient that it will not reach.
    pub recipient: AgencyId,
    /// Why.
    pub reason: RefusalReason,
    /// In words, at most [`limits::DETAIL_BYTES_MAX`] bytes.
    #[serde(deserialize_with = "bounded::text::<_, { limits::DETAIL_BYTES_MAX }>")]
    pub detail: String,
    /// Milliseconds until another try makes sense; 0 if none does.
    pub retry_after_ms: u32,
}

/// Checks that the recipient itself signed for this leaf, and gives what else it signed.
///
/// # Errors
/// [`ReceiptError`].
pub fn verify_delivery(
    receipt: &SignedReceipt,
    proof: &Proof,
    leaf: &DeliveryLeaf,
    roster: &Roster,
) -> Result<ReceiptBody, ReceiptError> {
    let body = receipt.verify(roster)?;
    check_delivery(&body, proof, leaf, roster)?;
    Ok(body)
}

/// As [`verify_delivery`], for a body whose signature has been verified.
pub(super) fn check_delivery(
    body: &ReceiptBody,
    proof: &Proof,
    leaf: &DeliveryLeaf,
    roster: &Roster,
) -> Result<(), ReceiptError> {
    let Payload::Delivery(batch) = &body.payload else {
        return Err(ReceiptError::Kind { expected: "delivery", found: body.payload.kind_name() });
    };
    by_recipient(body, &leaf.recipient, roster)?;
    batch.check(proof, leaf.hash())?;
    if leaf.time > body.time && !planted(Mutant::ReceiptTimeUnchecked) { Err(ReceiptError::TimeOrder) } else { Ok(()) }
}

/// Checks a read receipt: the recipient signed, after its delivery receipt `delivery` (itself verified before).
///
/// # Errors
/// [`ReceiptError`]; [`ReceiptError::TimeOrder`] or [`ReceiptError::NoDelivery`] where it does not follow from it.
// [RCPT-3]
pub fn verify_read(
    receipt: &SignedReceipt,
    delivery: Option<&SignedReceipt>,
    roster: &Roster,
) -> Result<ReceiptBody, ReceiptError> {
    let body = receipt.verify(roster)?;
    let Payload::Read(facts) = &body.payload else {
        return Err(ReceiptError::Kind { expected: "read", found: body.payload.kind_name() });
    };
    by_recipient(&body, &facts.recipient, roster)?;
    let delivery = delivery.filter(|delivery| delivery.hash() == facts.delivery).ok_or(ReceiptError::NoDelivery)?;
    if delivery.decode_body()?.time > body.time {
        return Err(ReceiptError::TimeOrder);
    }
    Ok(body)
}

/// Checks a refusal: a relay signed, or the recipient that refuses.
///
/// # Errors
/// [`ReceiptError`].
pub fn verify_refusal(receipt: &SignedReceipt, roster: &Roster) -> Result<ReceiptBody, ReceiptError> {
    let body = receipt.verify(roster)?;
    check_refusal(&body, roster)?;
    Ok(body)
}

/// As [`verify_refusal`], for a body whose signature has been verified.
pub(super) fn check_refusal(body: &ReceiptBody, roster: &Roster) -> Result<(), ReceiptError> {
    let Payload::Refusal(facts) = &body.payload else {
        return Err(ReceiptError::Kind { expected: "refusal", found: body.payload.kind_name() });
    };
    if roster.role(&body.issuer) == Some(Role::Relay) {
        return Ok(());
    }
    by_recipient(body, &facts.recipient, roster)
}

/// The issuer is the recipient itself.
pub(super) fn by_recipient(body: &ReceiptBody, recipient: &AgencyId, roster: &Roster) -> Result<(), ReceiptError> {
    let is_agency = roster.role(&body.issuer) == Some(Role::Agency);
    if is_agency && body.issuer == NodeId::from(recipient) || planted(Mutant::ReceiptIssuerUnchecked) {
        return Ok(());
    }
    Err(ReceiptError::WrongIssuer { issuer: body.issuer.clone(), rule: "only the recipient signs for itself" })
}
