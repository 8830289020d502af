//! The list of everything in a bundle, signed by its exporter if that wants to stand for the selection.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::archive::{ENTRIES_MAX, Entry};
use super::{EvidenceError, Exporter};
use crate::hash::Hash;
use crate::ids::{MessageId, NodeId};
use crate::roster::{Dsse, DsseSignature, json, text};
use crate::sign::{SignError, Signature};
use crate::time::Timestamp;

/// DSSE's payload type of a manifest.
pub const EVIDENCE_TYPE: &str = "application/vnd.liaison.evidence.v1+json";
/// Every entry takes less than 256 bytes.
const MANIFEST_BYTES_MAX: usize = 4096 + 256 * ENTRIES_MAX;
const VERSION: u32 = 1;

/// The payload of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    version: u32,
    /// The message that the bundle is about, in full.
    message: String,
    /// Who put the bundle together, and when, by its own account.
    exporter: NodeId,
    exported: Timestamp,
    files: Vec<Listed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    bytes: u64,
    #[serde(with = "text::hex")]
    sha256: Hash,
}

/// A manifest whose files are all there and as listed.
pub(super) struct Checked {
    pub(super) manifest: Manifest,
    pub(super) dsse: Dsse,
}

impl Manifest {
    pub(super) const fn exporter(&self) -> &NodeId {
        &self.exporter
    }

    pub(super) const fn exported(&self) -> Timestamp {
        self.exported
    }

    pub(super) fn is_about(&self, id: &MessageId) -> bool {
        self.message == id.to_string()
    }
}

/// Lists `files`, and signs the list.
pub(super) fn make(id: &MessageId, files: &[Entry], exporter: &Exporter<'_>) -> Result<Vec<u8>, SignError> {
    let manifest = Manifest {
        version: VERSION,
        message: id.to_string(),
        exporter: exporter.id.clone(),
        exported: exporter.time,
        files: files.iter().map(listed).collect(),
    };
    #[expect(clippy::expect_used, reason = "strings, numbers and lists serialise")]
    let payload = serde_json::to_vec_pretty(&manifest).expect("a manifest serialises");
    let signature = |signer: &dyn crate::sign::Signer| {
        let signature = signer.sign(&Dsse::pae(EVIDENCE_TYPE, &payload))?.as_bytes().to_vec();
        Ok(DsseSignature { key_id: signer.key_id().to_string(), signature })
    };
    let signatures = exporter.signer.map(signature).transpose()?.into_iter().collect();
    Ok(Dsse { payload_type: EVIDENCE_TYPE.into(), payload, signatures }.encode())
}

fn listed(entry: &Entry) -> Listed {
    Listed { name: entry.name.clone(), bytes: entry.data.len() as u64, sha256: Hash::of(&[&entry.data]) }
}

/// [EVID-2] Reads the manifest and compares it with what is there, file by file.
pub(super) fn check(bytes: &Bytes, files: &[Entry]) -> Result<Checked, EvidenceError> {
    let manifest = |detail: String| EvidenceError::Manifest { detail };
    let dsse = Dsse::decode(bytes, EVIDENCE_TYPE, MANIFEST_BYTES_MAX).map_err(|error| manifest(error.to_string()))?;
    let value = json::parse(&dsse.payload, MANIFEST_BYTES_MAX).map_err(|error| manifest(error.to_string()))?;
    let parsed: Manifest = serde_json::from_value(value).map_err(|error| manifest(error.to_string()))?;
    if parsed.version != VERSION {
        return Err(manifest(format!("version {} is not known here", parsed.version)));
    }
    if let Some(missing) = parsed.files.iter().find(|listed| !files.iter().any(|file| file.name == listed.name)) {
        return Err(EvidenceError::FileMissing { name: missing.name.clone() });
    }
    for (index, file) in files.iter().enumerate() {
        match parsed.files.iter().find(|listed| listed.name == file.name) {
            None => return Err(EvidenceError::FileUnlisted { name: file.name.clone() }),
            Some(entry) if *entry != listed(file) || parsed.files.get(index) != Some(entry) => {
                return Err(EvidenceError::FileChanged { name: file.name.clone() });
            }
            Some(_) => {}
        }
    }
    Ok(Checked { manifest: parsed, dsse })
}

/// The exporter's signature, if there is one: (key id as text, signature).
pub(super) fn signature(dsse: &Dsse) -> Result<Option<(&str, Signature)>, EvidenceError> {
    let detail = || EvidenceError::Manifest { detail: "at most one signature, of Ed25519".into() };
    match dsse.signatures.as_slice() {
        [] => Ok(None),
        [one] => {
            let bytes = <[u8; 64]>::try_from(one.signature.as_slice()).map_err(|_| detail())?;
            Ok(Some((&one.key_id, Signature::ed25519(bytes))))
        }
        _ => Err(detail()),
    }
}
