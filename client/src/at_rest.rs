//! What the daemon keeps, it keeps encrypted: records of the store, under a key that no record holds.
//!
//! XChaCha20-Poly1305 with a random nonce for each write; the record's table and key are its additional data, so
//! that a record that was moved to another place does not open.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use liaison_protocol::label;
use liaison_protocol::mutant::{Mutant, planted};
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 24;

/// The record was altered, moved, or written under another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored record does not open: the record was altered, or was written under another identity key file")]
pub struct Unreadable;

/// The key of the records at rest. Derived from the identity key file, never stored.
pub struct AtRest {
    root: Zeroizing<[u8; 32]>,
    records: Zeroizing<[u8; 32]>,
}

impl AtRest {
    /// Derives the keys from a secret of the identity key file. The secret is used for nothing else under
    /// [`label::AT_REST`].
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let root = derive(secret, b"root");
        let records = derive(&root, b"records");
        Self { root, records }
    }

    /// A key that needs both this one and `salt`: erasing the salt erases what was sealed under it.
    #[must_use]
    pub fn salted(&self, salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        expand(&Hkdf::<Sha256>::new(Some(salt), self.root.as_ref()), &[label::AT_REST, b"salted"], &mut key);
        key
    }

    /// Encrypts a record that stands at `place`.
    #[must_use]
    pub fn seal(&self, place: &[u8], plain: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
        seal(&self.records, place, plain, rng)
    }

    /// Decrypts a record that stands at `place`.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        open(&self.records, place, sealed)
    }
}

fn derive(secret: &[u8; 32], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    expand(&Hkdf::<Sha256>::new(None, secret), &[label::AT_REST, purpose], &mut key);
    key
}

fn expand(prk: &Hkdf<Sha256>, info: &[&[u8]], key: &mut [u8; 32]) {
    #[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8,160 bytes, this asks for 32")]
    prk.expand_multi_info(info, key).expect("32 bytes");
}

/// `nonce[24] || XChaCha20-Poly1305(key, nonce, plain, aad = label || place)`.
#[must_use]
pub(crate) fn seal(key: &[u8; 32], place: &[u8], plain: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    let aad = aad(place);
    let cipher = XChaCha20Poly1305::new(key.into());
    #[expect(clippy::expect_used, reason = "the AEAD fails only past 256 GiB, and records are at most a few MiB")]
    let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &aad }).expect("short record");
    let mut record = Vec::with_capacity(NONCE_BYTES + sealed.len());
    record.extend_from_slice(&nonce);
    record.extend_from_slice(&sealed);
    record
}

pub(crate) fn open(key: &[u8; 32], place: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Unreadable)?;
    let aad = aad(place);
    XChaCha20Poly1305::new(key.into())
        .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &aad })
        .map(Zeroizing::new)
        .map_err(|_| Unreadable)
}

fn aad(place: &[u8]) -> Vec<u8> {
    let place = if planted(Mutant::RecordOpensAnywhere) { b"" } else { place };
    [label::AT_REST, place].concat()
}

#[cfg(test)]
mod tests {
    use getrandom::SysRng;
    use rand_core::UnwrapErr;

    use super::*;

    #[test]
    fn a_record_opens_only_where_it_was_written_and_unaltered() {
        let (at_rest, mut rng) = (AtRest::new(&[7; 32]), UnwrapErr(SysRng));
        let sealed = at_rest.seal(b"inbox/1", b"text", &mut rng);
        assert_eq!(at_rest.open(b"inbox/1", &sealed).unwrap().as_slice(), b"text");
        assert_eq!(at_rest.open(b"inbox/2", &sealed).unwrap_err(), Unreadable);
        assert_eq!(AtRest::new(&[8; 32]).open(b"inbox/1", &sealed).unwrap_err(), Unreadable);
        for index in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[index] ^= 1;
            assert_eq!(at_rest.open(b"inbox/1", &altered).unwrap_err(), Unreadable);
            assert_eq!(at_rest.open(b"inbox/1", &sealed[..index]).unwrap_err(), Unreadable);
        }
    }

    #[test]
    fn a_salted_key_needs_its_salt() {
        let at_rest = AtRest::new(&[7; 32]);
        assert_eq!(*at_rest.salted(&[1; 32]), *at_rest.salted(&[1; 32]));
        assert_ne!(*at_rest.salted(&[1; 32]), *at_rest.salted(&[2; 32]));
    }
}
