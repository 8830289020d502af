//! The signed header: who, to whom, when, how urgent, and the hashes of everything else (SPEC.md, "Header").

use serde::{Deserialize, Serialize};

use super::padding;
use crate::codec::{self, Malformed};
use crate::hash::{Hash, push_lp8};
use crate::ids::{AgencyId, FederationId, KeyId, NodeId, PrekeyId};
use crate::mutant::{Mutant, planted};
use crate::precedence::Precedence;
use crate::time::Timestamp;
use crate::{bounded, label, limits};

/// The version of headers that this crate reads and writes.
pub const VERSION: u8 = 1;
/// Suite 1: HPKE with X-Wing, HKDF-SHA256 and ChaCha20-Poly1305; body under ChaCha20-Poly1305; Ed25519.
pub const SUITE: u16 = 1;

/// What an envelope carries, as far as relays may know. On the wire `u8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Kind {
    /// A message, receipts or a notice; which of them, only recipients learn.
    Sealed = 1,
    /// One chunk of an attachment: no wraps, its key is inside the message.
    Chunk = 2,
}

impl From<Kind> for u8 {
    fn from(kind: Kind) -> Self {
        kind as Self
    }
}

impl TryFrom<u8> for Kind {
    type Error = Malformed;

    fn try_from(value: u8) -> Result<Self, Self::Error> {
        match value {
            1 => Ok(Self::Sealed),
            2 => Ok(Self::Chunk),
            _ => Err(Malformed::Rule { what: "header", rule: "kind is 1 or 2" }),
        }
    }
}

/// One recipient, and the wrap that was made for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The agency.
    pub id: AgencyId,
    /// Which of its prekeys the content key is sealed to; zero in a chunk.
    pub prekey_id: PrekeyId,
    /// SHA-256 of its wrap; zero in a chunk.
    pub wrap_hash: Hash,
}

/// Room for later versions: known by its number, and signed like the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Its number. None is defined in version 1.
    pub kind: u16,
    /// Whoever does not know a critical extension refuses the envelope; any other is passed on untouched.
    pub critical: bool,
    /// At most [`limits::EXTENSION_BYTES_MAX`].
    #[serde(
        deserialize_with = "bounded::bytes::<_, { limits::EXTENSION_BYTES_MAX }>",
        serialize_with = "bounded::serialize_bytes"
    )]
    pub data: Vec<u8>,
}

/// The header; its fields stand in the order of the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub version: u8,
    /// [`SUITE`].
    pub suite: u16,
    /// The federation in which sender and recipients are names.
    pub federation: FederationId,
    /// Who signed: an agency, or a relay for a notice.
    pub sender: NodeId,
    /// Which of the sender's keys signed.
    pub sender_key: KeyId,
    /// When it was sealed, by the sender's clock.
    pub created: Timestamp,
    /// Custody ends then; at most [`limits::LIFETIME_MAX`] after `created`.
    pub expires: Timestamp,
    /// How urgent.
    pub precedence: Precedence,
    /// What it carries.
    pub kind: Kind,
    /// Random, new in every envelope.
    pub nonce: [u8; 32],
    /// Strictly ascending by id, 1 to [`limits::RECIPIENTS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::RECIPIENTS_MAX }>")]
    pub recipients: Vec<Recipient>,
    /// Commits to the content key; zero in a chunk.
    pub commit: Hash,
    /// SHA-256 of the body.
    pub body_hash: Hash,
    /// Bytes of the body.
    pub body_len: u32,
    /// Strictly ascending by number, at most [`limits::EXTENSIONS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::EXTENSIONS_MAX }>")]
    pub extensions: Vec<Extension>,
}

/// Why a header is not for this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It breaks a rule.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A critical extension that this version does not know.
    #[error("extension {kind} is critical and unknown here; update this node")]
    UnknownExtension {
        /// Its number.
        kind: u16,
    },
    /// The two first fields, which keep their place for ever, name something else.
    #[error("envelope version {version} with suite {suite}; this node knows version 1 with suite 1")]
    Unsupported {
        /// Its version.
        version: u8,
        /// Its suite.
        suite: u16,
    },
}

