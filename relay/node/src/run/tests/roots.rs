//! The root keys are replaced, and nodes start with the roots file of any time.

use std::time::Duration;

use bytes::Bytes;
use liaison_protocol::Timestamp;
use liaison_protocol::roster::{RootKey, RootSet, Roster, RosterDocument, TrustAnchor};
use rand_core::UnwrapErr;

use crate::store::Store;
use crate::store::testing::MemoryStore;
use liaison_driver::{LoadError, load_roster as load, roster_record as record};

const ISSUED: Timestamp = Timestamp::from_millis(1_795_521_600_000);
const EXPIRES: Timestamp = Timestamp::from_millis(1_795_521_600_000 + 30 * 86_400_000);

fn set(key: &RootKey) -> RootSet {
    RootSet { threshold: 1, keys: vec![key.public().clone()] }
}

fn sign(document: &RosterDocument, by: &[&RootKey]) -> Bytes {
    document.sign(by, &mut UnwrapErr(getrandom::SysRng)).into()
}

/// Versions 1 to 4; version 2 replaces the first root key by the second, version 3 that by the third.
struct Story {
    anchors: [TrustAnchor; 3],
    rosters: Vec<Roster>,
}

impl Story {
    fn new() -> Self {
        let keys = [(); 3].map(|()| RootKey::generate(&mut UnwrapErr(getrandom::SysRng)));
        let [first, second, third] = &keys;
        let document = RosterDocument::genesis("test", set(first), ISSUED, EXPIRES);
        let anchors =
            [first, second, third].map(|key| TrustAnchor { federation: document.federation, roots: set(key) });
        let mut rosters = vec![Roster::verify_first(&sign(&document, &[first]), &anchors[0]).unwrap()];
        for (signers, roots) in [([first, second], second), ([second, third], third), ([third, third], third)] {
            let last = rosters.last().unwrap();
            let later = Duration::from_secs(rosters.len() as u64);
            let document =
                RosterDocument { roots: set(roots), ..RosterDocument::after(last, ISSUED.after(later), EXPIRES) };
            let signed = sign(&document, &signers[..if signers[0].public() == signers[1].public() { 1 } else { 2 }]);
            rosters.push(Roster::verify_next(&signed, last).unwrap());
        }
        Self { anchors, rosters }
    }

    /// The version that a node starts with whose store holds `kept`.
    fn start(&self, kept: &[usize], anchor: usize, file: usize) -> Result<u32, LoadError> {
        let store = MemoryStore::default();
        let ops: Vec<_> = kept.iter().map(|version| record(&self.rosters[version - 1])).collect();
        let _durable = store.commit(&ops).unwrap();
        load(&store, &self.anchors[anchor - 1], self.rosters[file - 1].signed()).map(|roster| roster.version().0)
    }
}

// [ROSTER-14]
#[test]
fn a_node_starts_with_the_roots_file_of_any_time_as_long_as_its_store_leads_on() {
    let story = Story::new();
    for anchor in 1..=3 {
        for file in 1..=4 {
            let started = story.start(&[1, 2, 3, 4], anchor, file);
            assert_eq!(started.as_ref().ok(), Some(&4), "roots {anchor}, file {file}: {started:?}");
        }
        assert_eq!(story.start(&[1, 2, 3], anchor, 4).unwrap(), 4, "the file is newer than the store");
    }
}

// [ROSTER-14]
#[test]
fn roots_that_lead_nowhere_are_an_error_that_says_what_to_do() {
    let story = Story::new();
    let missed = story.start(&[1], 1, 4).unwrap_err();
    assert!(matches!(missed, LoadError::Roots(_)), "{missed:?}");
    assert!(missed.to_string().contains("roots.json from its publishers"), "{missed}");
    assert!(matches!(story.start(&[], 1, 3), Err(LoadError::Roots(_))));
    assert_eq!(story.start(&[], 1, 2).unwrap(), 2, "the change of roots itself is signed by both");
}
