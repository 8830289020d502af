//! A second implementation, written in Python from SPEC.md alone, opens what we seal, and refuses what we refuse.
//!
//! Needs `python3` (or the interpreter named by `LIAISON_PYTHON`) with the package `cryptography` 50 or newer. Where they are
//! missing the tests say so and pass; with `LIAISON_REQUIRE_PYTHON` set they fail instead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod case;
mod clients;
mod python;
mod rng;
mod statements;

use case::{Case, Mutation};
use liaison_protocol::chunk::{self, AttachmentKey};
use liaison_protocol::hash::Hash;
use python::Python;
use rand_core::Rng;
use rng::TestRng;
use serde_json::{Value, json};
use statements::World;

/// Envelopes of a run; the seeds are their numbers, so that a failure comes back.
const ENVELOPES: u64 = 100;
/// Envelopes that are damaged in every way.
const DAMAGED: u64 = 40;

#[test]
fn python_opens_random_envelopes_and_reads_what_was_sealed() {
    let Some(python) = Python::find() else { return };
    let cases: Vec<Case> = (0..ENVELOPES).map(|seed| Case::random(&mut TestRng::new(seed))).collect();
    let opened = python.run(&cases.iter().map(Case::to_json).collect::<Vec<_>>());
    for (case, opened) in cases.iter().zip(opened) {
        assert_eq!(opened, case.expected(), "{}", case.id());
    }
}

#[test]
fn python_refuses_damaged_envelopes_for_the_reason_that_we_give() {
    let Some(python) = Python::find() else { return };
    let mut rng = TestRng::new(7);
    let mut reasons = std::collections::BTreeMap::new();
    let damaged: Vec<Case> = (0..DAMAGED)
        .flat_map(|seed| {
            let case = Case::random(&mut TestRng::new(seed));
            Mutation::ALL.map(|mutation| case.damage(mutation, &mut rng))
        })
        .collect();
    let results = python.run(&damaged.iter().map(Case::to_json).collect::<Vec<_>>());
    for (case, theirs) in damaged.iter().zip(results) {
        let ours = case.open();
        assert_eq!(theirs, ours, "{:?}", case.mutation());
        *reasons.entry(ours["refused"].as_str().unwrap_or("opened").to_owned()).or_insert(0) += 1;
    }
    for reason in [
        "bad-signature",
        "bad-wrap",
        "key-unavailable",
        "malformed",
        "unknown-recipient",
        "unknown-sender",
        "unsupported-suite",
    ] {
        assert!(reasons.contains_key(reason), "{reason} did not occur: {reasons:?}");
    }
}

#[test]
fn python_opens_chunks_at_their_place_only() {
    let Some(python) = Python::find() else { return };
    let mut rng = TestRng::new(1);
    let key = AttachmentKey::generate(&mut rng);
    let mut content = vec![0; 100_000];
    rng.fill_bytes(&mut content);
    let body = chunk::chunk_body(&key, 2, 3, &content).unwrap();
    content.resize(liaison_protocol::limits::CHUNK_BYTES, 0);
    let case = |index, count| json!({ "chunk": case::hex(&body), "key": case::hex(key.as_bytes()), "index": index, "count": count });
    let results = python.run(&[case(2, 3), case(1, 3), case(2, 4)]);
    let refused = json!({ "refused": "bad-wrap" });
    assert_eq!(results, vec![json!({ "sha256": Hash::of(&[&content]).to_string() }), refused.clone(), refused]);
}

#[test]
fn python_agrees_with_every_committed_vector() {
    let Some(python) = Python::find() else { return };
    let report = python.check_vectors();
    assert_eq!(report.lines().count(), 5, "{report}");
}

#[test]
fn python_verifies_receipts_from_the_root_keys_alone() {
    let Some(python) = Python::find() else { return };
    let mut rng = TestRng::new(3);
    let world = World::new(&mut rng);
    let roster = world.signed(&[0, 2], &mut rng);
    let whole = world.statements(&mut rng);
    let damaged: Vec<_> = (0..8).flat_map(|_| whole.iter().map(|s| s.damaged(&mut rng)).collect::<Vec<_>>()).collect();
    for (statements, all_hold) in [(&whole, true), (&damaged, false)] {
        let cases: Vec<Value> = statements.iter().map(|s| world.case(&roster, Some(s))).collect();
        for (statement, theirs) in statements.iter().zip(python.verify(&cases)) {
            assert_eq!(theirs, world.verify(&roster, Some(statement)));
            assert!(!all_hold || theirs["refused"].is_null(), "{theirs}");
        }
    }
}

#[test]
fn python_counts_the_roots_that_signed_a_roster() {
    let Some(python) = Python::find() else { return };
    let mut rng = TestRng::new(4);
    let world = World::new(&mut rng);
    let mut rosters: Vec<Vec<u8>> = [vec![0, 1], vec![0, 1, 2], vec![1], vec![2, 2], vec![]]
        .iter()
        .map(|roots| world.signed(roots, &mut rng))
        .collect();
    let changed = String::from_utf8(rosters[0].clone()).unwrap().replacen("\"sig\":\"", "\"sig\":\"AAAA", 1);
    rosters.push(changed.into_bytes());
    let cases: Vec<Value> = rosters.iter().map(|roster| world.case(roster, None)).collect();
    let taken: Vec<bool> = rosters
        .iter()
        .zip(python.verify(&cases))
        .map(|(roster, theirs)| {
            assert_eq!(theirs, world.verify(roster, None));
            theirs["refused"].is_null()
        })
        .collect();
    assert_eq!(taken, [true, true, false, false, false, false]);
}
