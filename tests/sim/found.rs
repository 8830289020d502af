//! What the simulator has found stays fixed.

use liaison_tests::sim::{MailKind, Plan, Report, Step, check, found, run};

fn sound(plan: &Plan) -> Report {
    let report = run(plan);
    assert_eq!(check(&report), []);
    report
}

fn saw(report: &Report, what: impl Fn(&Step) -> bool) -> bool {
    report.trace.steps.iter().any(|(_, step)| what(step))
}

#[test]
fn a_message_to_two_that_is_sent_again_keeps_the_wraps_of_both() {
    let report = sound(&found::sent_again_to_two());
    assert!(!saw(&report, |step| matches!(step, Step::Ended { .. })), "both were delivered");
}

#[test]
fn a_refusal_that_finds_the_disk_full_is_told_soon_afterwards() {
    let report = sound(&found::refused_with_a_full_disk());
    assert!(saw(&report, |step| matches!(step, Step::Full { .. })), "the disk was full");
}

#[test]
fn a_withdrawal_that_finds_the_disk_full_leaves_the_message_on_its_way() {
    let report = sound(&found::withdrawn_with_a_full_disk());
    assert!(saw(&report, |step| matches!(step, Step::Full { .. })), "the disk was full");
}

#[test]
fn a_shorter_wait_does_not_end_a_longer_one() {
    let report = sound(&found::refused_twice());
    assert!(saw(&report, |step| matches!(step, Step::AckReceived { ack, .. } if !ack.refused.is_empty())));
}

#[test]
fn a_message_that_goes_on_by_another_home_relay_leaves_at_once() {
    let report = sound(&found::sent_again_by_the_other_home_relay());
    let at = |what: &dyn Fn(&Step) -> bool| report.trace.steps.iter().find(|(_, step)| what(step)).map(|(at, _)| *at);
    let again = at(&|step| matches!(step, Step::Submitted { kind: MailKind::Again, .. })).unwrap();
    let sent = at(&|step| matches!(step, Step::Sent { transfer, .. } if transfer.attempt > 1)).unwrap();
    assert!(sent - again < 1_000, "{again} {sent}");
}

// [CONS-1] [CONS-2] [CUST-12]
#[test]
fn what_a_relay_lost_with_its_disk_is_named_by_its_peer_and_sent_again_at_once() {
    let report = sound(&found::lost_by_a_relay_that_had_just_taken_it());
    let at = |what: &dyn Fn(&Step) -> bool| report.trace.steps.iter().find(|(_, step)| what(step)).map(|(at, _)| *at);
    let named = at(&|step| matches!(step, Step::Missing { node: 0, peer: 2, parts } if parts.len() == 1)).unwrap();
    let again = at(&|step| matches!(step, Step::Submitted { kind: MailKind::Again, .. })).unwrap();
    assert!((65_000..70_000).contains(&named), "its link was up again after 65 s, named after {named} ms");
    assert!(again - named < 1_000, "{named} {again}");
}

// [CUST-4] [CUST-13]
#[test]
fn of_two_copies_that_meet_one_goes_on() {
    let report = sound(&found::two_copies_that_meet());
    let again = |step: &Step| matches!(step, Step::Submitted { kind: MailKind::Again, .. });
    assert!(!saw(&report, again), "nobody had to send it again");
}

#[test]
fn what_does_not_fit_goes_on_as_soon_as_there_is_room() {
    let report = sound(&found::more_than_fits());
    assert!(saw(&report, |step| matches!(step, Step::AckReceived { ack, .. } if ack.refused.len() == 1)));
}

#[test]
fn every_other_plan_that_was_written_by_hand_is_sound() {
    found::scenarios().iter().for_each(|(_, plan)| drop(sound(plan)));
}
