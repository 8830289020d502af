use std::time::Duration;

use proptest::prelude::*;

use super::document::{sign_payload, signature_context};
use super::*;
use crate::testing::federation::{NOW, SHARED, TestFederation, agreement, node, root_set};
use crate::testing::rng;

const DAY: Duration = Duration::from_secs(86_400);

fn agency(id: &str) -> AgencyId {
    id.parse().unwrap()
}

/// Signs `document` with the roots of these indices.
fn sign(federation: &TestFederation, document: &RosterDocument, roots: &[usize]) -> Vec<u8> {
    let roots: Vec<&RootKey> = roots.iter().map(|index| &federation.roots[*index]).collect();
    document.sign(&roots, &mut rng(5))
}

fn first(federation: &TestFederation, document: &RosterDocument) -> Result<Roster, RosterError> {
    Roster::verify_first(&sign(federation, document, &[0, 1]), &federation.anchor())
}

fn rule(change: impl FnOnce(&mut RosterDocument)) -> RosterRule {
    let federation = TestFederation::new(1);
    let mut document = federation.document.clone();
    change(&mut document);
    match first(&federation, &document) {
        Err(RosterError::Rule(rule)) => rule,
        other => panic!("no rule broken: {other:?}"),
    }
}

#[test]
fn look_ups_answer_what_the_document_says() {
    let federation = TestFederation::new(1);
    let roster = federation.roster();
    assert_eq!((roster.version(), roster.issued()), (RosterVersion(1), NOW));
    assert_eq!(roster.role(&node("ap-1")), Some(Role::Relay));
    assert_eq!(roster.role(&node("ncb.ee")), Some(Role::Agency));
    assert_eq!(roster.role(&node("ncb.xx")), None);
    let tls_key = federation.document.agencies[1].tls_keys[0];
    assert_eq!(roster.node_by_tls_key(&tls_key), Some(&node("ncb.ee")));
    assert_eq!(roster.node_by_tls_key(&[9; 32]), None);
    assert_eq!(roster.agency(&agency("ncb.ee")).unwrap().home, [node("eu-1")]);
    assert_eq!(roster.relays().count() + roster.agencies().count(), 5);
    assert_eq!(roster.document(), &federation.document);
}

#[test]
fn signing_keys_hold_only_in_their_time() {
    let federation = TestFederation::new(1);
    let roster = federation.roster();
    let key = federation.key("ncb.sg").verifying_key();
    let at = |at| roster.sign_key(&node("ncb.sg"), key.key_id(), at);
    assert_eq!(at(NOW), Some(key));
    assert_eq!(at(NOW.before(Duration::from_secs(3600))), Some(key));
    assert_eq!(at(NOW.before(Duration::from_secs(3601))), None);
    assert_eq!(at(NOW.after(366 * DAY)), None);
    assert_eq!(roster.sign_key(&node("ncb.ee"), key.key_id(), NOW), None);
    let relay = federation.key("eu-1").verifying_key();
    assert_eq!(roster.sign_key(&node("eu-1"), relay.key_id(), NOW), Some(relay));
    assert_eq!(roster.sign_key(&node("eu-1"), relay.key_id(), NOW.after(366 * DAY)), None);
}

#[test]
fn the_most_specific_agreement_counts() {
    let mut federation = TestFederation::new(1);
    federation.document.agreements = vec![
        agreement("*", "ncb.ee", Precedence::Priority),
        agreement("ncb.sg", "*", Precedence::Immediate),
        agreement("ncb.sg", "ncb.ee", Precedence::Routine),
    ];
    let roster = federation.roster();
    let most = |from, to| roster.agreement(&agency(from), &agency(to)).map(|agreement| agreement.max_precedence);
    assert_eq!(most("ncb.sg", "ncb.ee"), Some(Precedence::Routine));
    assert_eq!(most("ncb.sg", "ncb.fr"), Some(Precedence::Immediate));
    assert_eq!(most("ncb.fr", "ncb.ee"), Some(Precedence::Priority));
    assert_eq!(most("ncb.ee", "ncb.sg"), None);
    assert_eq!(most("ncb.sg", "ncb.xx"), None);
}

