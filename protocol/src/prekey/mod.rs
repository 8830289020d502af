//! Calendar prekeys: X-Wing keys that an agency publishes ahead, a day each (SPEC.md, "Prekeys").
//!
//! A bundle signs the keys' hashes, about 1.8 KB for 35 days; the keys themselves (1,216 bytes) travel apart and are
//! checked against it. A sender that was cut off for weeks still seals to today's key.

mod bundle;
mod position;

#[cfg(test)]
mod tests;

use std::fmt;

use hpke::kem::XWing;
use hpke::{Deserializable, Kem, Serializable};
use rand_core::CryptoRng;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

pub use bundle::{
    BundleError, BundleOrder, PrekeyBundle, PrekeyEntry, SignBundleError, SignedBundle, VerifiedBundle, recall_bundle,
    sign_bundle, signer_of, verify_bundle,
};
pub use position::{BundlePosition, Succession};

use crate::codec::Fixed;
use crate::hash::Hash;
use crate::ids::PrekeyId;
use crate::{label, limits};

/// Bytes that are no acceptable X-Wing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrekeyError {
    /// Its X25519 share is of small order: what is sealed to it, others could open.
    #[error("a prekey whose X25519 share has small order")]
    LowOrder,
    /// Its length is wrong, or a coefficient of its ML-KEM share is out of range (FIPS 203 §7.2).
    #[error("not an X-Wing key")]
    NotAKey,
}

/// A public X-Wing key, checked: 1,184 bytes of ML-KEM-768, then 32 of X25519.
#[derive(Clone)]
pub struct PrekeyPublic {
    bytes: Fixed<{ limits::PREKEY_BYTES }>,
    key: Box<<XWing as Kem>::PublicKey>,
    id: Hash,
}

impl PrekeyPublic {
    /// # Errors
    /// [`PrekeyError`] ([PREKEY-1]).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PrekeyError> {
        let fixed = Fixed::from_slice("prekey", bytes).map_err(|_| PrekeyError::NotAKey)?;
        let key = <XWing as Kem>::PublicKey::from_bytes(bytes).map_err(|_| PrekeyError::NotAKey)?;
        if !bytes.last_chunk().is_some_and(is_contributory) {
            return Err(PrekeyError::LowOrder);
        }
        Ok(Self { bytes: fixed, key: Box::new(key), id: prekey_hash(bytes) })
    }

    /// The 1,216 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; limits::PREKEY_BYTES] {
        self.bytes.as_bytes()
    }

    /// SHA-256 over label and key.
    #[must_use]
    pub const fn id(&self) -> Hash {
        self.id
    }

    /// The first 16 bytes of [`PrekeyPublic::id`], as headers carry it.
    #[must_use]
    pub fn prekey_id(&self) -> PrekeyId {
        short_id(&self.id)
    }

    pub(crate) fn hpke(&self) -> &<XWing as Kem>::PublicKey {
        &self.key
    }
}

impl PartialEq for PrekeyPublic {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for PrekeyPublic {}

impl fmt::Debug for PrekeyPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrekeyPublic({})", self.prekey_id())
    }
}

/// A private X-Wing key; erased from memory when dropped.
pub struct PrekeySecret {
    seed: Box<Zeroizing<[u8; 32]>>,
    key: Box<<XWing as Kem>::PrivateKey>,
    id: Hash,
}

impl PrekeySecret {
    /// A new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(&seed)
    }

    /// The key of a seed (draft-connolly-cfrg-xwing-kem §5.2).
    #[must_use]
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        #[expect(clippy::expect_used, reason = "an X-Wing private key is any 32 bytes")]
        let key = <XWing as Kem>::PrivateKey::from_bytes(seed.as_ref()).expect("32 bytes");
        let id = prekey_hash(&XWing::sk_to_pk(&key).to_bytes());
        Self { seed: Box::new(seed.clone()), key: Box::new(key), id }
    }

    /// The seed, to be kept encrypted.
    #[must_use]
    pub fn seed(&self) -> &Zeroizing<[u8; 32]> {
        &self.seed
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PrekeyPublic {
        let key = XWing::sk_to_pk(&self.key);
        let bytes: [u8; limits::PREKEY_BYTES] = key.to_bytes().into();
        PrekeyPublic { bytes: Fixed(Box::new(bytes)), key: Box::new(key), id: self.id }
    }

    /// As [`PrekeyPublic::id`].
    #[must_use]
    pub const fn id(&self) -> Hash {
        self.id
    }

    /// As [`PrekeyPublic::prekey_id`].
    #[must_use]
    pub fn prekey_id(&self) -> PrekeyId {
        short_id(&self.id)
    }

    pub(crate) fn hpke(&self) -> &<XWing as Kem>::PrivateKey {
        &self.key
    }
}

fn prekey_hash(public: &[u8]) -> Hash {
    Hash::of(&[label::PREKEY, public])
}

pub(crate) fn short_id(id: &Hash) -> PrekeyId {
    let mut short = [0; 16];
    short.iter_mut().zip(id.0).for_each(|(to, from)| *to = from);
    PrekeyId(short)
}

/// Whether X25519 with `share` gives something that depends on both sides (RFC 7748 §6.1). A share of small order
/// gives zero with every scalar, so any one scalar shows it.
pub(crate) fn is_contributory(share: &[u8; 32]) -> bool {
    StaticSecret::from([0x5a; 32]).diffie_hellman(&PublicKey::from(*share)).was_contributory()
}
