//! Who belongs to the federation, with which keys, and who may write to whom.
//!
//! A [`Roster`] is verified by construction: only [`Roster::verify_first`], [`Roster::verify_next`] and their like make
//! one, from bytes that enough root keys signed. Which version a node follows, and
//! what it does with an older, a forked or an expired one, is the core's decision.

pub mod composite;
mod document;
mod dsse;
pub(crate) mod json;
mod rules;
pub(crate) mod text;
mod verify;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use composite::{RootKey, RootPublic};
pub use document::{
    AgencyEntry, AgencyStatus, AgreementEntry, AnchorError, Party, ROOTS_MAX, ROSTER_TYPE, RelayEntry, RootSet,
    RosterDocument, SignKeyEntry, TrustAnchor, federation_id,
};
pub use dsse::{Dsse, DsseError, DsseSignature};
pub use json::JsonError;
pub use verify::{RootSetError, RosterError, RosterRule};
pub use walk::History;

use crate::hash::Hash;
use crate::ids::{AgencyId, FederationId, KeyId, NodeId, Region};
use crate::mutant::{Mutant, planted};
use crate::precedence::Precedence;
pub use crate::role::Role;
use crate::sign::SenderKeys;
use crate::sign::VerifyingKey;
use crate::time::Timestamp;

/// Counts a federation's rosters, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RosterVersion(pub u32);

impl fmt::Display for RosterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A verified roster. Immutable: share it in an `Arc`.
#[derive(Clone)]
pub struct Roster {
    signed: Bytes,
    signatures: usize,
    hash: Hash,
    document: RosterDocument,
    relays: BTreeMap<NodeId, Relay>,
    agencies: BTreeMap<AgencyId, Agency>,
    by_tls_key: BTreeMap<[u8; 32], NodeId>,
    agreements: BTreeMap<(Party, Party), Agreement>,
    /// Signing keys that rosters before this one named, as far as they were followed from one to the next.
    ended: BTreeSet<(NodeId, KeyId)>,
}

/// Ended keys that are remembered. Beyond that, a key that ends is unknown.
const ENDED_KEYS_MAX: usize = 65_536;

/// A relay of the federation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Its name.
    pub id: NodeId,
    /// The region that it serves.
    pub region: Region,
    /// `host:port` each, in order of preference; at least one.
    pub addresses: Vec<String>,
    /// The Ed25519 key of its link certificate.
    pub tls_key: [u8; 32],
    /// Signs its receipts and notices.
    pub sign_key: VerifyingKey,
    /// Who runs it, in words.
    pub operator: String,
    /// Its keys end then.
    pub not_after: Timestamp,
}

/// An agency of the federation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agency {
    /// Its name.
    pub id: AgencyId,
    /// What people call it.
    pub name: String,
    /// Its home relays, in order of preference; at least one.
    pub home: Vec<NodeId>,
    /// The Ed25519 keys of its daemons' link certificates.
    pub tls_keys: Vec<[u8; 32]>,
    /// Sign its envelopes, receipts and prekey bundles.
    pub sign_keys: Vec<SignKey>,
    /// Longest lifetime of an envelope to it, at most 30 days.
    pub max_ttl: Duration,
    /// Bytes held for it before custody is refused; `None` leaves it to the relay's own limit.
    pub quota: Option<u64>,
    /// Whether it takes part.
    pub status: AgencyStatus,
}

/// A signing key and when it may be used, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignKey {
    /// Its id, as envelopes and receipts name it.
    pub id: KeyId,
    /// The key.
    pub key: VerifyingKey,
    /// From here.
    pub not_before: Timestamp,
    /// To here.
    pub not_after: Timestamp,
}

/// That one agency may write to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Who writes.
    pub from: Party,
    /// To whom.
    pub to: Party,
    /// Up to this precedence.
    pub max_precedence: Precedence,
    /// Bytes that a relay holds from `from` for `to` before it refuses more; `None` sets no bound.
    pub quota: Option<u64>,
}

impl Roster {
    /// Its version.
    #[must_use]
    pub const fn version(&self) -> RosterVersion {
        self.document.version
    }

    /// SHA-256 of its payload: what hellos carry and the next version names.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// Which federation.
    #[must_use]
    pub const fn federation(&self) -> FederationId {
        self.document.federation
    }

    /// When it was made, by its publishers' clock.
    #[must_use]
    pub const fn issued(&self) -> Timestamp {
        self.document.issued
    }