#[test]
fn a_suspended_agency_has_no_link_and_no_agreement_but_its_signatures_verify() {
    let mut federation = TestFederation::new(1);
    federation.document.agencies[0].status = AgencyStatus::Suspended;
    let roster = federation.roster();
    let key = federation.key("ncb.sg").verifying_key();
    assert_eq!(roster.node_by_tls_key(&federation.document.agencies[0].tls_keys[0]), None);
    assert_eq!(roster.agreement(&agency("ncb.sg"), &agency("ncb.ee")), None);
    assert_eq!(roster.agreement(&agency("ncb.ee"), &agency("ncb.sg")), None);
    assert_eq!(roster.sign_key(&node("ncb.sg"), key.key_id(), NOW), Some(key));
}

// Attack 37.
// [ROSTER-2]
#[test]
fn fewer_than_k_distinct_valid_root_signatures_are_refused() {
    let federation = TestFederation::new(1);
    let check = |bytes: &[u8]| Roster::verify_first(bytes, &federation.anchor()).err();
    let too_few = Some(RosterError::Threshold { valid: 1, needed: 2 });
    assert_eq!(check(&sign(&federation, &federation.document, &[0])), too_few);
    let repeated = Some(RosterError::Dsse(DsseError::DuplicateKey));
    assert_eq!(check(&sign(&federation, &federation.document, &[1, 1, 1])), repeated);
    let stranger = RootKey::generate(&mut rng(8));
    assert_eq!(check(&federation.document.sign(&[&federation.roots[2], &stranger], &mut rng(5))), too_few);

    let signed = sign(&federation, &federation.document, &[0, 1]);
    let mut dsse = Dsse::decode(&signed, ROSTER_TYPE, 1 << 20).unwrap();
    dsse.signatures[1].signature[7] ^= 1;
    assert_eq!(check(&dsse.encode()), too_few);
    // The first key's signature under the second key's id.
    dsse.signatures[1].signature = dsse.signatures[0].signature.clone();
    assert_eq!(check(&dsse.encode()), too_few);

    let any_two = sign(&federation, &federation.document, &[2, 0]);
    assert_eq!(check(&any_two), None);
}

// [ROSTER-1]
#[test]
fn a_changed_payload_or_type_is_refused() {
    let federation = TestFederation::new(1);
    let mut dsse = Dsse::decode(&federation.signed(), ROSTER_TYPE, 1 << 20).unwrap();
    let at = dsse.payload.windows(4).position(|window| window == b"ncb.").unwrap();
    dsse.payload[at] = b'm';
    let refused = Err(RosterError::Threshold { valid: 0, needed: 2 });
    assert_eq!(Roster::verify_first(&dsse.encode(), &federation.anchor()).map(drop), refused);

    // The same payload signed as something else does not count as a roster.
    let payload = federation.document.to_payload();
    let pae = Dsse::pae("application/vnd.liaison.evidence.v1+json", &payload);
    let signatures = federation.roots.iter().map(|root| DsseSignature {
        key_id: root.public().key_id().to_string(),
        signature: root.sign(signature_context(), &pae, &mut rng(4)).unwrap(),
    });
    let dsse = Dsse { payload_type: ROSTER_TYPE.into(), signatures: signatures.collect(), payload };
    assert_eq!(Roster::verify_first(&dsse.encode(), &federation.anchor()).map(drop), refused);
}

