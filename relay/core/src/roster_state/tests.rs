use liaison_protocol::roster::{RootKey, RootSet, RosterDocument, TrustAnchor};

use super::*;
use crate::testing::Counter;

const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);
const DAY: Duration = Duration::from_secs(86_400);

struct Publisher {
    root: RootKey,
    first: Arc<Roster>,
}

impl Publisher {
    fn new() -> Self {
        let root = RootKey::generate(&mut Counter(1));
        let roots = RootSet { threshold: 1, keys: vec![root.public().clone()] };
        let document = RosterDocument::genesis("test", roots.clone(), NOW, NOW.after(30 * DAY));
        let anchor = TrustAnchor { federation: document.federation, roots };
        let signed = document.sign(&[&root], &mut Counter(2));
        Self { first: Arc::new(Roster::verify_first(&signed, &anchor).unwrap()), root }
    }

    fn state(&self) -> RosterState {
        RosterState::new(self.first.clone(), None)
    }

    fn after(&self, previous: &Roster, change: impl FnOnce(&mut RosterDocument)) -> Vec<u8> {
        let mut document = RosterDocument::after(previous, NOW.after(DAY), NOW.after(31 * DAY));
        change(&mut document);
        document.sign(&[&self.root], &mut Counter(3))
    }
}

fn adopt(state: &mut RosterState, bytes: &[u8]) -> Arc<Roster> {
    match state.judge(bytes, Jump::Limit) {
        Decision::Adopt(roster) => {
            state.adopted(roster.clone());
            roster
        }
        other => panic!("not adopted: {other:?}"),
    }
}

#[test]
fn a_newer_roster_is_adopted_and_an_older_one_is_not() {
    let publisher = Publisher::new();
    let mut state = publisher.state();
    let two = adopt(&mut state, &publisher.after(&publisher.first, |_| {}));
    assert_eq!(state.trusted().version(), RosterVersion(2));
    assert!(matches!(state.judge(two.signed(), Jump::Limit), Decision::Same));
    let older = state.judge(publisher.first.signed(), Jump::Accept);
    assert!(matches!(older, Decision::Older { offered: RosterVersion(1) }));
}

#[test]
fn the_same_payload_signed_again_is_the_same_roster() {
    let publisher = Publisher::new();
    let again = publisher.first.document().sign(&[&publisher.root], &mut Counter(77));
    assert_ne!(again, publisher.first.signed().as_ref());
    assert!(matches!(publisher.state().judge(&again, Jump::Limit), Decision::Same));
}

// [ROSTER-6]
#[test]
fn a_fork_is_proven_and_stops_updates_until_it_is_settled() {
    let publisher = Publisher::new();
    let mut state = publisher.state();
    let two = adopt(&mut state, &publisher.after(&publisher.first, |_| {}));
    let other = publisher.after(&publisher.first, |document| document.min_suite = 2);
    let Decision::Fork(proof) = state.judge(&other, Jump::Limit) else { panic!("no fork") };
    assert_eq!((proof.version, proof.first.as_ref()), (RosterVersion(2), two.signed().as_ref()));
    assert_eq!(proof.second.as_ref(), other);
    state.forked(proof.clone());
    assert_eq!(state.trusted().hash(), two.hash());

    let three = publisher.after(&two, |_| {});
    let refused = state.judge(&three, Jump::Accept);
    assert!(matches!(refused, Decision::Refuse(OfferRefused::Forked { version: RosterVersion(2) })));
    let mut restarted = RosterState::new(two.clone(), Some(proof));
    assert!(matches!(restarted.judge(&three, Jump::Limit), Decision::Refuse(OfferRefused::Forked { .. })));
    assert!(restarted.settle(Hash::ZERO).is_none());
    let (follow, decision) = restarted.settle(two.hash()).unwrap();
    restarted.settled(follow, decision);
    // The other one is still in circulation, and proves nothing new.
    assert!(matches!(restarted.judge(&other, Jump::Limit), Decision::Refuse(OfferRefused::Settled { .. })));
    adopt(&mut restarted, &three);
    let again = RosterState::new(two, None).with_settled(vec![decision]);
    assert!(matches!(again.judge(&other, Jump::Limit), Decision::Refuse(OfferRefused::Settled { .. })));
}

