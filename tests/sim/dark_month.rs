//! A region is gone for a month, and then all that has gathered moves at once, both ways: without a herd.

use std::collections::{BTreeMap, BTreeSet};

use liaison_protocol::{MessageId, Precedence};
use liaison_tests::sim::{Fact, Fault, FaultKind, Mail, MailKind, Pace, Plan, Report, Shape, Step, check, found, run};

const DAY_MS: u64 = 86_400_000;
const DARK_FROM_MS: u64 = 3_600_000;
const DARK_MS: u64 = 30 * DAY_MS;
const BACK_MS: u64 = DARK_FROM_MS + DARK_MS;
/// Messages that gather, half of them on either side.
const GATHERED: u64 = 240;
/// Messages between the other regions while all that moves.
const MEANWHILE: u64 = 40;

/// Region 1 of three is dark. Agencies 1 and 4 are at home there; 0 and 2 are elsewhere.
fn plan() -> Plan {
    let precedences = [Precedence::Flash, Precedence::Immediate, Precedence::Priority, Precedence::Routine];
    let mail = |at_ms, from, to, precedence| Mail {
        at_ms,
        from,
        to: vec![to],
        precedence,
        lifetime_s: 30 * 86_400,
        cancel_after_ms: None,
        read_after_ms: None,
        attached: Vec::new(),
    };
    let gathered = (0..GATHERED).zip(precedences.into_iter().cycle()).map(|(number, precedence)| {
        let (from, to) = if number / 4 % 2 == 0 { (0, 4) } else { (1, 2) };
        // All of it is still alive at the end.
        mail(DARK_FROM_MS + 60_000 + number * (29 * DAY_MS / GATHERED), from, to, precedence)
    });
    let meanwhile = (0..MEANWHILE).map(|number| mail(BACK_MS + number * 50, 0, 2, Precedence::Flash));
    Plan {
        // All mail of one pair of regions goes by one way: the links come up in that order.
        seed: 2,
        office: false,
        shape: Shape { regions: 3, agencies: 6, meshed: true, ..found::recipients_that_do_not_exist().shape },
        pace: Pace { delay_ms_max: 150, commit_ms_max: 5, text_bytes: 200 },
        mail: gathered.chain(meanwhile).collect(),
        faults: vec![Fault { at_ms: DARK_FROM_MS, for_ms: DARK_MS, kind: FaultKind::Dark(1) }],
    }
}

/// When each message of people reached its inbox, and how urgent it is.
fn delivered(report: &Report) -> Vec<(u64, MessageId, u8)> {
    let steps = &report.trace.steps;
    let ranks: BTreeMap<MessageId, u8> = steps
        .iter()
        .filter_map(|(_, step)| match step {
            Step::Submitted { id, rank, kind: MailKind::Message, .. } => Some((*id, *rank)),
            _ => None,
        })
        .collect();
    let inboxes = steps.iter().filter_map(|(at_ms, step)| match step {
        Step::Commit { facts, .. } => Some((*at_ms, facts)),
        _ => None,
    });
    inboxes
        .flat_map(|(at_ms, facts)| facts.iter().map(move |fact| (at_ms, fact)))
        .filter_map(|(at_ms, fact)| match fact {
            Fact::Inbox { id, .. } => ranks.get(id).map(|rank| (at_ms, *id, *rank)),
            _ => None,
        })
        .collect()
}

#[test]
fn after_a_dark_month_everything_moves_at_once_and_without_a_herd() {
    let report = run(&plan());
    assert_eq!(check(&report), []);

    let delivered = delivered(&report);
    assert_eq!(delivered.len() as u64, GATHERED + MEANWHILE);
    let late: Vec<_> = delivered.iter().filter(|(at_ms, ..)| *at_ms > BACK_MS + 5_000).collect();
    assert!(late.is_empty(), "{} of {} later than 5 s after the end: {late:?}", late.len(), delivered.len());

    // Each entry goes over each link once: nothing was sent in vain while it was dark, nothing twice afterwards.
    let mut sent: BTreeMap<(usize, usize, MessageId), u32> = BTreeMap::new();
    let (mut open, mut open_max, mut sent_dark) = (BTreeSet::new(), 0, 0);
    for (at_ms, step) in &report.trace.steps {
        match step {
            Step::Sent { node, peer, link, rank, seq, transfer } => {
                *sent.entry((*node, *peer, transfer.id)).or_default() += 1;
                sent_dark += u64::from((*node == 1) != (*peer == 1) && *node < 3 && *peer < 3 && *at_ms < BACK_MS);
                open.insert((*node, *link, *rank, *seq));
                open_max = open_max.max(open.len());
            }
            Step::AckReceived { node, link, rank, seq, .. } => drop(open.remove(&(*node, *link, *rank, *seq))),
            _ => {}
        }
    }
    let twice: Vec<_> = sent.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(sent_dark, 0, "into the dark");
    let transfers: u32 = sent.values().sum();
    assert!(u64::from(transfers) <= 4 * (GATHERED + MEANWHILE), "{transfers}: three hops each, and the receipts");

    // What is urgent is there first, of what left in the same second.
    let last =
        |rank| delivered.iter().filter(|it| it.2 == rank).map(|it| it.0.saturating_sub(BACK_MS)).max().unwrap_or(0);
    println!(
        "dark month: {} messages, the last of each precedence {:?} ms after the end, {transfers} transfers, {open_max} in flight at most",
        delivered.len(),
        (0..4).map(last).collect::<Vec<_>>(),
    );
    assert!(last(1) <= last(2) && last(2) <= last(3), "urgent mail came later than other");
}