// Attack 38.
// [ROSTER-5] [ROSTER-7]
#[test]
fn older_and_equal_versions_and_a_wrong_predecessor_are_refused() {
    let federation = TestFederation::new(1);
    let one = federation.roster();
    let two = RosterDocument::after(&one, NOW.after(DAY), NOW.after(20 * DAY));
    let two = Roster::verify_next(&sign(&federation, &two, &[0, 2]), &one).unwrap();
    assert_eq!(two.version(), RosterVersion(2));
    let not_newer = |offered, trusted| {
        Err(RosterError::NotNewer { offered: RosterVersion(offered), trusted: RosterVersion(trusted) })
    };
    assert_eq!(Roster::verify_next(one.signed(), &two).map(drop), not_newer(1, 2));
    assert_eq!(Roster::verify_next(two.signed(), &two).map(drop), not_newer(2, 2));

    let mut fork = RosterDocument::after(&one, NOW.after(DAY), NOW.after(20 * DAY));
    fork.agencies.pop();
    let fork = sign(&federation, &fork, &[0, 1]);
    assert_eq!(Roster::verify_next(&fork, &two).map(drop), not_newer(2, 2));
    let fork = Roster::verify_offered(&fork, &two).unwrap();
    let after_fork = RosterDocument::after(&fork, NOW.after(DAY), NOW.after(20 * DAY));
    let after_fork = sign(&federation, &after_fork, &[0, 1]);
    let mismatch = Err(RosterError::PrevMismatch { version: RosterVersion(3), trusted: RosterVersion(2) });
    assert_eq!(Roster::verify_next(&after_fork, &two).map(drop), mismatch);
    assert!(Roster::verify_next(&after_fork, &one).is_ok(), "a gap leaves the predecessor unknown");
}

// Attack 39.
// [ROSTER-3]
#[test]
fn new_roots_need_the_old_threshold_and_the_new_one() {
    let federation = TestFederation::new(1);
    let one = federation.roster();
    let new: Vec<RootKey> = (0..3).map(|_| RootKey::generate(&mut rng(700))).take(1).collect();
    let mut two = RosterDocument::after(&one, NOW.after(DAY), NOW.after(20 * DAY));
    two.roots = RootSet { threshold: 1, keys: new.iter().map(|root| root.public().clone()).collect() };
    let old = &federation.roots;
    let next = |roots: &[&RootKey]| Roster::verify_next(&two.sign(roots, &mut rng(5)), &one);
    assert_eq!(next(&[&old[0], &old[1]]).map(drop), Err(RosterError::ThresholdOfNewRoots { valid: 0, needed: 1 }));
    assert_eq!(next(&[&new[0], &old[1]]).map(drop), Err(RosterError::Threshold { valid: 1, needed: 2 }));
    let changed = next(&[&old[0], &old[1], &new[0]]).unwrap();

    let three = RosterDocument::after(&changed, NOW.after(DAY), NOW.after(20 * DAY)).sign(&[&new[0]], &mut rng(5));
    assert_eq!(Roster::verify_next(&three, &one).map(drop), Err(RosterError::Threshold { valid: 0, needed: 2 }));
    assert!(Roster::verify_next(&three, &changed).is_ok());
    assert!(Roster::verify_first(&three, &federation.anchor()).is_err());
}

#[test]
fn a_raised_threshold_is_a_change_of_roots() {
    let federation = TestFederation::new(1);
    let one = federation.roster();
    let mut two = RosterDocument::after(&one, NOW.after(DAY), NOW.after(20 * DAY));
    two.roots = root_set(&federation.roots, 3);
    let short = sign(&federation, &two, &[0, 1]);
    let refused = Err(RosterError::ThresholdOfNewRoots { valid: 2, needed: 3 });
    assert_eq!(Roster::verify_next(&short, &one).map(drop), refused);
    assert!(Roster::verify_next(&sign(&federation, &two, &[0, 1, 2]), &one).is_ok());
}

