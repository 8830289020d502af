//! The key schedule of one envelope, and its body (SPEC.md, "Keys of one envelope").

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::Sha256;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use super::Header;
use crate::hash::Hash;
use crate::label;
use crate::mutant::{Mutant, planted};

/// The key of one envelope's content, made anew for each. Whoever has it can read that one message and nothing else;
/// erased from memory when dropped.
pub struct ContentKey(Box<Zeroizing<[u8; 32]>>);

impl ContentKey {
    /// A new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut key = Self(Box::new(Zeroizing::new([0; 32])));
        rng.fill_bytes(key.0.as_mut_slice());
        key
    }

    /// A key that seals nothing: a wrap that does not open is followed by the same work as one that does.
    pub(crate) fn none() -> Self {
        Self(Box::new(Zeroizing::new([0; 32])))
    }

    /// A key that was revealed or kept.
    ///
    /// # Errors
    /// `None` unless there are 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Self(Box::new(Zeroizing::new([0; 32])));
        if bytes.len() != key.0.len() {
            return None;
        }
        key.0.copy_from_slice(bytes);
        Some(key)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The body does not open. One error for commitment, tag and padding: a peer must not learn which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentError;

/// What a content key turns into under one header.
pub(crate) struct BodyKeys {
    body_key: Zeroizing<[u8; 32]>,
    commit: Hash,
}

impl BodyKeys {
    /// Depends on the header's suite, federation, sender and nonce.
    pub(crate) fn derive(header: &Header, key: &ContentKey) -> Self {
        #[cfg(test)]
        work::note(work::Step::Keys);
        let hkdf = Hkdf::<Sha256>::new(Some(&header.nonce), key.as_bytes());
        let context = header.context();
        let mut keys = Self { body_key: Zeroizing::new([0; 32]), commit: Hash::ZERO };
        expand(&hkdf, &[label::BODY_KEY, &context], keys.body_key.as_mut());
        expand(&hkdf, &[label::COMMIT, &context], &mut keys.commit.0);
        keys
    }

    /// For the header.
    pub(crate) const fn commit(&self) -> Hash {
        self.commit
    }

    /// Seals a padded message in place. Once for each key: the nonce is zero.
    pub(crate) fn seal(&self, header: &Header, padded: &mut Vec<u8>) -> Result<(), ContentError> {
        seal_once(&self.body_key, &header.body_aad(), padded)
    }

    /// The padded message. [SEAL-2]: the commitment is checked first. A key that fails it is replaced by one that opens
    /// nothing, so that a wrong commitment costs the same as a wrong tag ([SEAL-4]).
    pub(crate) fn open(&self, header: &Header, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, ContentError> {
        let unchecked = Choice::from(u8::from(planted(Mutant::CommitmentUnchecked)));
        let committed = self.commit.0.ct_eq(&header.commit.0) | unchecked;
        let Hash(nobodys) = Hash::of(&[label::BODY_KEY, self.body_key.as_slice(), &self.commit.0]);
        let mut key = Zeroizing::new([0; 32]);
        for ((byte, nobodys), own) in key.iter_mut().zip(nobodys).zip(self.body_key.iter()) {
            *byte = u8::conditional_select(&nobodys, own, committed);
        }
        #[cfg(test)]
        work::note(work::Step::Body(body.len()));
        open_once(&key, &header.body_aad(), body)
    }
}

/// HKDF-Expand-SHA256 over the concatenated `info`.
pub(crate) fn expand(hkdf: &Hkdf<Sha256>, info: &[&[u8]], out: &mut [u8]) {
    #[expect(clippy::expect_used, reason = "32 bytes are within HKDF's 8,160")]
    hkdf.expand_multi_info(info, out).expect("32 bytes of output");
}

/// The nonce of keys that seal once.
const ZERO_NONCE: [u8; 12] = [0; 12];

/// ChaCha20-Poly1305 with a zero nonce, in place: `key` must never seal anything else.
pub(crate) fn seal_once(key: &[u8; 32], aad: &[u8], plain: &mut Vec<u8>) -> Result<(), ContentError> {
    chacha_seal(key, ZERO_NONCE, aad, plain)
}

/// The inverse of [`seal_once`].
pub(crate) fn open_once(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, ContentError> {
    chacha_open(key, ZERO_NONCE, aad, sealed)
}

/// ChaCha20-Poly1305 (RFC 8439), in place.
pub(crate) fn chacha_seal(
    key: &[u8; 32],
    nonce: [u8; 12],
    aad: &[u8],
    plain: &mut Vec<u8>,
) -> Result<(), ContentError> {
    let cipher = ChaCha20Poly1305::new(key.into());
    cipher.encrypt_in_place(&nonce.into(), aad, plain).map_err(|_| ContentError)
}

/// The inverse of [`chacha_seal`].
pub(crate) fn chacha_open(
    key: &[u8; 32],
    nonce: [u8; 12],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ContentError> {
    let mut plain = Zeroizing::new(sealed.to_vec());
    let cipher = ChaCha20Poly1305::new(key.into());
    cipher.decrypt_in_place(&nonce.into(), aad, &mut *plain).map_err(|_| ContentError)?;
    Ok(plain)
}

/// The steps of opening, counted: what fails must have cost as much as what does not.
#[cfg(test)]
pub(crate) mod work {
    use std::cell::RefCell;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Step {
        /// HPKE.
        Wrap,
        /// HKDF.
        Keys,
        /// The tag over so many bytes.
        Body(usize),
    }

    thread_local!(static STEPS: RefCell<Vec<Step>> = const { RefCell::new(Vec::new()) });

    pub(crate) fn note(step: Step) {
        STEPS.with_borrow_mut(|steps| steps.push(step));
    }

    /// What this thread has done since it was last asked.
    pub(crate) fn take() -> Vec<Step> {
        STEPS.take()
    }
}
