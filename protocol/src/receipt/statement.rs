//! Receipts as they travel inside sealed envelopes: the receipt once, and a leaf with its proof for each message.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::custody::{CustodyLeaf, check_custody};
use super::delivery::{DeliveryLeaf, ReadFacts, RefusalFacts, by_recipient, check_delivery, check_refusal};
use super::merkle::{PROOF_BYTES_MAX, Proof};
use super::{CUSTODY_LEAF_BYTES_MAX, DELIVERY_LEAF_BYTES_MAX, Payload, ReceiptBody, ReceiptError, SignedReceipt};
use crate::codec::{self, Malformed};
use crate::inner::SignedStatement;
use crate::roster::Roster;

/// A leaf and its place in the batch: an entry of [`SignedStatement::proofs`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven<L> {
    /// The message's facts.
    pub leaf: L,
    /// The way to the signed root.
    pub proof: Proof,
}

/// What a statement says, once verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A relay holds these messages.
    Custody(ReceiptBody, Vec<CustodyLeaf>),
    /// These messages are durable at the recipient.
    Delivered(ReceiptBody, Vec<DeliveryLeaf>),
    /// The message was read. Compare [`ReadFacts::delivery`] with the delivery receipt that you hold.
    Read(ReceiptBody, ReadFacts),
    /// The message will not be delivered.
    Refused(ReceiptBody, RefusalFacts),
}

impl Statement {
    /// What the issuer signed.
    #[must_use]
    pub const fn body(&self) -> &ReceiptBody {
        match self {
            Self::Custody(body, _) | Self::Delivered(body, _) | Self::Read(body, _) | Self::Refused(body, _) => body,
        }
    }
}

impl<L: Serialize + for<'de> Deserialize<'de>> Proven<L> {
    /// The wire form: the leaf, then the proof.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

impl Proven<CustodyLeaf> {
    /// # Errors
    /// [`Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let proven: Self = codec::decode("custody proof", bytes, CUSTODY_LEAF_BYTES_MAX + PROOF_BYTES_MAX)?;
        proven.leaf.check()?;
        Ok(proven)
    }
}

impl Proven<DeliveryLeaf> {
    /// # Errors
    /// [`Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        codec::decode("delivery proof", bytes, DELIVERY_LEAF_BYTES_MAX + PROOF_BYTES_MAX)
    }
}

/// Packs a receipt for an envelope. `proven` are those of its leaves that concern the addressee; none for a receipt
/// without a batch.
#[must_use]
pub fn statement<L>(receipt: &SignedReceipt, proven: &[Proven<L>]) -> SignedStatement
where
    L: Serialize + for<'de> Deserialize<'de>,
{
    let proofs = proven.iter().map(|proven| Bytes::from(proven.encode()));
    SignedStatement { receipt: receipt.encode().into(), proofs: proofs.collect() }
}

/// Packs a receipt without a batch: read, or refusal.
#[must_use]
pub fn plain_statement(receipt: &SignedReceipt) -> SignedStatement {
    SignedStatement { receipt: receipt.encode().into(), proofs: Vec::new() }
}

/// Verifies a statement as it came out of an envelope. Whoever sealed the envelope is of no account: the receipt's
/// signature and issuer decide.
///
/// # Errors
/// [`ReceiptError`]; one bad leaf spoils the whole statement.
pub fn verify_statement(statement: &SignedStatement, roster: &Roster) -> Result<Statement, ReceiptError> {
    let receipt = SignedReceipt::decode(&statement.receipt)?;
    let body = receipt.verify(roster)?;
    if matches!(body.payload, Payload::Custody(_) | Payload::Delivery(_)) == statement.proofs.is_empty() {
        return Err(Malformed::Rule { what: "statement", rule: "proofs belong to batches, at least one each" }.into());
    }
    match &body.payload {
        Payload::Custody(_) => {
            let leaves = statement.proofs.iter().map(|bytes| {
                let Proven { leaf, proof } = Proven::<CustodyLeaf>::decode(bytes)?;
                check_custody(&body, &proof, &leaf, roster).map(|()| leaf)
            });
            let leaves = leaves.collect::<Result<_, ReceiptError>>()?;
            Ok(Statement::Custody(body, leaves))
        }
        Payload::Delivery(_) => {
            let leaves = statement.proofs.iter().map(|bytes| {
                let Proven { leaf, proof } = Proven::<DeliveryLeaf>::decode(bytes)?;
                check_delivery(&body, &proof, &leaf, roster).map(|()| leaf)
            });
            let leaves = leaves.collect::<Result<_, ReceiptError>>()?;
            Ok(Statement::Delivered(body, leaves))
        }
        Payload::Read(facts) => {
            by_recipient(&body, &facts.recipient, roster)?;
            let facts = facts.clone();
            Ok(Statement::Read(body, facts))
        }
        Payload::Refusal(facts) => {
            check_refusal(&body, roster)?;
            let facts = facts.clone();
            Ok(Statement::Refused(body, facts))
        }
        Payload::Restored(_) => Err(ReceiptError::Kind { expected: "message", found: "restored" }),
    }
}
