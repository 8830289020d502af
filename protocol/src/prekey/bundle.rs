//! What an agency publishes: the hashes of its prekeys and when each is to be used, signed.

use std::cmp::Ordering;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BundlePosition, PrekeyPublic, short_id};
use crate::codec::{self, Malformed};
use crate::hash::Hash;
use crate::ids::{AgencyId, FederationId, KeyId, NodeId, PrekeyId};
use crate::mutant::{Mutant, planted};
use crate::refusal::RefusalReason;
use crate::sign::SenderKeys;
use crate::sign::{SignError, Signature, Signer, VerifyingKey};
use crate::time::Timestamp;
use crate::{bounded, label, limits};

const WHAT: &str = "prekey bundle";
const VERSION: u8 = 1;

/// One key and the time in which senders seal to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrekeyEntry {
    /// [`PrekeyPublic::id`].
    pub id: Hash,
    /// First instant of its window.
    pub not_before: Timestamp,
    /// End of its window, at most [`limits::PREKEY_WINDOW_MAX`] later.
    pub not_after: Timestamp,
    /// For one message only. Version 1 publishes none and never chooses one.
    pub once: bool,
}

impl PrekeyEntry {
    /// As headers carry it.
    #[must_use]
    pub fn prekey_id(&self) -> PrekeyId {
        short_id(&self.id)
    }
}

/// The keys that an agency has published; its fields stand in the order of the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrekeyBundle {
    /// 1.
    pub version: u8,
    /// The federation in which `agency` is a name.
    pub federation: FederationId,
    /// Whose keys.
    pub agency: AgencyId,
    /// Raised when the agency restores from a backup, which holds no private prekey.
    pub epoch: u32,
    /// Raised with every bundle of an epoch.
    pub seq: u64,
    /// When it was made, by the agency's clock.
    pub issued: Timestamp,
    /// Longest lifetime that the agency keeps private keys for, in seconds; at most [`limits::LIFETIME_MAX`].
    pub max_ttl_s: u32,
    /// Strictly ascending by (`not_before`, `id`), 1 to [`limits::PREKEYS_MAX`]; windows of calendar keys do not overlap.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::PREKEYS_MAX }>")]
    pub keys: Vec<PrekeyEntry>,
}

impl PrekeyBundle {
    /// The version that this crate reads and writes.
    pub const VERSION: u8 = VERSION;

    /// Its place among the agency's bundles.
    #[must_use]
    pub const fn position(&self) -> BundlePosition {
        BundlePosition { epoch: self.epoch, seq: self.seq }
    }

    /// [PREKEY-3] The key whose window holds `created`; or, within [`limits::PREKEY_TOLERANCE`] of clocks that differ, the
    /// nearest. `None`: the agency's keys have run out, or are all in the future.
    #[must_use]
    pub fn select(&self, created: Timestamp) -> Option<&PrekeyEntry> {
        let distance = |key: &&PrekeyEntry| {
            if created < key.not_before {
                key.not_before.since(created)
            } else if created < key.not_after {
                Duration::ZERO
            } else {
                // The end is not in the window, so even there the next window is nearer.
                created.since(key.not_after).max(Duration::from_millis(1))
            }
        };
        let nearest = self.keys.iter().filter(|key| !key.once).min_by_key(distance)?;
        (distance(&nearest) <= limits::PREKEY_TOLERANCE).then_some(nearest)
    }

    /// The latest expiry of an envelope that is sealed to `key`: until then the agency keeps the private half.
    #[must_use]
    pub fn expiry_max(&self, key: &PrekeyEntry) -> Timestamp {
        key.not_after.after(Duration::from_secs(u64::from(self.max_ttl_s)))
    }

    /// [PREKEY-1] The entry of a key that came from anywhere. `None`: the agency never published it.
    #[must_use]
    pub fn entry(&self, key: &PrekeyPublic) -> Option<&PrekeyEntry> {
        self.keys.iter().find(|entry| entry.id == key.id())
    }

