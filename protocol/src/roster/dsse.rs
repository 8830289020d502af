//! DSSE v1 (github.com/secure-systems-lab/dsse, `envelope.md` and `protocol.md`): a payload of any kind with its
//! signatures beside it. What is signed is the payload's bytes as they came, never a re-serialisation.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::json::JsonError;
use crate::mutant::{Mutant, planted};

/// Signatures beside one payload; each costs a verification.
pub(crate) const SIGNATURES_MAX: usize = 64;

/// A payload with signatures, as received: nothing in it is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dsse {
    /// What the payload is (a media type). It is signed with it.
    pub payload_type: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// Who claims to have signed, and the signatures.
    pub signatures: Vec<DsseSignature>,
}

/// One signature beside a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DsseSignature {
    /// Lower-case hex of the key's id: a hint, which is not signed.
    pub key_id: String,
    /// The signature over [`Dsse::pae`].
    pub signature: Vec<u8>,
}

/// Why bytes are not a DSSE envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DsseError {
    /// Not standard base64 with padding.
    #[error("DSSE: {field} is not base64")]
    Base64 {
        /// Which field.
        field: &'static str,
    },
    /// A key id stands beside two signatures.
    #[error("DSSE: two signatures of one key")]
    DuplicateKey,
    /// Too long.
    #[error("DSSE: {0}")]
    Json(#[from] JsonError),
    /// Not JSON, or a field is missing, unknown, of another type, or there twice.
    #[error("DSSE: {detail}")]
    Shape {
        /// What the parser says.
        detail: String,
    },
    /// More than [`SIGNATURES_MAX`].
    #[error("DSSE: {count} signatures, at most {SIGNATURES_MAX} allowed")]
    TooManySignatures {
        /// How many.
        count: usize,
    },
    /// Another type than the one expected.
    #[error("DSSE: the payload is a '{found}', not a '{expected}'")]
    Type {
        /// What the envelope says, shortened.
        found: String,
        /// What was to come.
        expected: &'static str,
    },
}

/// Read straight from the text: nothing is made of what has no place here, and the payload is not copied.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow)]
    payload_type: Cow<'a, str>,
    #[serde(borrow)]
    payload: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "signatures")]
    signatures: Vec<WireSignature<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature<'a> {
    #[serde(borrow)]
    keyid: Cow<'a, str>,
    #[serde(borrow)]
    sig: Cow<'a, str>,
}

/// One more than may be, at most: what follows is read and not kept.
fn signatures<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<WireSignature<'de>>, D::Error> {
    struct Signatures;

    impl<'de> Visitor<'de> for Signatures {
        type Value = Vec<WireSignature<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of signatures")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut signatures = Vec::new();
            while signatures.len() <= SIGNATURES_MAX {
                let Some(signature) = seq.next_element()? else { return Ok(signatures) };
                signatures.push(signature);
            }
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(signatures)
        }
    }

    deserializer.deserialize_seq(Signatures)
}

impl Dsse {
    /// Reads an envelope of `payload_type` whose payload has at most `payload_bytes_max` bytes.
    ///
    /// # Errors
    /// [`DsseError`]. The payload itself is not looked at.
    pub fn decode(bytes: &[u8], payload_type: &'static str, payload_bytes_max: usize) -> Result<Self, DsseError> {
        let bytes_max = payload_bytes_max / 3 * 4 + SIGNATURES_MAX * 8192 + 4096;
        if bytes.len() > bytes_max {
            return Err(JsonError::TooLong { bytes: bytes.len(), bytes_max }.into());
        }
        let shape = |error: serde_json::Error| DsseError::Shape { detail: error.to_string() };
        // [ROSTER-4]
        let wire: Wire<'_> = serde_json::from_slice(bytes).map_err(shape)?;
        if wire.payload_type != payload_type {
            let found = wire.payload_type.chars().take(80).collect();
            return Err(DsseError::Type { found, expected: payload_type });
        }
        if wire.signatures.len() > SIGNATURES_MAX {
            return Err(DsseError::TooManySignatures { count: wire.signatures.len() });
        }
        // [ROSTER-15]
        let keys: BTreeSet<&str> = wire.signatures.iter().map(|entry| &*entry.keyid).collect();
        if keys.len() < wire.signatures.len() && !planted(Mutant::SignerCountsTwice) {
            return Err(DsseError::DuplicateKey);
        }
        let payload = base64("payload", &wire.payload)?;
        if payload.len() > payload_bytes_max {
            return Err(JsonError::TooLong { bytes: payload.len(), bytes_max: payload_bytes_max }.into());
        }
        let signatures = wire
            .signatures
            .into_iter()
            .map(|entry| Ok(DsseSignature { key_id: entry.keyid.into(), signature: base64("signature", &entry.sig)? }));
        Ok(Self {
            payload_type: wire.payload_type.into(),
            payload,
            signatures: signatures.collect::<Result<_, DsseError>>()?,
        })
    }

