use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ids::{AgencyId, MessageId};
use crate::refusal::RefusalReason;
use crate::sign::SigningKey;
use crate::testing::federation::{NOW, TestFederation, node};
use crate::testing::rng;

const SECOND: Duration = Duration::from_secs(1);

struct Fixture {
    federation: TestFederation,
    roster: Roster,
}

impl Fixture {
    fn new() -> Self {
        let federation = TestFederation::new(1);
        Self { roster: federation.roster(), federation }
    }

    fn issuer(&self, id: &str) -> Issuer {
        Issuer {
            federation: self.roster.federation(),
            id: node(id),
            key: self.federation.key(id).key_id(),
            roster_version: self.roster.version(),
        }
    }

    fn custody(&self, chain: &mut ReceiptChain, leaves: &[CustodyLeaf]) -> (SignedReceipt, Proof) {
        let unsigned = chain.next_custody(&self.issuer("eu-1"), leaves, NOW);
        (unsigned.sign(self.federation.key("eu-1")).unwrap(), unsigned.proof(0).unwrap())
    }

    fn delivery(&self, issuer: &str, leaf: &DeliveryLeaf) -> (SignedReceipt, Proof) {
        let mut chain = ReceiptChain::default();
        let unsigned = chain.next_delivery(&self.issuer(issuer), std::slice::from_ref(leaf), NOW);
        (unsigned.sign(self.federation.key(issuer)).unwrap(), unsigned.proof(0).unwrap())
    }
}

fn id(byte: u8) -> MessageId {
    MessageId(Hash([byte; 32]))
}

fn agency(name: &str) -> AgencyId {
    name.parse().unwrap()
}

fn taken(byte: u8) -> CustodyLeaf {
    CustodyLeaf { id: id(byte), received_from: node("ap-1"), time: NOW, indices: vec![0, 2] }
}

fn delivered(byte: u8, recipient: &str) -> DeliveryLeaf {
    DeliveryLeaf { id: id(byte), recipient: agency(recipient), time: NOW, opened: true }
}

// [RCPT-2]
#[test]
fn every_leaf_of_a_custody_batch_verifies_with_its_own_proof_only() {
    let fixture = Fixture::new();
    let leaves: Vec<CustodyLeaf> = (0..5).map(taken).collect();
    let unsigned = ReceiptChain::default().next_custody(&fixture.issuer("eu-1"), &leaves, NOW);
    let receipt = unsigned.sign(fixture.federation.key("eu-1")).unwrap();
    assert_eq!(SignedReceipt::decode(&receipt.encode()), Ok(receipt.clone()));
    assert_eq!(receipt.hash(), unsigned.hash());
    for (index, leaf) in leaves.iter().enumerate() {
        assert_eq!(CustodyLeaf::decode(&leaf.encode()).as_ref(), Ok(leaf));
        let proof = unsigned.proof(index as u32).unwrap();
        let body = verify_custody(&receipt, &proof, leaf, &fixture.roster).unwrap();
        assert_eq!((body.issuer, body.seq, body.prev), (node("eu-1"), 1, Hash::ZERO));
        let other = verify_custody(&receipt, &proof, &taken(9), &fixture.roster);
        assert_eq!(other, Err(ReceiptError::NotInBatch));
    }
}

#[test]
fn every_fact_of_a_leaf_is_signed() {
    let fixture = Fixture::new();
    let leaf = taken(1);
    let (receipt, proof) = fixture.custody(&mut ReceiptChain::default(), std::slice::from_ref(&leaf));
    let changed = [
        CustodyLeaf { received_from: node("ap-2"), ..leaf.clone() },
        CustodyLeaf { time: NOW.before(SECOND), ..leaf.clone() },
        CustodyLeaf { indices: vec![0], ..leaf.clone() },
        CustodyLeaf { id: id(2), ..leaf },
    ];
    for leaf in &changed {
        assert_eq!(verify_custody(&receipt, &proof, leaf, &fixture.roster), Err(ReceiptError::NotInBatch));
    }
}