// Attack 42.
// [ROSTER-4]
#[test]
fn loose_json_is_refused_even_when_signed() {
    let federation = TestFederation::new(1);
    let payload = String::from_utf8(federation.document.to_payload()).unwrap();
    let check = |payload: Vec<u8>| {
        let roots: Vec<&RootKey> = federation.roots.iter().collect();
        Roster::verify_first(&sign_payload(payload, &roots, &mut rng(5)), &federation.anchor())
    };
    assert!(check(payload.clone().into_bytes()).is_ok());
    let twice = payload.replacen("\"min_suite\": 1", "\"min_suite\": 1, \"min_suite\": 1", 1);
    let huge = payload.replacen("\"min_suite\": 1", "\"min_suite\": 1e400", 1);
    let deep =
        payload.replacen("\"min_suite\": 1", &format!("\"min_suite\": {}1{}", "[".repeat(99), "]".repeat(99)), 1);
    for bad in [twice, huge, deep, format!("\u{feff}{payload}")] {
        assert!(matches!(check(bad.into_bytes()), Err(RosterError::Json(JsonError::Syntax { .. }))));
    }
    let unknown = payload.replacen("\"min_suite\"", "\"min_suit\": 1, \"min_suite\"", 1);
    let inner = payload.replacen("\"operator\"", "\"x-note\": 1, \"operator\"", 1);
    for bad in [unknown, inner] {
        assert!(matches!(check(bad.into_bytes()), Err(RosterError::Shape { .. })));
    }
    let own = payload.replacen("\"min_suite\"", "\"x-note\": {\"by\": \"us\"}, \"min_suite\"", 1);
    assert!(check(own.into_bytes()).is_ok());
}

#[test]
fn seventeen_mebibytes_are_refused_unparsed() {
    let federation = TestFederation::new(1);
    let bytes = vec![b'['; 40 << 20];
    assert!(matches!(Roster::verify_first(&bytes, &federation.anchor()), Err(RosterError::Dsse(_))));
    let payload = vec![b' '; 17 << 20];
    let signed = Dsse { payload_type: ROSTER_TYPE.into(), payload, signatures: Vec::new() }.encode();
    let refused = Roster::verify_first(&signed, &federation.anchor());
    assert!(matches!(refused, Err(RosterError::Dsse(DsseError::Json(JsonError::TooLong { .. })))));
}

// Attack 43.
#[test]
fn a_roster_of_another_federation_is_refused() {
    let federation = TestFederation::new(1);
    let other = RosterDocument::genesis("other", federation.document.roots.clone(), NOW, NOW.after(DAY));
    let refused = first(&federation, &other).map(drop);
    let (found, expected) = (other.federation, federation.document.federation);
    assert_eq!(refused, Err(RosterError::Federation { found, expected }));
    assert_eq!(rule(|document| document.name = "renamed".into()), RosterRule::FederationId);
}

// Attack 8, roster import: the point of order 2, and a y of p + 1.
// [SIG-1]
#[test]
fn weak_and_non_canonical_keys_are_refused_on_import() {
    let federation = TestFederation::new(1);
    let good = text::to_hex(federation.key("ncb.sg").verifying_key().as_bytes());
    let payload = String::from_utf8(federation.document.to_payload()).unwrap();
    let roots: Vec<&RootKey> = federation.roots.iter().collect();
    let order_two = format!("ec{}7f", "ff".repeat(30));
    let non_canonical = format!("ee{}7f", "ff".repeat(30));
    for bad in [order_two, non_canonical, good.to_uppercase(), "00".repeat(32)] {
        let payload = payload.replacen(&good, &bad, 1);
        let signed = sign_payload(payload.into_bytes(), &roots, &mut rng(5));
        let refused = Roster::verify_first(&signed, &federation.anchor());
        assert!(matches!(refused, Err(RosterError::Shape { .. })), "{bad}");
    }
}

