//! Receipts whose signatures were verified a moment ago: the proofs of one commit come one by one, and share one.

use std::collections::VecDeque;

use bytes::Bytes;
use liaison_core::proofs::VerifiedReceipt;
use liaison_protocol::roster::{Roster, RosterVersion};

/// Receipts remembered: a few commits of each of a few relays.
const KEPT_MAX: usize = 64;

/// Verified receipts, the newest last.
#[derive(Default)]
pub(crate) struct SignedReceipts {
    /// Under which roster they were verified: a key may leave with the next.
    under: Option<RosterVersion>,
    kept: VecDeque<VerifiedReceipt>,
}

impl SignedReceipts {
    /// Verifies that a node of `roster` has signed `receipt`.
    ///
    /// # Errors
    /// The reason why it does not hold.
    pub(crate) fn verify(&mut self, receipt: &Bytes, roster: &Roster) -> Result<VerifiedReceipt, String> {
        if self.under != Some(roster.version()) {
            *self = Self { under: Some(roster.version()), kept: VecDeque::new() };
        }
        if let Some(known) = self.kept.iter().rev().find(|known| known.bytes() == receipt) {
            return Ok(known.clone());
        }
        let verified = VerifiedReceipt::verify(receipt.clone(), roster).map_err(|error| error.to_string())?;
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(verified.clone());
        Ok(verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use certs_dev::{Federation, Kdf, Options, make};
    use liaison_protocol::keyfile::open_keys;
    use liaison_protocol::receipt::{CustodyLeaf, Issuer, ReceiptChain};
    use liaison_protocol::sign::{Signer, SigningKey};
    use liaison_protocol::{Hash, MessageId, NodeId};
    use zeroize::Zeroizing;

    fn signer(federation: &Federation, relay: &NodeId) -> SigningKey {
        let folder = federation.relay_folder(relay);
        let passphrase = std::fs::read_to_string(folder.join("passphrase")).unwrap();
        let keys = open_keys(passphrase.trim_end().as_bytes(), &std::fs::read(folder.join("sign.key")).unwrap());
        let seed: [u8; 32] = keys.unwrap()[0].secret.as_bytes().try_into().unwrap();
        SigningKey::from_seed(&Zeroizing::new(seed))
    }

    fn receipt(federation: &Federation, relay: &NodeId, seed: u8) -> Bytes {
        let (signer, roster) = (signer(federation, relay), federation.roster().unwrap());
        let time = roster.issued();
        let leaf = CustodyLeaf {
            id: MessageId(Hash([seed; 32])),
            received_from: "ncb.sg".parse().unwrap(),
            time,
            indices: vec![0],
        };
        let issuer = Issuer {
            federation: roster.federation(),
            id: relay.clone(),
            key: signer.key_id(),
            roster_version: roster.version(),
        };
        let unsigned = ReceiptChain::default().next_custody(&issuer, &[leaf], time);
        unsigned.sign(&signer).unwrap().encode().into()
    }

    #[test]
    fn a_receipt_is_verified_once_and_anew_under_the_next_roster() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { kdf: Kdf::Fast, ..Options::new(folder.path().join("federation")) };
        let federation = make(&options).unwrap();
        let relay = federation.relays[0].id.clone();
        let (mut known, first) = (SignedReceipts::default(), federation.roster().unwrap());
        let good = receipt(&federation, &relay, 1);
        let body = known.verify(&good, &first).unwrap();
        assert_eq!(known.verify(&good, &first).unwrap(), body);
        assert_eq!(known.kept.len(), 1);
        let mut bad = good.to_vec();
        *bad.last_mut().unwrap() ^= 1;
        assert!(known.verify(&bad.into(), &first).is_err());
        assert_eq!(known.kept.len(), 1, "what does not verify is not remembered");

        let revoked = federation.publish(|roster| {
            let entry = roster.relays.iter_mut().find(|entry| entry.id == relay).unwrap();
            entry.sign_key = SigningKey::from_seed(&Zeroizing::new([7; 32])).verifying_key();
        });
        assert!(known.verify(&good, &revoked.unwrap()).is_err(), "its key has left the roster");
    }

    #[test]
    fn a_flood_of_receipts_keeps_no_more_than_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { kdf: Kdf::Fast, ..Options::new(folder.path().join("federation")) };
        let federation = make(&options).unwrap();
        let (relay, roster) = (federation.relays[0].id.clone(), federation.roster().unwrap());
        let mut known = SignedReceipts::default();
        for seed in 0..=u8::try_from(KEPT_MAX).unwrap() {
            known.verify(&receipt(&federation, &relay, seed), &roster).unwrap();
        }
        assert_eq!(known.kept.len(), KEPT_MAX);
    }
}
