//! Attachments: sealed in chunks whose key is inside the message (SPEC.md, "Chunks").
//!
//! A chunk's envelope has no wraps and tells nobody which message it belongs to. Its key depends on its index and on
//! the number of chunks, so what is reordered, dropped or swapped does not open.

use bytes::Bytes;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

pub use crate::attachment_key::AttachmentKey;
use crate::envelope::{self, Header, Kind, Recipient, VerifiedEnvelope, open_once, seal_once};
use crate::hash::Hash;
use crate::ids::{AgencyId, FederationId, NodeId, PrekeyId};
use crate::inner::Attachment;
use crate::limits;
use crate::limits::CHUNK_BYTES;
use crate::precedence::Precedence;
use crate::seal::{self, SealError};
use crate::sign::Signer;
use crate::time::Timestamp;

#[cfg(test)]
mod tests;

/// Why a chunk is not part of an attachment. `index` counts from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// It is the announced one, and its content does not open: the sender sealed it wrongly.
    #[error("chunk {index} does not open")]
    BadSeal {
        /// Which.
        index: u32,
    },
    /// There are not so many.
    #[error("there is no chunk {index}: the attachment has {count}")]
    NoSuchChunk {
        /// Which.
        index: u32,
        /// How many there are.
        count: u32,
    },
    /// Not the one that the message announces at this place.
    #[error("this is not chunk {index} of the attachment")]
    WrongChunk {
        /// Which was expected.
        index: u32,
    },
}

/// One chunk, and to whom it goes.
pub struct ChunkRequest<'a> {
    /// The message's federation.
    pub federation: FederationId,
    /// The message's sender.
    pub sender: &'a NodeId,
    /// The message's recipients, in any order.
    pub recipients: &'a [AgencyId],
    /// Now.
    pub created: Timestamp,
    /// The message's expiry.
    pub expires: Timestamp,
    /// The message's precedence, for quotas; chunks travel after every message.
    pub precedence: Precedence,
    /// The attachment's key; [CHUNK-3] it seals with a zero nonce.
    pub key: &'a AttachmentKey,
    /// From 0.
    pub index: u32,
    /// How many chunks there are.
    pub count: u32,
    /// [`CHUNK_BYTES`] of the file, the last chunk fewer but not none.
    pub plaintext: &'a [u8],
}

/// A chunk's sealed body, always [`CHUNK_BYTES`] and a tag: [`Attachment::chunk_hashes`] holds its SHA-256. Sealing
/// the same chunk again gives the same body.
///
/// # Errors
/// [`SealError::TooLong`] for more than [`CHUNK_BYTES`].
pub fn chunk_body(key: &AttachmentKey, index: u32, count: u32, plaintext: &[u8]) -> Result<Bytes, SealError> {
    let too_long = || SealError::TooLong { bytes: plaintext.len(), bytes_max: CHUNK_BYTES };
    if plaintext.len() > CHUNK_BYTES {
        return Err(too_long());
    }
    let mut body = Zeroizing::new(Vec::with_capacity(CHUNK_BYTES + limits::AEAD_TAG_BYTES));
    body.extend_from_slice(plaintext);
    body.resize(CHUNK_BYTES, 0);
    seal_once(&key.chunk_key(index, count), b"", &mut body).map_err(|_| too_long())?;
    Ok(Bytes::from(std::mem::take(&mut *body)))
}

/// Seals and signs one chunk. Draws the nonce from `rng`, so every sealing has an id of its own.
///
/// # Errors
/// [`SealError`].
pub fn seal_chunk(
    request: &ChunkRequest<'_>,
    signer: &dyn Signer,
    rng: &mut impl CryptoRng,
) -> Result<VerifiedEnvelope, SealError> {
    let body = chunk_body(request.key, request.index, request.count, request.plaintext)?;
    let mut recipients = request.recipients.to_vec();
    recipients.sort();
    let mut nonce = [0; 32];
    rng.fill_bytes(&mut nonce);
    let recipient = |id| Recipient { id, prekey_id: PrekeyId([0; 16]), wrap_hash: Hash::ZERO };
    let header = Header {
        version: envelope::VERSION,
        suite: envelope::SUITE,
        federation: request.federation,
        sender: request.sender.clone(),
        sender_key: signer.key_id(),
        created: request.created,
        expires: request.expires,
        precedence: request.precedence,
        kind: Kind::Chunk,
        nonce,
        recipients: recipients.into_iter().map(recipient).collect(),
        commit: Hash::ZERO,
        body_hash: Hash::of(&[&body]),
        body_len: (CHUNK_BYTES + limits::AEAD_TAG_BYTES) as u32,
        extensions: Vec::new(),
    };
    seal::sign(header, Vec::new(), body, signer)
}

/// The part of the file that `body` holds, if it is the chunk that `attachment` announces at `index`.
///
/// # Errors
/// [`ChunkError`], with the number of the chunk.
pub fn open_chunk(body: &[u8], attachment: &Attachment, index: u32) -> Result<Zeroizing<Vec<u8>>, ChunkError> {
    let count = attachment.chunk_count;
    let announced = usize::try_from(index).ok().and_then(|index| attachment.chunk_hashes.get(index));
    let announced = announced.ok_or(ChunkError::NoSuchChunk { index, count })?;
    if Hash::of(&[body]) != *announced {
        return Err(ChunkError::WrongChunk { index });
    }
    // [CHUNK-1]
    let bad_seal = ChunkError::BadSeal { index };
    let mut plain = open_once(&attachment.key.chunk_key(index, count), b"", body).map_err(|_| bad_seal)?;
    let length = chunk_len(attachment, index).ok_or(bad_seal)?;
    let padding_is_zero = plain.get(length..).is_some_and(|padding| padding.iter().all(|byte| *byte == 0));
    if plain.len() != CHUNK_BYTES || !padding_is_zero {
        return Err(bad_seal);
    }
    plain.truncate(length);
    Ok(plain)
}

/// Bytes of the file in its chunk `index`.
fn chunk_len(attachment: &Attachment, index: u32) -> Option<usize> {
    let start = u64::from(index) * CHUNK_BYTES as u64;
    let rest = usize::try_from(attachment.total_len.checked_sub(start)?).ok()?;
    Some(rest.min(CHUNK_BYTES))
}