// [ROSTER-8] [ROSTER-9] [LABEL-1]
#[test]
fn every_rule_of_the_content_refuses_its_breach() {
    assert_eq!(rule(|d| d.version = RosterVersion(0)), RosterRule::Version);
    assert_eq!(rule(|d| d.expires = d.issued), RosterRule::Expiry);
    assert_eq!(rule(|d| d.expires = d.issued.after(90 * DAY + Duration::from_millis(1))), RosterRule::Expiry);
    assert_eq!(rule(|d| d.prev = Hash([1; 32])), RosterRule::Prev { version: RosterVersion(1) });
    assert_eq!(rule(|d| d.version = RosterVersion(2)), RosterRule::Prev { version: RosterVersion(2) });
    assert_eq!(rule(|d| d.relays[1].id = node("ap-1")), RosterRule::DuplicateName { id: node("ap-1") });
    assert_eq!(rule(|d| d.agencies[1].id = agency("ap-1")), RosterRule::DuplicateName { id: node("ap-1") });
    assert_eq!(rule(|d| d.agencies[1].max_ttl_s = 0), RosterRule::MaxTtl { agency: agency("ncb.ee") });
    assert_eq!(rule(|d| d.agencies[1].max_ttl_s = 30 * 86_400 + 1), RosterRule::MaxTtl { agency: agency("ncb.ee") });
    let algorithm = RosterRule::Algorithm { agency: agency("ncb.sg"), alg: 2 };
    assert_eq!(rule(|d| d.agencies[0].sign_keys[0].alg = 2), algorithm);
    let twice = |owner: &str| RosterRule::DuplicateKey { owner: owner.into() };
    assert_eq!(rule(|d| d.agencies[2].tls_keys[0] = d.agencies[1].tls_keys[0]), twice("ncb.fr"));
    assert_eq!(rule(|d| d.agencies[0].tls_keys[0] = *d.relays[0].sign_key.as_bytes()), twice("ncb.sg"));
    assert_eq!(rule(|d| d.agencies[0].tls_keys[0] = d.roots.keys[0].ed25519_bytes()), twice("ncb.sg"));
    let unknown = |owner: &str, id: &str| RosterRule::Unknown { owner: owner.into(), id: id.into() };
    assert_eq!(rule(|d| d.agencies[0].home.push(node("xx-1"))), unknown("ncb.sg", "xx-1"));
    let stray = |d: &mut RosterDocument| d.agreements.push(agreement("ncb.sg", "ncb.xx", Precedence::Flash));
    assert_eq!(rule(stray), unknown("an agreement", "ncb.xx"));
    let pair = |d: &mut RosterDocument| d.agreements.push(agreement("*", "*", Precedence::Routine));
    assert_eq!(rule(pair), RosterRule::DuplicateAgreement { from: Party::Any, to: Party::Any });
    assert!(matches!(rule(|d| d.agencies[0].home.clear()), RosterRule::Count { count: 0, .. }));
    assert!(matches!(rule(|d| d.agencies[0].sign_keys.clear()), RosterRule::Count { count: 0, .. }));
    assert!(matches!(rule(|d| d.agencies[0].name = "x".repeat(257)), RosterRule::Count { count: 257, .. }));
}

#[test]
fn addresses_are_host_and_port() {
    for bad in ["127.0.0.1", ":4433", "a b:1", "host:0", "host:65536", "::1:4433", "[::1]", "host:1/x"] {
        let broken = rule(|document| document.relays[0].addresses = vec![bad.into()]);
        assert!(matches!(broken, RosterRule::Address { .. }), "{bad}");
    }
    let mut federation = TestFederation::new(1);
    federation.document.relays[0].addresses = vec!["[::1]:4433".into(), "eu-1.example:443".into()];
    assert_eq!(federation.roster().relay(&node("ap-1")).unwrap().addresses.len(), 2);
}

