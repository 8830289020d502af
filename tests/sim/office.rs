//! The real office behind the daemons, under plans that were made for it or not.

use std::collections::BTreeSet;

use liaison_tests::sim::{Fact, MailKind, Plan, Report, Step, check, found, run};

/// Each costs as much as several plans without the office.
const SEEDS: u64 = 24;
/// Messages are submitted when every prekey that is known is over: their senders are told.
const BEYOND_THE_KEYS: u64 = 5010;
/// Two relays have had copies of one message from each other: proofs went between them for ever.
const PROOFS_IN_A_CIRCLE: u64 = 20_004_261;
/// A sender asked after a message while its receipt was on its way, and another was made: the read receipt, which named
/// the second one, counted for nothing.
const SECOND_RECEIPT: u64 = 86;
/// An earlier delivery receipt overtaken by a later one came while that one's commit was under way, and took its place.
const OVERTAKEN_RECEIPT: u64 = 2_236;
/// A message was asked after and then read, and both receipts came in one letter, of which the one did not name the other.
const BOTH_RECEIPTS: u64 = 4_520;

fn with_office(plan: Plan) -> Plan {
    Plan { office: true, ..plan }
}

fn sound(plan: &Plan) -> Report {
    let report = run(plan);
    assert_eq!(check(&report), [], "{plan:#?}");
    report
}

fn count(report: &Report, what: impl Fn(&Step) -> bool) -> usize {
    report.trace.steps.iter().filter(|(_, step)| what(step)).count()
}

fn has_fact(step: &Step, what: impl Fn(&Fact) -> bool) -> bool {
    matches!(step, Step::Commit { facts, .. } if facts.iter().any(what))
}

#[test]
fn every_plan_that_was_written_by_hand_is_sound_with_the_real_office() {
    for (name, plan) in found::scenarios() {
        let violations = check(&run(&with_office(plan)));
        assert_eq!(violations, [], "{name}");
    }
}

#[test]
fn an_application_that_asks_again_after_a_crash_has_sent_each_message_once() {
    let plan = found::asked_again_after_a_crash();
    let report = sound(&plan);
    let kept = count(&report, |step| matches!(step, Step::Crashed { kept: true, .. }));
    let shown = count(&report, |step| matches!(step, Step::Shown { .. }));
    let recipients: usize = plan.mail.iter().map(|mail| mail.to.len()).sum();
    assert_eq!(shown, recipients);
    assert!(kept > 0, "no crash left a commit of which nobody had heard");
}

// [CUST-12] [RCPT-1]
#[test]
fn seeds_are_sound_with_the_real_office() {
    let found = [BEYOND_THE_KEYS, PROOFS_IN_A_CIRCLE, SECOND_RECEIPT, OVERTAKEN_RECEIPT, BOTH_RECEIPTS];
    let seeds = (0..SEEDS).chain(found);
    let reports: Vec<Report> = seeds.map(|seed| sound(&Plan::draw(seed).with_office())).collect();
    let all = |what: fn(&Step) -> bool| reports.iter().map(|report| count(report, what)).sum::<usize>();
    let shown = all(|step| matches!(step, Step::Shown { .. }));
    let receipted = all(|step| has_fact(step, |fact| matches!(fact, Fact::Receipted { .. })));
    let again = all(|step| matches!(step, Step::Submitted { kind: MailKind::Again, .. }));
    let read = all(|step| has_fact(step, |fact| matches!(fact, Fact::Read { .. })));
    let known = all(|step| has_fact(step, |fact| matches!(fact, Fact::ReadReceipted { .. })));
    assert!(shown > 100 && receipted > 100 && again > 0, "{shown} shown, {receipted} receipted, {again} sent again");
    assert!(read > 50 && known > 50, "{read} read, {known} known to be");
    let parts = all(|step| matches!(step, Step::ShownPart { digest: Some(_), .. }));
    assert!(parts > 20, "{parts} attachments read");
}

#[test]
fn one_seed_gives_one_trace_with_the_real_office() {
    let report = |seed| run(&Plan::draw(seed).with_office());
    let lines = |report: &Report| report.trace.lines().collect::<Vec<_>>();
    for seed in [3, 11] {
        let (one, other) = (report(seed), report(seed));
        assert_eq!(lines(&one), lines(&other));
        assert_eq!(one.trace.digest(), other.trace.digest());
    }
}

// [PREKEY-5] [INNER-4]
#[test]
fn mail_for_keys_that_are_lost_is_sealed_anew_and_read_once() {
    let plan = found::keys_lost_before_the_mail_for_them();
    let report = sound(&plan);
    assert_eq!(count(&report, |step| matches!(step, Step::Resealed { index: 0, .. })), 2);
    assert_eq!(count(&report, |step| matches!(step, Step::Shown { node: 2, .. })), 2);
    let steps = report.trace.steps.iter().map(|(_, step)| step);
    let facts = steps.flat_map(|step| if let Step::Commit { facts, .. } = step { facts.as_slice() } else { &[] });
    let receipted = facts.filter_map(|fact| match fact {
        Fact::Receipted { id, index, .. } => Some((id, index)),
        _ => None,
    });
    assert_eq!(receipted.collect::<BTreeSet<_>>().len(), 3);
}

// [CUST-12] [CONS-2]
#[test]
fn chunks_that_a_relay_lost_behind_their_message_are_sent_again_once_or_after_a_day() {
    let minute_ms = 60_000;
    for (regions, cut_ms, by_ms) in [(2, 1_052, 2 * minute_ms), (4, 1_010, 25 * 60 * minute_ms)] {
        let plan = found::chunks_lost_behind_their_message(regions, cut_ms);
        let report = sound(&plan);
        let settled = |step: &Step| has_fact(step, |fact| matches!(fact, Fact::Settled { .. }));
        let (at_ms, _) = report.trace.steps.iter().rfind(|(_, step)| settled(step)).unwrap();
        assert!(*at_ms < by_ms, "{regions} regions: {at_ms} ms");
        let chunks = plan.mail[0].attached[0].div_ceil(262_144);
        assert_eq!(count(&report, |step| matches!(step, Step::Chunk { .. })), 2 * chunks);
    }
}
