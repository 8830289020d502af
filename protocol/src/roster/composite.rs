//! The roots' signatures: the IETF composite of ML-DSA-65 and Ed25519.
//!
//! `id-MLDSA65-Ed25519-SHA512`, OID 1.3.6.1.5.5.7.6.48 (draft-ietf-lamps-pq-composite-sigs, section "Composite
//! ML-DSA.Sign"). Both halves sign `M' = Prefix || Label || len(ctx) || ctx || SHA-512(M)`, and both must verify: a
//! forger has to break the lattice and the curve. Nothing here is ours but the composition's order of bytes.

use std::fmt;

use ed25519_dalek::Signer as _;
use ml_dsa::MlDsa65;
use rand_core::CryptoRng;
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use crate::codec::Fixed;
use crate::ids::KeyId;
use crate::sign::{self, ALG_COMPOSITE};

/// Bytes of an ML-DSA-65 public key (FIPS 204, table 2).
const ML_DSA_PUBLIC_BYTES: usize = 1952;
/// Bytes of an ML-DSA-65 signature.
const ML_DSA_SIGNATURE_BYTES: usize = 3309;
/// Bytes of an Ed25519 public key.
const ED25519_PUBLIC_BYTES: usize = 32;
/// Bytes of an Ed25519 signature.
const ED25519_SIGNATURE_BYTES: usize = 64;
/// A public key: ML-DSA's, then Ed25519's.
pub const ROOT_PUBLIC_BYTES: usize = ML_DSA_PUBLIC_BYTES + ED25519_PUBLIC_BYTES;
/// A signature: ML-DSA's, then Ed25519's.
pub const ROOT_SIGNATURE_BYTES: usize = ML_DSA_SIGNATURE_BYTES + ED25519_SIGNATURE_BYTES;
/// A secret key: ML-DSA's seed, then Ed25519's.
pub const ROOT_SECRET_BYTES: usize = 64;

const PREFIX: &[u8] = b"CompositeAlgorithmSignatures2025";
const LABEL: &[u8] = b"COMPSIG-MLDSA65-Ed25519-SHA512";

/// A root's public key.
#[derive(Clone)]
pub struct RootPublic {
    bytes: Fixed<ROOT_PUBLIC_BYTES>,
    ml_dsa: Box<ml_dsa::VerifyingKey<MlDsa65>>,
    ed25519: ed25519_dalek::VerifyingKey,
}

/// Why a public key is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootKeyError {
    /// Small order or not in canonical form: such a key may verify what nobody signed.
    #[error("the Ed25519 half of the root key is weak or not canonical")]
    BadPoint,
    /// Not of [`ROOT_PUBLIC_BYTES`] or [`ROOT_SECRET_BYTES`].
    #[error("a root key has {expected} bytes, not {bytes}")]
    Length {
        /// What came.
        bytes: usize,
        /// What was to come.
        expected: usize,
    },
}

/// The signature does not verify under this key, context and message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("composite signature does not verify")]
pub struct BadRootSignature;

impl RootPublic {
    /// # Errors
    /// [`RootKeyError`]; small-order and non-canonical Ed25519 points are refused here, once.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RootKeyError> {
        let length = RootKeyError::Length { bytes: bytes.len(), expected: ROOT_PUBLIC_BYTES };
        let fixed = Fixed::from_slice("root key", bytes).map_err(|_| length.clone())?;
        let (lattice, curve) = bytes.split_at_checked(ML_DSA_PUBLIC_BYTES).ok_or_else(|| length.clone())?;
        let encoded = ml_dsa::EncodedVerifyingKey::<MlDsa65>::try_from(lattice).map_err(|_| length.clone())?;
        let curve = <[u8; ED25519_PUBLIC_BYTES]>::try_from(curve).map_err(|_| length)?;
        let ed25519 = ed25519_dalek::VerifyingKey::from_bytes(&curve).map_err(|_| RootKeyError::BadPoint)?;
        if ed25519.is_weak() || ed25519.to_edwards().compress().to_bytes() != curve {
            return Err(RootKeyError::BadPoint);
        }
        Ok(Self { bytes: fixed, ml_dsa: Box::new(ml_dsa::VerifyingKey::decode(&encoded)), ed25519 })
    }

    /// ML-DSA's key, then Ed25519's.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; ROOT_PUBLIC_BYTES] {
        self.bytes.as_bytes()
    }

    /// The Ed25519 half.
    #[must_use]
    pub fn ed25519_bytes(&self) -> [u8; 32] {
        self.ed25519.to_bytes()
    }

    /// A hint for look-up, never a proof (SPEC.md, "Key id").
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        sign::key_id(ALG_COMPOSITE, self.as_bytes())
    }

    /// Checks `signature` over `message` in `context` (at most 255 bytes). Both halves must hold ([SIG-5]).
    ///
    /// # Errors
    /// [`BadRootSignature`], whatever the reason.
    pub fn verify(&self, context: &[u8], message: &[u8], signature: &[u8]) -> Result<(), BadRootSignature> {
        let (lattice, curve) = signature.split_at_checked(ML_DSA_SIGNATURE_BYTES).ok_or(BadRootSignature)?;
        let lattice = ml_dsa::Signature::<MlDsa65>::try_from(lattice).map_err(|_| BadRootSignature)?;
        let curve = ed25519_dalek::Signature::from_slice(curve).map_err(|_| BadRootSignature)?;
        let representative = representative(context, message).ok_or(BadRootSignature)?;
        if !self.ml_dsa.verify_with_context(&representative, LABEL, &lattice) {
            return Err(BadRootSignature);
        }
        self.ed25519.verify_strict(&representative, &curve).map_err(|_| BadRootSignature)
    }
}