    /// [PREKEY-6]
    fn check(&self) -> Result<(), Malformed> {
        let rule = |holds: bool, rule| if holds { Ok(()) } else { Err(Malformed::Rule { what: WHAT, rule }) };
        let ahead_max = self.issued.after(limits::PREKEY_WINDOW_MAX * limits::PREKEYS_MAX as u32);
        let window = |key: &PrekeyEntry| {
            key.not_after > key.not_before && key.not_after.since(key.not_before) <= limits::PREKEY_WINDOW_MAX
        };
        let calendar: Vec<_> = self.keys.iter().filter(|key| !key.once).collect();
        let apart = |(a, b): (&&PrekeyEntry, &&PrekeyEntry)| a.not_after <= b.not_before;
        rule(self.version == VERSION, "its version is not 1")?;
        rule(self.position().is_within(self.issued), "its epoch or number runs ahead of its time of issue")?;
        rule(u64::from(self.max_ttl_s) <= limits::LIFETIME_MAX.as_secs(), "its lifetime is more than 30 days")?;
        rule(!self.keys.is_empty(), "it names no key")?;
        rule(self.keys.len() <= limits::PREKEYS_MAX, "it names more than 64 keys")?;
        rule(self.keys.iter().all(window), "a window is empty, or longer than a day")?;
        rule(self.keys.iter().all(|key| key.not_after <= ahead_max), "a window is more than 64 days ahead")?;
        rule(self.keys.is_sorted_by(|a, b| (a.not_before, a.id) < (b.not_before, b.id)), "its keys are out of order")?;
        rule(calendar.iter().zip(calendar.iter().skip(1)).all(apart), "two windows overlap")
    }
}

/// A bundle as received: the signed bytes, and who is said to have signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBundle {
    /// [`PrekeyBundle`], encoded.
    #[serde(deserialize_with = "bounded::shared::<_, { limits::BUNDLE_BYTES_MAX }>")]
    pub bundle: Bytes,
    /// Which of the agency's keys signed: a hint for look-up, not itself signed.
    pub key: KeyId,
    /// Over label and SHA-256 of `bundle`.
    pub signature: Signature,
}

impl SignedBundle {
    /// For the wire and the store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// # Errors
    /// [`Malformed`]. Nothing in it is trusted before [`verify_bundle`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        codec::decode(WHAT, bytes, limits::BUNDLE_BYTES_MAX + limits::SIGNATURE_BYTES_MAX + 64)
    }
}

/// Why a bundle is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignBundleError {
    /// It breaks a rule.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The token did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Signs a bundle with the agency's signing key.
///
/// # Errors
/// [`SignBundleError`].
pub fn sign_bundle(bundle: &PrekeyBundle, signer: &dyn Signer) -> Result<SignedBundle, SignBundleError> {
    bundle.check()?;
    let bytes = Bytes::from(codec::encode(bundle));
    let signature = signer.sign(&signed_message(&bytes))?;
    Ok(SignedBundle { bundle: bytes, key: signer.key_id(), signature })
}

/// What an agency signs: label and SHA-256 of the bundle's bytes.
fn signed_message(bundle: &[u8]) -> Vec<u8> {
    [label::PREKEYS, &Hash::of(&[bundle]).0].concat()
}

/// Why a bundle is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The signature does not cover these bytes.
    #[error("the signature of {agency} over its prekeys does not verify")]
    BadSignature {
        /// Who is said to have signed.
        agency: AgencyId,
    },
    /// Its time is further ahead of ours than clocks may differ.
    #[error("the prekeys of {agency} are dated in the future")]
    Clock {
        /// Whose.
        agency: AgencyId,
    },
    /// It belongs to another federation.
    #[error("the prekeys belong to federation {found}")]
    Federation {
        /// Which.
        found: FederationId,
    },
    /// It breaks a rule.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The roster knows no such key of this agency.
    #[error("no key {key} of {agency} is valid")]
    UnknownSigner {
        /// The agency.
        agency: AgencyId,
        /// The key.
        key: KeyId,
    },
}

impl BundleError {
    /// The code on the wire.
    #[must_use]
    pub const fn reason(&self) -> RefusalReason {
        match self {
            Self::BadSignature { .. } => RefusalReason::BadSignature,
            Self::Clock { .. } => RefusalReason::Clock,
            Self::Malformed(_) => RefusalReason::Malformed,
            Self::Federation { .. } | Self::UnknownSigner { .. } => RefusalReason::UnknownSender,
        }
    }
}

