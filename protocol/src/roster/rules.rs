//! What the content of a roster must keep, whoever signed it (SPEC.md, "Roster").

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::document::{AgencyEntry, AgencyStatus, Party, RelayEntry, RosterDocument, SignKeyEntry, federation_id};
use super::verify::VALIDITY_MAX;
use super::{Agency, Agreement, Relay, RosterVersion, SignKey};
use crate::hash::Hash;
use crate::ids::{AgencyId, NodeId};
use crate::limits;
use crate::sign::ALG_ED25519;

/// Free text of an entry, in bytes.
const TEXT_BYTES_MAX: usize = 256;
/// Entries in the short lists of one agency or relay.
const LIST_MAX: usize = 16;

/// Which rule of the content is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterRule {
    /// Not `host:port`.
    #[error("relay {relay}: '{address}' is not host:port")]
    Address {
        /// Whose.
        relay: NodeId,
        /// The address.
        address: String,
    },
    /// A signing algorithm other than Ed25519.
    #[error("agency {agency}: signing algorithm {alg} is not supported by this version")]
    Algorithm {
        /// Whose.
        agency: AgencyId,
        /// The number.
        alg: u8,
    },
    /// Two agreements for one pair.
    #[error("two agreements from {from} to {to}")]
    DuplicateAgreement {
        /// Who writes.
        from: Party,
        /// To whom.
        to: Party,
    },
    /// One key stands in two places: a key has one role and one owner.
    #[error("{owner}: one of its keys stands in the roster twice")]
    DuplicateKey {
        /// The second owner, or a root.
        owner: String,
    },
    /// Two nodes of one name.
    #[error("the name {id} stands twice")]
    DuplicateName {
        /// The name.
        id: NodeId,
    },
    /// `expires` is not after `issued`, or more than 90 days after it.
    #[error("it must expire after it is issued, and at most 90 days later")]
    Expiry,
    /// Version 1, and the id does not follow from the name and the roots.
    #[error("the federation's id does not follow from its name and first root keys")]
    FederationId,
    /// Too few or too many of something.
    #[error("{owner}: {count} {what}, {min} to {max} allowed")]
    Count {
        /// Whose.
        owner: String,
        /// What.
        what: &'static str,
        /// How many.
        count: usize,
        /// At least.
        min: usize,
        /// At most.
        max: usize,
    },
    /// Longer than 30 days, or zero.
    #[error("agency {agency}: max_ttl_s must be 1 s to 30 days")]
    MaxTtl {
        /// Whose.
        agency: AgencyId,
    },
    /// Version 1 has a predecessor, or a later one has none.
    #[error("version {version}: prev is zeros in version 1, and only there")]
    Prev {
        /// The version.
        version: RosterVersion,
    },
    /// Version 0.
    #[error("versions count from 1")]
    Version,
    /// An agreement, or a home, names what is not in the roster.
    #[error("{owner} names {id}, which is not in the roster")]
    Unknown {
        /// Where.
        owner: String,
        /// What.
        id: String,
    },
}

/// The content, ready for look-ups.
pub(super) struct Tables {
    pub(super) relays: BTreeMap<NodeId, Relay>,
    pub(super) agencies: BTreeMap<AgencyId, Agency>,
    pub(super) by_tls_key: BTreeMap<[u8; 32], NodeId>,
    pub(super) agreements: BTreeMap<(Party, Party), Agreement>,
}

pub(super) fn check(document: &RosterDocument) -> Result<Tables, RosterRule> {
    check_frame(document)?;
    check_keys(document)?;
    let relays = relays(document)?;
    let agencies = agencies(document, &relays)?;
    let agreements = agreements(document, &agencies)?;
    let by_tls_key = by_tls_key(&relays, &agencies);
    Ok(Tables { relays, agencies, by_tls_key, agreements })
}

// [ROSTER-8]
fn check_frame(document: &RosterDocument) -> Result<(), RosterRule> {
    let RosterDocument { version, issued, expires, .. } = document;
    if version.0 == 0 {
        return Err(RosterRule::Version);
    }
    if expires <= issued || *expires > issued.after(VALIDITY_MAX) {
        return Err(RosterRule::Expiry);
    }
    if (version.0 == 1) != (document.prev == Hash::ZERO) {
        return Err(RosterRule::Prev { version: *version });
    }
    count("federation", "bytes of name", document.name.len(), 1..=63)?;
    if version.0 == 1 && document.federation != federation_id(&document.name, &document.roots.keys) {
        return Err(RosterRule::FederationId);
    }
    count("roster", "relays", document.relays.len(), 0..=limits::RELAYS_MAX)?;
    count("roster", "agencies", document.agencies.len(), 0..=limits::AGENCIES_MAX)
}

/// No Ed25519 key stands twice, in whatever role: roots' halves, link keys, signing keys ([ROSTER-9] [LABEL-1]).
fn check_keys(document: &RosterDocument) -> Result<(), RosterRule> {
    let roots = document.roots.keys.iter().map(|key| ("a root".to_owned(), key.ed25519_bytes()));
    let relays = document
        .relays
        .iter()
        .flat_map(|relay| [relay.tls_key, *relay.sign_key.as_bytes()].map(|key| (relay.id.to_string(), key)));
    let agencies = document.agencies.iter().flat_map(|agency| {
        let signing = agency.sign_keys.iter().map(|entry| *entry.public.as_bytes());
        agency.tls_keys.iter().copied().chain(signing).map(|key| (agency.id.to_string(), key))
    });
    let mut seen = BTreeSet::new();
    let mut all = roots.chain(relays).chain(agencies);
    match all.find(|(_, key)| !seen.insert(*key)) {
        Some((owner, _)) => Err(RosterRule::DuplicateKey { owner }),
        None => Ok(()),
    }
}

