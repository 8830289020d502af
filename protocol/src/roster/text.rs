//! How keys, hashes and words stand in the roster's JSON: 16 and 32 bytes as lower-case hex, root keys as base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::composite::RootPublic;
use crate::hash::Hash;
use crate::ids::FederationId;
use crate::precedence::Precedence;
use crate::sign::VerifyingKey;

/// Bytes as lower-case hex.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The inverse of [`to_hex`]: upper case is refused, so that a value has one form.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (slot, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *slot = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// A value that is hex in JSON.
pub(crate) trait Hex: Sized {
    fn to_text(&self) -> String;
    fn from_text(text: &str) -> Result<Self, String>;
}

impl Hex for [u8; 32] {
    fn to_text(&self) -> String {
        to_hex(self)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        from_hex(text).ok_or_else(|| "64 lower-case hex digits expected".into())
    }
}

impl Hex for Hash {
    fn to_text(&self) -> String {
        to_hex(&self.0)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        <[u8; 32]>::from_text(text).map(Self)
    }
}

impl Hex for FederationId {
    fn to_text(&self) -> String {
        to_hex(&self.0)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        from_hex(text).map(Self).ok_or_else(|| "32 lower-case hex digits expected".into())
    }
}

impl Hex for VerifyingKey {
    fn to_text(&self) -> String {
        to_hex(self.as_bytes())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_bytes(&<[u8; 32]>::from_text(text)?).map_err(|error| error.to_string())
    }
}

/// For `#[serde(with = "hex")]`.
pub(crate) mod hex {
    use super::*;

    pub(crate) fn serialize<T: Hex, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_text())
    }

    pub(crate) fn deserialize<'de, T: Hex, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        T::from_text(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// For `#[serde(with = "hex_list")]`.
pub(crate) mod hex_list {
    use super::*;

    pub(crate) fn serialize<T: Hex, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(Hex::to_text))
    }

    pub(crate) fn deserialize<'de, T: Hex, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| T::from_text(text).map_err(D::Error::custom)).collect()
    }
}

/// For `#[serde(with = "root_list")]`.
pub(crate) mod root_list {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(keys: &[RootPublic], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(keys.iter().map(|key| STANDARD.encode(key.as_bytes())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RootPublic>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let key = |text: &String| {
            let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
            RootPublic::from_bytes(&bytes).map_err(D::Error::custom)
        };
        texts.iter().map(key).collect()
    }
}

/// For `#[serde(with = "precedence")]`: the word, not the number.
pub(crate) mod precedence {
    use super::*;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(crate) fn serialize<S: Serializer>(value: &Precedence, serializer: S) -> Result<S::Ok, S::Error> {
        value.as_str().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Precedence, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