/// A bundle that its agency signed, with a key that was valid at the time of the check. Only [`verify_bundle`] and
/// [`recall_bundle`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBundle {
    bundle: PrekeyBundle,
    signed: SignedBundle,
}

/// How a bundle compares with the one that a node already has of the same agency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleOrder {
    /// Same (epoch, seq), other bytes: the agency, or a thief of its key, signed two. Keep both and raise an alarm.
    Equivocation,
    /// Take it.
    Newer,
    /// A rollback: refuse it.
    Older,
    /// Nothing to do.
    Same,
}

impl VerifiedBundle {
    /// What it says.
    #[must_use]
    pub const fn bundle(&self) -> &PrekeyBundle {
        &self.bundle
    }

    /// What is stored and sent on.
    #[must_use]
    pub const fn signed(&self) -> &SignedBundle {
        &self.signed
    }

    /// [PREKEY-2] Compares with `known`, a bundle of the same agency. Signatures do not count: Ed25519 keys may sign twice.
    #[must_use]
    pub fn compare(&self, known: &Self) -> BundleOrder {
        match self.bundle.position().cmp(&known.bundle.position()) {
            Ordering::Less => BundleOrder::Older,
            Ordering::Greater => BundleOrder::Newer,
            Ordering::Equal if self.signed.bundle == known.signed.bundle => BundleOrder::Same,
            Ordering::Equal => BundleOrder::Equivocation,
        }
    }
}

/// [PREKEY-7] The key that a bundle of `agency` counts by: valid at its time of issue and at `at`. `None`: it does not
/// count. The roster, or the time, may end what was good when it was taken, so this is asked at every use.
#[must_use]
pub fn signer_of(
    agency: &AgencyId,
    key: KeyId,
    issued: Timestamp,
    keys: &impl SenderKeys,
    at: Timestamp,
) -> Option<VerifyingKey> {
    let signer = NodeId::from(agency);
    let at = if planted(Mutant::RevokedSignerCounts) { issued } else { at };
    keys.verifying_key(&signer, key, issued).filter(|_| keys.verifying_key(&signer, key, at).is_some())
}

/// Checks a bundle's rules, federation and signature. The signing key must be valid at the time of issue and at `at`:
/// now for a node that takes the bundle, the time of issue for whoever judges evidence later. Rollback is [`VerifiedBundle::compare`]'s.
///
/// # Errors
/// [`BundleError`].
pub fn verify_bundle(
    signed: SignedBundle,
    federation: &FederationId,
    keys: &impl SenderKeys,
    at: Timestamp,
) -> Result<VerifiedBundle, BundleError> {
    let (verified, key) = counting(signed, federation, keys, at)?;
    let agency = &verified.bundle.agency;
    if verified.bundle.issued > at.after(limits::CLOCK_AHEAD_MAX) {
        return Err(BundleError::Clock { agency: agency.clone() });
    }
    key.verify(&signed_message(&verified.signed.bundle), &verified.signed.signature)
        .map_err(|_| BundleError::BadSignature { agency: agency.clone() })?;
    Ok(verified)
}

/// A bundle that this node verified before it kept it, and wants to use at `at`: everything is checked again but its
/// signature and its clock.
///
/// # Errors
/// [`BundleError`]: it does not count, or no longer.
pub fn recall_bundle(
    signed: SignedBundle,
    federation: &FederationId,
    keys: &impl SenderKeys,
    at: Timestamp,
) -> Result<VerifiedBundle, BundleError> {
    counting(signed, federation, keys, at).map(|(bundle, _)| bundle)
}

fn counting(
    signed: SignedBundle,
    federation: &FederationId,
    keys: &impl SenderKeys,
    at: Timestamp,
) -> Result<(VerifiedBundle, VerifyingKey), BundleError> {
    let bundle: PrekeyBundle = codec::decode(WHAT, &signed.bundle, limits::BUNDLE_BYTES_MAX)?;
    bundle.check()?;
    if bundle.federation != *federation {
        return Err(BundleError::Federation { found: bundle.federation });
    }
    let key = signer_of(&bundle.agency, signed.key, bundle.issued, keys, at)
        .ok_or_else(|| BundleError::UnknownSigner { agency: bundle.agency.clone(), key: signed.key })?;
    Ok((VerifiedBundle { bundle, signed }, key))
}
