//! Every state of the models, and every planted bug found.

use liaison_models::custody::{self, Custody};
use liaison_models::meeting::{self, Meeting};
use liaison_models::prekeys::{self, Prekeys};
use liaison_models::rosters::{self, Rosters};
use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// What exploring a model found.
struct Explored {
    states: usize,
    /// Properties of every state that do not hold in some.
    broken: Vec<&'static str>,
    /// States that must be possible and are not: the model, or its bounds, leave out what matters.
    unreached: Vec<&'static str>,
}

/// Explores everything, or up to what `until` says.
fn explore<M>(model: M, until: HasDiscoveries) -> Explored
where
    M: Model + Send + Sync + 'static,
    M::State: std::fmt::Debug + std::hash::Hash + Send + Sync + Clone + PartialEq,
    M::Action: std::fmt::Debug + Clone + PartialEq + Send + Sync,
{
    let (possible, always): (Vec<_>, Vec<_>) = model
        .properties()
        .iter()
        .map(|property| (property.name, property.expectation.clone()))
        .partition(|(_, expectation)| matches!(expectation, Expectation::Sometimes));
    let checker = model.checker().threads(2).finish_when(until).spawn_bfs().join();
    let found = checker.discoveries();
    let names = |list: Vec<(&'static str, Expectation)>, is_found: bool| {
        list.into_iter().map(|(name, _)| name).filter(|name| found.contains_key(name) == is_found).collect()
    };
    Explored { states: checker.unique_state_count(), broken: names(always, true), unreached: names(possible, false) }
}

fn custody(bug: Option<custody::Bug>) -> Custody {
    Custody { bug, attempts_max: 2, crashes_max: 1, disks_max: 1, frames_max: 2 }
}

#[test]
fn custody_with_resubmission_loses_nothing_and_delivers_once_in_every_state() {
    let Explored { states, broken, unreached } = explore(custody(None), HasDiscoveries::All);
    println!("custody: {states} states");
    assert!(broken.is_empty() && unreached.is_empty(), "{broken:?}, {unreached:?}");
    assert!(states > 100_000, "the model has shrunk to {states} states: what is it that no longer happens?");
}

#[test]
fn every_bug_planted_in_custody_is_found() {
    for bug in custody::Bug::ALL {
        let Explored { states, broken, .. } = explore(custody(Some(bug)), HasDiscoveries::AnyFailures);
        println!("{bug:?}: {states} states, {broken:?}");
        assert!(!broken.is_empty(), "{bug:?} was not found");
    }
}

fn meeting(bug: Option<meeting::Bug>) -> Meeting {
    Meeting { bug, submissions_max: 3, crashes_max: 1, breaks_max: 2 }
}

// [CUST-4] [CUST-13]
#[test]
fn of_two_copies_that_meet_one_is_left_in_every_state() {
    let Explored { states, broken, unreached } = explore(meeting(None), HasDiscoveries::All);
    println!("meeting: {states} states");
    assert!(broken.is_empty() && unreached.is_empty(), "{broken:?}, {unreached:?}");
    assert!(states > 10_000, "the model has shrunk to {states} states: what is it that no longer happens?");
}

#[test]
fn every_bug_planted_where_copies_meet_is_found() {
    for bug in meeting::Bug::ALL {
        let Explored { states, broken, .. } = explore(meeting(Some(bug)), HasDiscoveries::AnyFailures);
        println!("{bug:?}: {states} states, {broken:?}");
        assert!(!broken.is_empty(), "{bug:?} was not found");
    }
}

#[test]
fn rosters_are_followed_by_the_rules_in_every_state() {
    let Explored { states, broken, unreached } = explore(Rosters::new(None, 2), HasDiscoveries::All);
    println!("rosters: {states} states");
    assert!(broken.is_empty() && unreached.is_empty(), "{broken:?}, {unreached:?}");
    assert!(states > 500, "the model has shrunk to {states} states: what is it that no longer happens?");
}

#[test]
fn every_bug_planted_in_rosters_is_found() {
    for bug in rosters::Bug::ALL {
        let Explored { states, broken, .. } = explore(Rosters::new(Some(bug), 2), HasDiscoveries::AnyFailures);
        println!("{bug:?}: {states} states, {broken:?}");
        assert!(!broken.is_empty(), "{bug:?} was not found");
    }
}

const fn prekeys(bug: Option<prekeys::Bug>) -> Prekeys {
    Prekeys { bug, ticks_max: 2, bundles_max: 2 }
}

// [PREKEY-7] [PREKEY-8]
#[test]
fn a_stolen_key_chooses_no_keys_once_it_is_replaced_and_its_owner_can_always_publish_in_every_state() {
    let Explored { states, broken, unreached } = explore(prekeys(None), HasDiscoveries::All);
    println!("prekeys: {states} states");
    assert!(broken.is_empty() && unreached.is_empty(), "{broken:?}, {unreached:?}");
    assert!(states > 10_000, "the model has shrunk to {states} states: what is it that no longer happens?");
}

#[test]
fn every_bug_planted_in_prekeys_is_found() {
    for bug in prekeys::Bug::ALL {
        let Explored { states, broken, .. } = explore(prekeys(Some(bug)), HasDiscoveries::AnyFailures);
        println!("{bug:?}: {states} states, {broken:?}");
        assert!(!broken.is_empty(), "{bug:?} was not found");
    }
}
