//! A federation with real keys, roster and prekeys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use liaison_protocol::ids::{AgencyId, NodeId};
use liaison_protocol::prekey::PrekeySecret;
use liaison_protocol::roster::{
    AgencyEntry, AgencyStatus, AgreementEntry, Party, RelayEntry, RootKey, RootSet, Roster, RosterDocument,
    SignKeyEntry, TrustAnchor,
};
use liaison_protocol::sign::SigningKey;
use liaison_protocol::{Precedence, Timestamp};

use super::plan::Plan;
use super::rng::SimRng;

/// When every run begins: 2026-11-24.
pub(super) const START: Timestamp = Timestamp::from_millis(1_795_521_600_000);

/// See the module.
pub(super) struct Federation {
    pub(super) roster: Arc<Roster>,
    pub(super) signers: BTreeMap<NodeId, SigningKey>,
    pub(super) prekeys: BTreeMap<AgencyId, PrekeySecret>,
    /// By region; the first region's second relay comes last of all.
    pub(super) relays: Vec<NodeId>,
    /// Agencies and their home relays.
    pub(super) agencies: Vec<(AgencyId, Vec<NodeId>)>,
}

impl Federation {
    pub(super) fn make(plan: &Plan, rng: &mut SimRng) -> Self {
        let root = RootKey::generate(rng);
        let roots = RootSet { threshold: 1, keys: vec![root.public().clone()] };
        let expires = START.after(Duration::from_secs(80 * 86_400));
        let mut document = RosterDocument::genesis("simulated", roots.clone(), START, expires);
        let (mut signers, mut prekeys) = (BTreeMap::new(), BTreeMap::new());
        let mut relays: Vec<NodeId> = (0..plan.regions).map(|region| name(&format!("relay-{region}"))).collect();
        let mut agencies = Vec::new();
        for (region, relay) in relays.iter().enumerate() {
            for index in 0..plan.agencies {
                let agency: AgencyId = name(&format!("agency-{region}-{index}"));
                agencies.push((agency, vec![relay.clone()]));
            }
        }
        if plan.spare_relay {
            let spare: NodeId = name("relay-0-spare");
            agencies.iter_mut().take(plan.agencies).for_each(|(_, home)| home.push(spare.clone()));
            relays.push(spare);
        }
        for relay in &relays {
            let key = SigningKey::generate(rng);
            document.relays.push(relay_entry(relay, &key, expires));
            signers.insert(relay.clone(), key);
        }
        for (agency, home) in &agencies {
            let key = SigningKey::generate(rng);
            document.agencies.push(agency_entry(agency, home, &key, expires));
            signers.insert(agency.into(), key);
            prekeys.insert(agency.clone(), PrekeySecret::generate(rng));
        }
        document.agreements.push(AgreementEntry {
            from: Party::Any,
            to: Party::Any,
            max_precedence: Precedence::Flash,
            quota_bytes: None,
        });
        let signed = document.sign(&[&root], rng);
        let anchor = TrustAnchor { federation: document.federation, roots };
        let roster = Arc::new(Roster::verify_first(&signed, &anchor).expect("a sound roster"));
        Self { roster, signers, prekeys, relays, agencies }
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

fn agency_entry(agency: &AgencyId, home: &[NodeId], key: &SigningKey, not_after: Timestamp) -> AgencyEntry {
    AgencyEntry {
        id: agency.clone(),
        name: agency.to_string(),
        home: home.to_vec(),
        tls_keys: vec![link_key(agency.as_str())],
        sign_keys: vec![SignKeyEntry { alg: 1, public: key.verifying_key(), not_before: Timestamp::ZERO, not_after }],
        max_ttl_s: 7 * 86_400,
        quota_bytes: None,
        status: AgencyStatus::Active,
    }
}

fn link_key(name: &str) -> [u8; 32] {
    let seed = liaison_protocol::Hash::of(&[name.as_bytes()]).0;
    *SigningKey::from_seed(&zeroize::Zeroizing::new(seed)).verifying_key().as_bytes()
}
