//! What is valid: one federation, one message with everything that proves it. Made once, always the same.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use liaison_protocol::envelope::ContentKey;
use liaison_protocol::evidence::{Attempt, EvidenceParts, Exporter, assemble};
use liaison_protocol::inner::{Content, ContentType, Message, SignedStatement, Supersedes, Tlp};
use liaison_protocol::prekey::{PrekeyBundle, PrekeyEntry, PrekeySecret, SignedBundle, sign_bundle};
use liaison_protocol::receipt::{
    CustodyLeaf, DeliveryLeaf, Issuer, Proven, ReadFacts, ReceiptChain, RefusalFacts, plain_statement, statement,
};
use liaison_protocol::roster::{
    AgencyEntry, AgencyStatus, AgreementEntry, Dsse, DsseSignature, Party, RelayEntry, RootKey, RootSet, Roster,
    RosterDocument, SignKeyEntry, TrustAnchor,
};
use liaison_protocol::seal::{SealRequest, Sealed, seal};
use liaison_protocol::{AgencyId, Hash, MessageId, NodeId, Precedence, RefusalReason, Signer as _, SigningKey};
use liaison_protocol::{RosterVersion, Timestamp, label};

use crate::draw::Draw;

/// When the message is written.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);
const ROSTER_TYPE: &str = "application/vnd.liaison.roster.v1+json";

pub(super) static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// Two relays, two agencies, three roots of which two must sign; `ncb.sg` wrote to `ncb.ee`, who read it.
pub(super) struct World {
    pub(super) roots: Vec<RootKey>,
    pub(super) document: RosterDocument,
    pub(super) signed_roster: Vec<u8>,
    pub(super) roster: Roster,
    pub(super) keys: BTreeMap<NodeId, SigningKey>,
    pub(super) prekey: PrekeySecret,
    pub(super) sealed: Sealed,
    /// The same message, sealed anew.
    pub(super) attempts: [Attempt; 1],
    pub(super) bundle: SignedBundle,
    pub(super) statements: Vec<SignedStatement>,
}

impl World {
    fn new() -> Self {
        let rng = &mut Draw::new(1);
        let roots: Vec<RootKey> = (0..3).map(|_| RootKey::generate(rng)).collect();
        let mut document = RosterDocument::genesis("fuzz", root_set(&roots), NOW, NOW.after(30 * DAY));
        let mut keys = BTreeMap::new();
        for (id, region) in [("ap-1", "asia"), ("eu-1", "europe")] {
            let key = SigningKey::generate(rng);
            document.relays.push(relay(id, region, link_key(rng), &key));
            keys.insert(name(id), key);
        }
        for (id, home) in [("ncb.sg", "ap-1"), ("ncb.ee", "eu-1")] {
            let key = SigningKey::generate(rng);
            document.agencies.push(agency(id, home, link_key(rng), &key));
            keys.insert(name(id), key);
        }
        let (from, to) = (Party::Any, Party::Any);
        document.agreements.push(AgreementEntry { from, to, max_precedence: Precedence::Flash, quota_bytes: None });
        let signed_roster = document.sign(&[&roots[0], &roots[1]], rng);
        let anchor = TrustAnchor { federation: document.federation, roots: root_set(&roots) };
        let roster = Roster::verify_first(&signed_roster, &anchor).expect("a sound roster");
        let prekey = PrekeySecret::generate(rng);
        let sealed = sealed(&document, &keys, &prekey, None, rng);
        let bundle = bundle(&document, &keys, &prekey);
        let statements = statements(&document, &keys, sealed.envelope.id());
        let first = sealed.envelope.id();
        let chain = Supersedes { first, previous: first, sent: NOW };
        let attempts = [attempt(&self::sealed(&document, &keys, &prekey, Some(chain), rng))];
        Self { roots, document, signed_roster, roster, keys, prekey, sealed, attempts, bundle, statements }
    }

    pub(super) fn anchor(&self) -> TrustAnchor {
        TrustAnchor { federation: self.document.federation, roots: root_set(&self.roots) }
    }

    pub(super) fn key(&self, id: &str) -> &SigningKey {
        &self.keys[&name(id)]
    }

    /// Any payload, signed by so many roots as a roster would be.
    pub(super) fn sign_roster(&self, payload: &[u8], roots: usize) -> Vec<u8> {
        let pae = Dsse::pae(ROSTER_TYPE, payload);
        let context = label::ROSTER.strip_suffix(b"\0").expect("a label ends in a zero");
        let signatures = self.roots.iter().take(roots).map(|root| DsseSignature {
            key_id: root.public().key_id().to_string(),
            signature: root.sign(context, &pae, &mut Draw::new(7)).expect("a short context"),
        });
        Dsse { payload_type: ROSTER_TYPE.into(), payload: payload.to_vec(), signatures: signatures.collect() }.encode()
    }

    /// The whole case as a file. `change` may bend any part of it.
    pub(super) fn evidence<'a>(
        &'a self,
        exporter: Option<&str>,
        change: impl FnOnce(&mut EvidenceParts<'a>),
    ) -> Vec<u8> {
        let envelope = self.sealed.envelope.envelope();
        let mut parts = EvidenceParts {
            header: &envelope.header,
            signature: &envelope.signature,
            body: Some(&envelope.body),
            opening: Some(&self.sealed.content_key),
            attempts: &[],
            bundles: std::slice::from_ref(&self.bundle),
            receipts: &self.statements,
            rosters: vec![&self.roster],
        };
        change(&mut parts);
        let signer = exporter.map(|id| self.key(id) as &dyn liaison_protocol::Signer);
        let exporter = Exporter { id: &name("ncb.sg"), time: NOW.after(DAY), signer };
        assemble(&parts, &exporter).unwrap_or_default()
    }
}

