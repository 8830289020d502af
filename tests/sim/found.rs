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

/// Seed 1493: an end for which the disk had no room was only tried again at the message's expiry, days later.
#[test]
fn a_refusal_that_finds_the_disk_full_is_told_soon_afterwards() {
    let mut plan = plan(vec![fault(1_010, 300, FaultKind::Full(Place::Agency(0), 100))]);
    plan.shape.strict = true;
    // Agency 0 has no agreement with itself.
    plan.mail[0].to = vec![0];
    let report = run(&plan);
    assert!(report.trace.steps.iter().any(|(_, step)| matches!(step, Step::Full { .. })), "the disk was full");
    assert_eq!(check(&report), []);
}

/// Seed 13: what could not be withdrawn for lack of room was not sent on either, until its expiry.
#[test]
fn a_withdrawal_that_finds_the_disk_full_leaves_the_message_on_its_way() {
    let cut = FaultKind::Cut(Place::Relay(0), Place::Agency(0));
    let full = FaultKind::Full(Place::Agency(0), 100);
    let mut plan = plan(vec![fault(500, 20_000, cut), fault(1_500, 2_000, full)]);
    plan.mail[0].cancel_after_ms = Some(1_000);
    let report = run(&plan);
    assert!(report.trace.steps.iter().any(|(_, step)| matches!(step, Step::Full { .. })), "the disk was full");
    assert_eq!(check(&report), []);
}
