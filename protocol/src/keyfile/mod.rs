//! Private keys at rest: Argon2id and XChaCha20-Poly1305 (SPEC.md, "Key files").
//!
//! ```text
//!  "LSNK" | u8 1 | u8 1 (Argon2id 0x13) | m_kib u32be | t u32be | p u8 | salt[16] | nonce[24] | sealed key list
//! ```
//! The additional data is the label and everything before the sealed list.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::codec::{self, Malformed};
use crate::{bounded, label};

#[cfg(test)]
mod tests;

const MAGIC: &[u8; 6] = b"LSNK\x01\x01";
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const HEAD_BYTES: usize = MAGIC.len() + 4 + 4 + 1 + SALT_BYTES + NONCE_BYTES;
const WHAT: &str = "key file";

/// A key file, at most.
pub const KEYFILE_BYTES_MAX: usize = 64 * 1024;
/// Keys in one file.
const KEYS_MAX: usize = 64;
/// Bytes of one secret: a composite root key has 64.
const SECRET_BYTES_MAX: usize = 128;

/// What a key is for. One key, one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyRole {
    /// Signs envelopes, receipts and prekey bundles: a 32-byte Ed25519 seed.
    Signing,
    /// Signs rosters: 64 bytes, the seeds of ML-DSA-65 and Ed25519.
    Root,
    /// Withdraws its own agency's keys: a 32-byte Ed25519 seed.
    Revocation,
    /// Encrypts a daemon's records: 32 bytes.
    AtRest,
}

/// One secret in a key file.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyEntry {
    /// What it is for.
    pub role: KeyRole,
    /// Whose it is: a node's name, or what its holder calls it; at most 64 bytes.
    #[serde(deserialize_with = "bounded::text::<_, 64>")]
    pub name: String,
    /// The secret itself.
    pub secret: Secret,
}

/// 1 to 128 bytes that are erased from memory when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// # Errors
    /// `None` for no bytes, or more than 128.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        (1..=SECRET_BYTES_MAX).contains(&bytes.len()).then(|| Self(Zeroizing::new(bytes.to_vec())))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, if there are 32 of them: a seed.
    #[must_use]
    pub fn seed(&self) -> Option<Zeroizing<[u8; 32]>> {
        let mut seed = Zeroizing::new([0; 32]);
        if self.0.len() != seed.len() {
            return None;
        }
        seed.copy_from_slice(&self.0);
        Some(seed)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Zeroizing::new(bounded::bytes::<D, SECRET_BYTES_MAX>(deserializer)?);
        if bytes.is_empty() {
            return Err(serde::de::Error::custom("an empty secret"));
        }
        Ok(Self(bytes))
    }
}

#[derive(Serialize, Deserialize)]
struct KeyList {
    #[serde(deserialize_with = "bounded::list::<_, _, KEYS_MAX>")]
    keys: Vec<KeyEntry>,
}

/// What Argon2id costs whoever guesses passphrases, and us once at start (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfCost {
    memory_kib: u32,
    passes: u32,
    lanes: u8,
}

impl KdfCost {
    /// 64 MiB, 3 passes, 4 lanes (RFC 9106 §4, second choice): about 0.6 s.
    pub const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
    /// 8 MiB, 1 pass, 1 lane: for tests and throw-away federations.
    pub const MINIMUM: Self = Self { memory_kib: 8 * 1024, passes: 1, lanes: 1 };

    /// # Errors
    /// [FILE-1]: memory outside 8 MiB to 1 GiB, passes outside 1 to 10, lanes outside 1 to 16: a planted file must not exhaust
    /// the machine that reads it.
    pub const fn new(memory_kib: u32, passes: u32, lanes: u8) -> Result<Self, KeyfileError> {
        let memory = memory_kib >= 8 * 1024 && memory_kib <= 1024 * 1024;
        if memory && passes >= 1 && passes <= 10 && lanes >= 1 && lanes <= 16 {
            Ok(Self { memory_kib, passes, lanes })
        } else {
            Err(KeyfileError::Cost { memory_kib, passes, lanes })
        }
    }

    /// Memory in KiB.
    #[must_use]
    pub const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }
}

/// Why a key file does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyfileError {
    /// Its cost is out of bounds.
    #[error(
        "the key file asks for {memory_kib} KiB, {passes} passes and {lanes} lanes; allowed are 8 MiB to 1 GiB, \
         1 to 10 and 1 to 16"
    )]
    Cost {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u8,
    },
    /// There is no passphrase.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// It does not look like one.
    #[error("not a Liaison key file")]
    NotAKeyfile,
    /// It opened, and holds what it should not.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The machine has not enough memory for the cost that the file names.
    #[error("not enough memory to open the key file")]
    Memory,
    /// The passphrase is wrong, or the file is damaged: they look the same.
    #[error("wrong passphrase, or the key file is damaged")]
    WrongPassphrase,
}

