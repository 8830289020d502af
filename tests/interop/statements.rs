//! Rosters and receipts for the second implementation, whole and damaged.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use liaison_protocol::inner::SignedStatement;
use liaison_protocol::receipt::{
    CustodyLeaf, DeliveryLeaf, Issuer, Payload, Proven, ReadFacts, ReceiptBody, ReceiptChain, RefusalFacts,
    UnsignedReceipt, plain_statement, statement, verify_statement,
};
use liaison_protocol::roster::{
    AgencyEntry, AgencyStatus, AgreementEntry, Party, RelayEntry, RootKey, RootSet, Roster, RosterDocument,
    SignKeyEntry, TrustAnchor,
};
use liaison_protocol::{
    FederationId, Hash, MessageId, NodeId, Precedence, RefusalReason, Signer as _, SigningKey, Timestamp,
};
use rand_core::Rng as _;
use serde_json::{Value, json};

use crate::case::hex;
use crate::rng::TestRng;

const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);
const DAY: Duration = Duration::from_secs(86_400);

/// A federation of one relay and one agency, with three roots of which two must sign.
pub(crate) struct World {
    roots: Vec<RootKey>,
    document: RosterDocument,
    relay: SigningKey,
    agency: SigningKey,
}

/// What `verify_receipts.py` takes, beside the roster.
pub(crate) struct Statement {
    receipt: Vec<u8>,
    proven: Vec<u8>,
}

impl World {
    pub(crate) fn new(rng: &mut TestRng) -> Self {
        let roots: Vec<RootKey> = (0..3).map(|_| RootKey::generate(rng)).collect();
        let (relay, agency) = (SigningKey::generate(rng), SigningKey::generate(rng));
        let keys = roots.iter().map(|root| root.public().clone()).collect();
        let mut document = RosterDocument::genesis("interop", RootSet { threshold: 2, keys }, NOW, NOW.after(30 * DAY));
        let mut link_key = || *SigningKey::generate(rng).verifying_key().as_bytes();
        document.relays.push(RelayEntry {
            id: name("eu-1"),
            region: "europe".parse().unwrap(),
            addresses: vec!["[::1]:4433".into()],
            tls_key: link_key(),
            sign_key: relay.verifying_key(),
            operator: "Betreiber ü".into(),
            not_after: NOW.after(365 * DAY),
        });
        let public = agency.verifying_key();
        document.agencies.push(AgencyEntry {
            id: "ncb.ee".parse().unwrap(),
            name: "Tallinn".into(),
            home: vec![name("eu-1")],
            tls_keys: vec![link_key()],
            sign_keys: vec![SignKeyEntry { alg: 1, public, not_before: NOW, not_after: NOW.after(90 * DAY) }],
            max_ttl_s: 604_800,
            quota_bytes: Some(1 << 30),
            status: AgencyStatus::Active,
        });
        let (from, to) = (Party::Any, Party::Any);
        document.agreements.push(AgreementEntry { from, to, max_precedence: Precedence::Flash, quota_bytes: None });
        Self { roots, document, relay, agency }
    }

    fn anchor(&self) -> TrustAnchor {
        TrustAnchor { federation: self.document.federation, roots: self.document.roots.clone() }
    }

    /// The roster, signed by the roots of these indices.
    pub(crate) fn signed(&self, roots: &[usize], rng: &mut TestRng) -> Vec<u8> {
        let roots: Vec<&RootKey> = roots.iter().map(|index| &self.roots[*index]).collect();
        self.document.sign(&roots, rng)
    }

    /// The input of `verify_receipts.py`.
    pub(crate) fn case(&self, roster: &[u8], statement: Option<&Statement>) -> Value {
        let roots: Vec<String> = self.document.roots.keys.iter().map(|key| STANDARD.encode(key.as_bytes())).collect();
        let mut case = json!({ "roster": String::from_utf8_lossy(roster), "roots": roots, "threshold": 2 });
        if let Some(statement) = statement {
            case["receipt"] = hex(&statement.receipt).into();
            case["proven"] = hex(&statement.proven).into();
        }
        case
    }

    /// Our own verdict, in the words of `verify_receipts.py`.
    pub(crate) fn verify(&self, roster: &[u8], statement: Option<&Statement>) -> Value {
        let Ok(roster) = Roster::verify_first(roster, &self.anchor()) else { return json!({ "refused": "roster" }) };
        let mut result = json!({ "roster": {
            "version": roster.version().0,
            "hash": roster.hash().to_string(),
            "federation": roster.federation().to_string(),
        } });
        if let Some(statement) = statement {
            let Some((receipt, leaf)) = statement.verify(&roster) else { return json!({ "refused": "receipt" }) };
            result["receipt"] = receipt;
            result["leaf"] = leaf;
        }
        result
    }

    /// A receipt of each kind, batches of several sizes among them.
    pub(crate) fn statements(&self, rng: &mut TestRng) -> Vec<Statement> {
        let mut all = Vec::new();
        for size in [1, 2, 3, 7, 64] {
            let leaves: Vec<_> = (0..size).map(|_| custody_leaf(rng)).collect();
            let index = rng.below(size) as u32;
            let unsigned = chain(rng).next_custody(&self.issuer("eu-1", &self.relay), &leaves, NOW.after(DAY));
            all.push(proven(&unsigned, &self.relay, &leaves[index as usize], index));
            let leaves: Vec<_> = (0..size).map(|_| delivery_leaf(rng)).collect();
            let unsigned = chain(rng).next_delivery(&self.issuer("ncb.ee", &self.agency), &leaves, NOW.after(DAY));
            all.push(proven(&unsigned, &self.agency, &leaves[index as usize], index));
        }
        let recipient = "ncb.ee".parse().unwrap();
        let read = ReadFacts { id: id(rng), recipient, delivery: Hash(bytes32(rng)) };
        all.push(plain(&chain(rng).next_read(&self.issuer("ncb.ee", &self.agency), read, NOW), &self.agency));
        for (issuer, key) in [("eu-1", &self.relay), ("ncb.ee", &self.agency)] {
            let facts = RefusalFacts {
                id: id(rng),
                recipient: "ncb.ee".parse().unwrap(),
                reason: RefusalReason::Expired,
                detail: "zu spät".into(),
                retry_after_ms: 0,
            };
            all.push(plain(&chain(rng).next_refusal(&self.issuer(issuer, key), facts, NOW), key));
        }
        all
    }

