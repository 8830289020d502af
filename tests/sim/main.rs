//! Seeds of the simulator that every test run covers. `nightly` runs more of them.

mod dark_month;
mod found;
mod office;

use std::sync::atomic::{AtomicU64, Ordering};

use liaison_tests::sim::{Plan, check, run};

/// Enough to see every kind of fault.
const SEEDS: u64 = 240;

/// What bigger seeds have found, each once.
const FOUND: [u64; 1] = [
    // Two relays bring a copy of one message, and the disk is full when the first one is committed: the second one was
    // acknowledged.
    30_010_858,
];

fn assert_sound(seed: u64) {
    let plan = Plan::draw(seed);
    let violations = check(&run(&plan));
    assert!(violations.is_empty(), "seed {seed} broke a promise: {violations:#?}\n{plan:#?}");
}

// [CUST-1] [CUST-2] [CUST-3] [CUST-5] [CUST-9] [CUST-12]
#[test]
fn every_accepted_message_arrives_once_or_its_sender_is_told() {
    let next = AtomicU64::new(0);
    let worker = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < SEEDS) {
            assert_sound(seed);
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(worker))));
}

#[test]
fn what_seeds_have_found_stays_fixed() {
    FOUND.into_iter().for_each(assert_sound);
}

#[test]
fn one_seed_gives_one_trace() {
    let digest = |seed| run(&Plan::draw(seed)).trace.digest();
    let lines = |seed| run(&Plan::draw(seed)).trace.lines().collect::<Vec<_>>();
    assert_eq!(lines(11), lines(11));
    assert_eq!(digest(11), digest(11));
    assert_ne!(digest(11), digest(12));
}
