//! What waits here under a key that nobody vouches for any more is sealed anew.
//!
//! The roster may end the key that signed a bundle: it was stolen, say, and its thief has published prekeys of his own.
//! What was sealed to these and has not left yet goes out under another key, or waits for one. What has left comes
//! back from its recipient, who cannot open it, and is sealed anew then.

use std::sync::Arc;

use liaison_core::op::{Op, Table};
use liaison_node::bundles;
use liaison_protocol::envelope::Header;
use liaison_protocol::{AgencyId, MessageId};

use super::fact::Fact;
use super::work::Work;
use super::{sealing_place, unkeyed_place};
use crate::api::model::RecipientState;
use crate::kept::Kept;
use crate::office::Office;
use crate::problem::Answer;
use crate::shelf::{ReadError, Shelf};

/// Messages looked at together.
const PAGE: usize = 256;

impl Office {
    /// Looks through the outbox: what waits here, was sealed under another roster, and has a key that no bundle which
    /// counts names, is withdrawn and waits for a key.
    // [PREKEY-7]
    pub(crate) async fn seal_the_unvouched_anew(self: &Arc<Self>) -> Answer<()> {
        let mut after = None;
        loop {
            let office = Arc::clone(self);
            let page = crate::blocking(move || office.open_messages(after, PAGE)).await??;
            let ended = page.len() < PAGE;
            after = page.last().copied();
            for first in page {
                let office = Arc::clone(self);
                for (envelope, index, ops) in crate::blocking(move || office.unvouched(first)).await?? {
                    // What is on its way to a relay stays: it comes back if its recipient cannot open it.
                    self.node.cancel(envelope, Some(index), ops).await?;
                }
                self.wake.work.notify_one();
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// The envelopes of one message that are to be withdrawn, each for one recipient, and what to commit with that.
    fn unvouched(&self, first: MessageId) -> Result<Vec<(MessageId, u16, Vec<Op>)>, ReadError> {
        let mut found = Vec::new();
        let Some(standing) = self.standing(first)? else { return Ok(found) };
        let mut read: Option<(MessageId, Option<Header>)> = None;
        for (index, recipient) in (0..).zip(&standing.recipients) {
            if recipient.state != RecipientState::Outbox || standing.facts.is_unkeyed(index, first) {
                continue;
            }
            let envelope = standing.facts.envelope_of(index, first);
            if read.as_ref().is_none_or(|(of, _)| *of != envelope) {
                read = Some((envelope, self.sealed_under_another_roster(first, envelope)?));
            }
            let Some((_, Some(header))) = &read else { continue };
            if !self.is_vouched_for(header, index, &recipient.agency)? {
                found.push((envelope, index, self.without_key(first, envelope, index, &recipient.agency)));
            }
        }
        Ok(found)
    }

    /// The header of a sealing that was made under another roster than the one in force.
    fn sealed_under_another_roster(&self, first: MessageId, envelope: MessageId) -> Result<Option<Header>, ReadError> {
        let Some(kept) = self.shelf.get::<Kept>(&sealing_place(first, envelope))? else { return Ok(None) };
        let roster = self.roster();
        if kept.roster_version == roster.version() {
            return Ok(None);
        }
        Ok(Some(kept.envelope(Table::Outbox, &roster.federation())?.header().clone()))
    }

    /// Whether a bundle that counts names the key of recipient `index`.
    pub(super) fn is_vouched_for(&self, header: &Header, index: u16, agency: &AgencyId) -> Result<bool, ReadError> {
        let Some(recipient) = header.recipients.get(usize::from(index)) else { return Ok(false) };
        let known = bundles::get(self.shelf.store(), agency, &self.roster(), self.now())?;
        let names =
            |known: &bundles::KnownBundle| known.bundle().keys.iter().any(|key| key.prekey_id() == recipient.prekey_id);
        Ok(known.as_ref().is_some_and(names))
    }

    /// What is written down of a recipient whose key counts no longer: it waits for one, which is looked for at once.
    pub(super) fn without_key(&self, first: MessageId, envelope: MessageId, index: u16, agency: &AgencyId) -> Vec<Op> {
        let now = self.now();
        vec![
            Fact::Unkeyed { at: now, envelope }.put(first, index),
            Shelf::put_clear(unkeyed_place(agency, first), &(first, index)),
            Work::Keyed { first, index }.put(&self.shelf, now),
        ]
    }
}

#[cfg(test)]
mod tests {
    use liaison_protocol::PrekeyId;
    use liaison_protocol::envelope::verify_bytes;
    use liaison_protocol::prekey::BundlePosition;
    use liaison_protocol::sign::SigningKey;
    use zeroize::Zeroizing;

    use crate::outbox::tests::pair;
    use crate::testing::{Desk, Federation, until};

    /// The prekeys that envelopes queued for `to` are sealed to.
    fn sealed_to(desk: &Desk, to: &Desk) -> Vec<PrekeyId> {
        let key = |(_, entry): (_, liaison_core::op::Entry)| {
            let bytes = desk.office.node.store().envelope(&entry.id).unwrap().unwrap();
            let roster = desk.office.roster();
            let envelope = verify_bytes(bytes, &roster.federation(), &*roster).unwrap();
            envelope.header().recipients[usize::from(entry.index)].prekey_id
        };
        desk.queued(&to.me()).into_iter().map(key).collect()
    }

    #[tokio::test]
    // [PREKEY-7]
    async fn what_waits_under_a_thiefs_key_is_sealed_anew_once_the_roster_has_ended_it() {
        let federation = Federation::new();
        let (a, b) = pair(&federation).await;
        let seconds = u32::try_from(a.office.now().as_millis() / 1000).unwrap();
        let position = BundlePosition { epoch: seconds + 60, seq: 1_000_000 };
        let (thief, stolen) = federation.bundle(&b.me(), &federation.signing_key(&b.me()), position, a.office.now());
        a.learn_bundle(b.me(), &thief).await;
        let waits = a.send(&[&b], "waits").await;
        assert_eq!(sealed_to(&a, &b), [stolen.prekey_id()]);

        let owner = SigningKey::from_seed(&Zeroizing::new([7; 32]));
        let replaced = federation.roster_with(|roster| {
            let agency = roster.agencies.iter_mut().find(|agency| agency.id == b.me()).unwrap();
            agency.sign_keys[0].public = owner.verifying_key();
        });
        a.follow(&replaced).await;
        assert!(a.known(&b.me()).is_none());
        // What comes after it is never sealed to the thief's key, remembered or not; what waited is withdrawn.
        let after = a.send(&[&b], "after").await;
        for id in [waits, after] {
            until(|| a.sent(id).recipients[0].detail.contains("keys of")).await;
        }
        assert_eq!(sealed_to(&a, &b), []);
        assert!(
            a.office.agencies().unwrap().agencies.iter().any(|view| view.id == b.me() && view.prekeys_until.is_none())
        );

        let next = BundlePosition { epoch: 1, seq: 1 };
        let (bundle, new) = federation.bundle(&b.me(), &owner, next, a.office.now());
        a.learn_bundle(b.me(), &bundle).await;
        until(|| sealed_to(&a, &b).len() == 2).await;
        assert_eq!(sealed_to(&a, &b), [new.prekey_id(); 2]);
    }

    #[tokio::test]
    async fn a_new_roster_that_ends_no_key_leaves_what_waits_as_it_is() {
        let federation = Federation::new();
        let (a, b) = pair(&federation).await;
        let id = a.send(&[&b], "one").await;
        a.follow(&federation.roster_with(|_| {})).await;
        a.office.seal_the_unvouched_anew().await.unwrap();
        assert_eq!(a.queued(&b.me()).iter().map(|(_, entry)| entry.id).collect::<Vec<_>>(), [id]);
    }
}
