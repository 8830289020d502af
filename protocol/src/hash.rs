//! SHA-256 with domain separation.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// All zero: "no hash", where SPEC.md says so.
    pub const ZERO: Self = Self([0; 32]);

    /// Hashes the parts, one after another, as one message.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `lp8(x)`: one length byte, then the bytes (SPEC.md, "Notation"). Callers pass names, which are at most 63 bytes.
pub(crate) fn push_lp8(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.len() <= 255, "lp8 carries names only");
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}