    fn issuer(&self, id: &str, key: &SigningKey) -> Issuer {
        let roster_version = self.document.version;
        Issuer { federation: self.document.federation, id: name(id), key: key.key_id(), roster_version }
    }
}

impl Statement {
    /// With one bit of the receipt or of the proof flipped.
    pub(crate) fn damaged(&self, rng: &mut TestRng) -> Self {
        let (mut receipt, mut proven) = (self.receipt.clone(), self.proven.clone());
        let bytes = if proven.is_empty() || rng.below(2) == 0 { &mut receipt } else { &mut proven };
        let at = rng.below(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
        Self { receipt, proven }
    }

    fn verify(&self, roster: &Roster) -> Option<(Value, Value)> {
        use liaison_protocol::receipt::Statement as Verified;
        let proofs = if self.proven.is_empty() { vec![] } else { vec![self.proven.clone().into()] };
        let statement = SignedStatement { receipt: self.receipt.clone().into(), proofs };
        Some(match verify_statement(&statement, roster).ok()? {
            Verified::Custody(body, leaves) => (receipt_json(&body), custody_json(&leaves[0])),
            Verified::Delivered(body, leaves) => (receipt_json(&body), delivery_json(&leaves[0])),
            Verified::Read(body, _) | Verified::Refused(body, _) => (receipt_json(&body), Value::Null),
        })
    }
}

fn name(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn bytes32(rng: &mut TestRng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn id(rng: &mut TestRng) -> MessageId {
    MessageId(Hash(bytes32(rng)))
}

/// Somewhere in an issuer's history.
fn chain(rng: &mut TestRng) -> ReceiptChain {
    ReceiptChain { seq: rng.below(1 << 40) as u64, prev: Hash(bytes32(rng)) }
}

fn custody_leaf(rng: &mut TestRng) -> CustodyLeaf {
    let indices = (0..=rng.below(5) as u16).map(|n| n * 200).collect();
    CustodyLeaf { id: id(rng), received_from: name("ap-1"), time: NOW.after(DAY / 2), indices }
}

fn delivery_leaf(rng: &mut TestRng) -> DeliveryLeaf {
    let recipient = "ncb.ee".parse().unwrap();
    DeliveryLeaf { id: id(rng), recipient, time: NOW.after(DAY / 2), opened: rng.below(2) == 0 }
}

fn proven<L>(unsigned: &UnsignedReceipt, key: &SigningKey, leaf: &L, index: u32) -> Statement
where
    L: Clone + serde::Serialize + for<'de> serde::Deserialize<'de>,
{
    let receipt = unsigned.sign(key).unwrap();
    let proven = Proven { leaf: leaf.clone(), proof: unsigned.proof(index).unwrap() };
    packed(statement(&receipt, &[proven]))
}

fn plain(unsigned: &UnsignedReceipt, key: &SigningKey) -> Statement {
    packed(plain_statement(&unsigned.sign(key).unwrap()))
}

fn packed(statement: SignedStatement) -> Statement {
    let proven = statement.proofs.first().map(|proof| proof.to_vec()).unwrap_or_default();
    Statement { receipt: statement.receipt.to_vec(), proven }
}

fn receipt_json(body: &ReceiptBody) -> Value {
    let federation: FederationId = body.federation;
    let mut receipt = json!({
        "kind": body.payload.kind_name(),
        "federation": federation.to_string(),
        "issuer": body.issuer.as_str(),
        "roster_version": body.roster_version.0,
        "time": body.time.as_millis(),
        "seq": body.seq,
        "prev": body.prev.to_string(),
    });
    match &body.payload {
        Payload::Read(facts) => {
            receipt["id"] = facts.id.0.to_string().into();
            receipt["recipient"] = facts.recipient.as_str().into();
            receipt["delivery"] = facts.delivery.to_string().into();
        }
        Payload::Refusal(facts) => {
            receipt["id"] = facts.id.0.to_string().into();
            receipt["recipient"] = facts.recipient.as_str().into();
            receipt["reason"] = facts.reason.code().into();
            receipt["detail"] = facts.detail.clone().into();
            receipt["retry_after_ms"] = facts.retry_after_ms.into();
        }
        Payload::Custody(_) | Payload::Delivery(_) | Payload::Restored(_) => {}
    }
    receipt
}

fn custody_json(leaf: &CustodyLeaf) -> Value {
    let (id, from) = (leaf.id.0.to_string(), leaf.received_from.as_str());
    json!({ "id": id, "received_from": from, "time": leaf.time.as_millis(), "indices": leaf.indices })
}

fn delivery_json(leaf: &DeliveryLeaf) -> Value {
    let (id, recipient) = (leaf.id.0.to_string(), leaf.recipient.as_str());
    json!({ "id": id, "recipient": recipient, "time": leaf.time.as_millis(), "opened": leaf.opened })
}
