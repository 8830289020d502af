//! Many attackers at once, and what that costs the others.

use std::time::Duration;

use liaison_protocol::Precedence;
use liaison_tests::overload::{Bounds, Plan, run};

/// The full form is a program of its own: `overload`.
#[test]
fn flash_of_others_passes_a_flood_and_a_crowd_in_bounded_time_and_nothing_is_lost_or_twice() {
    let flood = vec![Precedence::Immediate, Precedence::Priority, Precedence::Routine];
    let plan = Plan { idle: 100, slow: 10, run: Duration::from_secs(6), flood, queue_mib: 2 };
    // Other tests run beside this one, unoptimised: the ratio without them is in docs/reliability.md.
    let bounds = Bounds {
        median_times: 30,
        slowest_times: 60,
        flash_min: Duration::from_secs(1),
        resident_max: 192 << 20,
        descriptors_max: 128,
    };
    let report = run(&plan, bounds).unwrap();
    assert!(report.is_sound(), "{report}");
    eprintln!("{report}");
}
