use liaison_protocol::{Hash, MessageId};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(2_000_000 * 3_600_000);

fn peer() -> NodeId {
    "eu-1".parse().unwrap()
}

fn count(n: u8, way: Way, hour: u32) -> Count {
    Count::new(peer(), way, Hour(hour), &DedupeKey { id: MessageId(Hash([n; 32])), index: 0 }, 1)
}

fn records_of(ops: Vec<Op>) -> Vec<(Vec<u8>, Bytes)> {
    let record = |op| match op {
        Op::Put { table: Table::Ledger, key, value } => (key, value),
        other => panic!("{other:?}"),
    };
    ops.into_iter().map(record).collect()
}

#[test]
fn a_tally_does_not_depend_on_the_order_and_every_item_and_attempt_counts() {
    let hour = 2_000_000;
    let tally = |counts: Vec<Count>| {
        let mut ledger = Ledger::default();
        ledger.apply(counts);
        ledger.tally(&peer(), Way::Released, Hour(hour))
    };
    let released = |n| count(n, Way::Released, hour);
    let all = tally((0..50).map(released).collect());
    assert_eq!(all.count, 50);
    assert_eq!(all, tally((0..50).rev().map(released).collect()));
    assert_ne!(all, tally((0..49).chain([77]).map(released).collect()), "the same number of others");
    assert_ne!(all.sum, tally((0..49).chain([48]).map(released).collect()).sum, "one twice is not two");
    let key = DedupeKey { id: MessageId(Hash([1; 32])), index: 0 };
    assert_ne!(Tally::of(&key.id, 0, 1), Tally::of(&key.id, 0, 2));
    assert_ne!(Tally::of(&key.id, 0, 1), Tally::of(&key.id, 1, 1));
}

#[test]
fn only_a_durable_commit_counts_and_a_restart_knows_it() {
    let mut ledger = Ledger::default();
    let counts = vec![count(1, Way::Released, 2_000_000), count(2, Way::Accepted, 2_000_000)];
    let records = records_of(ledger.records(counts.iter(), NOW));
    assert_eq!(ledger.tally(&peer(), Way::Released, Hour(2_000_000)), Tally::default(), "the disk was full, say");
    ledger.apply(counts);
    let again = Ledger::restored(records);
    assert!(again.all().eq(ledger.all()));
    assert_eq!(again.changed(&peer(), Hour::of(NOW)).len(), 1);
}

#[test]
fn what_was_compared_is_compared_again_only_once_it_has_grown() {
    let mut ledger = Ledger::default();
    let hour = Hour(1_999_999);
    ledger.apply(vec![count(1, Way::Released, hour.0), count(9, Way::Accepted, hour.0)]);
    assert!(ledger.has_changed(&peer(), hour) && !ledger.has_changed(&peer(), Hour(hour.0 - 1)));
    let compared = ledger.changed(&peer(), hour);
    assert_eq!(compared.len(), 1);
    ledger.apply(vec![count(2, Way::Released, hour.0)]);
    ledger.compared(&peer(), hour, &compared[0].tally);
    assert_eq!(ledger.changed(&peer(), hour).len(), 1, "it has grown meanwhile");
    let tally = ledger.tally(&peer(), Way::Released, hour);
    ledger.compared(&peer(), hour, &tally);
    assert_eq!(ledger.changed(&peer(), hour), []);
    ledger.compare_again(&peer());
    assert_eq!(ledger.changed(&peer(), hour).len(), 1);
}

#[test]
fn old_hours_are_forgotten_and_impossible_ones_are_not_counted() {
    let now_hour = Hour::of(NOW).0;
    assert!(Ledger::covers(Hour(now_hour), NOW) && Ledger::covers(Hour(now_hour + 1), NOW));
    assert!(!Ledger::covers(Hour(now_hour + 2), NOW) && !Ledger::covers(Hour(now_hour - 33 * 24), NOW));
    assert!(Ledger::covers(Hour(now_hour - 31 * 24), NOW));
    let mut ledger = Ledger::default();
    ledger.apply(vec![count(1, Way::Released, now_hour - 40 * 24), count(2, Way::Released, now_hour)]);
    let ops = ledger.records([count(3, Way::Released, now_hour)].iter(), NOW);
    assert!(matches!(ops.as_slice(), [Op::Put { .. }, Op::Delete { table: Table::Ledger, .. }]), "{ops:?}");
    assert_eq!(ledger.all().count(), 1);
}

#[test]
fn foreign_keys_are_passed_over() {
    let value = Bytes::from(codec::encode(&Tally::default()));
    for key in [&b""[..], b"t", b"txAAAAeu-1", b"trAAA", b"trAAAAEU", b"fr00001eu-1"] {
        assert_eq!(parse_key(key), None, "{key:?}");
        assert_eq!(Ledger::restored(vec![(key.to_vec(), value.clone())]).all().count(), 0);
    }
}
