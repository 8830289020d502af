//! The roster's payload as JSON, and how roots sign it.
//!
//! This is the form that publishers edit. Nodes never use it: they use [`Roster`](super::Roster), which exists only
//! once the signatures and every rule have been checked.

use std::fmt;
use std::str::FromStr;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use super::composite::{RootKey, RootPublic};
use super::dsse::{Dsse, DsseSignature};
use super::json::{self, JsonError};
use super::{RosterVersion, text};
use crate::hash::{Hash, push_lp8};
use crate::ids::{AgencyId, FederationId, NodeId, ParseIdError, Region};
use crate::label;
use crate::precedence::Precedence;
use crate::sign::VerifyingKey;
use crate::time::Timestamp;

/// DSSE's payload type of a roster.
pub const ROSTER_TYPE: &str = "application/vnd.liaison.roster.v1+json";
/// Root keys of one federation.
pub const ROOTS_MAX: usize = 32;

/// Everything that a roster says. Field order is the order in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterDocument {
    /// Which federation: [`federation_id`] of its name and its first roots.
    #[serde(with = "text::hex")]
    pub federation: FederationId,
    /// What people call the federation; 1 to 63 bytes.
    pub name: String,
    /// From 1, strictly rising.
    pub version: RosterVersion,
    /// When it was made, in milliseconds since the epoch.
    pub issued: Timestamp,
    /// When it ends, at most 90 days after `issued`.
    pub expires: Timestamp,
    /// SHA-256 of the previous version's payload; zeros in version 1.
    #[serde(with = "text::hex")]
    pub prev: Hash,
    /// Suites below this are refused although known.
    pub min_suite: u16,
    /// Who may sign the next version.
    pub roots: RootSet,
    /// Relays.
    pub relays: Vec<RelayEntry>,
    /// Agencies.
    pub agencies: Vec<AgencyEntry>,
    /// Who may write to whom.
    pub agreements: Vec<AgreementEntry>,
}

/// k of n keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootSet {
    /// How many distinct keys must sign: 1 to the number of keys.
    pub threshold: u8,
    /// At most [`ROOTS_MAX`], all different.
    #[serde(with = "text::root_list")]
    pub keys: Vec<RootPublic>,
}

/// A relay in the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayEntry {
    /// Its name.
    pub id: NodeId,
    /// The region that it serves.
    pub region: Region,
    /// `host:port` each, in order of preference.
    pub addresses: Vec<String>,
    /// The Ed25519 key of its link certificate.
    #[serde(with = "text::hex")]
    pub tls_key: [u8; 32],
    /// Signs its receipts and notices.
    #[serde(with = "text::hex")]
    pub sign_key: VerifyingKey,
    /// Who runs it, in words.
    pub operator: String,
    /// Its keys end then.
    pub not_after: Timestamp,
}

/// An agency in the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgencyEntry {
    /// Its name.
    pub id: AgencyId,
    /// What people call it.
    pub name: String,
    /// Its home relays, in order of preference; at least one.
    pub home: Vec<NodeId>,
    /// The Ed25519 keys of its daemons' link certificates.
    #[serde(with = "text::hex_list")]
    pub tls_keys: Vec<[u8; 32]>,
    /// Sign its envelopes, receipts and prekey bundles.
    pub sign_keys: Vec<SignKeyEntry>,
    /// Longest lifetime of an envelope to it, in seconds; its prekeys are kept that long.
    pub max_ttl_s: u64,
    /// Bytes held for it before custody is refused. Left out: the relay's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// Whether it takes part.
    pub status: AgencyStatus,
}

/// Whether an agency takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgencyStatus {
    /// Takes part.
    #[default]
    Active,
    /// Its keys still verify what it signed; it gets no link, and no agreement holds for it.
    Suspended,
}

/// One signing key and when it may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignKeyEntry {
    /// 1: Ed25519. Others are refused in this version.
    pub alg: u8,
    /// The key.
    #[serde(rename = "pub", with = "text::hex")]
    pub public: VerifyingKey,
    /// Signatures before this are refused.
    pub not_before: Timestamp,
    /// Signatures after this are refused.
    pub not_after: Timestamp,
}

/// An agreement in the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementEntry {
    /// Who writes.
    pub from: Party,
    /// To whom.
    pub to: Party,
    /// Up to this precedence.
    #[serde(with = "text::precedence")]
    pub max_precedence: Precedence,
    /// Bytes that a relay holds from `from` for `to` before it refuses more. Left out: no such bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
}

/// One side of an agreement.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Party {
    /// This agency.
    Agency(AgencyId),
    /// Every agency: `*`.
    Any,
}

impl FromStr for Party {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" { Ok(Self::Any) } else { text.parse().map(Self::Agency) }
    }
}

