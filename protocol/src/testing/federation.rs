//! A small federation with its keys: two relays, three agencies, three roots of which two must sign.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use super::rng;
use crate::ids::NodeId;
use crate::precedence::Precedence;
use crate::roster::{
    AgencyEntry, AgencyStatus, AgreementEntry, Party, RelayEntry, RootKey, RootSet, Roster, RosterDocument,
    SignKeyEntry, TrustAnchor,
};
use crate::sign::SigningKey;
use crate::time::Timestamp;

/// 2026-11-24T12:00:00Z, when the federation's rosters are issued.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);

pub(crate) struct TestFederation {
    pub(crate) roots: Vec<RootKey>,
    /// Signing keys of `ap-1`, `eu-1`, `ncb.sg`, `ncb.ee`, `ncb.fr`.
    pub(crate) keys: BTreeMap<NodeId, SigningKey>,
    pub(crate) document: RosterDocument,
}

impl TestFederation {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = &mut rng(seed);
        let roots: Vec<RootKey> = (0..3).map(|_| RootKey::generate(rng)).collect();
        let set = root_set(&roots, 2);
        let mut document = RosterDocument::genesis("test", set, NOW, NOW.after(Duration::from_secs(30 * 86_400)));
        let mut keys = BTreeMap::new();
        let mut tls_key = || *SigningKey::generate(rng).verifying_key().as_bytes();
        for (id, region) in [("ap-1", "asia"), ("eu-1", "europe")] {
            document.relays.push(relay(id, region, tls_key(), new_key(&mut keys, id, seed)));
        }
        for (id, home) in [("ncb.sg", "ap-1"), ("ncb.ee", "eu-1"), ("ncb.fr", "eu-1")] {
            document.agencies.push(agency(id, home, tls_key(), new_key(&mut keys, id, seed)));
        }
        document.agreements.push(agreement("*", "*", Precedence::Flash));
        Self { roots, keys, document }
    }

    pub(crate) fn anchor(&self) -> TrustAnchor {
        TrustAnchor { federation: self.document.federation, roots: root_set(&self.roots, 2) }
    }

    /// Signed by the first two roots.
    pub(crate) fn signed(&self) -> Vec<u8> {
        self.document.sign(&[&self.roots[0], &self.roots[1]], &mut rng(99))
    }

    pub(crate) fn roster(&self) -> Roster {
        Roster::verify_first(&self.signed(), &self.anchor()).unwrap()
    }

    pub(crate) fn key(&self, id: &str) -> &SigningKey {
        &self.keys[&node(id)]
    }
}

/// `TestFederation::new(1)` and its anchor, made once: for properties, which look at it hundreds of times.
pub(crate) static SHARED: LazyLock<(TestFederation, TrustAnchor)> = LazyLock::new(|| {
    let federation = TestFederation::new(1);
    let anchor = federation.anchor();
    (federation, anchor)
});

pub(crate) fn node(id: &str) -> NodeId {
    id.parse().unwrap()
}

pub(crate) fn root_set(roots: &[RootKey], threshold: u8) -> RootSet {
    RootSet { threshold, keys: roots.iter().map(|root| root.public().clone()).collect() }
}

pub(crate) fn agreement(from: &str, to: &str, max_precedence: Precedence) -> AgreementEntry {
    let party = |text: &str| text.parse::<Party>().unwrap();
    AgreementEntry { from: party(from), to: party(to), max_precedence, quota_bytes: None }
}

fn new_key(keys: &mut BTreeMap<NodeId, SigningKey>, id: &str, seed: u64) -> crate::sign::VerifyingKey {
    let key = SigningKey::generate(&mut rng(seed * 1000 + keys.len() as u64 + 1));
    let public = key.verifying_key();
    keys.insert(node(id), key);
    public
}

fn relay(id: &str, region: &str, tls_key: [u8; 32], sign_key: crate::sign::VerifyingKey) -> RelayEntry {
    RelayEntry {
        id: node(id),
        region: region.parse().unwrap(),
        addresses: vec!["127.0.0.1:4433".into()],
        tls_key,
        sign_key,
        operator: format!("operator of {id}"),
        not_after: NOW.after(Duration::from_secs(365 * 86_400)),
    }
}

fn agency(id: &str, home: &str, tls_key: [u8; 32], public: crate::sign::VerifyingKey) -> AgencyEntry {
    let not_after = NOW.after(Duration::from_secs(365 * 86_400));
    AgencyEntry {
        id: id.parse().unwrap(),
        name: format!("agency {id}"),
        home: vec![node(home)],
        tls_keys: vec![tls_key],
        sign_keys: vec![SignKeyEntry { alg: 1, public, not_before: NOW.before(Duration::from_secs(3600)), not_after }],
        max_ttl_s: 7 * 86_400,
        quota_bytes: None,
        status: AgencyStatus::Active,
    }
}
