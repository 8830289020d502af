//! One recipient's copy of the content key: HPKE base mode, RFC 9180 (SPEC.md, "Wraps").

use bytes::Bytes;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::{Deserializable, HpkeError, Kem, OpModeR, OpModeS, Serializable};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::ContentKey;
use crate::codec::Malformed;
use crate::hash::Hash;
use crate::limits;
use crate::prekey::{PrekeyPublic, PrekeySecret, is_contributory};

/// HPKE `enc` (1,120 bytes), then the sealed content key (48), for the recipient at `index` of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrap {
    /// Which of the header's recipients it is for.
    pub index: u16,
    bytes: Bytes,
}

/// The wrap is not for this prekey under this `info`, or its X25519 share has small order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrapError;

impl Wrap {
    /// # Errors
    /// Any length but [`limits::WRAP_BYTES`].
    pub fn new(index: u16, bytes: Bytes) -> Result<Self, Malformed> {
        if bytes.len() != limits::WRAP_BYTES {
            return Err(Malformed::Rule { what: "wrap", rule: "it has 1,168 bytes" });
        }
        Ok(Self { index, bytes })
    }

    /// [`limits::WRAP_BYTES`] of them.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the signed header holds for this wrap: SHA-256 of its bytes.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&[&self.bytes])
    }

    /// Seals `key` to `prekey`. Draws 64 bytes: 32 for ML-KEM, 32 for X25519.
    pub(crate) fn seal(
        index: u16,
        prekey: &PrekeyPublic,
        info: &[u8],
        key: &ContentKey,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, WrapError> {
        let bytes = hpke_seal::<hpke::kem::XWing>(prekey.hpke(), info, b"", key.as_bytes(), rng);
        Self::new(index, bytes.map_err(|_| WrapError)?.into()).map_err(|_| WrapError)
    }

    /// The content key.
    pub(crate) fn open(&self, prekey: &PrekeySecret, info: &[u8]) -> Result<ContentKey, WrapError> {
        let (enc, sealed) = self.bytes.split_at_checked(limits::ENC_BYTES).ok_or(WrapError)?;
        // [SEAL-3] Implementations differ on whether such a share opens; without this rule a sender could make a wrap that one
        // recipient's software opens and another's refuses (draft-connolly-cfrg-xwing-kem, RFC 7748 §6.1).
        let contributory = enc.last_chunk().is_some_and(is_contributory);
        #[cfg(test)]
        super::body::work::note(super::body::work::Step::Wrap);
        // [SEAL-4] Also for a share that is refused: it costs what any other does.
        let key = hpke_open::<hpke::kem::XWing>(prekey.hpke(), enc, info, b"", sealed).map_err(|_| WrapError)?;
        ContentKey::from_slice(&key).filter(|_| contributory).ok_or(WrapError)
    }
}

/// `enc || ciphertext` of the first message in a base-mode context. Generic over the KEM so that the published vectors
/// of RFC 9180 run through it too.
pub(crate) fn hpke_seal<K: Kem>(
    public: &K::PublicKey,
    info: &[u8],
    aad: &[u8],
    plain: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, HpkeError> {
    let (enc, mut context) =
        hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, K>(&OpModeS::Base, public, info, rng)?;
    let mut out = enc.to_bytes().to_vec();
    out.extend_from_slice(&context.seal(plain, aad)?);
    Ok(out)
}

/// The inverse of [`hpke_seal`].
pub(crate) fn hpke_open<K: Kem>(
    secret: &K::PrivateKey,
    enc: &[u8],
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HpkeError> {
    let enc = K::EncappedKey::from_bytes(enc)?;
    let mut context = hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, K>(&OpModeR::Base, secret, &enc, info)?;
    context.open(sealed, aad).map(Zeroizing::new)
}
