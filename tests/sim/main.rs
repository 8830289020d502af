//! Seeds of the simulator that every test run covers. `nightly` runs more of them.

use liaison_tests::sim::{Plan, check, run};

/// Enough to see every kind of fault; a few seconds.
const SEEDS: u64 = 150;

fn assert_sound(seed: u64) {
    let plan = Plan::draw(seed);
    let report = run(&plan);
    let violations = check(&report);
    assert!(violations.is_empty(), "seed {seed} ({plan:?}) broke the promise: {violations:#?}\n{:?}", report.counts);
}

// [CUST-1] [CUST-2] [CUST-3] [CUST-5] [CUST-9] [CUST-12]
#[test]
fn every_accepted_message_arrives_once_or_its_sender_is_told() {
    for seed in 0..SEEDS {
        assert_sound(seed);
    }
}

#[test]
fn one_seed_gives_one_trace() {
    let plan = Plan::draw(11);
    assert_eq!(run(&plan).digest, run(&plan).digest);
    assert_ne!(run(&plan).digest, run(&Plan::draw(12)).digest);
}