    /// When it ends.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.document.expires
    }

    /// Suites below this are refused although known.
    #[must_use]
    pub const fn min_suite(&self) -> u16 {
        self.document.min_suite
    }

    /// How many of its own roots have signed it, at least the threshold.
    #[must_use]
    pub const fn signatures(&self) -> usize {
        self.signatures
    }

    /// How many roots the next roster needs.
    #[must_use]
    pub fn threshold(&self) -> usize {
        usize::from(self.document.roots.threshold)
    }

    /// The DSSE envelope as received: what is stored, and passed on to peers.
    #[must_use]
    pub const fn signed(&self) -> &Bytes {
        &self.signed
    }

    /// All that it says, as its publishers wrote it.
    #[must_use]
    pub const fn document(&self) -> &RosterDocument {
        &self.document
    }

    /// The relay of this name.
    #[must_use]
    pub fn relay(&self, id: &NodeId) -> Option<&Relay> {
        self.relays.get(id)
    }

    /// The agency of this name, suspended ones among them.
    #[must_use]
    pub fn agency(&self, id: &AgencyId) -> Option<&Agency> {
        self.agencies.get(id)
    }

    /// What the node of this name is. No agency and relay share a name.
    #[must_use]
    pub fn role(&self, id: &NodeId) -> Option<Role> {
        if self.relays.contains_key(id) {
            return Some(Role::Relay);
        }
        self.agencies.contains_key(&id.to_agency()).then_some(Role::Agency)
    }

    /// Whose link certificate has this Ed25519 key. Suspended agencies have none.
    #[must_use]
    pub fn node_by_tls_key(&self, key: &[u8; 32]) -> Option<&NodeId> {
        self.by_tls_key.get(key)
    }

    /// Under which agreement `from` may write to `to`. The most specific one counts: both named, then `from` named,
    /// then `to` named, then `*` to `*`. None holds for an agency that is suspended or not in the roster.
    #[must_use]
    pub fn agreement(&self, from: &AgencyId, to: &AgencyId) -> Option<&Agreement> {
        let active = |id| self.agency(id).is_some_and(|agency| agency.status == AgencyStatus::Active);
        if !active(from) || !active(to) {
            return None;
        }
        let (from, to) = (Party::Agency(from.clone()), Party::Agency(to.clone()));
        let by_rank = [(from.clone(), to.clone()), (from, Party::Any), (Party::Any, to), (Party::Any, Party::Any)];
        by_rank.iter().find_map(|pair| self.agreements.get(pair))
    }

    /// All relays, by name.
    pub fn relays(&self) -> impl Iterator<Item = &Relay> {
        self.relays.values()
    }

    /// All agencies, by name, suspended ones among them.
    pub fn agencies(&self) -> impl Iterator<Item = &Agency> {
        self.agencies.values()
    }

    /// All agreements.
    pub fn agreements(&self) -> impl Iterator<Item = &Agreement> {
        self.agreements.values()
    }

    /// The key with which `node` signed at `at`: its id matches and its time has come and not passed.
    #[must_use]
    pub fn sign_key(&self, node: &NodeId, key: KeyId, at: Timestamp) -> Option<VerifyingKey> {
        if let Some(relay) = self.relay(node) {
            let at = if planted(Mutant::KeyTimeUnchecked) { Timestamp::ZERO } else { at };
            return (relay.sign_key.key_id() == key && at <= relay.not_after).then_some(relay.sign_key);
        }
        let agency = self.agency(&node.to_agency())?;
        let in_time =
            |entry: &SignKey| planted(Mutant::KeyTimeUnchecked) || (entry.not_before..=entry.not_after).contains(&at);
        let usable = |entry: &&SignKey| entry.id == key && in_time(entry);
        agency.sign_keys.iter().find(usable).map(|entry| entry.key)
    }
}

impl Roster {
    /// This roster, in the place of `before`: it remembers which signing keys have ended.
    #[must_use]
    pub fn succeeding(mut self, before: &Self) -> Self {
        let (now, then) = (self.sign_keys(), before.sign_keys());
        let mut ended: BTreeSet<_> = before.ended.union(&then).filter(|key| !now.contains(key)).cloned().collect();
        while ended.len() > ENDED_KEYS_MAX {
            ended.pop_last();
        }
        self.ended = ended;
        self
    }

    fn sign_keys(&self) -> BTreeSet<(NodeId, KeyId)> {
        let relays = self.relays.values().map(|relay| (relay.id.clone(), relay.sign_key.key_id()));
        let agencies = self.agencies.values();
        let agencies =
            agencies.flat_map(|agency| agency.sign_keys.iter().map(|key| (NodeId::from(&agency.id), key.id)));
        relays.chain(agencies).collect()
    }

    fn has_passed(&self, node: &NodeId, key: KeyId, at: Timestamp) -> bool {
        if let Some(relay) = self.relay(node) {
            return relay.sign_key.key_id() == key && relay.not_after < at;
        }
        let agency = self.agency(&node.to_agency());
        agency.is_some_and(|agency| agency.sign_keys.iter().any(|entry| entry.id == key && entry.not_after < at))
    }
}

impl SenderKeys for Roster {
    fn verifying_key(&self, sender: &NodeId, key: KeyId, at: Timestamp) -> Option<VerifyingKey> {
        self.sign_key(sender, key, at)
    }

    fn has_ended(&self, sender: &NodeId, key: KeyId, at: Timestamp) -> bool {
        self.ended.contains(&(sender.clone(), key)) || self.has_passed(sender, key, at)
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roster({}, version {}, {})", self.federation(), self.version(), self.hash)
    }
}

#[cfg(test)]
mod tests;