pub(super) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a valid name")
}

fn root_set(roots: &[RootKey]) -> RootSet {
    RootSet { threshold: 2, keys: roots.iter().map(|root| root.public().clone()).collect() }
}

fn link_key(rng: &mut Draw) -> [u8; 32] {
    *SigningKey::generate(rng).verifying_key().as_bytes()
}

fn relay(id: &str, region: &str, tls_key: [u8; 32], key: &SigningKey) -> RelayEntry {
    RelayEntry {
        id: name(id),
        region: name(region),
        addresses: vec!["127.0.0.1:4433".into()],
        tls_key,
        sign_key: key.verifying_key(),
        operator: format!("operator of {id}"),
        not_after: NOW.after(365 * DAY),
    }
}

fn agency(id: &str, home: &str, tls_key: [u8; 32], key: &SigningKey) -> AgencyEntry {
    let (not_before, not_after) = (NOW.before(DAY), NOW.after(365 * DAY));
    AgencyEntry {
        id: name(id),
        name: format!("agency {id}"),
        home: vec![name(home)],
        tls_keys: vec![tls_key],
        sign_keys: vec![SignKeyEntry { alg: 1, public: key.verifying_key(), not_before, not_after }],
        max_ttl_s: 7 * 86_400,
        quota_bytes: None,
        status: AgencyStatus::Active,
    }
}

fn attempt(sealed: &Sealed) -> Attempt {
    let envelope = sealed.envelope.envelope();
    Attempt {
        header: envelope.header.clone(),
        signature: envelope.signature.clone(),
        body: envelope.body.clone(),
        opening: ContentKey::from_slice(sealed.content_key.as_bytes()).expect("a content key"),
    }
}

fn sealed(
    document: &RosterDocument,
    keys: &BTreeMap<NodeId, SigningKey>,
    prekey: &PrekeySecret,
    chain: Option<Supersedes>,
    rng: &mut Draw,
) -> Sealed {
    let sender: NodeId = name("ncb.sg");
    let content = Content::Message(Message {
        thread: None,
        in_reply_to: None,
        chain,
        info: Vec::new(),
        subject: "S".into(),
        tlp: Tlp::Amber,
        handling: vec!["FOUO".into()],
        content_type: ContentType::Text,
        text: "meeting at noon".into(),
        attachments: Vec::new(),
    });
    let request = SealRequest {
        federation: document.federation,
        sender: &sender,
        recipients: &[(name("ncb.ee"), prekey.public())],
        created: NOW,
        expires: NOW.after(7 * DAY),
        precedence: Precedence::Priority,
        content: &content,
    };
    seal(&request, &keys[&sender], rng).expect("a message that can be sealed")
}

fn bundle(document: &RosterDocument, keys: &BTreeMap<NodeId, SigningKey>, prekey: &PrekeySecret) -> SignedBundle {
    let (not_before, not_after) = (NOW.before(DAY / 2), NOW.after(DAY / 2));
    let bundle = PrekeyBundle {
        version: PrekeyBundle::VERSION,
        federation: document.federation,
        agency: name("ncb.ee"),
        epoch: 1,
        seq: 1,
        issued: NOW.before(60 * SECOND),
        max_ttl_s: 7 * 86_400,
        keys: vec![PrekeyEntry { id: prekey.id(), not_before, not_after, once: false }],
    };
    sign_bundle(&bundle, &keys[&name::<NodeId>("ncb.ee")]).expect("a bundle that can be signed")
}

/// One of each kind: custody, delivery, read, refusal.
fn statements(document: &RosterDocument, keys: &BTreeMap<NodeId, SigningKey>, id: MessageId) -> Vec<SignedStatement> {
    let issuer = |node: &str| {
        let (federation, key) = (document.federation, keys[&name::<NodeId>(node)].key_id());
        Issuer { federation, id: name(node), key, roster_version: RosterVersion(1) }
    };
    let signer = |node: &str| &keys[&name::<NodeId>(node)];
    let recipient: AgencyId = name("ncb.ee");
    let at = NOW.after(SECOND);
    let leaf = CustodyLeaf { id, received_from: name("ncb.sg"), time: at, indices: vec![0] };
    let stranger = CustodyLeaf { id: MessageId(Hash([9; 32])), ..leaf.clone() };
    let unsigned = ReceiptChain::default().next_custody(&issuer("ap-1"), &[stranger, leaf.clone()], at);
    let receipt = unsigned.sign(signer("ap-1")).expect("signs");
    let custody = statement(&receipt, &[Proven { leaf, proof: unsigned.proof(1).expect("a leaf") }]);

    let mut chain = ReceiptChain::default();
    let leaf = DeliveryLeaf { id, recipient: recipient.clone(), time: at, opened: true };
    let unsigned = chain.next_delivery(&issuer("ncb.ee"), std::slice::from_ref(&leaf), at);
    let delivery = unsigned.sign(signer("ncb.ee")).expect("signs");
    let delivered = statement(&delivery, &[Proven { leaf, proof: unsigned.proof(0).expect("a leaf") }]);
    let facts = ReadFacts { id, recipient: recipient.clone(), delivery: delivery.hash() };
    let read = chain.next_read(&issuer("ncb.ee"), facts, at.after(SECOND)).sign(signer("ncb.ee")).expect("signs");
    let facts =
        RefusalFacts { id, recipient, reason: RefusalReason::Expired, detail: "too late".into(), retry_after_ms: 0 };
    let refused = ReceiptChain::default().next_refusal(&issuer("eu-1"), facts, at.after(2 * SECOND));
    let refused = refused.sign(signer("eu-1")).expect("signs");
    vec![custody, delivered, plain_statement(&read), plain_statement(&refused)]
}