// Attack 61.
// [RCPT-2]
#[test]
fn a_delivery_receipt_of_anyone_but_the_recipient_is_refused() {
    let fixture = Fixture::new();
    let leaf = delivered(1, "ncb.ee");
    let (good, proof) = fixture.delivery("ncb.ee", &leaf);
    assert!(verify_delivery(&good, &proof, &leaf, &fixture.roster).is_ok());
    for forger in ["ncb.fr", "eu-1"] {
        let (forged, proof) = fixture.delivery(forger, &leaf);
        let refused = verify_delivery(&forged, &proof, &leaf, &fixture.roster);
        assert!(matches!(refused, Err(ReceiptError::WrongIssuer { .. })), "{forger}");
    }
    // Another agency's key, or a stranger's, under the recipient's name.
    let unsigned = ReceiptChain::default().next_delivery(&fixture.issuer("ncb.ee"), std::slice::from_ref(&leaf), NOW);
    let stranger = SigningKey::generate(&mut rng(77));
    for key in [fixture.federation.key("ncb.fr"), &stranger] {
        let refused = verify_delivery(&unsigned.sign(key).unwrap(), &proof, &leaf, &fixture.roster);
        assert_eq!(refused, Err(ReceiptError::BadSignature { issuer: node("ncb.ee") }));
    }
    // The right key under another label.
    let key = fixture.federation.key("ncb.ee");
    let other_label = key.sign(&[label::ENVELOPE_SIG, &unsigned.hash().0].concat()).unwrap();
    let relabelled = SignedReceipt { signature: other_label, ..good };
    let refused = verify_delivery(&relabelled, &proof, &leaf, &fixture.roster);
    assert_eq!(refused, Err(ReceiptError::BadSignature { issuer: node("ncb.ee") }));
}

// [RCPT-2]
#[test]
fn custody_is_signed_by_relays_and_a_receipt_of_one_kind_is_not_taken_for_another() {
    let fixture = Fixture::new();
    let leaf = taken(1);
    let unsigned = ReceiptChain::default().next_custody(&fixture.issuer("ncb.ee"), std::slice::from_ref(&leaf), NOW);
    let by_agency = unsigned.sign(fixture.federation.key("ncb.ee")).unwrap();
    let refused = verify_custody(&by_agency, &unsigned.proof(0).unwrap(), &leaf, &fixture.roster);
    assert!(matches!(refused, Err(ReceiptError::WrongIssuer { .. })));
    let (delivery, proof) = fixture.delivery("ncb.ee", &delivered(1, "ncb.ee"));
    let refused = verify_custody(&delivery, &proof, &leaf, &fixture.roster);
    assert_eq!(refused, Err(ReceiptError::Kind { expected: "custody", found: "delivery" }));
    assert!(matches!(verify_refusal(&delivery, &fixture.roster), Err(ReceiptError::Kind { .. })));
}

// Attack 62.
#[test]
fn a_receipt_cannot_be_moved_to_another_message_or_to_an_inner_node() {
    let fixture = Fixture::new();
    let leaves = [delivered(1, "ncb.ee"), delivered(2, "ncb.ee")];
    let unsigned = ReceiptChain::default().next_delivery(&fixture.issuer("ncb.ee"), &leaves, NOW);
    let receipt = unsigned.sign(fixture.federation.key("ncb.ee")).unwrap();
    let [first, second] = [0, 1].map(|index| unsigned.proof(index).unwrap());
    let check = |proof: &Proof, leaf: &DeliveryLeaf| verify_delivery(&receipt, proof, leaf, &fixture.roster);
    assert!(check(&first, &leaves[0]).is_ok() && check(&second, &leaves[1]).is_ok());
    assert_eq!(check(&first, &leaves[1]), Err(ReceiptError::NotInBatch));
    assert_eq!(check(&first, &delivered(3, "ncb.ee")), Err(ReceiptError::NotInBatch));
    // A leaf's preimage starts with 0x00 and an inner node's with 0x01: the root itself is no leaf's hash.
    let none = Proof { index: 0, path: Vec::new() };
    assert_eq!(check(&none, &leaves[0]), Err(ReceiptError::NotInBatch));
    let closed = DeliveryLeaf { opened: false, ..leaves[0].clone() };
    assert_eq!(check(&first, &closed), Err(ReceiptError::NotInBatch));
}

