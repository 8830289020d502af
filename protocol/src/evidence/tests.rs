use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::hash::Hash;
use crate::ids::{AgencyId, MessageId};
use crate::inner::{Content, Inner};
use crate::open::OpenError;
use crate::precedence::Precedence;
use crate::prekey::{PrekeyBundle, PrekeyEntry, PrekeySecret, sign_bundle};
use crate::receipt::{
    CustodyLeaf, DeliveryLeaf, Issuer, Proven, ReadFacts, ReceiptChain, ReceiptError, plain_statement, statement,
};
use crate::roster::{RootKey, RosterDocument, RosterError, RosterVersion, TrustAnchor};
use crate::seal::{SealRequest, Sealed, seal};
use crate::testing::federation::{NOW, SHARED, TestFederation, node, root_set};
use crate::testing::mail::content;
use crate::testing::rng;

mod attempts;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// When the message of these tests is sealed.
const CREATED: Timestamp = NOW;

fn agency(id: &str) -> AgencyId {
    id.parse().unwrap()
}

/// `ncb.sg` wrote to `ncb.ee`; both relays held the message, it was delivered and read.
struct Story {
    federation: TestFederation,
    rosters: Vec<Roster>,
    sealed: Sealed,
    bundle: SignedBundle,
    receipts: Vec<SignedStatement>,
}

impl Story {
    fn new() -> Self {
        let federation = TestFederation::new(1);
        let rosters = vec![federation.roster()];
        let prekey = PrekeySecret::generate(&mut rng(21));
        let sealed = sealed(&federation, &prekey, "meeting at noon", 22);
        let bundle = bundle(&federation, &prekey);
        let receipts = receipts(&federation, &sealed.envelope.id());
        Self { federation, rosters, sealed, bundle, receipts }
    }

    /// A next roster, issued two days after the message.
    fn next_roster(&mut self, change: impl FnOnce(&mut RosterDocument)) {
        let at = CREATED.after(2 * DAY);
        let mut document = RosterDocument::after(self.rosters.last().unwrap(), at, at.after(30 * DAY));
        change(&mut document);
        let signed = document.sign(&[&self.federation.roots[0], &self.federation.roots[1]], &mut rng(31));
        self.rosters.push(Roster::verify_next(&signed, self.rosters.last().unwrap()).unwrap());
    }

    fn assemble(&self) -> Vec<u8> {
        self.assemble_with(|_| {}, Some("ncb.sg"))
    }

    fn assemble_with<'a>(&'a self, change: impl FnOnce(&mut EvidenceParts<'a>), signer: Option<&str>) -> Vec<u8> {
        let envelope = self.sealed.envelope.envelope();
        let mut parts = EvidenceParts {
            header: &envelope.header,
            signature: &envelope.signature,
            body: Some(&envelope.body),
            opening: Some(&self.sealed.content_key),
            attempts: &[],
            bundles: std::slice::from_ref(&self.bundle),
            receipts: &self.receipts,
            rosters: self.rosters.iter().collect(),
        };
        change(&mut parts);
        let id = node("ncb.sg");
        let signer = signer.map(|name| self.federation.key(name) as &dyn Signer);
        assemble(&parts, &Exporter { id: &id, time: CREATED.after(DAY), signer }).unwrap()
    }

    fn verify(&self, bytes: Vec<u8>) -> Result<Verdict, EvidenceError> {
        verify(bytes.into(), &self.federation.anchor())
    }
}

fn sealed(federation: &TestFederation, prekey: &PrekeySecret, text: &str, seed: u64) -> Sealed {
    let recipients = [(agency("ncb.ee"), prekey.public())];
    let request = SealRequest {
        federation: federation.document.federation,
        sender: &node("ncb.sg"),
        recipients: &recipients,
        created: CREATED,
        expires: CREATED.after(7 * DAY),
        precedence: Precedence::Priority,
        content: &content(text),
    };
    seal(&request, federation.key("ncb.sg"), &mut rng(seed)).unwrap()
}

fn bundle(federation: &TestFederation, prekey: &PrekeySecret) -> SignedBundle {
    let (not_before, not_after) = (CREATED.before(DAY / 2), CREATED.after(DAY / 2));
    let bundle = PrekeyBundle {
        version: PrekeyBundle::VERSION,
        federation: federation.document.federation,
        agency: agency("ncb.ee"),
        epoch: 1,
        seq: 1,
        issued: CREATED.before(Duration::from_secs(60)),
        max_ttl_s: 7 * 86_400,
        keys: vec![PrekeyEntry { id: prekey.id(), not_before, not_after, once: false }],
    };
    sign_bundle(&bundle, federation.key("ncb.ee")).unwrap()
}

