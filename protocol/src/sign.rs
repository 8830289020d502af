//! Ed25519 signatures, strictly verified (SPEC.md, "Signatures").
//!
//! [SIG-3] Only `verify_strict` decides, one signature at a time: `verify` and batch verification accept signatures under
//! small-order keys, and disagree with each other.

use std::fmt;

use bytes::Bytes;
use ed25519_dalek::Signer as _;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::codec::Malformed;
use crate::hash::Hash;
use crate::ids::{KeyId, NodeId};
use crate::time::Timestamp;
use crate::{bounded, label, limits};

/// Algorithm 1: Ed25519, 64 bytes.
pub const ALG_ED25519: u8 = 1;
/// Algorithm 2: ML-DSA-65 with Ed25519, 3,373 bytes. Refused where the roster names no composite key.
pub const ALG_COMPOSITE: u8 = 2;

const ED25519_BYTES: usize = 64;

/// A signature as received: well formed, and nothing more, until a key has verified it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SignatureParts")]
pub struct Signature {
    alg: u8,
    bytes: Bytes,
}

#[derive(Deserialize)]
struct SignatureParts {
    alg: u8,
    #[serde(deserialize_with = "bounded::shared::<_, { limits::SIGNATURE_BYTES_MAX }>")]
    bytes: Bytes,
}

impl TryFrom<SignatureParts> for Signature {
    type Error = Malformed;

    fn try_from(parts: SignatureParts) -> Result<Self, Self::Error> {
        Self::new(parts.alg, parts.bytes)
    }
}

impl Signature {
    /// # Errors
    /// [SIG-4]: an unknown algorithm, or a length that is not the algorithm's.
    pub fn new(alg: u8, bytes: Bytes) -> Result<Self, Malformed> {
        let expected = match alg {
            ALG_ED25519 => ED25519_BYTES,
            ALG_COMPOSITE => limits::SIGNATURE_BYTES_MAX,
            _ => return Err(Malformed::Rule { what: "signature", rule: "the algorithm is 1 or 2" }),
        };
        if bytes.len() != expected {
            return Err(Malformed::Rule { what: "signature", rule: "its length is its algorithm's" });
        }
        Ok(Self { alg, bytes })
    }

    /// An Ed25519 signature.
    #[must_use]
    pub fn ed25519(bytes: [u8; ED25519_BYTES]) -> Self {
        Self { alg: ALG_ED25519, bytes: Bytes::copy_from_slice(&bytes) }
    }

    /// [`ALG_ED25519`] or [`ALG_COMPOSITE`].
    #[must_use]
    pub const fn alg(&self) -> u8 {
        self.alg
    }

    /// The bytes, without the algorithm.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature {{ alg: {}, {} bytes }}", self.alg, self.bytes.len())
    }
}

/// Why there is no signature: the key is in a token, and the token refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token {token} did not sign; check that it is plugged in and unlocked")]
pub struct SignError {
    /// Which token, as the configuration names it.
    pub token: String,
}

/// Whatever signs for a node: a key in memory, or a token.
pub trait Signer: Send + Sync {
    /// The id of the key that [`Signer::sign`] uses.
    fn key_id(&self) -> KeyId;

    /// Signs `message`, which starts with its label.
    ///
    /// # Errors
    /// A token that does not answer. Keys in memory never fail.
    fn sign(&self, message: &[u8]) -> Result<Signature, SignError>;
}

/// A private Ed25519 key; erased from memory when dropped.
pub struct SigningKey(Box<ed25519_dalek::SigningKey>);

impl SigningKey {
    /// A new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(&seed)
    }

    /// The key of a seed (RFC 8032 §5.1.5).
    #[must_use]
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self(Box::new(ed25519_dalek::SigningKey::from_bytes(seed)))
    }

    /// The seed, for a key file.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }
}

impl Signer for SigningKey {
    fn key_id(&self) -> KeyId {
        self.verifying_key().key_id()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignError> {
        Ok(Signature::ed25519(self.0.sign(message).to_bytes()))
    }
}

/// The signature is not this key's over these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// Bytes that are no acceptable Ed25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a point of the curve.
    #[error("not an Ed25519 key")]
    NotAPoint,
    /// Another encoding of a point that has a shorter one.
    #[error("not the canonical encoding of an Ed25519 key")]
    NotCanonical,
    /// A point of small order: one signature verifies for every message.
    #[error("a weak Ed25519 key")]
    Weak,
}

/// A public Ed25519 key that is canonical and not weak.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// # Errors
    /// [`KeyError`] ([SIG-1]).
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        if key.to_edwards().compress().to_bytes() != *bytes {
            return Err(KeyError::NotCanonical);
        }
        Ok(Self(key))
    }

    /// Checks an Ed25519 signature over `message` ([SIG-2]).
    ///
    /// # Errors
    /// [`BadSignature`], also for every other algorithm.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        if signature.alg != ALG_ED25519 {
            return Err(BadSignature);
        }
        let signature = ed25519_dalek::Signature::from_slice(&signature.bytes).map_err(|_| BadSignature)?;
        self.0.verify_strict(message, &signature).map_err(|_| BadSignature)
    }

    /// First 8 bytes of SHA-256 over label, algorithm and key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        key_id(ALG_ED25519, self.0.as_bytes())
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.key_id())
    }
}

/// The id of a public key of any algorithm (SPEC.md, "Key id").
#[must_use]
pub fn key_id(alg: u8, public: &[u8]) -> KeyId {
    let [a, b, c, d, e, f, g, h, ..] = Hash::of(&[label::KEY, &[alg], public]).0;
    KeyId([a, b, c, d, e, f, g, h])
}

/// Signing keys by node and time. A roster has them.
pub trait SenderKeys {
    /// The key of `sender` with this id, if it was valid at `at`.
    fn verifying_key(&self, sender: &NodeId, key: KeyId, at: Timestamp) -> Option<VerifyingKey>;

    /// Whether the key that `sender` has no more at `at` was its key before.
    fn has_ended(&self, _sender: &NodeId, _key: KeyId, _at: Timestamp) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
