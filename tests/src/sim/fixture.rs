//! A federation with real keys, rosters and prekeys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use liaison_protocol::ids::{AgencyId, NodeId};
use liaison_protocol::prekey::PrekeySecret;
use liaison_protocol::roster::{
    AgencyEntry, AgencyStatus, AgreementEntry, Party, RelayEntry, RootKey, RootSet, Roster, RosterDocument,
    RosterVersion, SignKeyEntry, TrustAnchor,
};
use liaison_protocol::sign::{Signer, SigningKey};
use liaison_protocol::{Hash, KeyId, Precedence, Timestamp};

use super::plan::{Change, Offer, Shape};
use super::rng::SimRng;
use super::trace::NodeNo;

/// When every run begins: 2026-11-24.
pub(super) const START: Timestamp = Timestamp::from_millis(1_795_521_600_000);
/// How long a roster is in force.
pub(super) const ROSTER_LIFE: Duration = Duration::from_secs(80 * 86_400);
pub(super) const NODES_MAX: usize = 40;

/// Keys cost more than anything else that a run does, and no fault depends on which they are: made once a process.
struct Keys {
    roots: [RootKey; 3],
    strangers: [RootKey; 3],
    signers: Vec<Arc<SigningKey>>,
    prekeys: Vec<PrekeySecret>,
    /// What agencies sign with once the roots have given them another key.
    successors: Vec<Arc<SigningKey>>,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut rng = SimRng::new(0);
        Keys {
            roots: std::array::from_fn(|_| RootKey::generate(&mut rng)),
            strangers: std::array::from_fn(|_| RootKey::generate(&mut rng)),
            signers: (0..NODES_MAX).map(|_| Arc::new(SigningKey::generate(&mut rng))).collect(),
            prekeys: (0..NODES_MAX).map(|_| PrekeySecret::generate(&mut rng)).collect(),
            successors: (0..NODES_MAX).map(|_| Arc::new(SigningKey::generate(&mut rng))).collect(),
        }
    })
}

/// See the module.
pub(super) struct Federation {
    /// By number: relays first.
    pub(super) names: Vec<NodeId>,
    numbers: BTreeMap<NodeId, NodeNo>,
    relays: usize,
    /// Agencies that sign with their next key.
    rekeyed: BTreeSet<NodeNo>,
    /// Home relays of each agency.
    pub(super) homes: Vec<Vec<NodeNo>>,
    /// What the roots have published, oldest first.
    pub(super) rosters: Vec<Arc<Roster>>,
}

impl Federation {
    pub(super) fn make(shape: &Shape) -> Self {
        let relays = shape.relays();
        let relay = |number| match shape.sibling(number).filter(|first| *first < number) {
            Some(first) => format!("relay-second-{first}"),
            None => format!("relay-{number}"),
        };
        let mut names: Vec<NodeId> = (0..relays).map(|number| name(&relay(number))).collect();
        names.extend((0..shape.agencies).map(|number| name::<NodeId>(&format!("agency-{number:02}"))));
        let numbers = names.iter().cloned().zip(0..).collect();
        let homes = (0..shape.agencies).map(|agency| shape.homes(agency)).collect();
        let mut federation = Self { names, numbers, relays, rekeyed: BTreeSet::new(), homes, rosters: Vec::new() };
        federation.rosters.push(federation.first_roster(shape));
        federation
    }

    pub(super) fn number(&self, name: &NodeId) -> Option<NodeNo> {
        self.numbers.get(name).copied()
    }

    pub(super) fn agency(&self, node: NodeNo) -> AgencyId {
        self.names[node].to_agency()
    }