fn issuer(federation: &TestFederation, id: &str) -> Issuer {
    let key = federation.key(id).key_id();
    Issuer { federation: federation.document.federation, id: node(id), key, roster_version: RosterVersion(1) }
}

fn custody(federation: &TestFederation, relay: &str, from: &str, id: &MessageId, at: Timestamp) -> SignedStatement {
    let leaf = CustodyLeaf { id: *id, received_from: node(from), time: at, indices: vec![0] };
    let stranger = CustodyLeaf { id: MessageId(Hash([9; 32])), ..leaf.clone() };
    let mut chain = ReceiptChain::default();
    let unsigned = chain.next_custody(&issuer(federation, relay), &[stranger, leaf.clone()], at);
    let receipt = unsigned.sign(federation.key(relay)).unwrap();
    statement(&receipt, &[Proven { leaf, proof: unsigned.proof(1).unwrap() }])
}

fn receipts(federation: &TestFederation, id: &MessageId) -> Vec<SignedStatement> {
    let ncb_ee = (issuer(federation, "ncb.ee"), federation.key("ncb.ee"));
    let mut chain = ReceiptChain::default();
    let at = CREATED.after(3 * SECOND);
    let leaf = DeliveryLeaf { id: *id, recipient: agency("ncb.ee"), time: at, opened: true };
    let unsigned = chain.next_delivery(&ncb_ee.0, std::slice::from_ref(&leaf), at);
    let delivery = unsigned.sign(ncb_ee.1).unwrap();
    let facts = ReadFacts { id: *id, recipient: agency("ncb.ee"), delivery: delivery.hash() };
    let read = chain.next_read(&ncb_ee.0, facts, CREATED.after(60 * SECOND)).sign(ncb_ee.1).unwrap();
    vec![
        custody(federation, "ap-1", "ncb.sg", id, CREATED.after(SECOND)),
        custody(federation, "eu-1", "ap-1", id, CREATED.after(2 * SECOND)),
        statement(&delivery, &[Proven { leaf, proof: unsigned.proof(0).unwrap() }]),
        plain_statement(&read),
    ]
}

/// Replaces, adds or removes entries, and writes an archive in canonical form.
fn tampered(bytes: &[u8], change: impl FnOnce(&mut Vec<Entry>)) -> Vec<u8> {
    let mut entries = archive::read(&Bytes::copy_from_slice(bytes)).unwrap();
    change(&mut entries);
    entries[1..].sort_by(|a, b| a.name.cmp(&b.name));
    archive::write(&entries)
}

#[test]
fn a_whole_story_is_proven_from_the_root_keys() {
    let mut story = Story::new();
    story.next_roster(|_| {});
    let verdict = story.verify(story.assemble()).unwrap();
    assert_eq!(verdict.message, story.sealed.envelope.id());
    let recipient = agency("ncb.ee");
    let (roster, sender) = (RosterVersion(1), node("ncb.sg"));
    for fact in [
        Fact::Rosters { first: RosterVersion(1), last: RosterVersion(2) },
        Fact::Exported { exporter: sender.clone() },
        Fact::Signed { sender: sender.clone(), roster },
        Fact::Addressed { recipients: vec![recipient.clone()], precedence: Precedence::Priority },
        Fact::Opened,
        Fact::SealedTo { recipient: recipient.clone() },
        Fact::Custody { relay: node("ap-1"), received_from: sender, recipients: vec![recipient.clone()] },
        Fact::Custody { relay: node("eu-1"), received_from: node("ap-1"), recipients: vec![recipient.clone()] },
        Fact::Delivered { recipient: recipient.clone(), opened: true },
        Fact::Read { recipient },
        Fact::Bracketed { regions: 2, from: CREATED.after(SECOND), to: CREATED.after(2 * SECOND) },
    ] {
        assert!(verdict.facts.contains(&fact), "{fact}");
    }
    assert!(verdict.facts.iter().all(|fact| fact.strength() != Strength::Warning));
    let Some(Inner { content: Content::Message(message), .. }) = verdict.content.as_ref() else { panic!() };
    assert_eq!(message.text, "meeting at noon");
    let shown = verdict.to_string();
    assert!(shown.contains("\nproven:\n") && shown.contains("\nnot proven:\n"), "{shown}");
    assert!(shown.contains("delivered 2026-11-24T12:00:03.000Z, by the clock of ncb.ee"), "{shown}");
}

