//! "I hold this message for these recipients since then": what a relay says before anyone may forget a message.

use serde::{Deserialize, Serialize};

use super::merkle::{LEAF, Proof};
use super::{Payload, ReceiptBody, ReceiptError, SignedReceipt};
use crate::codec::{self, Malformed};
use crate::hash::{Hash, push_lp8};
use crate::ids::{MessageId, NodeId};
use crate::roster::{Role, Roster};
use crate::time::Timestamp;
use crate::{bounded, label, limits};

/// One message taken into custody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustodyLeaf {
    /// The message.
    pub id: MessageId,
    /// Who handed it over.
    pub received_from: NodeId,
    /// When it was taken.
    pub time: Timestamp,
    /// Indices of the recipients that it was taken for, strictly ascending.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::RECIPIENTS_MAX }>")]
    pub indices: Vec<u16>,
}

/// Bytes of an encoded leaf at most: id, name, time, and three bytes for each index.
pub const CUSTODY_LEAF_BYTES_MAX: usize = 32 + 64 + 10 + 2 + 3 * limits::RECIPIENTS_MAX;

impl CustodyLeaf {
    /// The leaf in the batch's tree.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let indices: Vec<u8> = self.indices.iter().flat_map(|index| index.to_be_bytes()).collect();
        let mut from = Vec::with_capacity(64);
        push_lp8(&mut from, self.received_from.as_str().as_bytes());
        let time = self.time.as_millis().to_be_bytes();
        Hash::of(&[LEAF, label::CUSTODY_LEAF, &self.id.0.0, &from, &time, &Hash::of(&[&indices]).0])
    }

    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// # Errors
    /// [`Malformed`], also for indices that do not ascend.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let leaf: Self = codec::decode("custody leaf", bytes, CUSTODY_LEAF_BYTES_MAX)?;
        leaf.check()?;
        Ok(leaf)
    }

    pub(super) fn check(&self) -> Result<(), Malformed> {
        if self.indices.is_sorted_by(|a, b| a < b) && !self.indices.is_empty() {
            return Ok(());
        }
        Err(Malformed::Rule { what: "custody leaf", rule: "indices ascend, and there is one" })
    }
}

/// Checks that a relay of `roster` signed for this leaf, and gives what else it signed.
///
/// # Errors
/// [`ReceiptError`].
pub fn verify_custody(
    receipt: &SignedReceipt,
    proof: &Proof,
    leaf: &CustodyLeaf,
    roster: &Roster,
) -> Result<ReceiptBody, ReceiptError> {
    let body = receipt.verify(roster)?;
    check_custody(&body, proof, leaf, roster)?;
    Ok(body)
}

/// As [`verify_custody`], for a body that [`SignedReceipt::verify`] gave under the same roster: one commit's leaves
/// share a signature.
///
/// # Errors
/// [`ReceiptError`].
pub fn check_custody(
    body: &ReceiptBody,
    proof: &Proof,
    leaf: &CustodyLeaf,
    roster: &Roster,
) -> Result<(), ReceiptError> {
    let Payload::Custody(batch) = &body.payload else {
        return Err(ReceiptError::Kind { expected: "custody", found: body.payload.kind_name() });
    };
    if roster.role(&body.issuer) != Some(Role::Relay) {
        let issuer = body.issuer.clone();
        return Err(ReceiptError::WrongIssuer { issuer, rule: "only relays sign for custody" });
    }
    batch.check(proof, leaf.hash())?;
    if leaf.time > body.time { Err(ReceiptError::TimeOrder) } else { Ok(()) }
}