// Attack 63.
// [RCPT-4]
#[test]
fn two_receipts_of_one_number_are_proof_and_a_gap_is_a_warning() {
    let fixture = Fixture::new();
    let mut chain = ReceiptChain::default();
    let (one, _) = fixture.custody(&mut chain, &[taken(1)]);
    let mut other = chain;
    let (two, _) = fixture.custody(&mut chain, &[taken(2)]);
    let (two_other, _) = fixture.custody(&mut other, &[taken(3)]);
    let (three, _) = fixture.custody(&mut chain, &[taken(4)]);
    assert_eq!(audit(&[three.clone(), one.clone(), two.clone(), two.clone()]), Ok(vec![]));
    let gap = audit(&[one.clone(), three.clone()]).unwrap();
    assert_eq!(gap, [ChainFinding::Gap { after: 1, before: 3 }]);
    let findings = audit(&[one.clone(), two.clone(), two_other.clone()]).unwrap();
    let [ChainFinding::Equivocation(proof)] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(proof.verify(&fixture.roster), Ok(true));
    // The third names the second as predecessor, so the other second and the third contradict each other, too.
    let findings = audit(&[two_other, three.clone()]).unwrap();
    assert!(
        matches!(findings.as_slice(), [ChainFinding::Equivocation(proof)] if proof.verify(&fixture.roster) == Ok(true))
    );
    let honest = Equivocation { first: two, second: three };
    assert_eq!(honest.verify(&fixture.roster), Ok(false));
}

// [RCPT-4] [RCPT-8]
#[test]
fn a_chain_that_begins_anew_without_its_store_uses_no_number_twice() {
    let fixture = Fixture::new();
    let (issuer, key) = (fixture.issuer("eu-1"), fixture.federation.key("eu-1"));
    let mut receipts = Vec::new();
    for begins in [NOW, NOW.after(SECOND), NOW.after(SECOND * 86_400)] {
        let mut chain = ReceiptChain::default();
        receipts.push(chain.resume(&issuer, 0, begins).sign(key).unwrap());
        receipts.push(fixture.custody(&mut chain, &[taken(1)]).0);
        receipts.push(fixture.custody(&mut chain, &[taken(2)]).0);
        assert!(chain.seq < 1 << 53);
    }
    let findings = audit(&receipts).unwrap();
    assert!(!findings.iter().any(|finding| matches!(finding, ChainFinding::Equivocation(_))), "{findings:?}");
    let Payload::Restored(marker) = receipts[0].decode_body().unwrap().payload else { panic!("no marker") };
    assert_eq!(marker.resumed_after, 0);
}

// Attack 63, restore. [RCPT-8]
#[test]
fn a_restore_explains_its_gap_once() {
    let fixture = Fixture::new();
    let (issuer, key) = (fixture.issuer("eu-1"), fixture.federation.key("eu-1"));
    let mut chain = ReceiptChain::default();
    let (one, _) = fixture.custody(&mut chain, &[taken(1)]);
    let backup = chain;
    let (lost, _) = fixture.custody(&mut chain, &[taken(2)]);
    let mut restored = ReceiptChain::decode(&backup.encode()).unwrap();
    let marker = restored.resume(&issuer, chain.seq, NOW).sign(key).unwrap();
    let seq = restored.seq;
    let (after, _) = fixture.custody(&mut restored, &[taken(3)]);
    let all = [one.clone(), lost, marker.clone(), after];
    assert_eq!(audit(&all), Ok(vec![ChainFinding::Restored { seq, resumed_after: 1 }]));
    // The same backup again, a second later and without what the lease had known.
    let mut again = backup;
    let second = again.resume(&issuer, 0, NOW.after(SECOND)).sign(key).unwrap();
    let findings = audit(&[one, marker, second]).unwrap();
    assert!(!findings.iter().any(|finding| matches!(finding, ChainFinding::Equivocation(_))), "{findings:?}");
    // A marker that follows on another history than the one that we hold.
    let mut forged = ReceiptChain { seq: 1, prev: Hash([7; 32]) };
    let forged = forged.resume(&issuer, 0, NOW).sign(key).unwrap();
    let findings = audit(&[all[0].clone(), all[1].clone(), forged]).unwrap();
    assert!(matches!(findings.as_slice(), [ChainFinding::Equivocation(_)]));
}

