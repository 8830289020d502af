//! Non-delivery notices: a relay tells a sender, sealed and signed, why a message will not arrive.

use liaison_core::event::Ended;
use liaison_core::op::{Entry, Op, Position};
use liaison_protocol::inner::{Content, SignedStatement};
use liaison_protocol::receipt::RefusalFacts;
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::roster::{Role, Roster};
use liaison_protocol::seal::{SealRequest, seal};
use liaison_protocol::sign::Signer;
use liaison_protocol::{NodeId, Precedence, Timestamp, limits};
use rand_core::CryptoRng;

use crate::bundles;
use crate::receipts::Receipts;
use crate::store_error::StoreError;
use crate::view::Reads;

/// Everything that a notice is made of.
pub(crate) struct Notice<'a> {
    pub(crate) me: &'a NodeId,
    pub(crate) position: &'a Position,
    pub(crate) entry: &'a Entry,
    pub(crate) reason: RefusalReason,
    pub(crate) detail: &'a str,
    pub(crate) now: Timestamp,
}

impl Notice<'_> {
    /// Gives the entry's end, and the receipt chain's record. Nobody is told of a notice that is not delivered (it would
    /// never end), nor a sender that has left the roster.
    // [CUST-9] [RCPT-5]
    pub(crate) fn make(
        &self,
        receipts: &mut Receipts,
        roster: &Roster,
        store: &dyn Reads,
        signer: &dyn Signer,
        mut random: &mut dyn CryptoRng,
    ) -> Result<(Ended, Option<Op>), StoreError> {
        if roster.role(&self.entry.sender) != Some(Role::Agency) {
            return Ok((Ended::Records(Vec::new()), None));
        }
        let sender = self.entry.sender.to_agency();
        let known = bundles::get(store, &sender, roster, self.now)?;
        let Some((prekey, expires_max)) = known.and_then(|known| known.select(self.now)) else {
            return Ok((Ended::Later, None));
        };
        let facts = RefusalFacts {
            id: self.entry.id,
            recipient: self.position.queue.clone(),
            reason: self.reason,
            detail: self.detail.into(),
            retry_after_ms: 0,
        };
        let Some((receipt, record)) = receipts.refusal(facts, roster, self.now) else {
            return Ok((Ended::Later, None));
        };
        let statement = SignedStatement { receipt: receipt.encode().into(), proofs: Vec::new() };
        let request = SealRequest {
            federation: roster.federation(),
            sender: self.me,
            recipients: &[(sender, prekey)],
            created: self.now,
            expires: self.now.after(limits::LIFETIME_DEFAULT).min(expires_max),
            precedence: Precedence::from_rank(self.position.rank).unwrap_or_default(),
            content: &Content::Notice(statement),
        };
        match seal(&request, signer, &mut random) {
            Ok(sealed) => Ok((Ended::Notice(Box::new(sealed.envelope)), Some(record))),
            Err(error) => {
                tracing::error!(message = %self.entry.id.short(), %error, "a notice could not be sealed");
                Ok((Ended::Later, Some(record)))
            }
        }
    }
}
