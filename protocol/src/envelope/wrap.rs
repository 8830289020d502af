//! One recipient's copy of the content key.

use bytes::Bytes;

use crate::codec::Malformed;
use crate::hash::Hash;
use crate::limits;

/// HPKE `enc` (1,120 bytes), then the sealed content key (48), for the recipient at `index` of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrap {
    /// Which of the header's recipients it is for.
    pub index: u16,
    bytes: Bytes,
}

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

    /// `enc`, and the sealed content key.
    pub(crate) fn split(&self) -> (&[u8], &[u8]) {
        self.bytes.split_at(limits::ENC_BYTES.min(self.bytes.len()))
    }
}