#[test]
fn a_bundle_without_body_opening_receipts_or_signer_still_proves_the_signature() {
    let story = Story::new();
    let bare = |parts: &mut EvidenceParts<'_>| {
        (parts.body, parts.opening) = (None, None);
        (parts.bundles, parts.receipts) = (&[], &[]);
    };
    let verdict = story.verify(story.assemble_with(bare, None)).unwrap();
    assert!(verdict.content.is_none());
    let signed = Fact::Signed { sender: node("ncb.sg"), roster: RosterVersion(1) };
    assert!(verdict.facts.contains(&signed));
    // Version 2 is not there, so that nothing shows whether it existed when the message was signed.
    let left_out = Fact::RostersLeftOut { used: RosterVersion(1), issued: NOW };
    assert!(verdict.facts.contains(&left_out));
    assert!(!verdict.facts.iter().any(|fact| matches!(fact, Fact::Exported { .. } | Fact::BodyIntact { .. })));
}

// [EVID-2] Attack 65: every file, and the container around them.
#[test]
fn a_changed_missing_or_added_file_makes_the_bundle_invalid() {
    let story = Story::new();
    let good = story.assemble();
    let names: Vec<String> =
        archive::read(&Bytes::from(good.clone())).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), 11);
    for (index, name) in names.iter().enumerate().skip(1) {
        let changed = tampered(&good, |entries| {
            let mut data = entries[index].data.to_vec();
            data[0] ^= 1;
            entries[index].data = data.into();
        });
        assert_eq!(story.verify(changed).unwrap_err(), EvidenceError::FileChanged { name: name.clone() });
        let missing = tampered(&good, |entries| drop(entries.remove(index)));
        assert_eq!(story.verify(missing).unwrap_err(), EvidenceError::FileMissing { name: name.clone() });
    }
    for name in ["notes.txt", "receipts/9999.bin"] {
        let added = tampered(&good, |entries| entries.push(entry(name.into(), Bytes::new())));
        assert_eq!(story.verify(added).unwrap_err(), EvidenceError::FileUnlisted { name: name.into() });
    }
    let escaping = tampered(&good, |entries| entries.push(entry("receipts/../x".into(), Bytes::new())));
    assert!(matches!(story.verify(escaping), Err(EvidenceError::Archive(ArchiveError::Name { .. }))));
    let twice = tampered(&good, |entries| entries.push(entries[1].clone()));
    assert!(matches!(story.verify(twice), Err(EvidenceError::Archive(ArchiveError::Name { .. }))));
    // Deflated, as a bomb would be: the method field of the first entry.
    let mut deflated = good;
    deflated[8] = 8;
    assert!(matches!(story.verify(deflated), Err(EvidenceError::Archive(ArchiveError::NotCanonical))));
}

// [EVID-5] Attack 65: a manifest that lists the changed files changes nothing but the reason.
#[test]
fn a_manifest_made_anew_does_not_help_a_forger() {
    let story = Story::new();
    let other = sealed(&story.federation, &PrekeySecret::generate(&mut rng(40)), "another text", 41);
    let body = other.envelope.envelope().body.clone();
    let forged = story.assemble_with(|parts| parts.body = Some(&body), Some("ncb.sg"));
    assert_eq!(story.verify(forged).unwrap_err(), EvidenceError::Body);
    let forged = story.assemble_with(|parts| parts.signature = &other.envelope.envelope().signature, None);
    assert_eq!(story.verify(forged).unwrap_err(), EvidenceError::Signature { sender: node("ncb.sg") });
    let strangers = receipts(&story.federation, &other.envelope.id());
    for index in 0..strangers.len() {
        let mut receipts = story.receipts.clone();
        receipts[index] = strangers[index].clone();
        let forged = story.assemble_with(|parts| parts.receipts = &receipts, None);
        let file = format!("receipts/{:04}.bin", index + 1);
        assert_eq!(story.verify(forged).unwrap_err(), EvidenceError::OtherMessage { file });
    }
    let foreign_bundle = bundle(&story.federation, &PrekeySecret::generate(&mut rng(42)));
    let forged = story.assemble_with(|parts| parts.bundles = std::slice::from_ref(&foreign_bundle), None);
    let file = "prekeys/0001.bin".into();
    assert_eq!(story.verify(forged).unwrap_err(), EvidenceError::BundleUnused { file });
    // A batch path for another leaf.
    let mut receipts = story.receipts.clone();
    receipts[0].proofs = story.receipts[1].proofs.clone();
    let forged = story.assemble_with(|parts| parts.receipts = &receipts, None);
    let (file, error) = ("receipts/0001.bin".into(), ReceiptError::NotInBatch);
    assert_eq!(story.verify(forged).unwrap_err(), EvidenceError::Receipt { file, error });
}

