//! The postcard subset (SPEC.md, "Encoding"): encode, and decode what we would have encoded.

use std::fmt;

use postcard::ser_flavors::Flavor;
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::limits;
use crate::mutant::{Mutant, planted};

/// Why bytes are not what they should be. What is malformed is not echoed: it comes from a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than its bound in [`crate::limits`].
    #[error("{what}: {bytes} bytes, at most {bytes_max} allowed")]
    TooLong {
        /// What was decoded.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// Truncated, or a field holds a value that it cannot hold.
    #[error("{what}: does not decode")]
    Undecodable {
        /// What was decoded.
        what: &'static str,
    },
    /// Trailing bytes, or an encoding that is not the shortest: two byte strings must never mean the same.
    #[error("{what}: not in canonical form")]
    NotCanonical {
        /// What was decoded.
        what: &'static str,
    },
    /// Decodes, and breaks a rule of SPEC.md.
    #[error("{what}: {rule}")]
    Rule {
        /// What was decoded.
        what: &'static str,
        /// The rule, in words.
        rule: &'static str,
    },
}

/// Encodes in the postcard subset.
///
/// # Panics
/// Never for our types: they hold no maps, floats or sequences of unknown length, which is all that postcard refuses.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "the types of this crate hold nothing that postcard refuses")]
    postcard::to_allocvec(value).expect("encodable by construction")
}

/// As [`encode`], for what must not stay in memory: measured first and written once, so that no copy is left behind
/// by a buffer that grew.
///
/// # Panics
/// As [`encode`].
#[must_use]
pub fn encode_secret<T: Serialize>(value: &T) -> Zeroizing<Vec<u8>> {
    #[expect(clippy::expect_used, reason = "as in `encode`")]
    let bytes = {
        let length = postcard::experimental::serialized_size(value).expect("encodable by construction");
        // Room for a tag: sealing in place must not move it either.
        let buffer = Vec::with_capacity(length + limits::AEAD_TAG_BYTES);
        postcard::to_extend(value, buffer).expect("encodable by construction")
    };
    Zeroizing::new(bytes)
}

/// Decodes `bytes`, at most `bytes_max` of them, and refuses every form but the one that [`encode`] gives.
///
/// # Errors
/// [`Malformed`]; nothing is allocated beyond a small multiple of `bytes.len()`.
// [ENC-1] [ENC-2]
pub fn decode<T: Serialize + DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
    bytes_max: usize,
) -> Result<T, Malformed> {
    if bytes.len() > bytes_max {
        return Err(Malformed::TooLong { what, bytes: bytes.len(), bytes_max });
    }
    let (value, _) = postcard::take_from_bytes::<T>(bytes).map_err(|_| Malformed::Undecodable { what })?;
    if encodes_to(&value, bytes) || planted(Mutant::NonCanonicalDecoded) {
        Ok(value)
    } else {
        Err(Malformed::NotCanonical { what })
    }
}

/// Whether [`encode`] would give these bytes. Compares while it encodes: nothing is allocated, and no secret copied.
fn encodes_to<T: Serialize>(value: &T, bytes: &[u8]) -> bool {
    postcard::serialize_with_flavor(value, Expected { rest: bytes }).unwrap_or(false)
}

/// Takes encoded bytes and compares them with those that are expected.
struct Expected<'a> {
    rest: &'a [u8],
}

impl Flavor for Expected<'_> {
    type Output = bool;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.rest = self.rest.strip_prefix(bytes).ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<bool> {
        Ok(self.rest.is_empty())
    }
}

/// `N` bytes without a length: serde's own arrays end at 32.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fixed<const N: usize>(pub Box<[u8; N]>);

impl<const N: usize> Fixed<N> {
    /// # Errors
    /// `bytes` has another length than `N`.
    pub fn from_slice(what: &'static str, bytes: &[u8]) -> Result<Self, Malformed> {
        let array = <[u8; N]>::try_from(bytes).map_err(|_| Malformed::Undecodable { what })?;
        Ok(Self(Box::new(array)))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> fmt::Debug for Fixed<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{N} bytes]")
    }
}

impl<const N: usize> Serialize for Fixed<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(N)?;
        for byte in self.0.iter() {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de, const N: usize> Deserialize<'de> for Fixed<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes<const N: usize>;

        impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
            type Value = Fixed<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut array = Box::new([0u8; N]);
                for slot in array.iter_mut() {
                    *slot = seq.next_element()?.ok_or_else(|| A::Error::custom("truncated"))?;
                }
                Ok(Fixed(array))
            }
        }

        deserializer.deserialize_tuple(N, Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [ENC-1] [ENC-2]
    #[test]
    fn overlong_varints_and_trailing_bytes_are_refused() {
        assert_eq!(decode::<u32>("n", &[0x05], 10), Ok(5));
        assert_eq!(decode::<u32>("n", &[0x80, 0x00], 10), Err(Malformed::NotCanonical { what: "n" }));
        assert_eq!(decode::<u32>("n", &[0x05, 0x00], 10), Err(Malformed::NotCanonical { what: "n" }));
        assert_eq!(decode::<bool>("b", &[2], 10), Err(Malformed::Undecodable { what: "b" }));
    }

    // [ENC-3]
    #[test]
    fn a_claimed_length_past_the_input_fails() {
        let claim = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert!(decode::<Vec<u8>>("list", &claim, 100).is_err());
    }

    #[test]
    fn fixed_bytes_carry_no_length() {
        let fixed = Fixed::<64>(Box::new([7; 64]));
        assert_eq!(encode(&fixed), vec![7; 64]);
        assert_eq!(decode::<Fixed<64>>("sig", &[7; 64], 64), Ok(fixed));
    }
}