    pub(super) fn signer(&self, node: NodeNo) -> &'static SigningKey {
        self.shared_signer(node)
    }

    pub(super) fn shared_signer(&self, node: NodeNo) -> &'static Arc<SigningKey> {
        if self.rekeyed.contains(&node) { &keys().successors[node] } else { &keys().signers[node] }
    }

    /// The key that an agency had first, and a thief has now.
    pub(super) fn stolen(&self, node: NodeNo) -> &'static SigningKey {
        &keys().signers[node]
    }

    /// An agency is given the key that this roster names. True if that is another one than it has.
    pub(super) fn rekey(&mut self, node: NodeNo, roster: &Roster) -> bool {
        let successor = keys().successors[node].verifying_key();
        let named = roster
            .agency(&self.agency(node))
            .is_some_and(|entry| entry.sign_keys.iter().any(|key| key.key == successor));
        named && self.rekeyed.insert(node)
    }

    /// Whether a node's first key has this id (0), or its next one (1).
    pub(super) fn generation(&self, node: NodeNo, key: KeyId) -> u8 {
        u8::from(key != keys().signers[node].key_id())
    }

    pub(super) fn prekey(&self, node: NodeNo) -> &'static PrekeySecret {
        &keys().prekeys[node]
    }

    pub(super) fn is_relay(&self, node: NodeNo) -> bool {
        node < self.relays
    }

    fn first_roster(&self, shape: &Shape) -> Arc<Roster> {
        let roots = RootSet { threshold: 2, keys: keys().roots.iter().map(|root| root.public().clone()).collect() };
        let mut document = RosterDocument::genesis("simulated", roots.clone(), START, START.after(ROSTER_LIFE));
        // Keys outlive every run: what ends here is the roster.
        let not_after = Timestamp::MAX;
        for node in 0..self.names.len() {
            let key = &keys().signers[node];
            if self.is_relay(node) {
                document.relays.push(relay_entry(&self.names[node], key, not_after));
            } else {
                let home = self.homes[node - self.relays].iter().map(|relay| self.names[*relay].clone()).collect();
                document.agencies.push(agency_entry(self.agency(node), home, key, not_after, shape.quota_bytes));
            }
        }
        document.agreements = self.agreements(shape);
        let signed = document.sign(&[&keys().roots[0], &keys().roots[1]], &mut SimRng::new(1));
        let anchor = TrustAnchor { federation: document.federation, roots };
        Arc::new(Roster::verify_first(&signed, &anchor).expect("a sound roster"))
    }

    fn agreements(&self, shape: &Shape) -> Vec<AgreementEntry> {
        let entry = |from, to, rank| AgreementEntry {
            from,
            to,
            max_precedence: Precedence::from_rank(rank).expect("a rank"),
            quota_bytes: None,
        };
        if !shape.strict {
            return vec![entry(Party::Any, Party::Any, 0)];
        }
        let party = |agency: usize| Party::Agency(self.agency(self.relays + agency));
        let pairs = (0..shape.agencies).flat_map(|from| (0..shape.agencies).map(move |to| (from, to)));
        pairs
            .filter_map(|(from, to)| shape.may_write(from, to).map(|rank| entry(party(from), party(to), rank)))
            .collect()
    }

    /// Publishes a new roster.
    pub(super) fn publish(&mut self, change: Change, now: Timestamp) {
        let newest = self.rosters.last().expect("there is a first");
        let mut document = RosterDocument::after(newest, now, now.after(ROSTER_LIFE));
        match change {
            Change::Nothing => {}
            Change::Rekeyed(agency) => {
                let (node, id) = (self.relays + agency, self.agency(self.relays + agency));
                let entry = document.agencies.iter_mut().find(|entry| entry.id == id);
                let keys_of = entry.into_iter().flat_map(|entry| &mut entry.sign_keys);
                keys_of.for_each(|key| key.public = keys().successors[node].verifying_key());
            }
            Change::Removed(agency) => {
                let id = self.agency(self.relays + agency);
                document.agencies.retain(|entry| entry.id != id);
                let named = |party: &Party| *party == Party::Agency(id.clone());
                document.agreements.retain(|entry| !named(&entry.from) && !named(&entry.to));
            }
            Change::Suspended(agency) => {
                let id = self.agency(self.relays + agency);
                let entry = document.agencies.iter_mut().find(|entry| entry.id == id);
                entry.into_iter().for_each(|entry| entry.status = AgencyStatus::Suspended);
            }
        }
        let signed = document.sign(&[&keys().roots[1], &keys().roots[2]], &mut SimRng::new(document.version.0.into()));
        let roster = Roster::verify_next(&signed, newest).expect("a sound successor");
        self.rosters.push(Arc::new(roster));
    }

    /// A roster that `trusted`'s followers must not follow.
    pub(super) fn falsify(&self, offer: Offer, trusted: &Roster, now: Timestamp) -> Vec<u8> {
        let mut document = RosterDocument::after(trusted, now, now.after(ROSTER_LIFE));
        // So that it differs from what the roots publish.
        document.agencies.iter_mut().for_each(|entry| entry.name = "false".into());
        let [first, second, third] = &keys().roots;
        let mut rng = SimRng::new(7);
        match offer {
            Offer::Forged => document.sign(&keys().strangers.each_ref(), &mut rng),
            Offer::Fork => {
                document.version = trusted.version();
                document.prev = trusted.document().prev;
                document.sign(&[first, second, third], &mut rng)
            }
            Offer::Older => self.rosters[0].signed().to_vec(),
            Offer::Short => document.sign(&[third], &mut rng),
            Offer::Twice => document.sign(&[third, third], &mut rng),
            Offer::WrongPredecessor => {
                document.prev = Hash::of(&[b"another"]);
                document.sign(&[first, second], &mut rng)
            }
        }
    }

    /// Whether the roots published this very roster.
    pub(super) fn published(&self, version: RosterVersion, hash: Hash) -> bool {
        self.rosters.iter().any(|roster| roster.version() == version && roster.hash() == hash)
    }
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a valid name")
}

fn relay_entry(relay: &NodeId, key: &SigningKey, not_after: Timestamp) -> RelayEntry {
    RelayEntry {
        id: relay.clone(),
        region: name("region"),
        addresses: vec!["127.0.0.1:1".into()],
        // The simulated network has no TLS; a roster wants a key of its own there.
        tls_key: link_key(relay.as_str()),
        sign_key: key.verifying_key(),
        operator: "simulated".into(),
        not_after,
    }
}

fn agency_entry(
    agency: AgencyId,
    home: Vec<NodeId>,
    key: &SigningKey,
    not_after: Timestamp,
    quota_bytes: Option<u64>,
) -> AgencyEntry {
    AgencyEntry {
        name: agency.to_string(),
        home,
        tls_keys: vec![link_key(agency.as_str())],
        id: agency,
        sign_keys: vec![SignKeyEntry { alg: 1, public: key.verifying_key(), not_before: Timestamp::ZERO, not_after }],
        max_ttl_s: 7 * 86_400,
        quota_bytes,
        status: AgencyStatus::Active,
    }
}

fn link_key(name: &str) -> [u8; 32] {
    let seed = Hash::of(&[name.as_bytes()]).0;
    *SigningKey::from_seed(&zeroize::Zeroizing::new(seed)).verifying_key().as_bytes()
}
