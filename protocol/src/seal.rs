//! From a message to an envelope: seal, then sign (SPEC.md, "Sealing").

use bytes::Bytes;
use rand_core::CryptoRng;

use crate::codec::Malformed;
use crate::envelope::{
    self, BodyKeys, ContentKey, Envelope, Header, HeaderError, Kind, Recipient, VerifiedEnvelope, Wrap, padding,
};
use crate::hash::Hash;
use crate::ids::{AgencyId, FederationId, NodeId};
use crate::inner::{Content, Inner, InnerRef};
use crate::limits;
use crate::precedence::Precedence;
use crate::prekey::PrekeyPublic;
use crate::sign::{SignError, Signer};
use crate::time::Timestamp;

/// A message, and to whom it goes.
pub struct SealRequest<'a> {
    /// The federation in which all names below are known.
    pub federation: FederationId,
    /// Who signs.
    pub sender: &'a NodeId,
    /// Each with the prekey that its bundle names for `created`, in any order.
    pub recipients: &'a [(AgencyId, PrekeyPublic)],
    /// Now.
    pub created: Timestamp,
    /// Custody ends then; at most [`limits::LIFETIME_MAX`] after `created`, and at most
    /// [`PrekeyBundle::expiry_max`](crate::prekey::PrekeyBundle::expiry_max) of every recipient.
    pub expires: Timestamp,
    /// How urgent.
    pub precedence: Precedence,
    /// What is said.
    pub content: &'a Content,
}

/// An envelope that its sender has just made.
pub struct Sealed {
    /// The envelope.
    pub envelope: VerifiedEnvelope,
    /// Opens this one message to whoever it is revealed to; the sender keeps it for evidence, encrypted.
    pub content_key: ContentKey,
}

/// Why nothing is sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The content breaks a rule.
    #[error(transparent)]
    Content(Malformed),
    /// The header would break a rule: no recipient, too many, or a lifetime that is too long.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A prekey that nothing can be sealed to. [`PrekeyPublic`] has been checked, so this does not happen.
    #[error("nothing can be sealed to the prekey of {agency}")]
    Prekey {
        /// Whose.
        agency: AgencyId,
    },
    /// The token did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The content is too large: send the rest as an attachment.
    #[error("the message has {bytes} bytes, at most {bytes_max} fit; attach the rest as a file")]
    TooLong {
        /// Its size.
        bytes: usize,
        /// The most that fits.
        bytes_max: usize,
    },
}

/// Seals `request` to all its recipients and signs it.
///
/// Draws from `rng`, in this order ([SEAL-1]): the content key (32 bytes), the nonce (32), and 64 for each wrap in the order of
/// the header.
///
/// # Errors
/// [`SealError`].
pub fn seal(request: &SealRequest<'_>, signer: &dyn Signer, rng: &mut impl CryptoRng) -> Result<Sealed, SealError> {
    let mut recipients: Vec<_> = request.recipients.iter().map(|(agency, prekey)| (agency, prekey)).collect();
    recipients.sort_by_key(|(agency, _)| *agency);
    let mut padded = padded_inner(request, &recipients)?;

    let content_key = ContentKey::generate(rng);
    let mut header = new_header(request, &recipients, signer, rng);
    let keys = BodyKeys::derive(&header, &content_key);
    header.commit = keys.commit();
    keys.seal(&header, &mut padded).map_err(|_| too_long(padded.len()))?;
    let body = Bytes::from(std::mem::take(&mut *padded));
    header.body_hash = Hash::of(&[&body]);
    header.body_len = u32::try_from(body.len()).map_err(|_| too_long(body.len()))?;
    // Before the wraps, which cost most; their hashes break no rule.
    header.check()?;

    let wraps = seal_wraps(&mut header, &recipients, &content_key, rng)?;
    Ok(Sealed { envelope: sign(header, wraps, body, signer)?, content_key })
}

/// Signs what has been sealed.
pub(crate) fn sign(
    header: Header,
    wraps: Vec<Wrap>,
    body: Bytes,
    signer: &dyn Signer,
) -> Result<VerifiedEnvelope, SealError> {
    header.check()?;
    let bytes = Bytes::from(header.encode());
    let signature = signer.sign(&envelope::signed_message(&envelope::message_id(&bytes)))?;
    Ok(VerifiedEnvelope::sealed(header, Envelope { header: bytes, signature, wraps, body }))
}

fn padded_inner(
    request: &SealRequest<'_>,
    recipients: &[(&AgencyId, &PrekeyPublic)],
) -> Result<zeroize::Zeroizing<Vec<u8>>, SealError> {
    let names: Vec<_> = recipients.iter().map(|(agency, _)| *agency).collect();
    let owned: Vec<_> = names.iter().copied().cloned().collect();
    request.content.check(&owned).map_err(SealError::Content)?;
    let inner = InnerRef {
        version: Inner::VERSION,
        sender: request.sender,
        recipients: &names,
        created: request.created,
        content: request.content,
    };
    let plain = inner.encode();
    padding::pad(&plain).ok_or_else(|| too_long(plain.len()))
}

fn new_header(
    request: &SealRequest<'_>,
    recipients: &[(&AgencyId, &PrekeyPublic)],
    signer: &dyn Signer,
    rng: &mut impl CryptoRng,
) -> Header {
    let mut nonce = [0; 32];
    rng.fill_bytes(&mut nonce);
    let recipient = |(agency, prekey): &(&AgencyId, &PrekeyPublic)| Recipient {
        id: (*agency).clone(),
        prekey_id: prekey.prekey_id(),
        wrap_hash: Hash::ZERO,
    };
    Header {
        version: envelope::VERSION,
        suite: envelope::SUITE,
        federation: request.federation,
        sender: request.sender.clone(),
        sender_key: signer.key_id(),
        created: request.created,
        expires: request.expires,
        precedence: request.precedence,
        kind: Kind::Sealed,
        nonce,
        recipients: recipients.iter().map(recipient).collect(),
        commit: Hash::ZERO,
        body_hash: Hash::ZERO,
        body_len: 0,
        extensions: Vec::new(),
    }
}

fn seal_wraps(
    header: &mut Header,
    recipients: &[(&AgencyId, &PrekeyPublic)],
    content_key: &ContentKey,
    rng: &mut impl CryptoRng,
) -> Result<Vec<Wrap>, SealError> {
    let mut wraps = Vec::with_capacity(recipients.len());
    for (index, (agency, prekey)) in (0..).zip(recipients) {
        let info = header.wrap_info(agency, prekey.prekey_id());
        let wrap = Wrap::seal(index, prekey, &info, content_key, rng)
            .map_err(|_| SealError::Prekey { agency: (*agency).clone() })?;
        wraps.push(wrap);
    }
    header.recipients.iter_mut().zip(&wraps).for_each(|(recipient, wrap)| recipient.wrap_hash = wrap.hash());
    Ok(wraps)
}

const fn too_long(bytes: usize) -> SealError {
    // One byte of the padded length is the marker.
    SealError::TooLong { bytes, bytes_max: limits::BODY_PLAIN_BYTES_MAX - 1 }
}
