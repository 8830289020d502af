//! Sealing to the keys that are known.

use liaison_protocol::envelope::{ContentKey, VerifiedEnvelope};
use liaison_protocol::inner::Content;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::prekey::{PrekeyPublic, PrekeySecret};
use liaison_protocol::roster::RosterVersion;
use liaison_protocol::seal::{SealError, SealRequest, seal};
use liaison_protocol::{AgencyId, NodeId, Precedence, Timestamp};

use crate::kept::Kept;
use crate::office::Office;
use crate::shelf::ReadError;

/// What is to be sealed.
pub(crate) struct Sealing<'a> {
    pub(crate) content: &'a Content,
    /// Ascending: the header's order.
    pub(crate) recipients: &'a [AgencyId],
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) precedence: Precedence,
}

/// A sealed envelope, and who can open it.
pub(crate) struct Outgoing {
    pub(crate) envelope: VerifiedEnvelope,
    content_key: ContentKey,
    /// Recipients without a known key, by their place: their wraps are placeholders, and go nowhere.
    pub(crate) unkeyed: Vec<u16>,
    /// The roster that vouched for the keys.
    pub(crate) roster_version: RosterVersion,
}

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealingError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Office {
    /// Seals to every recipient. One of whom no key is known for that day gets a wrap under a key that nobody has, so
    /// that the header names all recipients; it is sealed anew when a key comes.
    pub(crate) fn seal(&self, sealing: &Sealing<'_>) -> Result<Outgoing, SealingError> {
        let (roster, now) = (self.roster(), self.now());
        let mut rng = self.shelf.random();
        let mut keys: Vec<(AgencyId, PrekeyPublic)> = Vec::with_capacity(sealing.recipients.len());
        let (mut unkeyed, mut expires) = (Vec::new(), sealing.expires);
        for (index, agency) in (0..).zip(sealing.recipients) {
            let key = match self.keys.select(self.shelf.store(), &roster, agency, sealing.created, now)? {
                Some(chosen) => {
                    expires = expires.min(chosen.expires_max);
                    chosen.key
                }
                None => {
                    unkeyed.push(index);
                    PrekeySecret::generate(&mut rng).public()
                }
            };
            keys.push((agency.clone(), key));
        }
        let request = SealRequest {
            federation: roster.federation(),
            sender: &NodeId::from(&self.me),
            recipients: &keys,
            created: sealing.created,
            expires,
            precedence: sealing.precedence,
            content: sealing.content,
        };
        let sealed = seal(&request, &*self.signer, &mut rng)?;
        let roster_version = roster.version();
        Ok(Outgoing { envelope: sealed.envelope, content_key: sealed.content_key, unkeyed, roster_version })
    }

    /// What is kept of an envelope of our own.
    pub(crate) fn keep(&self, outgoing: &Outgoing) -> Kept {
        if planted(Mutant::OutboxKeepsNoWraps) {
            let bare = outgoing.envelope.prune(&[]);
            return Kept::new(&bare, &outgoing.content_key, &self.verifying_key, outgoing.roster_version);
        }
        Kept::new(&outgoing.envelope, &outgoing.content_key, &self.verifying_key, outgoing.roster_version)
    }
}

impl Outgoing {
    /// The envelope for those of `wanted` who can open it; `None`: nobody can.
    pub(crate) fn branch(&self, wanted: impl IntoIterator<Item = u16>) -> Option<VerifiedEnvelope> {
        let branch: Vec<u16> = wanted.into_iter().filter(|index| !self.unkeyed.contains(index)).collect();
        (!branch.is_empty()).then(|| self.envelope.prune(&branch))
    }
}
