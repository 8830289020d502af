//! Many attackers at once, and what that costs the others.

use std::time::Duration;

use liaison_protocol::Precedence;
use liaison_tests::overload::{Bounds, FramePlan, FrameReport, Plan, run, run_frames};

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

/// What closes the link of whoever says it.
fn closes(report: &FrameReport) -> Vec<&'static str> {
    report.rows.iter().filter(|row| row.closed > 0).map(|row| row.what).collect()
}

// [FRAME-4] [FRAME-5] [FRAME-6]
#[test]
fn whatever_frame_an_agency_repeats_the_flash_of_others_passes_and_memory_is_bounded() {
    let plan = FramePlan { agencies: 12, run: Duration::from_millis(500), attacker: "ncb.jp".into() };
    let report = run_frames(&plan).unwrap();
    eprintln!("{report}");
    for (what, passed) in report.passed() {
        assert!(passed > 0, "no flash beside {what}");
    }
    let closing = ["roster, unasked", "custody", "reach", "tallies", "tallies answer", "roll", "roll answer"];
    assert_eq!(closes(&report), closing, "{report}");
    // The design's bound for a relay.
    assert!(report.resident_max() <= 256 << 20, "{report}");
}