// [RCPT-8]
#[test]
fn a_chain_goes_on_past_its_store_its_lease_and_its_clock() {
    let fixture = Fixture::new();
    let issuer = fixture.issuer("eu-1");
    let resumed = |seq, used, now| {
        let mut chain = ReceiptChain { seq, prev: Hash([1; 32]) };
        let _marker = chain.resume(&issuer, used, now);
        chain.seq
    };
    assert_eq!(resumed(5, 0, Timestamp::ZERO), RESUME_SEQ_MIN);
    assert_eq!(resumed(1 << 40, 0, Timestamp::ZERO), (1 << 40) + 1);
    assert_eq!(resumed(1 << 40, 1 << 50, Timestamp::ZERO), (1 << 50) + 1, "a clock that was put back");
    assert!(resumed(5, 9, NOW.after(SECOND)) >= resumed(5, 9, NOW) + (1 << 21));
    assert!(resumed(5, 9, NOW.after(Duration::from_millis(1))) > resumed(5, 9, NOW));
}

// Attack 64.
// [RCPT-3]
#[test]
fn a_read_receipt_needs_its_delivery_and_times_follow_one_another() {
    let fixture = Fixture::new();
    let (issuer, key) = (fixture.issuer("ncb.ee"), fixture.federation.key("ncb.ee"));
    let mut chain = ReceiptChain::default();
    let leaf = delivered(1, "ncb.ee");
    let delivery = chain.next_delivery(&issuer, &[leaf], NOW.after(SECOND)).sign(key).unwrap();
    let facts = ReadFacts { id: id(1), recipient: agency("ncb.ee"), delivery: delivery.hash() };
    let early = chain.next_read(&issuer, facts.clone(), NOW).sign(key).unwrap();
    let read = chain.next_read(&issuer, facts, NOW.after(2 * SECOND)).sign(key).unwrap();
    assert!(verify_read(&read, Some(&delivery), &fixture.roster).is_ok());
    assert_eq!(verify_read(&read, None, &fixture.roster), Err(ReceiptError::NoDelivery));
    assert_eq!(verify_read(&read, Some(&early), &fixture.roster), Err(ReceiptError::NoDelivery));
    assert_eq!(verify_read(&early, Some(&delivery), &fixture.roster), Err(ReceiptError::TimeOrder));

    // A leaf newer than the receipt: only a forger writes one, `next_delivery` takes the later time.
    let late = DeliveryLeaf { time: NOW.after(SECOND), ..delivered(1, "ncb.ee") };
    let (receipt, proof) = fixture.delivery("ncb.ee", &late);
    let body = verify_delivery(&receipt, &proof, &late, &fixture.roster).unwrap();
    let backdated = sign(ReceiptBody { time: NOW, ..body }.encode().into(), key).unwrap();
    let refused = verify_delivery(&backdated, &proof, &late, &fixture.roster);
    assert_eq!(refused, Err(ReceiptError::TimeOrder));
    assert!(audit(&[delivery, early, read]).unwrap().contains(&ChainFinding::TimeOrder { seq: 1 }));

    // A leaf newer than the receipt: only a forger writes one, `next_custody` takes the later time.
    let late = CustodyLeaf { time: NOW.after(SECOND), ..taken(1) };
    let (receipt, proof) = fixture.custody(&mut ReceiptChain::default(), std::slice::from_ref(&late));
    let body = verify_custody(&receipt, &proof, &late, &fixture.roster).unwrap();
    assert_eq!(body.time, NOW.after(SECOND));
    let backdated = SignedReceipt { body: ReceiptBody { time: NOW, ..body }.encode().into(), ..receipt };
    let backdated = sign(backdated.body, fixture.federation.key("eu-1")).unwrap();
    let refused = verify_custody(&backdated, &proof, &late, &fixture.roster);
    assert_eq!(refused, Err(ReceiptError::TimeOrder));
}

#[test]
fn a_refusal_comes_from_a_relay_or_from_the_recipient() {
    let fixture = Fixture::new();
    let facts = RefusalFacts {
        id: id(1),
        recipient: agency("ncb.ee"),
        reason: RefusalReason::Expired,
        detail: "é".repeat(200),
        retry_after_ms: 0,
    };
    for (issuer, allowed) in [("eu-1", true), ("ncb.ee", true), ("ncb.fr", false)] {
        let unsigned = ReceiptChain::default().next_refusal(&fixture.issuer(issuer), facts.clone(), NOW);
        let receipt = unsigned.sign(fixture.federation.key(issuer)).unwrap();
        let verified = verify_refusal(&receipt, &fixture.roster);
        assert_eq!(verified.is_ok(), allowed, "{issuer}");
        if let Ok(ReceiptBody { payload: Payload::Refusal(facts), .. }) = verified {
            assert_eq!((facts.reason, facts.detail.len()), (RefusalReason::Expired, 256));
        }
    }
}