impl PartialEq for RootPublic {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for RootPublic {}

impl fmt::Debug for RootPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootPublic({})", self.key_id())
    }
}

/// A root's secret key. It lives offline; only those who sign rosters ever hold one.
pub struct RootKey {
    secret: Box<Zeroizing<[u8; ROOT_SECRET_BYTES]>>,
    ml_dsa: Box<ml_dsa::ExpandedSigningKey<MlDsa65>>,
    ed25519: ed25519_dalek::SigningKey,
    public: RootPublic,
}

impl RootKey {
    /// Draws a new key.
    ///
    /// # Panics
    /// Never: a key made from a fresh seed is neither weak nor non-canonical.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut secret = Zeroizing::new([0; ROOT_SECRET_BYTES]);
        rng.fill_bytes(secret.as_mut_slice());
        #[expect(clippy::expect_used, reason = "the public point is a clamped multiple of the base point")]
        Self::from_secret(secret.as_slice()).expect("a fresh key is sound")
    }

    /// The inverse of [`RootKey::secret`].
    ///
    /// # Errors
    /// Not [`ROOT_SECRET_BYTES`] long.
    pub fn from_secret(bytes: &[u8]) -> Result<Self, RootKeyError> {
        let length = RootKeyError::Length { bytes: bytes.len(), expected: ROOT_SECRET_BYTES };
        let mut secret = Box::new(Zeroizing::new([0; ROOT_SECRET_BYTES]));
        if bytes.len() != ROOT_SECRET_BYTES {
            return Err(length);
        }
        secret.copy_from_slice(bytes);
        let (lattice, curve) = secret.split_first_chunk::<32>().ok_or_else(|| length.clone())?;
        let curve = curve.first_chunk::<32>().ok_or(length)?;
        let ml_dsa = Box::new(ml_dsa::ExpandedSigningKey::<MlDsa65>::from_seed(&(*lattice).into()));
        let ed25519 = ed25519_dalek::SigningKey::from_bytes(curve);
        let mut public = [0; ROOT_PUBLIC_BYTES];
        let halves = ml_dsa.verifying_key().encode().into_iter().chain(ed25519.verifying_key().to_bytes());
        for (slot, byte) in public.iter_mut().zip(halves) {
            *slot = byte;
        }
        let public = RootPublic::from_bytes(&public)?;
        Ok(Self { secret, ml_dsa, ed25519, public })
    }

    /// ML-DSA's seed, then Ed25519's.
    #[must_use]
    pub fn secret(&self) -> &[u8; ROOT_SECRET_BYTES] {
        &self.secret
    }

    /// What others verify with.
    #[must_use]
    pub const fn public(&self) -> &RootPublic {
        &self.public
    }

    /// Signs `message` in `context`, hedged with `rng` (FIPS 204, section 3.4).
    ///
    /// # Errors
    /// `context` is longer than 255 bytes.
    pub fn sign(&self, context: &[u8], message: &[u8], rng: &mut impl CryptoRng) -> Result<Vec<u8>, ContextTooLong> {
        let representative = representative(context, message).ok_or(ContextTooLong)?;
        let lattice = self.ml_dsa.sign_randomized(&representative, LABEL, rng).map_err(|_| ContextTooLong)?;
        let mut signature = lattice.encode().to_vec();
        signature.extend_from_slice(&self.ed25519.sign(&representative).to_bytes());
        Ok(signature)
    }
}

/// A context has at most 255 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signature's context has at most 255 bytes")]
pub struct ContextTooLong;

/// `M'`: what both halves sign.
fn representative(context: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let context_len = u8::try_from(context.len()).ok()?;
    let digest = Sha512::digest(message);
    Some([PREFIX, LABEL, &[context_len], context, digest.as_slice()].concat())
}

#[cfg(test)]
mod tests;