// Attack 65 and 67: the opening.
#[test]
fn the_key_of_another_message_or_a_wrong_one_does_not_open_this_one() {
    let story = Story::new();
    let other = sealed(&story.federation, &PrekeySecret::generate(&mut rng(40)), "another text", 41);
    let swapped = story.assemble_with(|parts| parts.opening = Some(&other.content_key), None);
    assert_eq!(story.verify(swapped).unwrap_err(), EvidenceError::Opening(OpenError::BadWrap));
    let no_body = story.assemble_with(|parts| parts.body = None, None);
    assert_eq!(story.verify(no_body).unwrap_err(), EvidenceError::FileMissing { name: "body.bin".into() });
}

// [EVID-3] [EVID-4] Attack 65: rosters.
#[test]
fn without_the_roster_that_matters_nothing_is_proven() {
    let mut story = Story::new();
    story.next_roster(|_| {});
    let only = |index: usize| story.assemble_with(|parts| parts.rosters = vec![&story.rosters[index]], None);
    assert!(story.verify(only(0)).is_ok());
    let refused = story.verify(only(1)).unwrap_err();
    assert!(matches!(&refused, EvidenceError::RosterMissing { file, .. } if file == "header.bin"), "{refused}");
    let none = story.assemble_with(|parts| parts.rosters = Vec::new(), None);
    assert!(matches!(story.verify(none), Err(EvidenceError::RosterMissing { .. })));
    let stranger = TestFederation::new(2);
    let refused = verify(story.assemble().into(), &stranger.anchor()).unwrap_err();
    let threshold = RosterError::Threshold { valid: 0, needed: 2 };
    assert!(matches!(refused, EvidenceError::Roster { error, .. } if error == threshold));
}

#[test]
fn a_receipt_under_a_roster_that_is_not_there_is_refused() {
    let story = Story::new();
    let later = Issuer { roster_version: RosterVersion(2), ..issuer(&story.federation, "ap-1") };
    let id = story.sealed.envelope.id();
    let leaf = CustodyLeaf { id, received_from: node("ncb.sg"), time: CREATED, indices: vec![0] };
    let unsigned = ReceiptChain::default().next_custody(&later, std::slice::from_ref(&leaf), CREATED);
    let receipt = unsigned.sign(story.federation.key("ap-1")).unwrap();
    let packed = [statement(&receipt, &[Proven { leaf, proof: unsigned.proof(0).unwrap() }])];
    let refused = story.verify(story.assemble_with(|parts| parts.receipts = &packed, None)).unwrap_err();
    let (file, need) = ("receipts/0001.bin".into(), "version 2".into());
    assert_eq!(refused, EvidenceError::RosterMissing { file, need });
}

// [EVID-7] Attack 66: no clock is asked, so that 2050 is no different; removal and rotation are told.
#[test]
fn evidence_outlives_the_removal_of_its_signer_and_the_end_of_its_roster() {
    let mut story = Story::new();
    story.next_roster(|document| document.agencies.retain(|entry| entry.id != agency("ncb.sg")));
    let verdict = story.verify(story.assemble()).unwrap();
    let removed = Fact::SignerLaterRemoved { signer: node("ncb.sg"), roster: RosterVersion(2) };
    assert!(verdict.facts.contains(&removed));
    assert!(removed.to_string().contains("was valid at the time"));
    assert!(!verdict.facts.iter().any(|fact| matches!(fact, Fact::RostersLeftOut { .. })));
}

#[test]
fn a_message_signed_after_the_key_was_removed_is_invalid() {
    let mut story = Story::new();
    let at = CREATED.before(DAY);
    story.federation.document.issued = CREATED.before(2 * DAY);
    let one = story.federation.roster();
    let mut document = RosterDocument::after(&one, at, at.after(30 * DAY));
    document.agencies.retain(|entry| entry.id != agency("ncb.sg"));
    let two = document.sign(&[&story.federation.roots[0], &story.federation.roots[1]], &mut rng(31));
    let two = Roster::verify_next(&two, &one).unwrap();
    story.rosters = vec![one, two];
    let refused = story.verify(story.assemble_with(|_| {}, None)).unwrap_err();
    let (sender, key) = (node("ncb.sg"), story.federation.key("ncb.sg").key_id());
    assert_eq!(refused, EvidenceError::UnknownSender { sender, key, roster: RosterVersion(2) });
}

