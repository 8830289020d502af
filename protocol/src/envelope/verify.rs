//! From bytes that anyone may have sent to an envelope that its sender has signed.

use std::sync::Arc;

use bytes::Bytes;

use super::{Envelope, Header, HeaderError, Wrap, message_id, signed_message};
use crate::codec::Malformed;
use crate::hash::Hash;
use crate::ids::{FederationId, KeyId, MessageId, NodeId};
use crate::mutant::{Mutant, planted};
use crate::refusal::RefusalReason;
use crate::sign::SenderKeys;

/// Why an envelope is not what its sender signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The signature does not cover this header.
    #[error("the signature of {sender} does not verify")]
    BadSignature {
        /// Who is said to have signed.
        sender: NodeId,
    },
    /// The body is not the one that the header names.
    #[error("the body is not the one that was signed")]
    BodyMismatch,
    /// It belongs to another federation.
    #[error("it belongs to federation {found}")]
    Federation {
        /// Which.
        found: FederationId,
    },
    /// The header breaks a rule, or is of another version.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The frame breaks a rule.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The sender had this key before.
    #[error("the key {key} of {sender} had ended when it was created, or a roster has taken it out since")]
    RevokedSender {
        /// The sender.
        sender: NodeId,
        /// The key.
        key: KeyId,
    },
    /// The roster knows no such key of this sender at that time.
    #[error("no key {key} of {sender} was valid when it was created")]
    UnknownSender {
        /// The sender.
        sender: NodeId,
        /// The key.
        key: KeyId,
    },
    /// A wrap is not the one that the header names.
    #[error("the wrap of recipient {index} is not the one that was signed")]
    WrapMismatch {
        /// The recipient's index.
        index: u16,
    },
}

impl EnvelopeError {
    /// The code on the wire.
    #[must_use]
    pub const fn reason(&self) -> RefusalReason {
        match self {
            Self::BadSignature { .. } | Self::BodyMismatch => RefusalReason::BadSignature,
            Self::Federation { .. } | Self::UnknownSender { .. } => RefusalReason::UnknownSender,
            Self::Header(HeaderError::Malformed(_)) | Self::Malformed(_) => RefusalReason::Malformed,
            Self::Header(_) => RefusalReason::UnsupportedSuite,
            Self::RevokedSender { .. } => RefusalReason::RevokedSender,
            Self::WrapMismatch { .. } => RefusalReason::BadWrap,
        }
    }
}

/// An envelope whose header follows the rules and was signed by its sender, and whose wraps and body are the signed
/// ones. Only [`verify`], [`verify_bytes`] and the sealing functions make one. Clones share everything.
#[derive(Clone, Debug)]
pub struct VerifiedEnvelope {
    id: MessageId,
    header: Arc<Header>,
    envelope: Envelope,
    encoded: Bytes,
}

impl VerifiedEnvelope {
    /// The message id.
    #[must_use]
    pub const fn id(&self) -> MessageId {
        self.id
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The parts, as received.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The whole frame: what is stored and sent on. Encoded once, and shared from then on.
    #[must_use]
    pub const fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Bytes of [`VerifiedEnvelope::encoded`].
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.encoded.len()
    }

    /// The parts, as received.
    #[must_use]
    pub fn into_envelope(self) -> Envelope {
        self.envelope
    }

    /// With only the wraps of `branch` (indices of recipients); as verified as before.
    #[must_use]
    pub fn prune(&self, branch: &[u16]) -> Self {
        let envelope = self.envelope.prune(branch);
        let encoded = if envelope.wraps.len() == self.envelope.wraps.len() {
            self.encoded.clone()
        } else {
            Bytes::from(envelope.encode())
        };
        Self { id: self.id, header: Arc::clone(&self.header), envelope, encoded }
    }

    /// The same envelope with the wraps of both: branches of one message that meet again at one node.
    ///
    /// `other` must have the same id; if it has not, this is a copy of `self`.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let has = |index| self.envelope.wraps.iter().any(|wrap| wrap.index == index);
        let missing: Vec<Wrap> = other.envelope.wraps.iter().filter(|wrap| !has(wrap.index)).cloned().collect();
        if self.id != other.id || missing.is_empty() {
            return self.clone();
        }
        let mut envelope = self.envelope.clone();
        envelope.wraps.extend(missing);
        envelope.wraps.sort_by_key(|wrap| wrap.index);
        let encoded = Bytes::from(envelope.encode());
        Self { id: self.id, header: Arc::clone(&self.header), envelope, encoded }
    }

    /// The sealing functions have just made and signed these parts.
    pub(crate) fn sealed(header: Header, envelope: Envelope) -> Self {
        let encoded = Bytes::from(envelope.encode());
        Self { id: envelope.id(), header: Arc::new(header), envelope, encoded }
    }
}

