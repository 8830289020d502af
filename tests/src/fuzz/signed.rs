//! What is signed. Two kinds of target: any bytes under a good signature (what a malicious key holder sends), and a
//! valid thing that was altered under way, which must never pass as if it had not been.

use bytes::Bytes;
use liaison_protocol::envelope::verify_bytes;
use liaison_protocol::inner::SignedStatement;
use liaison_protocol::keyfile::{KdfCost, KeyEntry, KeyRole, Secret, open_keys, seal_keys};
use liaison_protocol::prekey::{SignedBundle, verify_bundle};
use liaison_protocol::receipt::{
    CustodyLeaf, DeliveryLeaf, Proof, Proven, ReceiptBody, ReceiptChain, SignedReceipt, UnsignedReceipt, audit,
    verify_statement,
};
use liaison_protocol::roster::{Dsse, Roster, TrustAnchor};
use liaison_protocol::{Header, Signer as _, codec, evidence, label};
use std::sync::LazyLock;

use super::edit::edited;
use super::world::{DAY, NOW, WORLD};
use crate::draw::Draw;

pub(super) fn altered_envelope(script: &[u8]) {
    let base = WORLD.sealed.envelope.envelope();
    let bytes = Bytes::from(edited(&base.encode(), script));
    let Ok(verified) = verify_bytes(bytes, &WORLD.document.federation, &WORLD.roster) else { return };
    let passed = verified.envelope();
    assert_eq!((&passed.header, &passed.signature, &passed.body), (&base.header, &base.signature, &base.body));
    assert!(passed.wraps.iter().all(|wrap| base.wraps.contains(wrap)), "a relay may leave wraps out, and only that");
}

/// A roster that root holders signed, whatever it says.
pub(super) fn roster(payload: &[u8]) {
    let world = &*WORLD;
    let bytes = world.sign_roster(payload, 2);
    for roster in [Roster::verify_first(&bytes, &world.anchor()), Roster::verify_offered(&bytes, &world.roster)] {
        let Ok(roster) = roster else { continue };
        assert_eq!(roster.signed().as_ref(), bytes);
        assert_eq!(roster.federation(), world.document.federation);
        let said = roster.document().to_payload();
        let again = Roster::verify_first(&world.sign_roster(&said, 2), &world.anchor());
        assert_eq!(again.map(|again| again.document().clone()).as_ref(), Ok(roster.document()), "it says what it said");
    }
    assert!(Roster::verify_first(&world.sign_roster(payload, 1), &world.anchor()).is_err(), "one of two is too few");
    let _ = TrustAnchor::from_json(payload).map(|anchor| assert!(anchor.roots.check().is_ok()));
}

pub(super) fn altered_roster(script: &[u8]) {
    let world = &*WORLD;
    let Ok(roster) = Roster::verify_first(&edited(&world.signed_roster, script), &world.anchor()) else { return };
    assert_eq!(roster.hash(), world.roster.hash(), "what is signed is the payload, byte for byte");
}

pub(super) fn dsse(bytes: &[u8]) {
    const TYPE: &str = "application/vnd.liaison.roster.v1+json";
    let Ok(dsse) = Dsse::decode(bytes, TYPE, 64 * 1024) else { return };
    assert_eq!(Dsse::decode(&dsse.encode(), TYPE, 64 * 1024), Ok(dsse));
}

/// A bundle that its agency signed, whatever it says.
pub(super) fn bundle(bytes: &[u8]) {
    let world = &*WORLD;
    if let Ok(signed) = SignedBundle::decode(bytes) {
        assert_eq!(signed.encode(), bytes, "a bundle has one form");
    }
    let key = world.key("ncb.ee");
    let message = [label::PREKEYS, bytes].concat();
    let signature = key.sign(&message).expect("a software key signs");
    let signed = SignedBundle { bundle: Bytes::copy_from_slice(bytes), key: key.key_id(), signature };
    let Ok(verified) = verify_bundle(signed, &world.document.federation, &world.roster, NOW) else { return };
    let bundle = verified.bundle();
    assert_eq!(codec::encode(bundle), bytes);
    for day in 0..40 {
        if let Some(key) = bundle.select(NOW.after(day * DAY)) {
            assert!(bundle.expiry_max(key) >= key.not_before);
        }
    }
}

pub(super) fn altered_bundle(script: &[u8]) {
    let world = &*WORLD;
    let bytes = edited(&world.bundle.encode(), script);
    let Ok(signed) = SignedBundle::decode(&bytes) else { return };
    if let Ok(verified) = verify_bundle(signed, &world.document.federation, &world.roster, NOW) {
        assert_eq!(verified.signed(), &world.bundle);
    }
}

/// Everything that a statement is made of; and a receipt that its relay signed, whatever it says.
pub(super) fn statement(bytes: &[u8]) {
    one_form(SignedReceipt::decode(bytes), SignedReceipt::encode, bytes);
    one_form(ReceiptBody::decode(bytes), ReceiptBody::encode, bytes);
    one_form(Proof::decode(bytes), Proof::encode, bytes);
    one_form(CustodyLeaf::decode(bytes), CustodyLeaf::encode, bytes);
    one_form(DeliveryLeaf::decode(bytes), DeliveryLeaf::encode, bytes);
    one_form(Proven::<CustodyLeaf>::decode(bytes), Proven::encode, bytes);
    one_form(Proven::<DeliveryLeaf>::decode(bytes), Proven::encode, bytes);
    one_form(ReceiptChain::decode(bytes), ReceiptChain::encode, bytes);
    one_form(codec::decode::<SignedStatement>("statement", bytes, 64 * 1024), codec::encode, bytes);
    let Ok(unsigned) = UnsignedReceipt::from_body(Bytes::copy_from_slice(bytes)) else { return };
    for issuer in ["ap-1", "ncb.ee"] {
        let receipt = unsigned.sign(WORLD.key(issuer)).expect("a software key signs");
        let proofs = WORLD.statements[0].proofs.iter().chain(&WORLD.statements[1].proofs).cloned();
        for proofs in [Vec::new(), proofs.collect()] {
            let _ = verify_statement(&SignedStatement { receipt: receipt.encode().into(), proofs }, &WORLD.roster);
        }
        let _ = audit(&[receipt.clone(), receipt]);
    }
}

