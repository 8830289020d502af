//! Three relays and two agencies, with their keys and rosters.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use liaison_protocol::envelope::{VerifiedEnvelope, verify_bytes};
use liaison_protocol::inner::{Content, ContentType, Message, Tlp};
use liaison_protocol::prekey::PrekeySecret;
use liaison_protocol::receipt::{CustodyLeaf, Issuer, ReceiptChain};
use liaison_protocol::roster::{
    AgencyEntry, AgencyStatus, AgreementEntry, Party, RelayEntry, RootKey, RootSet, Roster, RosterDocument,
    SignKeyEntry, TrustAnchor,
};
use liaison_protocol::seal::{SealRequest, seal};
use liaison_protocol::sign::{Signer, SigningKey};
use liaison_protocol::{Hash, NodeId, Precedence, Timestamp, limits};
use rand_core::{TryCryptoRng, TryRng};

use crate::action::Taken;
use crate::proofs::VerifiedReceipt;

/// When everything happens, unless time is let pass.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);

/// The same bytes on every run.
struct Rng(u64);

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            chunk.copy_from_slice(&Hash::of(&[&self.0.to_be_bytes()]).0[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Rng {}

pub(super) struct Federation {
    rng: Rng,
    root: RootKey,
    keys: BTreeMap<NodeId, SigningKey>,
    prekey: PrekeySecret,
    pub(super) roster: Arc<Roster>,
}

impl Federation {
    pub(super) fn new() -> Self {
        let mut rng = Rng(0);
        let root = RootKey::generate(&mut rng);
        let roots = RootSet { threshold: 1, keys: vec![root.public().clone()] };
        let mut document = RosterDocument::genesis("test", roots.clone(), NOW, NOW.after(Duration::from_secs(86_400)));
        let mut keys = BTreeMap::new();
        for relay in ["a-1", "a-2", "b-1"] {
            document.relays.push(relay_entry(relay, &mut keys, &mut rng));
        }
        for (agency, home) in [("ncb.s", &["b-1"][..]), ("ncb.x", &["a-1", "a-2"])] {
            document.agencies.push(agency_entry(agency, home, &mut keys, &mut rng));
        }
        let all =
            AgreementEntry { from: Party::Any, to: Party::Any, max_precedence: Precedence::Flash, quota_bytes: None };
        document.agreements.push(all);
        let signed = document.sign(&[&root], &mut rng);
        let anchor = TrustAnchor { federation: document.federation, roots };
        let roster = Arc::new(Roster::verify_first(&signed, &anchor).unwrap());
        let prekey = PrekeySecret::generate(&mut rng);
        Self { rng, root, keys, prekey, roster }
    }

    /// The next roster.
    pub(super) fn publish(&mut self, change: impl FnOnce(&mut RosterDocument)) -> Arc<Roster> {
        let mut document = RosterDocument::after(&self.roster, NOW, NOW.after(Duration::from_secs(86_400)));
        change(&mut document);
        let signed = document.sign(&[&self.root], &mut self.rng);
        self.roster = Arc::new(Roster::verify_next(&signed, &self.roster).unwrap());
        Arc::clone(&self.roster)
    }

    /// The receipt of `issuer` for the custody that one commit took, and the path to each leaf.
    pub(super) fn receipt(&self, issuer: &NodeId, taken: &[Taken], at: Timestamp) -> (VerifiedReceipt, Vec<Bytes>) {
        let leaf = |taken: &Taken| CustodyLeaf {
            id: taken.id,
            received_from: taken.from.clone(),
            time: at,
            indices: taken.indices.clone(),
        };
        let key = &self.keys[issuer];
        let roster_version = self.roster.version();
        let issuer =
            Issuer { federation: self.roster.federation(), id: issuer.clone(), key: key.key_id(), roster_version };
        let leaves: Vec<CustodyLeaf> = taken.iter().map(leaf).collect();
        let receipt = ReceiptChain::default().next_custody(&issuer, &leaves, at);
        let signed = receipt.sign(key).unwrap().encode().into();
        let proofs = (0..).map_while(|index| Some(receipt.proof(index)?.encode().into())).collect();
        (VerifiedReceipt::verify(signed, &self.roster).unwrap(), proofs)
    }

    /// A letter from `ncb.s` to `ncb.x`.
    pub(super) fn letter(&mut self, text: &str, precedence: Precedence) -> VerifiedEnvelope {
        let message = Message {
            thread: None,
            in_reply_to: None,
            chain: None,
            info: Vec::new(),
            subject: text.into(),
            tlp: Tlp::Green,
            handling: Vec::new(),
            content_type: ContentType::Text,
            text: text.into(),
            attachments: Vec::new(),
        };
        let sender: NodeId = "ncb.s".parse().unwrap();
        let request = SealRequest {
            federation: self.roster.federation(),
            sender: &sender,
            // Nobody opens it here: any key will do.
            recipients: &[("ncb.x".parse().unwrap(), self.prekey.public())],
            created: NOW,
            expires: NOW.after(limits::LIFETIME_DEFAULT),
            precedence,
            content: &Content::Message(message),
        };
        let sealed = seal(&request, &self.keys[&sender], &mut self.rng).unwrap();
        let bytes = sealed.envelope.encoded().clone();
        verify_bytes(bytes, &self.roster.federation(), &*self.roster).unwrap()
    }
}

fn new_key(id: &NodeId, keys: &mut BTreeMap<NodeId, SigningKey>, rng: &mut Rng) -> SigningKey {
    let key = SigningKey::generate(rng);
    keys.insert(id.clone(), SigningKey::from_seed(&key.seed()));
    key
}

fn relay_entry(id: &str, keys: &mut BTreeMap<NodeId, SigningKey>, rng: &mut Rng) -> RelayEntry {
    let id: NodeId = id.parse().unwrap();
    let tls_key = *SigningKey::generate(rng).verifying_key().as_bytes();
    RelayEntry {
        region: "region".parse().unwrap(),
        addresses: vec!["127.0.0.1:1".into()],
        tls_key,
        sign_key: new_key(&id, keys, rng).verifying_key(),
        operator: "test".into(),
        not_after: Timestamp::MAX,
        id,
    }
}

fn agency_entry(id: &str, home: &[&str], keys: &mut BTreeMap<NodeId, SigningKey>, rng: &mut Rng) -> AgencyEntry {
    let tls_key = *SigningKey::generate(rng).verifying_key().as_bytes();
    let public = new_key(&id.parse().unwrap(), keys, rng).verifying_key();
    AgencyEntry {
        id: id.parse().unwrap(),
        name: id.into(),
        home: home.iter().map(|relay| relay.parse().unwrap()).collect(),
        tls_keys: vec![tls_key],
        sign_keys: vec![SignKeyEntry { alg: 1, public, not_before: Timestamp::ZERO, not_after: Timestamp::MAX }],
        max_ttl_s: 7 * 86_400,
        quota_bytes: None,
        status: AgencyStatus::Active,
    }
}