impl Header {
    /// The bytes that are hashed, signed and sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a header and checks every rule that needs nothing else: no clock, no roster, no key.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        check_supported(bytes)?;
        let header: Self = codec::decode("header", bytes, limits::HEADER_BYTES_MAX)?;
        header.check()?;
        Ok(header)
    }

    /// # Errors
    /// Names the first rule that is broken.
    pub(crate) fn check(&self) -> Result<(), HeaderError> {
        let rule = |holds: bool, rule| if holds { Ok(()) } else { Err(Malformed::Rule { what: "header", rule }) };
        if (self.version, self.suite) != (VERSION, SUITE) {
            return Err(HeaderError::Unsupported { version: self.version, suite: self.suite });
        }
        // [HDR-4]
        rule(self.expires >= self.created, "it expires before it was created")?;
        let short = self.expires.since(self.created) <= limits::LIFETIME_MAX;
        rule(short || planted(Mutant::LifetimeUnbounded), "its lifetime is more than 30 days")?;
        // [HDR-2]
        rule(!self.recipients.is_empty(), "it names no recipient")?;
        rule(self.recipients.len() <= limits::RECIPIENTS_MAX, "it names more than 1,024 recipients")?;
        let ascending = self.recipients.is_sorted_by(|a, b| a.id < b.id);
        rule(ascending || planted(Mutant::RecipientsUnordered), "its recipients are not in ascending order")?;
        // [HDR-3]
        rule(self.extensions.len() <= limits::EXTENSIONS_MAX, "it has more than 16 extensions")?;
        rule(self.extensions.is_sorted_by(|a, b| a.kind < b.kind), "its extensions are not in ascending order")?;
        rule(self.extensions.iter().all(|e| e.data.len() <= limits::EXTENSION_BYTES_MAX), "an extension is too long")?;
        self.check_kind()?;
        match self.extensions.iter().find(|extension| extension.critical) {
            Some(extension) => Err(HeaderError::UnknownExtension { kind: extension.kind }),
            None => Ok(()),
        }
    }

    fn check_kind(&self) -> Result<(), Malformed> {
        let rule = |holds: bool, rule| if holds { Ok(()) } else { Err(Malformed::Rule { what: "header", rule }) };
        let plain = usize::try_from(self.body_len).unwrap_or(usize::MAX).checked_sub(limits::AEAD_TAG_BYTES);
        match self.kind {
            // [HDR-6]
            Kind::Sealed => rule(plain.is_some_and(padding::is_padded_len), "its body's length is not a padded one"),
            // [HDR-5]
            Kind::Chunk => {
                let no_wrap = |r: &Recipient| r.prekey_id.0 == [0; 16] && r.wrap_hash == Hash::ZERO;
                rule(self.commit == Hash::ZERO, "a chunk commits to no content key")?;
                rule(self.recipients.iter().all(no_wrap), "a chunk has no wraps")?;
                rule(plain == Some(limits::CHUNK_BYTES), "a chunk's body is not 256 KiB")
            }
        }
    }

    /// Where `agency` stands among the recipients.
    #[must_use]
    pub fn recipient_index(&self, agency: &AgencyId) -> Option<u16> {
        let index = self.recipients.binary_search_by(|recipient| recipient.id.cmp(agency)).ok()?;
        u16::try_from(index).ok()
    }

    /// `ctx` of the key schedule: suite, federation and sender.
    pub(crate) fn context(&self) -> Vec<u8> {
        let mut context = Vec::with_capacity(2 + 16 + 1 + self.sender.as_str().len());
        context.extend_from_slice(&self.suite.to_be_bytes());
        context.extend_from_slice(&self.federation.0);
        push_lp8(&mut context, self.sender.as_str().as_bytes());
        context
    }

    /// HPKE's `info` for one recipient's wrap.
    pub(crate) fn wrap_info(&self, recipient: &AgencyId, prekey: PrekeyId) -> Vec<u8> {
        let mut info = [label::WRAP, &self.context()].concat();
        push_lp8(&mut info, recipient.as_str().as_bytes());
        info.extend_from_slice(&prekey.0);
        info.extend_from_slice(&self.nonce);
        info
    }

    /// The body's additional data.
    pub(crate) fn body_aad(&self) -> Vec<u8> {
        let mut names = Vec::new();
        self.recipients.iter().for_each(|recipient| push_lp8(&mut names, recipient.id.as_str().as_bytes()));
        [label::BODY, &self.context(), &self.nonce, &Hash::of(&[&names]).0].concat()
    }
}

/// [HDR-1] Looks at version and suite alone: nothing after them may be read before they are known.
fn check_supported(bytes: &[u8]) -> Result<(), HeaderError> {
    let undecodable = Malformed::Undecodable { what: "header" };
    let ((version, suite), _) = postcard::take_from_bytes::<(u8, u16)>(bytes).map_err(|_| undecodable)?;
    if (version, suite) == (VERSION, SUITE) { Ok(()) } else { Err(HeaderError::Unsupported { version, suite }) }
}