// Attack 64, as evidence shows it.
#[test]
fn times_out_of_order_and_contradicting_receipts_are_flagged() {
    let mut story = Story::new();
    let id = story.sealed.envelope.id();
    let early = CREATED.before(Duration::from_secs(1800));
    story.receipts[0] = custody(&story.federation, "ap-1", "ncb.sg", &id, early);
    story.receipts.push(custody(&story.federation, "eu-1", "ncb.sg", &id, CREATED.after(9 * SECOND)));
    let delivery = story.receipts.remove(2);
    let verdict = story.verify(story.assemble()).unwrap();
    for warning in [
        Fact::TimeOrder { event: "taken into custody", by: node("ap-1") },
        Fact::Equivocation { issuer: node("eu-1") },
        Fact::ReadWithoutDelivery { recipient: agency("ncb.ee") },
    ] {
        assert_eq!(warning.strength(), Strength::Warning);
        assert!(verdict.facts.contains(&warning), "{warning}");
    }
    story.receipts.push(delivery);
    let verdict = story.verify(story.assemble()).unwrap();
    assert!(!verdict.facts.iter().any(|fact| matches!(fact, Fact::ReadWithoutDelivery { .. })));
}

#[test]
fn an_exporters_signature_is_its_own() {
    let story = Story::new();
    let forged = story.assemble_with(|_| {}, Some("ncb.ee"));
    let exporter = node("ncb.sg");
    assert_eq!(story.verify(forged).unwrap_err(), EvidenceError::ExporterSignature { exporter });
    // Taken from another bundle: the list of files is not the signed one.
    let (good, other) = (story.assemble(), story.assemble_with(|parts| parts.opening = None, Some("ncb.sg")));
    let signed = archive::read(&Bytes::from(other)).unwrap().remove(0);
    let mixed = tampered(&good, |entries| entries[0] = signed);
    assert_eq!(story.verify(mixed).unwrap_err(), EvidenceError::FileUnlisted { name: "opening.bin".into() });
}

// [EVID-6]
#[test]
fn truncations_and_flipped_bytes_never_verify_and_never_panic() {
    let story = Story::new();
    let good = story.assemble();
    for length in (0..good.len()).step_by(211) {
        assert!(story.verify(good[..length].to_vec()).is_err());
    }
    for position in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[position] ^= 4;
        assert!(story.verify(bad).is_err(), "byte {position}");
    }
}

proptest! {
    #[test]
    fn archives_round_trip_and_any_bytes_are_refused_without_a_panic(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..6),
        junk in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let files = contents.into_iter().zip(1..).map(|(data, number)| entry(format!("f/{number:04}.bin"), data));
        let entries: Vec<Entry> = [entry(archive::MANIFEST.into(), Vec::new())].into_iter().chain(files).collect();
        let bytes = archive::write(&entries);
        prop_assert_eq!(archive::read(&bytes.clone().into()), Ok(entries));
        prop_assert!(archive::read(&[bytes, junk.clone(), vec![0]].concat().into()).is_err());
        prop_assert!(verify(junk.into(), &SHARED.1).is_err());
    }
}

// [EVID-3] [ROSTER-14]
#[test]
fn evidence_from_before_and_after_a_change_of_roots_holds_with_the_old_and_the_new_ones() {
    let mut story = Story::new();
    let before = story.assemble();
    let new = RootKey::generate(&mut rng(71));
    let at = CREATED.after(2 * DAY);
    let roots = root_set(std::slice::from_ref(&new), 1);
    let mut document = RosterDocument::after(&story.rosters[0], at, at.after(30 * DAY));
    document.roots = roots.clone();
    let [first, second, ..] = story.federation.roots.as_slice() else { panic!("three roots") };
    let signed = document.sign(&[first, second, &new], &mut rng(72));
    story.rosters.push(Roster::verify_next(&signed, &story.rosters[0]).unwrap());
    let after = story.assemble();
    let replaced = TrustAnchor { roots, ..story.federation.anchor() };
    let by_first =
        |verdict: &Verdict| verdict.facts.iter().any(|fact| matches!(fact, Fact::RostersByFirstRoots { .. }));
    for (bytes, anchor, warned) in [
        (&before, &story.federation.anchor(), false),
        (&after, &story.federation.anchor(), false),
        (&after, &replaced, false),
        (&before, &replaced, true),
    ] {
        let verdict = verify(bytes.clone().into(), anchor).unwrap();
        assert_eq!(by_first(&verdict), warned, "{verdict}");
    }
    let stranger = TrustAnchor { federation: TestFederation::new(8).anchor().federation, ..replaced };
    assert!(matches!(verify(before.into(), &stranger), Err(EvidenceError::Roster { .. })));
}
