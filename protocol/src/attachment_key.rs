//! The key of an attachment.

use hkdf::Hkdf;
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::envelope::expand;
use crate::label;

/// The key of one attachment. [CHUNK-3] New for every attachment: under one key, a chunk may hold one content only.
///
/// Clones with the message that it belongs to; each copy is erased from memory when dropped.
#[derive(Clone)]
pub struct AttachmentKey(Box<Zeroizing<[u8; 32]>>);

impl AttachmentKey {
    /// A new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut key = Self(Box::new(Zeroizing::new([0; 32])));
        rng.fill_bytes(key.0.as_mut_slice());
        key
    }

    /// A key that was kept.
    #[must_use]
    pub fn from_bytes(bytes: &Zeroizing<[u8; 32]>) -> Self {
        Self(Box::new(bytes.clone()))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn chunk_key(&self, index: u32, count: u32) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        let (index, count) = (u64::from(index).to_be_bytes(), u64::from(count).to_be_bytes());
        #[expect(clippy::expect_used, reason = "32 bytes are as long as the hash, which is all that HKDF asks")]
        let hkdf = Hkdf::<Sha256>::from_prk(self.as_bytes()).expect("a 32-byte key");
        expand(&hkdf, &[label::CHUNK, &index, &count], key.as_mut());
        key
    }
}

impl PartialEq for AttachmentKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for AttachmentKey {}

impl Serialize for AttachmentKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AttachmentKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; 32]>::deserialize(deserializer).map(|bytes| Self::from_bytes(&Zeroizing::new(bytes)))
    }
}