fn relays(document: &RosterDocument) -> Result<BTreeMap<NodeId, Relay>, RosterRule> {
    let mut relays = BTreeMap::new();
    for entry in &document.relays {
        let relay = relay(entry)?;
        if relays.insert(entry.id.clone(), relay).is_some() {
            return Err(RosterRule::DuplicateName { id: entry.id.clone() });
        }
    }
    Ok(relays)
}

fn relay(entry: &RelayEntry) -> Result<Relay, RosterRule> {
    count(entry.id.as_str(), "addresses", entry.addresses.len(), 1..=LIST_MAX)?;
    count(entry.id.as_str(), "bytes of operator", entry.operator.len(), 0..=TEXT_BYTES_MAX)?;
    if let Some(address) = entry.addresses.iter().find(|address| !is_address(address)) {
        let address = address.chars().take(TEXT_BYTES_MAX).collect();
        return Err(RosterRule::Address { relay: entry.id.clone(), address });
    }
    Ok(Relay {
        id: entry.id.clone(),
        region: entry.region.clone(),
        addresses: entry.addresses.clone(),
        tls_key: entry.tls_key,
        sign_key: entry.sign_key,
        operator: entry.operator.clone(),
        not_after: entry.not_after,
    })
}

/// `host:port`, an IPv6 host in brackets.
fn is_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let host_is_good = match bare {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(allowed),
    };
    address.len() <= TEXT_BYTES_MAX && host_is_good && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn agencies(
    document: &RosterDocument,
    relays: &BTreeMap<NodeId, Relay>,
) -> Result<BTreeMap<AgencyId, Agency>, RosterRule> {
    let mut agencies = BTreeMap::new();
    for entry in &document.agencies {
        let agency = agency(entry, relays)?;
        let name = NodeId::from(&entry.id);
        if relays.contains_key(&name) || agencies.insert(entry.id.clone(), agency).is_some() {
            return Err(RosterRule::DuplicateName { id: name });
        }
    }
    Ok(agencies)
}

fn agency(entry: &AgencyEntry, relays: &BTreeMap<NodeId, Relay>) -> Result<Agency, RosterRule> {
    let owner = entry.id.as_str();
    count(owner, "bytes of name", entry.name.len(), 0..=TEXT_BYTES_MAX)?;
    count(owner, "home relays", entry.home.len(), 1..=LIST_MAX)?;
    count(owner, "link keys", entry.tls_keys.len(), 1..=LIST_MAX)?;
    count(owner, "signing keys", entry.sign_keys.len(), 1..=LIST_MAX)?;
    if let Some(id) = entry.home.iter().find(|id| !relays.contains_key(*id)) {
        return Err(RosterRule::Unknown { owner: owner.into(), id: id.to_string() });
    }
    let max_ttl = Duration::from_secs(entry.max_ttl_s);
    if max_ttl.is_zero() || max_ttl > limits::LIFETIME_MAX {
        return Err(RosterRule::MaxTtl { agency: entry.id.clone() });
    }
    let sign_keys = entry.sign_keys.iter().map(|key| sign_key(&entry.id, key));
    Ok(Agency {
        id: entry.id.clone(),
        name: entry.name.clone(),
        home: entry.home.clone(),
        tls_keys: entry.tls_keys.clone(),
        sign_keys: sign_keys.collect::<Result<_, _>>()?,
        max_ttl,
        quota: entry.quota_bytes,
        status: entry.status,
    })
}

fn sign_key(agency: &AgencyId, entry: &SignKeyEntry) -> Result<SignKey, RosterRule> {
    if entry.alg != ALG_ED25519 {
        return Err(RosterRule::Algorithm { agency: agency.clone(), alg: entry.alg });
    }
    let SignKeyEntry { public: key, not_before, not_after, .. } = *entry;
    Ok(SignKey { id: key.key_id(), key, not_before, not_after })
}

fn agreements(
    document: &RosterDocument,
    agencies: &BTreeMap<AgencyId, Agency>,
) -> Result<BTreeMap<(Party, Party), Agreement>, RosterRule> {
    let mut agreements = BTreeMap::new();
    for entry in &document.agreements {
        for party in [&entry.from, &entry.to] {
            if let Party::Agency(id) = party
                && !agencies.contains_key(id)
            {
                return Err(RosterRule::Unknown { owner: "an agreement".into(), id: id.to_string() });
            }
        }
        let (from, to) = (entry.from.clone(), entry.to.clone());
        let agreement = Agreement {
            from: from.clone(),
            to: to.clone(),
            max_precedence: entry.max_precedence,
            quota: entry.quota_bytes,
        };
        if agreements.insert((from.clone(), to.clone()), agreement).is_some() {
            return Err(RosterRule::DuplicateAgreement { from, to });
        }
    }
    Ok(agreements)
}

fn by_tls_key(relays: &BTreeMap<NodeId, Relay>, agencies: &BTreeMap<AgencyId, Agency>) -> BTreeMap<[u8; 32], NodeId> {
    let of_relays = relays.values().map(|relay| (relay.tls_key, relay.id.clone()));
    let active = agencies.values().filter(|agency| agency.status == AgencyStatus::Active);
    let of_agencies = active.flat_map(|agency| agency.tls_keys.iter().map(|key| (*key, NodeId::from(&agency.id))));
    of_relays.chain(of_agencies).collect()
}

fn count(
    owner: &str,
    what: &'static str,
    count: usize,
    allowed: std::ops::RangeInclusive<usize>,
) -> Result<(), RosterRule> {
    if allowed.contains(&count) {
        return Ok(());
    }
    let (min, max) = (*allowed.start(), *allowed.end());
    Err(RosterRule::Count { owner: owner.into(), what, count, min, max })
}
