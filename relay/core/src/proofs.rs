//! Which proofs of custody were passed back already.
//!
//! A proof goes to whoever handed the message over. Of copies that met, two relays may each have had theirs from the
//! other: so each proof goes on once, or it would go between them for ever.

use std::collections::{BTreeSet, VecDeque};

use liaison_protocol::Hash;
use liaison_protocol::frame::CustodyProof;
use liaison_protocol::mutant::{Mutant, planted};

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
