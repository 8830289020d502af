//! The machine that decides which roster a node follows, driven by bytes: offers, restarts, operators.

use std::sync::{Arc, LazyLock};

use liaison_core::roster_state::{Decision, JUMP_MAX, Jump, RosterState};
use liaison_protocol::roster::{Roster, RosterDocument, RosterVersion};
use liaison_protocol::{Hash, Timestamp};

use super::world::{DAY, NOW, WORLD};
use crate::draw::Draw;

/// One document and whether it may ever be followed by someone who follows the root holders.
struct Offer {
    bytes: Vec<u8>,
    is_signed_well: bool,
    version: u32,
    prev: Hash,
}

/// Versions 1 and 2, a second 2, the 3 of each, a far one; 3 with too few signatures; no roster at all.
static OFFERS: LazyLock<Vec<Offer>> = LazyLock::new(|| {
    let two = next(&WORLD.roster, "two", 2);
    let other_two = next(&WORLD.roster, "other two", 2);
    let three = next(&verified(&two), "three", 3);
    let other_three = next(&verified(&other_two), "other three", 3);
    let far = next(&verified(&three), "far", 3 + JUMP_MAX + 1);
    let (genuine, short) = (|document: &RosterDocument| offer(document, 2), offer(&three, 1));
    let mut offers: Vec<Offer> = [&WORLD.document, &two, &other_two, &three, &other_three, &far].map(genuine).into();
    offers.extend([short, Offer { bytes: b"{}".to_vec(), is_signed_well: false, version: 9, prev: Hash::ZERO }]);
    offers
});

fn next(after: &Roster, name: &str, version: u32) -> RosterDocument {
    let mut document = RosterDocument::after(after, NOW.after(DAY), NOW.after(20 * DAY));
    (document.name, document.version) = (name.into(), RosterVersion(version));
    document
}

fn offer(document: &RosterDocument, roots: usize) -> Offer {
    let signers: Vec<_> = WORLD.roots.iter().take(roots).collect();
    let bytes = document.sign(&signers, &mut Draw::new(u64::from(document.version.0)));
    Offer { bytes, is_signed_well: roots >= 2, version: document.version.0, prev: document.prev }
}

fn verified(document: &RosterDocument) -> Roster {
    Roster::verify_offered(&offer(document, 2).bytes, &WORLD.roster).expect("signed by the roots")
}

/// Each byte is one thing that happens. After each, what must hold, holds.
pub(super) fn roster_state(script: &[u8]) {
    let mut state = RosterState::new(Arc::new(WORLD.roster.clone()), None);
    let mut now = NOW;
    for step in script.iter().take(64) {
        let (before, was_forked) = (Arc::clone(state.trusted()), state.fork().is_some());
        let what = usize::from(step & 15);
        if let Some(offer) = OFFERS.get(what) {
            let jump = if step & 16 == 0 { Jump::Limit } else { Jump::Accept };
            let decision = state.judge(&offer.bytes, jump);
            check(&decision, offer, jump, &before, was_forked);
            // Between the decision and its commit a node may die: then nothing has changed.
            if step & 32 == 0 {
                apply(&mut state, decision);
            }
        } else {
            match what {
                8 => settle(&mut state, step & 16 != 0),
                9 => state = RosterState::new(Arc::clone(state.trusted()), state.fork().cloned()),
                10 => drop(state.compare(RosterVersion(u32::from(step >> 4)), Hash::ZERO)),
                _ => now = now.after(u32::from(step >> 4) * DAY),
            }
        }
        assert!(state.trusted().version() >= before.version(), "no way back");
        assert!(what == 8 || !was_forked || state.fork().is_some(), "only an operator settles a fork");
        time(&state, now);
    }
}

fn check(decision: &Decision, offer: &Offer, jump: Jump, trusted: &Roster, was_forked: bool) {
    let current = trusted.version().0;
    match decision {
        Decision::Adopt(roster) => {
            assert!(offer.is_signed_well && !was_forked && offer.version > current);
            assert!(offer.version != current + 1 || offer.prev == trusted.hash(), "the chain is unbroken");
            assert!(offer.version - current <= JUMP_MAX || jump == Jump::Accept);
            assert_eq!(roster.signed().as_ref(), offer.bytes);
        }
        Decision::Fork(proof) => {
            assert!(offer.is_signed_well && offer.version == current && proof.version.0 == current);
            assert_ne!(proof.first, proof.second);
        }
        Decision::Older { offered } => assert!(offered.0 < current),
        Decision::Refuse(_) => {}
        Decision::Same => assert_eq!(offer.version, current),
    }
    if !offer.is_signed_well {
        assert!(matches!(decision, Decision::Refuse(_)));
    }
}

fn apply(state: &mut RosterState, decision: Decision) {
    match decision {
        Decision::Adopt(roster) => state.adopted(roster),
        Decision::Fork(proof) => state.forked(proof),
        Decision::Older { .. } | Decision::Refuse(_) | Decision::Same => {}
    }
}

/// For the roster that is followed, or for the other one.
fn settle(state: &mut RosterState, for_other: bool) {
    let Some(fork) = state.fork() else { return };
    let other = Roster::verify_offered(&fork.second, state.trusted()).expect("a proof of two signed rosters").hash();
    let follow = if for_other { other } else { state.trusted().hash() };
    let (roster, decision) = state.settle(follow).expect("one of the two");
    state.settled(roster, decision);
    assert!(state.fork().is_none() && state.trusted().hash() == follow);
}

fn time(state: &RosterState, now: Timestamp) {
    let standing = state.standing(now);
    assert_eq!(standing.accepts_custody(), now <= state.trusted().expires().after(liaison_core::roster_state::GRACE));
    assert!(state.next_deadline(now).is_none_or(|at| at > now), "a deadline lies ahead");
}
