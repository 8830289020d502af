//! What travels: a signed header, wraps, a sealed body (SPEC.md, "Envelope").
//!
//! ```text
//!  Bytes ─► Envelope ─► verify ─► VerifiedEnvelope ─► prune (per branch) ─► Bytes
//!           untrusted   signature, hashes, rules
//! ```

mod body;
mod header;
pub mod padding;
mod verify;
mod wire;
mod wrap;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use crate::sign::SenderKeys;
pub use body::ContentKey;
#[cfg(test)]
pub(crate) use body::work;
pub(crate) use body::{BodyKeys, expand, open_once, seal_once};
#[cfg(test)]
pub(crate) use body::{chacha_open, chacha_seal};
pub use header::{Extension, Header, HeaderError, Kind, Recipient, SUITE, VERSION};
pub use verify::{EnvelopeError, VerifiedEnvelope, verify, verify_bytes};
pub use wrap::Wrap;
#[cfg(test)]
pub(crate) use wrap::{hpke_open, hpke_seal};

use crate::codec::Malformed;
use crate::hash::Hash;
use crate::ids::MessageId;
use crate::sign::Signature;
use crate::{label, limits};
use wire::{Reader, push_bytes, push_varint, varint_len};

const WHAT: &str = "envelope";

/// An envelope as received: its frame is well formed, and nothing in it is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The header's bytes; [`Header::decode`] reads them.
    pub header: Bytes,
    /// The sender's, over the message id.
    pub signature: Signature,
    /// At most one for each recipient; fewer after a relay has pruned.
    pub wraps: Vec<Wrap>,
    /// The sealed body.
    pub body: Bytes,
}

impl Envelope {
    /// `lp(header) || alg || lp(signature) || list of (index || wrap) || lp(body)`, lengths as varints.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        push_bytes(&mut out, &self.header);
        out.push(self.signature.alg());
        push_bytes(&mut out, self.signature.as_bytes());
        push_varint(&mut out, self.wraps.len());
        for wrap in &self.wraps {
            push_varint(&mut out, usize::from(wrap.index));
            out.extend_from_slice(wrap.bytes());
        }
        push_bytes(&mut out, &self.body);
        out
    }

    /// Bytes that [`Envelope::encode`] gives.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let bytes = |length: usize| varint_len(length) + length;
        let wraps = self.wraps.iter().map(|wrap| varint_len(usize::from(wrap.index)) + wrap.bytes().len());
        bytes(self.header.len())
            + 1
            + bytes(self.signature.as_bytes().len())
            + varint_len(self.wraps.len())
            + wraps.sum::<usize>()
            + bytes(self.body.len())
    }

    /// As [`Envelope::decode_shared`], from a copy.
    ///
    /// # Errors
    /// As [`Envelope::decode_shared`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > limits::ENVELOPE_BYTES_MAX {
            return Err(too_long(bytes.len()));
        }
        Self::decode_shared(Bytes::copy_from_slice(bytes))
    }

    /// Reads a frame; its parts are slices of `bytes`, which stay in memory as long as any of them.
    ///
    /// # Errors
    /// [`Malformed`]: a length past its bound or past the end, a varint that is not the shortest, bytes left over.
    pub fn decode_shared(bytes: Bytes) -> Result<Self, Malformed> {
        if bytes.len() > limits::ENVELOPE_BYTES_MAX {
            return Err(too_long(bytes.len()));
        }
        let mut reader = Reader::new(WHAT, bytes);
        let header = reader.bytes(limits::HEADER_BYTES_MAX)?;
        let alg = reader.u8()?;
        let signature = Signature::new(alg, reader.bytes(limits::SIGNATURE_BYTES_MAX)?)?;
        let count = reader.varint(limits::RECIPIENTS_MAX)?;
        let mut wraps = Vec::new();
        for _ in 0..count {
            let index = reader.varint(limits::RECIPIENTS_MAX)?;
            let index = u16::try_from(index).map_err(|_| Malformed::Undecodable { what: WHAT })?;
            wraps.push(Wrap::new(index, reader.take(limits::WRAP_BYTES)?)?);
        }
        let body = reader.bytes(limits::BODY_BYTES_MAX)?;
        reader.end()?;
        Ok(Self { header, signature, wraps, body })
    }

    /// [ENV-4] A copy with only the wraps of `branch` (indices of recipients): header, signature and id stay the same.
    #[must_use]
    pub fn prune(&self, branch: &[u16]) -> Self {
        let wraps = self.wraps.iter().filter(|wrap| branch.contains(&wrap.index)).cloned().collect();
        Self { header: self.header.clone(), signature: self.signature.clone(), wraps, body: self.body.clone() }
    }

    /// SHA-256 over label and header bytes, as received.
    #[must_use]
    pub fn id(&self) -> MessageId {
        message_id(&self.header)
    }
}

const fn too_long(bytes: usize) -> Malformed {
    Malformed::TooLong { what: WHAT, bytes, bytes_max: limits::ENVELOPE_BYTES_MAX }
}

/// The id of the message with these header bytes (SPEC.md, "Message id") ([ENC-4]).
#[must_use]
pub fn message_id(header: &[u8]) -> MessageId {
    MessageId(Hash::of(&[label::ENVELOPE_ID, header]))
}

/// What a sender signs: label and message id.
#[must_use]
pub fn signed_message(id: &MessageId) -> Vec<u8> {
    [label::ENVELOPE_SIG, &id.0.0].concat()
}
