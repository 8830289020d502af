//! Bugs that the simulator has found, each as the smallest plan that showed it.

use liaison_protocol::Precedence;
use liaison_tests::sim::{Fault, FaultKind, Mail, Pace, Place, Plan, Shape, Step, check, run};

/// One region, three agencies; agency 0 writes to the others after a second.
fn plan(faults: Vec<Fault>) -> Plan {
    Plan {
        seed: 1,
        shape: Shape {
            regions: 1,
            spare_relay: false,
            agencies: 3,
            meshed: true,
            quota_bytes: None,
            rate: None,
            strict: false,
        },
        pace: Pace { delay_ms_max: 20, commit_ms_max: 5, text_bytes: 20 },
        mail: vec![Mail {
            at_ms: 1_000,
            from: 0,
            to: vec![1, 2],
            precedence: Precedence::Routine,
            lifetime_s: 7 * 86_400,
            cancel_after_ms: None,
        }],
        faults,
    }
}

const fn fault(at_ms: u64, for_ms: u64, kind: FaultKind) -> Fault {
    Fault { at_ms, for_ms, kind }
}

/// Seed 231: the second recipient's copy overwrote the first one's wrap in the sender's own store, and the first
/// recipient's relay then refused it for good.
#[test]
fn a_message_to_two_that_is_sent_again_keeps_the_wraps_of_both() {
    let (relay, first, second) = (Place::Relay(0), Place::Agency(1), Place::Agency(2));
    let report = run(&plan(vec![
        fault(500, 20_000, FaultKind::Cut(relay, first)),
        fault(500, 20_000, FaultKind::Cut(relay, second)),
        fault(5_000, 1_000, FaultKind::DiskLost(relay)),
        // The copies wait together when they are sent again.
        fault(30_000, 2 * 3_600_000, FaultKind::Cut(relay, Place::Agency(0))),
        fault(90_000_000, 600_000, FaultKind::Cut(relay, Place::Agency(0))),
    ]));
    assert_eq!(check(&report), []);
    let told = |step: &Step| matches!(step, Step::Ended { .. });
    assert!(!report.trace.steps.iter().any(|(_, step)| told(step)), "both were delivered");
}