/// Checks everything about an envelope that needs no clock and no agreement: the header's rules, its federation, the
/// signature, the body, and each wrap that is there. Relays prune, so wraps may be missing.
///
/// # Errors
/// [`EnvelopeError`], the cheapest check first.
pub fn verify(
    envelope: Envelope,
    federation: &FederationId,
    keys: &impl SenderKeys,
) -> Result<VerifiedEnvelope, EnvelopeError> {
    let header = verify_parts(&envelope, federation, keys)?;
    Ok(VerifiedEnvelope::sealed(header, envelope))
}

/// [`Envelope::decode_shared`] and [`verify`], without a copy: the parts are slices of `encoded`.
///
/// # Errors
/// As both.
pub fn verify_bytes(
    encoded: Bytes,
    federation: &FederationId,
    keys: &impl SenderKeys,
) -> Result<VerifiedEnvelope, EnvelopeError> {
    let envelope = Envelope::decode_shared(encoded.clone())?;
    let header = verify_parts(&envelope, federation, keys)?;
    Ok(VerifiedEnvelope { id: envelope.id(), header: Arc::new(header), envelope, encoded })
}

fn verify_parts(
    envelope: &Envelope,
    federation: &FederationId,
    keys: &impl SenderKeys,
) -> Result<Header, EnvelopeError> {
    let header = Header::decode(&envelope.header)?;
    check_indices(&header, envelope)?;
    if header.federation != *federation && !planted(Mutant::FederationUnchecked) {
        return Err(EnvelopeError::Federation { found: header.federation });
    }
    // [ENV-3] [ENV-5]
    let key = keys.verifying_key(&header.sender, header.sender_key, header.created).ok_or_else(|| {
        let (sender, key) = (header.sender.clone(), header.sender_key);
        if keys.has_ended(&sender, key, header.created) {
            return EnvelopeError::RevokedSender { sender, key };
        }
        EnvelopeError::UnknownSender { sender, key }
    })?;
    // [ENV-2], and what costs nothing first.
    if usize::try_from(header.body_len) != Ok(envelope.body.len()) {
        return Err(EnvelopeError::BodyMismatch);
    }
    key.verify(&signed_message(&message_id(&envelope.header)), &envelope.signature)
        .or_else(|error| if planted(Mutant::SignatureUnchecked) { Ok(()) } else { Err(error) })
        .map_err(|_| EnvelopeError::BadSignature { sender: header.sender.clone() })?;
    if Hash::of(&[&envelope.body]) != header.body_hash && !planted(Mutant::BodyHashUnchecked) {
        return Err(EnvelopeError::BodyMismatch);
    }
    envelope.wraps.iter().try_for_each(|wrap| check_wrap(&header, wrap))?;
    Ok(header)
}

/// [ENV-1]
fn check_indices(header: &Header, envelope: &Envelope) -> Result<(), Malformed> {
    if !envelope.wraps.is_sorted_by(|a, b| a.index < b.index) {
        return Err(Malformed::Rule { what: "envelope", rule: "its wraps are not in ascending order" });
    }
    let last = envelope.wraps.last().map_or(0, |wrap| usize::from(wrap.index));
    if last >= header.recipients.len() || (header.kind == super::Kind::Chunk && !envelope.wraps.is_empty()) {
        return Err(Malformed::Rule { what: "envelope", rule: "it has a wrap without a recipient" });
    }
    Ok(())
}

fn check_wrap(header: &Header, wrap: &Wrap) -> Result<(), EnvelopeError> {
    let recipient = header.recipients.get(usize::from(wrap.index));
    let signed = recipient.is_some_and(|recipient| recipient.wrap_hash == wrap.hash());
    if signed || planted(Mutant::WrapHashUnchecked) {
        Ok(())
    } else {
        Err(EnvelopeError::WrapMismatch { index: wrap.index })
    }
}