#[test]
fn receipts_of_another_federation_or_of_an_expired_key_are_refused() {
    let fixture = Fixture::new();
    let key = fixture.federation.key("eu-1");
    let foreign = Issuer { federation: FederationId([3; 16]), ..fixture.issuer("eu-1") };
    let receipt = ReceiptChain::default().next_custody(&foreign, &[taken(1)], NOW).sign(key).unwrap();
    assert_eq!(receipt.verify(&fixture.roster), Err(ReceiptError::Federation { found: FederationId([3; 16]) }));
    let late = NOW.after(Duration::from_secs(400 * 86_400));
    let receipt = ReceiptChain::default().next_custody(&fixture.issuer("eu-1"), &[taken(1)], late).sign(key).unwrap();
    assert!(matches!(receipt.verify(&fixture.roster), Err(ReceiptError::UnknownIssuer { .. })));
}

#[test]
fn every_flipped_bit_and_every_truncation_of_a_receipt_is_refused() {
    let fixture = Fixture::new();
    let leaf = taken(1);
    let (receipt, proof) = fixture.custody(&mut ReceiptChain::default(), std::slice::from_ref(&leaf));
    let bytes = receipt.encode();
    for length in 0..bytes.len() {
        assert!(SignedReceipt::decode(&bytes[..length]).is_err(), "cut to {length}");
    }
    for position in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[position] ^= 0x10;
        let verified = SignedReceipt::decode(&bad)
            .map_err(ReceiptError::from)
            .and_then(|receipt| verify_custody(&receipt, &proof, &leaf, &fixture.roster));
        assert!(verified.is_err(), "byte {position}");
    }
}

// [RCPT-1]
#[test]
fn a_body_that_was_committed_before_a_crash_is_signed_after_it() {
    let fixture = Fixture::new();
    let leaf = taken(1);
    let unsigned = ReceiptChain::default().next_custody(&fixture.issuer("eu-1"), std::slice::from_ref(&leaf), NOW);
    let again = UnsignedReceipt::from_body(unsigned.body().clone()).unwrap();
    let receipt = again.sign(fixture.federation.key("eu-1")).unwrap();
    assert!(verify_custody(&receipt, &unsigned.proof(0).unwrap(), &leaf, &fixture.roster).is_ok());
    assert!(UnsignedReceipt::from_body(Bytes::from_static(b"junk")).is_err());
}

#[test]
fn statements_carry_receipts_inside_envelopes_and_are_verified_whole() {
    let fixture = Fixture::new();
    let (issuer, key) = (fixture.issuer("ncb.ee"), fixture.federation.key("ncb.ee"));
    let mut chain = ReceiptChain::default();
    let leaves = [delivered(1, "ncb.ee"), delivered(2, "ncb.ee")];
    let unsigned = chain.next_delivery(&issuer, &leaves, NOW);
    let receipt = unsigned.sign(key).unwrap();
    let mut proven = Vec::new();
    for (index, leaf) in leaves.iter().enumerate() {
        proven.push(Proven { leaf: leaf.clone(), proof: unsigned.proof(index as u32).unwrap() });
    }
    let packed = statement(&receipt, &proven);
    let verified = verify_statement(&packed, &fixture.roster).unwrap();
    assert!(matches!(&verified, Statement::Delivered(_, facts) if facts == &leaves));

    proven[1].leaf.id = id(3);
    let refused = verify_statement(&statement(&receipt, &proven), &fixture.roster);
    assert_eq!(refused, Err(ReceiptError::NotInBatch));
    let without = verify_statement(&plain_statement(&receipt), &fixture.roster);
    assert!(matches!(without, Err(ReceiptError::Malformed(_))));

    let facts = ReadFacts { id: id(1), recipient: agency("ncb.ee"), delivery: receipt.hash() };
    let read = chain.next_read(&issuer, facts.clone(), NOW).sign(key).unwrap();
    let verified = verify_statement(&plain_statement(&read), &fixture.roster).unwrap();
    assert!(matches!(verified, Statement::Read(_, found) if found == facts));
    let mut padded = plain_statement(&read);
    padded.proofs.push(Bytes::new());
    assert!(verify_statement(&padded, &fixture.roster).is_err());
}