/// A key file with `keys`. Draws salt (16 bytes), then nonce (24), from `rng`.
///
/// # Errors
/// [`KeyfileError::EmptyPassphrase`], [`KeyfileError::Memory`], and [`KeyfileError::Malformed`] for more keys or
/// longer names than can be read back.
pub fn seal_keys(
    passphrase: &[u8],
    keys: &[KeyEntry],
    cost: KdfCost,
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, KeyfileError> {
    if keys.len() > KEYS_MAX || keys.iter().any(|key| key.name.len() > 64) {
        return Err(Malformed::Rule { what: WHAT, rule: "at most 64 keys with names of at most 64 bytes" }.into());
    }
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&cost.memory_kib.to_be_bytes());
    head.extend_from_slice(&cost.passes.to_be_bytes());
    head.push(cost.lanes);
    let mut random = [0; SALT_BYTES + NONCE_BYTES];
    rng.fill_bytes(&mut random);
    head.extend_from_slice(&random);

    let (salt, nonce) = random.split_at(SALT_BYTES);
    let mut list = codec::encode_secret(&KeyList { keys: keys.to_vec() });
    let key = derive(passphrase, salt, cost)?;
    let nonce = <[u8; NONCE_BYTES]>::try_from(nonce).map_err(|_| KeyfileError::NotAKeyfile)?;
    xchacha_seal(&key, nonce, &aad(&head), &mut list)?;
    head.extend_from_slice(&list);
    Ok(head)
}

/// The keys of a file. Memory is bounded by [`KdfCost::new`]'s rule.
///
/// # Errors
/// [`KeyfileError`].
pub fn open_keys(passphrase: &[u8], bytes: &[u8]) -> Result<Vec<KeyEntry>, KeyfileError> {
    if bytes.len() > KEYFILE_BYTES_MAX {
        return Err(KeyfileError::NotAKeyfile);
    }
    let (head, sealed) = bytes.split_at_checked(HEAD_BYTES).ok_or(KeyfileError::NotAKeyfile)?;
    let (cost, salt, nonce) = read_head(head)?;
    let key = derive(passphrase, &salt, cost)?;
    let list = xchacha_open(&key, nonce, &aad(head), sealed)?;
    Ok(codec::decode::<KeyList>(WHAT, &list, KEYFILE_BYTES_MAX)?.keys)
}

type Head = (KdfCost, [u8; SALT_BYTES], [u8; NONCE_BYTES]);

fn read_head(head: &[u8]) -> Result<Head, KeyfileError> {
    let rest = head.strip_prefix(MAGIC).ok_or(KeyfileError::NotAKeyfile)?;
    let fields = || {
        let (memory_kib, rest) = rest.split_first_chunk()?;
        let (passes, rest) = rest.split_first_chunk()?;
        let (lanes, rest) = rest.split_first()?;
        let (salt, rest) = rest.split_first_chunk()?;
        Some((u32::from_be_bytes(*memory_kib), u32::from_be_bytes(*passes), *lanes, *salt, *rest.first_chunk()?))
    };
    let (memory_kib, passes, lanes, salt, nonce) = fields().ok_or(KeyfileError::NotAKeyfile)?;
    Ok((KdfCost::new(memory_kib, passes, lanes)?, salt, nonce))
}

/// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), in place.
pub(crate) fn xchacha_seal(
    key: &[u8; 32],
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    plain: &mut Vec<u8>,
) -> Result<(), KeyfileError> {
    let cipher = XChaCha20Poly1305::new(key.into());
    cipher.encrypt_in_place(&nonce.into(), aad, plain).map_err(|_| KeyfileError::NotAKeyfile)
}

/// The inverse of [`xchacha_seal`].
pub(crate) fn xchacha_open(
    key: &[u8; 32],
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    let mut plain = Zeroizing::new(sealed.to_vec());
    let cipher = XChaCha20Poly1305::new(key.into());
    cipher.decrypt_in_place(&nonce.into(), aad, &mut *plain).map_err(|_| KeyfileError::WrongPassphrase)?;
    Ok(plain)
}

fn aad(head: &[u8]) -> Vec<u8> {
    [label::KEYFILE, head].concat()
}

fn derive(passphrase: &[u8], salt: &[u8], cost: KdfCost) -> Result<Zeroizing<[u8; 32]>, KeyfileError> {
    if passphrase.is_empty() {
        return Err(KeyfileError::EmptyPassphrase);
    }
    let params = Params::new(cost.memory_kib, cost.passes, u32::from(cost.lanes), Some(32));
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(|_| KeyfileError::Memory)?);
    let mut key = Zeroizing::new([0; 32]);
    argon2.hash_password_into(passphrase, salt, key.as_mut()).map_err(|_| KeyfileError::Memory)?;
    Ok(key)
}