    /// The JSON form.
    ///
    /// # Panics
    /// Never: strings and lists of strings always serialise.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let signatures = self.signatures.iter().map(|entry| WireSignature {
            keyid: (&entry.key_id).into(),
            sig: STANDARD.encode(&entry.signature).into(),
        });
        let wire = Wire {
            payload_type: (&self.payload_type).into(),
            payload: STANDARD.encode(&self.payload).into(),
            signatures: signatures.collect(),
        };
        #[expect(clippy::expect_used, reason = "strings serialise")]
        serde_json::to_vec(&wire).expect("strings serialise")
    }

    /// What is signed: `DSSEv1 SP LEN(type) SP type SP LEN(payload) SP payload`.
    #[must_use]
    pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
        let mut pae = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
        pae.extend_from_slice(payload);
        pae
    }
}

fn base64(field: &'static str, text: &str) -> Result<Vec<u8>, DsseError> {
    STANDARD.decode(text).map_err(|_| DsseError::Base64 { field })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pae_is_the_specifications_example() {
        let pae = Dsse::pae("http://example.com/HelloWorld", b"hello world");
        assert_eq!(pae, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn an_envelope_round_trips_and_its_bounds_hold() {
        let signature = DsseSignature { key_id: "00".into(), signature: vec![1, 2, 3] };
        let dsse = Dsse { payload_type: "t".into(), payload: b"{}".to_vec(), signatures: vec![signature] };
        let bytes = dsse.encode();
        assert_eq!(Dsse::decode(&bytes, "t", 2), Ok(dsse.clone()));
        assert!(matches!(Dsse::decode(&bytes, "u", 2), Err(DsseError::Type { .. })));
        assert!(matches!(Dsse::decode(&bytes, "t", 1), Err(DsseError::Json(JsonError::TooLong { bytes: 2, .. }))));
        let many = |count| Dsse { signatures: vec![dsse.signatures[0].clone(); count], ..dsse.clone() };
        for count in [SIGNATURES_MAX + 1, 9 * SIGNATURES_MAX] {
            let refused = Err(DsseError::TooManySignatures { count: SIGNATURES_MAX + 1 });
            assert_eq!(Dsse::decode(&many(count).encode(), "t", 2), refused);
        }
        // [ROSTER-15]
        assert_eq!(Dsse::decode(&many(2).encode(), "t", 2), Err(DsseError::DuplicateKey));
    }

    #[test]
    fn unknown_fields_and_loose_base64_are_refused() {
        for bad in [
            r#"{"payloadType":"t","payload":"e30=","signatures":[],"extra":1}"#,
            r#"{"payloadType":"t","payload":"e30","signatures":[]}"#,
            r#"{"payloadType":"t","payload":"e31=","signatures":[]}"#,
            r#"{"payloadType":"t","payload":"e30=","signatures":[{"sig":"AA=="}]}"#,
            r#"{"payloadType":"t","payload":"e30=","payload":"e30=","signatures":[]}"#,
            r#"{"payloadType":"t","payload":"e30=","signatures":[{"keyid":"a","sig":"AA==","sig":"AA=="}]}"#,
            "\u{feff}{\"payloadType\":\"t\",\"payload\":\"e30=\",\"signatures\":[]}",
            r#"{"payloadType":"t","payload":"e30=","signatures":[]} {}"#,
        ] {
            assert!(Dsse::decode(bad.as_bytes(), "t", 100).is_err(), "{bad}");
        }
    }
}