fn any_payload() -> impl Strategy<Value = Payload> {
    let batch = || (any::<[u8; 32]>(), any::<u32>()).prop_map(|(root, size)| Batch { root: Hash(root), size });
    let read = (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(id, delivery)| ReadFacts {
        id: MessageId(Hash(id)),
        recipient: agency("ncb.ee"),
        delivery: Hash(delivery),
    });
    let reason = proptest::sample::select(RefusalReason::ALL.to_vec());
    let refusal = (reason, "\\PC{0,60}", any::<u32>()).prop_map(|(reason, detail, retry_after_ms)| RefusalFacts {
        id: id(1),
        recipient: agency("ncb.ee"),
        reason,
        detail,
        retry_after_ms,
    });
    prop_oneof![
        batch().prop_map(Payload::Custody),
        batch().prop_map(Payload::Delivery),
        read.prop_map(Payload::Read),
        refusal.prop_map(Payload::Refusal),
        any::<u64>().prop_map(|resumed_after| Payload::Restored(Restored { resumed_after })),
    ]
}

prop_compose! {
    fn any_body()(
        payload in any_payload(),
        federation in any::<[u8; 16]>(),
        issuer in "[a-z]{3}(\\.[a-z]{1,20}){0,2}",
        key in any::<[u8; 8]>(),
        (version, time, seq) in any::<(u32, u64, u64)>(),
        prev in any::<[u8; 32]>(),
    ) -> ReceiptBody {
        ReceiptBody {
            federation: FederationId(federation),
            issuer: node(&issuer),
            issuer_key: KeyId(key),
            roster_version: RosterVersion(version),
            time: Timestamp::from_millis(time),
            seq,
            prev: Hash(prev),
            payload,
        }
    }
}

proptest! {
    #[test]
    fn bodies_round_trip_and_no_truncation_decodes(body in any_body()) {
        let bytes = body.encode();
        prop_assert!(bytes.len() <= BODY_BYTES_MAX);
        prop_assert_eq!(ReceiptBody::decode(&bytes), Ok(body));
        for length in 0..bytes.len() {
            prop_assert!(ReceiptBody::decode(&bytes[..length]).is_err());
        }
        let longer = [bytes, vec![0]].concat();
        prop_assert!(ReceiptBody::decode(&longer).is_err());
    }

    #[test]
    fn what_decodes_from_any_bytes_encodes_to_them(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(body) = ReceiptBody::decode(&bytes) {
            prop_assert_eq!(body.encode(), bytes.clone());
        }
        if let Ok(receipt) = SignedReceipt::decode(&bytes) {
            prop_assert_eq!(receipt.encode(), bytes.clone());
        }
        if let Ok(proof) = Proof::decode(&bytes) {
            prop_assert_eq!(proof.encode(), bytes.clone());
        }
        if let Ok(leaf) = CustodyLeaf::decode(&bytes) {
            prop_assert_eq!(leaf.encode(), bytes.clone());
        }
        if let Ok(leaf) = DeliveryLeaf::decode(&bytes) {
            prop_assert_eq!(leaf.encode(), bytes.clone());
        }
        if let Ok(proven) = Proven::<DeliveryLeaf>::decode(&bytes) {
            prop_assert_eq!(proven.encode(), bytes.clone());
        }
    }

    #[test]
    fn a_proof_holds_for_its_leaf_and_its_size_only(size in 1u32..300, at in any::<u32>(), wrong in 1u32..300) {
        let leaves: Vec<Hash> = (0..size).map(|index| Hash::of(&[&index.to_be_bytes()])).collect();
        let tree = MerkleTree::new(leaves.clone());
        let index = at % size;
        let proof = tree.proof(index).unwrap();
        prop_assert_eq!(proof.root(leaves[index as usize], size), Some(tree.root()));
        let other = (index + wrong) % size;
        let refused = proof.root(leaves[other as usize], size) != Some(tree.root());
        prop_assert!(other == index || refused);
    }
}