#[test]
fn the_anchor_round_trips_and_unsound_sets_are_refused() {
    let federation = TestFederation::new(1);
    let anchor = federation.anchor();
    assert_eq!(TrustAnchor::from_json(&anchor.to_json()), Ok(anchor.clone()));
    let with = |threshold: u8, keys: Vec<RootPublic>| {
        let roots = RootSet { threshold, keys };
        TrustAnchor::from_json(&TrustAnchor { roots, ..anchor.clone() }.to_json()).map(drop)
    };
    let keys = anchor.roots.keys.clone();
    let unsound = |error: RootSetError| Err(AnchorError::Roots(error));
    assert_eq!(with(0, keys.clone()), unsound(RootSetError::Threshold { threshold: 0, keys: 3 }));
    assert_eq!(with(4, keys.clone()), unsound(RootSetError::Threshold { threshold: 4, keys: 3 }));
    assert_eq!(with(1, vec![]), unsound(RootSetError::Count { count: 0 }));
    assert_eq!(with(1, vec![keys[0].clone(), keys[0].clone()]), unsound(RootSetError::Duplicate));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Roster::verify_first(&bytes, &SHARED.1).is_err());
        prop_assert!(TrustAnchor::from_json(&bytes).is_err());
    }

    #[test]
    fn documents_round_trip(issued in 0u64..1 << 40, ttl in 1u64..2_592_000, quota in any::<Option<u64>>(), min_suite in any::<u16>()) {
        let mut document = SHARED.0.document.clone();
        document.issued = Timestamp::from_millis(issued);
        document.agencies[1].max_ttl_s = ttl;
        document.agencies[2].quota_bytes = quota;
        document.min_suite = min_suite;
        let value = json::parse(&document.to_payload(), 1 << 20).unwrap();
        prop_assert_eq!(serde_json::from_value::<RosterDocument>(value).unwrap(), document);
    }

    /// Whatever text roots sign, the parser refuses it or reads what the rules then judge.
    #[test]
    fn any_payload_is_refused_or_read_without_a_panic(at in any::<prop::sample::Index>(), with in "\\PC{0,4}") {
        let mut payload = String::from_utf8(SHARED.0.document.to_payload()).unwrap();
        let at = at.index(payload.len());
        payload.replace_range(at..=at, &with);
        if let Ok(document) = verify::parse(payload.as_bytes()) {
            let _judged = rules::check(&document);
            prop_assert_eq!(verify::parse(&document.to_payload()), Ok(document));
        }
    }
}

proptest! {
    #[test]
    fn strict_json_agrees_with_serde_wherever_it_accepts(text in "[\\[\\]{}\",:0-9a-c.eE \\\\-]{0,24}") {
        if let Ok(value) = json::parse(text.as_bytes(), 1024) {
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn dsse_round_trips(payload in proptest::collection::vec(any::<u8>(), 0..200), signatures in 0usize..4) {
        let signature = |n: usize| DsseSignature { key_id: format!("001122334455667{n}"), signature: payload.clone() };
        let signatures = (0..signatures).map(signature).collect();
        let dsse = Dsse { payload_type: "t".into(), payload, signatures };
        prop_assert_eq!(Dsse::decode(&dsse.encode(), "t", 200), Ok(dsse));
    }
}

// Attack 47. [ENV-5]
#[test]
fn a_key_that_has_ended_is_told_from_one_that_never_was() {
    use crate::envelope::SenderKeys as _;
    use crate::sign::Signer as _;
    let federation = TestFederation::new(1);
    let first = federation.roster();
    let (sg, key) = (node("ncb.sg"), federation.key("ncb.sg").key_id());
    let never = KeyId([7; 8]);
    let next = |before: &Roster, change: &dyn Fn(&mut RosterDocument)| {
        let mut document = RosterDocument::after(before, NOW, NOW.after(Duration::from_secs(86_400)));
        change(&mut document);
        Roster::verify_next(&document.sign(&[&federation.roots[0], &federation.roots[1]], &mut rng(5)), before).unwrap()
    };
    assert!(!first.has_ended(&sg, key, NOW) && !first.has_ended(&sg, never, NOW));
    assert!(first.has_ended(&sg, key, NOW.after(Duration::from_secs(366 * 86_400))), "by its time");
    assert!(!first.has_ended(&sg, key, Timestamp::ZERO), "before its time it has not ended");
    let removed = next(&first, &|document| document.agencies.retain(|agency| agency.id.as_str() != "ncb.sg"));
    assert!(removed.verifying_key(&sg, key, NOW).is_none() && removed.has_ended(&sg, key, NOW));
    assert!(!removed.has_ended(&sg, never, NOW) && !removed.has_ended(&node("ncb.ee"), key, NOW));
    let later = next(&removed, &|_| {});
    assert!(later.has_ended(&sg, key, NOW), "it stays known");
    let back = next(&later, &|document| document.agencies = first.document().agencies.clone());
    assert!(!back.has_ended(&sg, key, NOW) && back.verifying_key(&sg, key, NOW).is_some());
}
