//! Receipts whose signatures were verified a moment ago: the proofs of one commit come one by one, and share one.

use std::collections::VecDeque;

use bytes::Bytes;
use liaison_protocol::receipt::{ReceiptBody, SignedReceipt};
use liaison_protocol::roster::{Roster, RosterVersion};

/// Receipts remembered: a few commits of each of a few relays.
const KEPT_MAX: usize = 64;

/// See the module.
#[derive(Default)]
pub(super) struct SignedReceipts {
    /// Under which roster they were verified: a key may leave with the next.
    under: Option<RosterVersion>,
    kept: VecDeque<(Bytes, ReceiptBody)>,
}

impl SignedReceipts {
    /// What `receipt` says, if a node of `roster` has signed it.
    ///
    /// # Errors
    /// Why it does not hold.
    pub(super) fn verify(&mut self, receipt: &Bytes, roster: &Roster) -> Result<ReceiptBody, String> {
        if self.under != Some(roster.version()) {
            *self = Self { under: Some(roster.version()), kept: VecDeque::new() };
        }
        if let Some((_, body)) = self.kept.iter().rev().find(|(known, _)| known == receipt) {
            return Ok(body.clone());
        }
        let signed = SignedReceipt::decode(receipt).map_err(|error| error.to_string())?;
        let body = signed.verify(roster).map_err(|error| error.to_string())?;
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back((receipt.clone(), body.clone()));
        Ok(body)
    }
}
