//! From an envelope to its message (SPEC.md, "Opening").

use crate::codec::Malformed;
use crate::envelope::{BodyKeys, ContentKey, Header, Kind, VerifiedEnvelope, padding};
use crate::ids::{AgencyId, PrekeyId};
use crate::inner::Inner;
use crate::mutant::{Mutant, planted};
use crate::prekey::PrekeySecret;
use crate::refusal::RefusalReason;

/// A message, and the key that proves what it says.
pub struct Opened {
    /// What was sealed.
    pub inner: Inner,
    /// Opens this one message to whoever it is revealed to.
    pub content_key: ContentKey,
}

/// Why an envelope does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// [SEAL-4] Wrap missing or wrong, commitment, tag or padding: one error for all, so that nobody learns which.
    #[error("it does not open")]
    BadWrap,
    /// What was sealed was written for another envelope.
    #[error("the sealed {field} is not the header's")]
    InnerMismatch {
        /// Which of sender, recipients and created.
        field: &'static str,
    },
    /// Sealed to another prekey than this one.
    #[error("sealed to prekey {prekey}, which is not at hand")]
    KeyUnavailable {
        /// The one that it needs.
        prekey: PrekeyId,
    },
    /// What was sealed breaks a rule.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The header does not name this agency.
    #[error("this agency is not among its recipients")]
    NotForMe,
    /// A chunk: its key is in the message that it belongs to.
    #[error("a chunk of an attachment, not a message")]
    NotSealed,
}

impl OpenError {
    /// The code on the wire.
    #[must_use]
    pub const fn reason(&self) -> RefusalReason {
        match self {
            Self::BadWrap => RefusalReason::BadWrap,
            Self::InnerMismatch { .. } | Self::Malformed(_) | Self::NotSealed => RefusalReason::Malformed,
            Self::KeyUnavailable { .. } => RefusalReason::KeyUnavailable,
            Self::NotForMe => RefusalReason::UnknownRecipient,
        }
    }
}

/// Which prekey `me` needs to open this envelope.
///
/// # Errors
/// [`OpenError::NotForMe`], [`OpenError::NotSealed`].
pub fn prekey_needed(header: &Header, me: &AgencyId) -> Result<PrekeyId, OpenError> {
    if header.kind == Kind::Chunk {
        return Err(OpenError::NotSealed);
    }
    let index = header.recipient_index(me).ok_or(OpenError::NotForMe)?;
    header.recipients.get(usize::from(index)).map(|recipient| recipient.prekey_id).ok_or(OpenError::NotForMe)
}

/// Opens an envelope as its recipient `me`.
///
/// # Errors
/// [`OpenError`].
pub fn open(envelope: &VerifiedEnvelope, me: &AgencyId, prekey: &PrekeySecret) -> Result<Opened, OpenError> {
    let header = envelope.header();
    let needed = prekey_needed(header, me)?;
    if needed != prekey.prekey_id() {
        return Err(OpenError::KeyUnavailable { prekey: needed });
    }
    let index = header.recipient_index(me).ok_or(OpenError::NotForMe)?;
    let wrap = envelope.envelope().wraps.iter().find(|wrap| wrap.index == index).ok_or(OpenError::BadWrap)?;
    // [SEAL-4] A wrap that does not open shows neither by its code nor by the work that follows.
    let unwrapped = wrap.open(prekey, &header.wrap_info(me, needed));
    let opens = unwrapped.is_ok();
    let content_key = unwrapped.unwrap_or_else(|_| ContentKey::none());
    let inner = open_with_key(envelope, &content_key);
    if !opens {
        return Err(OpenError::BadWrap);
    }
    Ok(Opened { inner: inner?, content_key })
}

/// Opens an envelope with its content key: the opening proof of evidence, which needs no secret of anybody.
///
/// # Errors
/// [`OpenError`], without [`OpenError::NotForMe`] and [`OpenError::KeyUnavailable`].
pub fn open_with_key(envelope: &VerifiedEnvelope, content_key: &ContentKey) -> Result<Inner, OpenError> {
    let header = envelope.header();
    if header.kind == Kind::Chunk {
        return Err(OpenError::NotSealed);
    }
    let keys = BodyKeys::derive(header, content_key);
    let padded = keys.open(header, &envelope.envelope().body).map_err(|_| OpenError::BadWrap)?;
    let inner = Inner::decode(padding::unpad(&padded).ok_or(OpenError::BadWrap)?)?;
    check_inner(header, &inner)?;
    Ok(inner)
}

/// [INNER-1] What stands under the seal must be what stands outside: else it was sealed for another envelope.
fn check_inner(header: &Header, inner: &Inner) -> Result<(), OpenError> {
    let same = |holds: bool, field| {
        if holds || planted(Mutant::InnerUnchecked) { Ok(()) } else { Err(OpenError::InnerMismatch { field }) }
    };
    same(inner.sender == header.sender, "sender")?;
    same(inner.created == header.created, "created")?;
    same(inner.recipients.iter().eq(header.recipients.iter().map(|recipient| &recipient.id)), "recipients")
}

#[cfg(test)]
mod tests;
