//! Proofs of custody: whether an acknowledgement is covered by one, and which were passed back already.
//!
//! A proof goes to whoever handed the message over. Of copies that met, two relays may each have had theirs from the
//! other: so each proof goes on once, or it would go between them for ever.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use liaison_protocol::frame::{Ack, CustodyProof};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::receipt::{CustodyLeaf, Proof, ReceiptBody, ReceiptError, SignedReceipt, check_custody};
use liaison_protocol::roster::Roster;
use liaison_protocol::{Hash, MessageId, NodeId};

/// A receipt whose signature has been verified: one for all acknowledgements of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedReceipt {
    bytes: Bytes,
    body: ReceiptBody,
}

impl VerifiedReceipt {
    /// Costs a signature's verification.
    ///
    /// # Errors
    /// Why it does not hold.
    pub fn verify(bytes: Bytes, roster: &Roster) -> Result<Self, ReceiptError> {
        let body = SignedReceipt::decode(&bytes)?.verify(roster)?;
        Ok(Self { bytes, body })
    }

    /// The receipt as its issuer sent it.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What it says.
    #[must_use]
    pub const fn body(&self) -> &ReceiptBody {
        &self.body
    }

    /// The proof that `issuer` answers for message `id`, which `me` handed over: for every recipient that `ack` says it
    /// has taken, or had taken before. `None`: this receipt says no such thing.
    // [CUST-23]
    pub(crate) fn proof_of(
        &self,
        ack: &Ack,
        id: MessageId,
        (me, issuer): (&NodeId, &NodeId),
        roster: &Roster,
    ) -> Option<CustodyProof> {
        let path = ack.proof.as_ref()?;
        let indices = claimed(ack);
        let leaf = CustodyLeaf { id, received_from: me.clone(), time: self.body.time, indices: indices.clone() };
        let holds = check_custody(&self.body, &Proof::decode(path).ok()?, &leaf, roster).is_ok();
        (holds && self.body.issuer == *issuer).then(|| CustodyProof {
            id,
            indices,
            receipt: self.bytes.clone(),
            proof: path.clone(),
            leaf: leaf.encode().into(),
        })
    }
}

/// Recipients for whom an acknowledgement says that its sender has, or had, custody; ascending. A relay's receipt for it
/// covers them all.
#[must_use]
pub fn claimed(ack: &Ack) -> Vec<u16> {
    let mut indices = [ack.taken.as_slice(), &ack.duplicate].concat();
    indices.sort_unstable();
    indices
}

/// Proofs that are remembered, the newest: more than are on their way between relays at any time.
pub const PASSED_MAX: usize = 16_384;

/// See the module. Volatile: after a restart a proof may go round once more.
#[derive(Debug, Default)]
pub struct PassedProofs {
    known: BTreeSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl PassedProofs {
    /// Whether this one goes on: it has not been here before, as far as is remembered.
    // [RCPT-7]
    pub fn admit(&mut self, proof: &CustodyProof) -> bool {
        let Hash(hash) = Hash::of(&[&proof.receipt, &proof.leaf]);
        if !self.known.insert(hash) {
            return planted(Mutant::ProofsInACircle);
        }
        self.order.push_back(hash);
        if self.order.len() > PASSED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use liaison_protocol::MessageId;

    use super::*;

    fn proof(number: usize) -> CustodyProof {
        let bytes = number.to_be_bytes().to_vec();
        let (id, indices) = (MessageId(Hash([1; 32])), vec![0]);
        CustodyProof { id, indices, receipt: bytes.clone().into(), proof: bytes.into(), leaf: vec![2].into() }
    }

    #[test]
    fn each_proof_goes_on_once_and_what_is_remembered_is_bounded() {
        let mut passed = PassedProofs::default();
        assert!((0..=PASSED_MAX).all(|number| passed.admit(&proof(number))));
        assert!((1..=PASSED_MAX).all(|number| !passed.admit(&proof(number))));
        assert!(passed.admit(&proof(0)), "the oldest is forgotten");
        assert_eq!((passed.known.len(), passed.order.len()), (PASSED_MAX, PASSED_MAX));
    }
}
