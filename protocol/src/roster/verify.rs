//! From signed bytes to a [`Roster`]: signatures first, then the JSON, then the rules (SPEC.md, "Roster").

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::composite::RootPublic;
use super::document::{ROOTS_MAX, ROSTER_TYPE, RosterDocument, TrustAnchor, signature_context};
use super::dsse::{Dsse, DsseError};
use super::json::{self, JsonError};
use super::rules::{self, Tables};
use super::{RootSet, Roster, RosterVersion};
use crate::hash::Hash;
use crate::ids::FederationId;
use crate::limits;
use crate::mutant::{Mutant, planted};

pub use super::rules::RosterRule;

/// Longest time from `issued` to `expires`.
pub(super) const VALIDITY_MAX: Duration = Duration::from_secs(90 * 86_400);

/// Why a roster is not taken. Nothing changed: the node stays on the one that it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Not a DSSE envelope of a roster.
    #[error(transparent)]
    Dsse(#[from] DsseError),
    /// Of another federation.
    #[error("the roster is for federation {found}, this node belongs to {expected}")]
    Federation {
        /// The roster's.
        found: FederationId,
        /// Ours.
        expected: FederationId,
    },
    /// The signed payload is not strict JSON.
    #[error("roster: {0}")]
    Json(#[from] JsonError),
    /// Not the roster that a later one names as its predecessor.
    #[error("it is not the roster that version {later} names as the one before it")]
    NotBefore {
        /// The later version.
        later: RosterVersion,
    },
    /// Not newer than the one that is trusted.
    #[error("roster version {offered} is not newer than {trusted}, which this node has")]
    NotNewer {
        /// The offered version.
        offered: RosterVersion,
        /// The trusted one.
        trusted: RosterVersion,
    },
    /// It names another predecessor than the trusted roster.
    #[error("roster version {version} does not follow from version {trusted}, which this node has")]
    PrevMismatch {
        /// The offered version.
        version: RosterVersion,
        /// The trusted one.
        trusted: RosterVersion,
    },
    /// The roots that it names are unsound.
    #[error("roster: {0}")]
    Roots(#[from] RootSetError),
    /// A rule of the content is broken.
    #[error("roster: {0}")]
    Rule(#[from] RosterRule),
    /// The signed payload is JSON, and not a roster.
    #[error("roster: {detail}")]
    Shape {
        /// What the parser says.
        detail: String,
    },
    /// Too few of the trusted roots signed.
    #[error("the roster carries {valid} valid signatures of trusted root keys, {needed} are needed")]
    Threshold {
        /// Distinct trusted keys whose signature verifies.
        valid: usize,
        /// The trusted threshold.
        needed: usize,
    },
    /// The roster names new roots, and too few of those signed.
    #[error("the roster names new root keys, of which {valid} signed, {needed} are needed")]
    ThresholdOfNewRoots {
        /// Distinct new keys whose signature verifies.
        valid: usize,
        /// The new threshold.
        needed: usize,
    },
}

/// Why a set of root keys is unsound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootSetError {
    /// No key, or more than [`ROOTS_MAX`].
    #[error("{count} root keys, 1 to {ROOTS_MAX} allowed")]
    Count {
        /// How many.
        count: usize,
    },
    /// A key stands twice.
    #[error("a root key stands twice")]
    Duplicate,
    /// Zero, or more than there are keys.
    #[error("a threshold of {threshold} does not fit {keys} root keys")]
    Threshold {
        /// The threshold.
        threshold: u8,
        /// The keys.
        keys: usize,
    },
}

impl RootSet {
    /// # Errors
    /// [`RootSetError`].
    pub fn check(&self) -> Result<(), RootSetError> {
        let keys = self.keys.len();
        if keys == 0 || keys > ROOTS_MAX {
            return Err(RootSetError::Count { count: keys });
        }
        if self.threshold == 0 || usize::from(self.threshold) > keys {
            return Err(RootSetError::Threshold { threshold: self.threshold, keys });
        }
        let distinct: BTreeSet<&[u8]> = self.keys.iter().map(|key| key.as_bytes().as_slice()).collect();
        if distinct.len() == keys { Ok(()) } else { Err(RootSetError::Duplicate) }
    }

    /// How many distinct keys of this set signed `dsse`. A key that signs twice counts once; what strangers sign, or
    /// what does not verify, counts not at all.
    // [ROSTER-2]
    fn valid_signatures(&self, dsse: &Dsse) -> usize {
        let pae = Dsse::pae(&dsse.payload_type, &dsse.payload);
        let by_id: BTreeMap<String, &RootPublic> =
            self.keys.iter().map(|key| (key.key_id().to_string(), key)).collect();
        let signed = dsse.signatures.iter().filter_map(|entry| {
            let key = by_id.get(&entry.key_id)?;
            let verified = key.verify(signature_context(), &pae, &entry.signature);
            verified.ok().or_else(|| planted(Mutant::RootSignatureUnchecked).then_some(()))?;
            Some(entry.key_id.as_str())
        });
        if planted(Mutant::SignerCountsTwice) {
            return signed.count();
        }
        signed.collect::<BTreeSet<_>>().len()
    }
}

impl Roster {
    /// The first roster of a node: signed by enough of the roots that its operator installed, and by enough of its
    /// own. In version 1 the federation's id must follow from its name and roots.
    ///
    /// # Errors
    /// [`RosterError`].
    pub fn verify_first(bytes: &[u8], anchor: &TrustAnchor) -> Result<Self, RosterError> {
        anchor.roots.check()?;
        Self::verify(bytes, &anchor.roots, &anchor.federation)
    }

    /// The roster that replaces `trusted`: signed by enough of its roots (and of the new ones, if they differ),
    /// newer, and naming it as predecessor if it is the very next version.
    ///
    /// # Errors
    /// [`RosterError`]. A roster after a skipped change of roots fails with [`RosterError::Threshold`]: the version
    /// that changed them has to be taken first.
    pub fn verify_next(bytes: &[u8], trusted: &Self) -> Result<Self, RosterError> {
        let roster = Self::verify_offered(bytes, trusted)?;
        roster.check_follows(trusted)?;
        Ok(roster.succeeding(trusted))
    }

    /// A roster that carries the signatures that it would need to replace `trusted`, whatever its version: an equal
    /// version with another hash is then proof of a fork.
    ///
    /// # Errors
    /// [`RosterError`], but for [`RosterError::NotNewer`] and [`RosterError::PrevMismatch`].
    pub fn verify_offered(bytes: &[u8], trusted: &Self) -> Result<Self, RosterError> {
        Self::verify(bytes, &trusted.document.roots, &trusted.federation())
    }

    /// Whether this roster, verified by the same roots, may follow `trusted` directly or after a gap.
    ///
    /// # Errors
    /// [`RosterError::NotNewer`] or [`RosterError::PrevMismatch`].
    // [ROSTER-5] [ROSTER-7]
    pub fn check_follows(&self, trusted: &Self) -> Result<(), RosterError> {
        let (version, current) = (self.version(), trusted.version());
        if version <= current && !planted(Mutant::RosterNotNewer) {
            return Err(RosterError::NotNewer { offered: version, trusted: current });
        }
        let is_successor = version.0.saturating_sub(current.0) == 1;
        if is_successor && !planted(Mutant::RosterPredecessorIgnored) && self.document.prev != trusted.hash {
            return Err(RosterError::PrevMismatch { version, trusted: current });
        }
        Ok(())
    }

    fn verify(bytes: &[u8], roots: &RootSet, federation: &FederationId) -> Result<Self, RosterError> {
        let dsse = Dsse::decode(bytes, ROSTER_TYPE, limits::ROSTER_BYTES_MAX)?;
        let (valid, needed) = (roots.valid_signatures(&dsse), usize::from(roots.threshold));
        if valid + usize::from(planted(Mutant::ThresholdShortByOne)) < needed {
            return Err(RosterError::Threshold { valid, needed });
        }
        // [ROSTER-1]
        let document = parse(&dsse.payload)?;
        if document.federation != *federation {
            return Err(RosterError::Federation { found: document.federation, expected: *federation });
        }
        document.roots.check()?;
        // [ROSTER-3]
        let needed = usize::from(document.roots.threshold);
        let signatures = if document.roots == *roots { valid } else { document.roots.valid_signatures(&dsse) };
        if document.roots != *roots && signatures < needed && !planted(Mutant::NewRootsUnsigned) {
            return Err(RosterError::ThresholdOfNewRoots { valid: signatures, needed });
        }
        let Tables { relays, agencies, by_tls_key, agreements } = rules::check(&document)?;
        let (signed, hash) = (Bytes::copy_from_slice(bytes), Hash::of(&[&dsse.payload]));
        Ok(Self {
            signed,
            signatures,
            hash,
            document,
            relays,
            agencies,
            by_tls_key,
            agreements,
            ended: BTreeSet::new(),
        })
    }
}

/// Reads a payload whose signatures have been verified. Top-level keys that start with `x-` are a publisher's own.
pub(super) fn parse(payload: &[u8]) -> Result<RosterDocument, RosterError> {
    let mut value = json::parse(payload, limits::ROSTER_BYTES_MAX)?;
    if let Some(object) = value.as_object_mut() {
        object.retain(|key, _| !key.starts_with("x-"));
    }
    serde_json::from_value(value).map_err(|error| RosterError::Shape { detail: error.to_string() })
}