impl TryFrom<String> for Party {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Party> for String {
    fn from(party: Party) -> Self {
        party.to_string()
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agency(id) => id.fmt(f),
            Self::Any => f.pad("*"),
        }
    }
}

/// SHA-256 over the name and the keys of version 1's roots, in order: an id that proves where a federation began,
/// and separates it from every other (SPEC.md, "Federation id").
#[must_use]
pub fn federation_id(name: &str, roots: &[RootPublic]) -> FederationId {
    let mut bytes = label::FEDERATION.to_vec();
    push_lp8(&mut bytes, name.as_bytes());
    roots.iter().for_each(|key| bytes.extend_from_slice(key.as_bytes()));
    let Hash(hash) = Hash::of(&[&bytes]);
    FederationId(hash.first_chunk().copied().unwrap_or_default())
}

impl RosterDocument {
    /// Version 1 of a new federation, with nobody in it.
    #[must_use]
    pub fn genesis(name: &str, roots: RootSet, issued: Timestamp, expires: Timestamp) -> Self {
        Self {
            federation: federation_id(name, &roots.keys),
            name: name.into(),
            version: RosterVersion(1),
            issued,
            expires,
            prev: Hash::ZERO,
            min_suite: 1,
            roots,
            relays: Vec::new(),
            agencies: Vec::new(),
            agreements: Vec::new(),
        }
    }

    /// The next version after `previous`, with the same content: change it, then sign it.
    #[must_use]
    pub fn after(previous: &super::Roster, issued: Timestamp, expires: Timestamp) -> Self {
        let version = RosterVersion(previous.version().0.saturating_add(1));
        Self { version, issued, expires, prev: previous.hash(), ..previous.document().clone() }
    }

    /// The payload: indented JSON, so that people can compare two versions.
    ///
    /// # Panics
    /// Never: the types hold nothing that JSON refuses.
    #[must_use]
    pub fn to_payload(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "strings, numbers and lists serialise")]
        serde_json::to_vec_pretty(self).expect("a roster serialises")
    }

    /// Signs with every key of `roots`: the DSSE envelope that nodes take. Whether the keys are enough, and the
    /// content allowed, is what [`Roster::verify_first`](super::Roster::verify_first) and its like say.
    #[must_use]
    pub fn sign(&self, roots: &[&RootKey], rng: &mut impl CryptoRng) -> Vec<u8> {
        sign_payload(self.to_payload(), roots, rng)
    }
}

/// See [`RosterDocument::sign`]; apart so that tests can sign payloads that no document gives.
pub(crate) fn sign_payload(payload: Vec<u8>, roots: &[&RootKey], rng: &mut impl CryptoRng) -> Vec<u8> {
    let pae = Dsse::pae(ROSTER_TYPE, &payload);
    let signatures = roots.iter().map(|root| {
        #[expect(clippy::expect_used, reason = "the label is shorter than 255 bytes")]
        let signature = root.sign(signature_context(), &pae, rng).expect("the context is short");
        DsseSignature { key_id: root.public().key_id().to_string(), signature }
    });
    Dsse { payload_type: ROSTER_TYPE.into(), signatures: signatures.collect(), payload }.encode()
}

/// The composite's context: the label without its zero byte.
pub(crate) fn signature_context() -> &'static [u8] {
    label::ROSTER.strip_suffix(b"\0").unwrap_or(label::ROSTER)
}

/// Where trust begins: the roots that an operator installs beside a node (`roots.json`), by hand and once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustAnchor {
    /// Which federation; a roster of another is refused.
    #[serde(with = "text::hex")]
    pub federation: FederationId,
    /// Who must have signed the first roster that a node takes.
    pub roots: RootSet,
}

/// Why `roots.json` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// Not strict JSON.
    #[error("roots: {0}")]
    Json(#[from] JsonError),
    /// A field is missing, unknown or of another type, or a key is unsound.
    #[error("roots: {detail}")]
    Shape {
        /// What the parser says.
        detail: String,
    },
    /// The threshold does not fit the keys, or a key stands twice.
    #[error("roots: {0}")]
    Roots(#[from] super::RootSetError),
}

impl TrustAnchor {
    /// Bytes of `roots.json`: 32 keys in base64 and room.
    const BYTES_MAX: usize = 128 * 1024;

    /// # Errors
    /// [`AnchorError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, AnchorError> {
        let value = json::parse(bytes, Self::BYTES_MAX)?;
        let shape = |error: serde_json::Error| AnchorError::Shape { detail: error.to_string() };
        let anchor: Self = serde_json::from_value(value).map_err(shape)?;
        anchor.roots.check()?;
        Ok(anchor)
    }

    /// The file's content.
    ///
    /// # Panics
    /// Never: the types hold nothing that JSON refuses.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "strings and numbers serialise")]
        serde_json::to_vec_pretty(self).expect("an anchor serialises")
    }
}
