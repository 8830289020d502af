//! DSSE v1 (github.com/secure-systems-lab/dsse, `envelope.md` and `protocol.md`): a payload of any kind with its
//! signatures beside it. What is signed is the payload's bytes as they came, never a re-serialisation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::json::{self, JsonError};

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
    /// Not strict JSON.
    #[error("DSSE: {0}")]
    Json(#[from] JsonError),
    /// A field is missing, unknown or of another type.
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wire {
    payload_type: String,
    payload: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    keyid: String,
    sig: String,
}

impl Dsse {
    /// Reads an envelope of `payload_type` whose payload has at most `payload_bytes_max` bytes.
    ///
    /// # Errors
    /// [`DsseError`]. The payload itself is not looked at.
    pub fn decode(bytes: &[u8], payload_type: &'static str, payload_bytes_max: usize) -> Result<Self, DsseError> {
        let bytes_max = payload_bytes_max / 3 * 4 + SIGNATURES_MAX * 8192 + 4096;
        let value = json::parse(bytes, bytes_max)?;
        let shape = |error: serde_json::Error| DsseError::Shape { detail: error.to_string() };
        let wire: Wire = serde_json::from_value(value).map_err(shape)?;
        if wire.payload_type != payload_type {
            let found = wire.payload_type.chars().take(80).collect();
            return Err(DsseError::Type { found, expected: payload_type });
        }
        if wire.signatures.len() > SIGNATURES_MAX {
            return Err(DsseError::TooManySignatures { count: wire.signatures.len() });
        }
        let payload = base64("payload", &wire.payload)?;
        if payload.len() > payload_bytes_max {
            return Err(JsonError::TooLong { bytes: payload.len(), bytes_max: payload_bytes_max }.into());
        }
        let signatures = wire
            .signatures
            .into_iter()
            .map(|entry| Ok(DsseSignature { key_id: entry.keyid, signature: base64("signature", &entry.sig)? }));
        Ok(Self { payload_type: wire.payload_type, payload, signatures: signatures.collect::<Result<_, DsseError>>()? })
    }

    /// The JSON form.
    ///
    /// # Panics
    /// Never: strings and lists of strings always serialise.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let signatures = self
            .signatures
            .iter()
            .map(|entry| WireSignature { keyid: entry.key_id.clone(), sig: STANDARD.encode(&entry.signature) });
        let wire = Wire {
            payload_type: self.payload_type.clone(),
            payload: STANDARD.encode(&self.payload),
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
        let many = Dsse { signatures: vec![dsse.signatures[0].clone(); SIGNATURES_MAX + 1], ..dsse };
        assert_eq!(
            Dsse::decode(&many.encode(), "t", 2),
            Err(DsseError::TooManySignatures { count: SIGNATURES_MAX + 1 })
        );
    }

    #[test]
    fn unknown_fields_and_loose_base64_are_refused() {
        for bad in [
            r#"{"payloadType":"t","payload":"e30=","signatures":[],"extra":1}"#,
            r#"{"payloadType":"t","payload":"e30","signatures":[]}"#,
            r#"{"payloadType":"t","payload":"e31=","signatures":[]}"#,
            r#"{"payloadType":"t","payload":"e30=","signatures":[{"sig":"AA=="}]}"#,
            r#"{"payloadType":"t","payload":"e30=","payload":"e30=","signatures":[]}"#,
        ] {
            assert!(Dsse::decode(bad.as_bytes(), "t", 100).is_err(), "{bad}");
        }
    }
}