fn one_form<T, E>(decoded: Result<T, E>, encode: impl Fn(&T) -> Vec<u8>, bytes: &[u8]) {
    if let Ok(value) = decoded {
        assert_eq!(encode(&value), bytes, "it has one form");
    }
}

/// The first byte picks one of four statements.
pub(super) fn altered_statement(input: &[u8]) {
    let [which, script @ ..] = input else { return };
    let base = &WORLD.statements[usize::from(*which) % WORLD.statements.len()];
    let bytes = edited(&codec::encode(base), script);
    let Ok(altered) = codec::decode::<SignedStatement>("statement", &bytes, 64 * 1024) else { return };
    let Ok(proven) = verify_statement(&altered, &WORLD.roster) else { return };
    assert_eq!(altered.receipt, base.receipt);
    let known = verify_statement(base, &WORLD.roster).expect("the original holds");
    assert_eq!(format!("{:?}", proven.body()), format!("{:?}", known.body()));
    // A batch's proof may be repeated; it cannot say anything else.
    assert!(altered.proofs.iter().all(|proof| base.proofs.contains(proof)));
}

/// Any file in place of an evidence file.
pub(super) fn evidence(bytes: &[u8]) {
    if let Ok(verdict) = evidence::verify(Bytes::copy_from_slice(bytes), &WORLD.anchor()) {
        assert_eq!(verdict.message, WORLD.sealed.envelope.id(), "there is only one message that could be proven");
        let _ = verdict.to_string();
    }
}

/// A file that is whole, with some of its parts altered: the first byte says which.
pub(super) fn altered_evidence(input: &[u8]) {
    let [which, script @ ..] = input else { return };
    let world = &*WORLD;
    let base = world.sealed.envelope.envelope();
    let header = Bytes::from(edited(&base.header, if which & 1 == 0 { script } else { &[] }));
    let body = Bytes::from(edited(&base.body, if which & 2 == 0 { script } else { &[] }));
    let mut statements = world.statements.clone();
    if let Some(altered) = statements.get_mut(usize::from(which >> 4) % 8) {
        altered.receipt = edited(&altered.receipt, script).into();
    }
    let exporter = (which & 4 == 0).then_some("ncb.sg");
    let file = world.evidence(exporter, |parts| {
        (parts.header, parts.receipts) = (&header, &statements);
        parts.body = (which & 8 == 0).then_some(&body);
        if parts.body.is_none() {
            parts.opening = None;
        }
    });
    let Ok(verdict) = evidence::verify(file.into(), &world.anchor()) else { return };
    assert_eq!(header, base.header, "another header is another message, and nobody signed it");
    assert!(which & 8 != 0 || body == base.body, "another body is not the one that was signed");
    let genuine = |receipt: &SignedStatement| world.statements.contains(receipt);
    assert!(statements.iter().all(genuine), "an altered receipt proves nothing");
    assert_eq!(verdict.message, world.sealed.envelope.id());
}

static KEYFILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let secret = Secret::from_slice(&[7; 32]).expect("32 bytes");
    let entry = KeyEntry { role: KeyRole::Signing, name: "ncb.sg".into(), secret };
    seal_keys(b"correct horse", &[entry], KdfCost::MINIMUM, &mut Draw::new(3)).expect("a key file")
});

/// Any file in place of a key file. What asks for much memory is left to the tests: a run of it takes seconds.
pub(super) fn keyfile(bytes: &[u8]) {
    let costs_little =
        |file: &[u8]| file.get(6..15).is_none_or(|cost| cost <= [0, 0, 0x20, 0, 0, 0, 0, 1, 1].as_slice());
    if costs_little(bytes) {
        let _ = open_keys(b"correct horse", bytes);
    }
    let altered = edited(&KEYFILE, bytes);
    if altered != *KEYFILE && costs_little(&altered) {
        assert!(open_keys(b"correct horse", &altered).is_err(), "an altered key file does not open");
    }
}

/// The header's own rules, with everything about it signed: what a thief with an agency's key can send.
pub(super) fn signed_header(bytes: &[u8]) {
    let world = &*WORLD;
    let base = world.sealed.envelope.envelope();
    let id = liaison_protocol::envelope::message_id(bytes);
    let signature = world.key("ncb.sg").sign(&liaison_protocol::envelope::signed_message(&id)).expect("signs");
    let envelope = liaison_protocol::Envelope { header: Bytes::copy_from_slice(bytes), signature, ..base.clone() };
    let verified = liaison_protocol::envelope::verify(envelope, &world.document.federation, &world.roster);
    if let Ok(verified) = verified {
        assert_eq!(Header::decode(bytes).as_ref(), Ok(verified.header()));
        assert_eq!(verified.header().sender.as_str(), "ncb.sg");
        let _ = liaison_protocol::open::open(&verified, &super::world::name("ncb.ee"), &world.prekey);
    }
}