// [ROSTER-6]
#[test]
fn a_fork_may_be_settled_for_the_other_roster_which_is_then_followed() {
    let publisher = Publisher::new();
    let mut state = publisher.state();
    let first = adopt(&mut state, &publisher.after(&publisher.first, |_| {}));
    let other = publisher.after(&publisher.first, |document| document.min_suite = 2);
    let Decision::Fork(proof) = state.judge(&other, Jump::Limit) else { panic!("no fork") };
    state.forked(proof);
    let second = Roster::verify_offered(&other, &first).unwrap();
    let (follow, decision) = state.settle(second.hash()).unwrap();
    assert_eq!(decision, Settled { version: RosterVersion(2), refused: first.hash() });
    state.settled(follow, decision);
    assert_eq!(state.trusted().hash(), second.hash());
    assert!(matches!(state.judge(first.signed(), Jump::Limit), Decision::Refuse(OfferRefused::Settled { .. })));
    let three = publisher.after(&first, |_| {});
    assert!(
        matches!(state.judge(&three, Jump::Limit), Decision::Refuse(OfferRefused::Roster(_))),
        "it follows the first"
    );
    adopt(&mut state, &publisher.after(&second, |_| {}));
}

#[test]
fn a_roster_that_nobody_signed_is_neither_a_fork_nor_a_version() {
    let publisher = Publisher::new();
    let stranger = RootKey::generate(&mut Counter(9));
    let mut document = publisher.first.document().clone();
    document.min_suite = 2;
    let forged = document.sign(&[&stranger], &mut Counter(3));
    let refused = publisher.state().judge(&forged, Jump::Accept);
    assert!(matches!(refused, Decision::Refuse(OfferRefused::Roster(RosterError::Threshold { .. }))));
}

// [ROSTER-7]
#[test]
fn a_jump_of_more_than_a_thousand_versions_needs_an_operator() {
    let publisher = Publisher::new();
    let state = publisher.state();
    let far = |version| publisher.after(&publisher.first, |document| document.version = RosterVersion(version));
    assert!(matches!(state.judge(&far(1_001), Jump::Limit), Decision::Adopt(_)));
    let refused = state.judge(&far(1_002), Jump::Limit);
    assert!(matches!(refused, Decision::Refuse(OfferRefused::Jump { offered: RosterVersion(1_002), .. })));
    assert!(matches!(state.judge(&far(1_002), Jump::Accept), Decision::Adopt(_)));
    assert!(matches!(state.judge(&far(u32::MAX), Jump::Limit), Decision::Refuse(_)));
}

#[test]
fn a_successor_that_names_another_predecessor_is_refused() {
    let publisher = Publisher::new();
    let wrong = publisher.after(&publisher.first, |document| document.prev = Hash([5; 32]));
    let refused = publisher.state().judge(&wrong, Jump::Accept);
    assert!(matches!(refused, Decision::Refuse(OfferRefused::Roster(RosterError::PrevMismatch { .. }))));
}

// [ROSTER-11]
#[test]
fn an_expired_roster_has_fourteen_days_of_grace() {
    let state = Publisher::new().state();
    let expires = NOW.after(30 * DAY);
    let moment = Duration::from_millis(1);
    assert_eq!(state.standing(expires), Standing::Current);
    assert_eq!(state.standing(expires.after(moment)), Standing::Grace { until: expires.after(GRACE) });
    assert!(state.standing(expires.after(GRACE)).accepts_custody());
    assert_eq!(state.standing(expires.after(GRACE).after(moment)), Standing::Expired);
    assert!(!state.standing(Timestamp::MAX).accepts_custody());
    assert_eq!(state.next_deadline(NOW), Some(expires));
    assert_eq!(state.next_deadline(expires), Some(expires.after(GRACE)));
    assert_eq!(state.next_deadline(expires.after(GRACE)), None);
}

#[test]
fn a_peers_word_about_its_roster_is_compared_with_the_one_that_is_followed() {
    let publisher = Publisher::new();
    let (state, hash) = (publisher.state(), publisher.first.hash());
    assert_eq!(state.compare(RosterVersion(1), hash), Announcement::Same);
    assert_eq!(state.compare(RosterVersion(1), Hash::ZERO), Announcement::Other);
    assert_eq!(state.compare(RosterVersion(0), hash), Announcement::Older);
    assert_eq!(state.compare(RosterVersion(3), Hash::ZERO), Announcement::Newer);
}

#[test]
fn a_clock_before_the_roster_or_the_build_forbids_the_start() {
    let state = Publisher::new().state();
    let moment = Duration::from_millis(1);
    assert_eq!(check_clock(state.trusted(), NOW, Timestamp::ZERO), Ok(()));
    assert_eq!(check_clock(state.trusted(), NOW.before(moment), Timestamp::ZERO), Err(ClockBehind { at_least: NOW }));
    assert_eq!(check_clock(state.trusted(), NOW, NOW.after(moment)), Err(ClockBehind { at_least: NOW.after(moment) }));
}
