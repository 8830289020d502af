//! What every engine must do: functions over [`Store`], which [`conformance`] runs for each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use liaison_core::op::{DedupeKey, Entry, Held, Op, Position, Remembered, Table};
use liaison_protocol::{AgencyId, Hash, MessageId, Timestamp};

use super::{Misuse, QueueTotals, Store, StoreError};

/// A place that a store is opened in, again and again.
pub(super) trait Place {
    /// Opens it; whoever had it open before has dropped it.
    fn open(&self) -> Arc<dyn Store>;
}

/// One test for each function here, for the place that `$make` gives.
macro_rules! conformance {
    ($make:expr) => {
        $crate::store::conformance::conformance! { $make =>
            a_batch_is_there_whole_or_not_at_all
            a_batch_may_be_submitted_again
            a_body_is_freed_with_its_last_entry
            a_queue_is_read_by_rank_then_sequence
            a_replaced_envelope_keeps_its_entries
            an_empty_batch_is_durable_at_once
            deduplication_lasts_until_it_is_forgotten
            entries_expire_in_order
            everything_is_there_after_reopening
            ids_are_found_by_their_beginning
            large_envelopes_with_many_recipients_fit
            misuse_is_refused_and_changes_nothing
            operations_see_the_earlier_ones_of_their_batch
            records_are_scanned_both_ways_within_their_table
            sequences_are_never_used_again
            totals_follow_the_queues
        }
    };
    ($make:expr => $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::store::conformance::$name(&$make);
            }
        )*
    };
}
pub(super) use conformance;

pub(super) fn id(number: u64) -> MessageId {
    MessageId(Hash::of(&[b"conformance", &number.to_be_bytes()]))
}

pub(super) fn queue(name: &str) -> AgencyId {
    name.parse().unwrap()
}

pub(super) fn at(name: &str, rank: u8, seq: u64) -> Position {
    Position { queue: queue(name), rank, seq }
}

pub(super) fn millis(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(super) fn entry(number: u64, index: u16) -> Entry {
    Entry {
        id: id(number),
        index,
        attempt: 1,
        sender: "ncb.sg".parse().unwrap(),
        from: "ap-1".parse().unwrap(),
        path: vec!["ap-1".parse().unwrap()],
        accepted: millis(1_000 + number),
        expires: millis(1_000_000 + number),
        bytes: 100,
    }
}

pub(super) fn put_envelope(number: u64) -> Op {
    Op::PutEnvelope { id: id(number), bytes: body(number) }
}

pub(super) fn body(number: u64) -> Bytes {
    Bytes::from(vec![number as u8; 100])
}

pub(super) fn enqueue(position: &Position, entry: &Entry) -> Op {
    Op::Enqueue { position: position.clone(), entry: entry.clone() }
}

pub(super) fn dequeue(position: &Position, entry: &Entry) -> Op {
    Op::Dequeue { position: position.clone(), id: entry.id, expires: entry.expires }
}

pub(super) fn put(table: Table, key: &[u8], value: &[u8]) -> Op {
    Op::Put { table, key: key.to_vec(), value: Bytes::copy_from_slice(value) }
}

fn key(number: u64, index: u16) -> DedupeKey {
    DedupeKey { id: id(number), index }
}

fn remembered(held: Held, until: u64) -> Remembered {
    Remembered { attempt: 1, held, until: millis(until) }
}

fn commit(store: &dyn Store, ops: &[Op]) {
    let _durable = store.commit(ops).unwrap();
}

fn misuse(store: &dyn Store, ops: &[Op]) -> Misuse {
    match store.commit(ops) {
        Err(StoreError::Misuse(misuse)) => misuse,
        other => panic!("no misuse: {other:?}"),
    }
}

fn seqs(store: &dyn Store, name: &str, rank: u8, after: u64, limit: usize) -> Vec<u64> {
    store.head(&queue(name), rank, after, limit).unwrap().into_iter().map(|(seq, _)| seq).collect()
}

// [CUST-5]
pub(super) fn a_batch_is_there_whole_or_not_at_all(place: &dyn Place) {
    let store = place.open();
    let ops = [
        put_envelope(1),
        enqueue(&at("ncb.ee", 0, 1), &entry(1, 0)),
        Op::Remember { key: key(1, 0), record: remembered(Held::Yes, 5) },
        put(Table::Meta, b"head", b"1"),
        enqueue(&at("ncb.ee", 0, 2), &entry(2, 0)), // its envelope is nowhere
    ];
    assert_eq!(misuse(store.as_ref(), &ops), Misuse::EnvelopeMissing { id: id(2) });
    assert_eq!(seqs(store.as_ref(), "ncb.ee", 0, 0, 9), [0; 0]);
    assert_eq!(store.envelope(&id(1)).unwrap(), None);
    assert_eq!(store.remembered(&key(1, 0)).unwrap(), None);
    assert_eq!(store.get(Table::Meta, b"head").unwrap(), None);
    assert_eq!(store.last_seq().unwrap(), 0);

    commit(store.as_ref(), &ops[..4]);
    assert_eq!(seqs(store.as_ref(), "ncb.ee", 0, 0, 9), [1]);
    assert_eq!(store.envelope(&id(1)).unwrap(), Some(body(1)));
    assert_eq!(store.remembered(&key(1, 0)).unwrap(), Some(remembered(Held::Yes, 5)));
    assert_eq!(store.get(Table::Meta, b"head").unwrap(), Some(Bytes::from("1")));
}

pub(super) fn a_batch_may_be_submitted_again(place: &dyn Place) {
    let store = place.open();
    let position = at("ncb.ee", 2, 7);
    let accept = [put_envelope(1), enqueue(&position, &entry(1, 0)), put(Table::Meta, b"k", b"v")];
    let release = [dequeue(&position, &entry(1, 0)), Op::Delete { table: Table::Meta, key: b"k".to_vec() }];
    for _ in 0..3 {
        commit(store.as_ref(), &accept);
        assert_eq!(store.queues().unwrap()[0].entries, 1);
    }
    for _ in 0..3 {
        commit(store.as_ref(), &release);
        assert_eq!(store.queues().unwrap(), []);
        assert_eq!(store.envelope(&id(1)).unwrap(), None);
    }
}

pub(super) fn a_body_is_freed_with_its_last_entry(place: &dyn Place) {
    let store = place.open();
    let (one, two, three) = (at("ncb.ee", 1, 1), at("ncb.fr", 1, 2), at("ncb.jp", 1, 3));
    commit(store.as_ref(), &[put_envelope(1), enqueue(&one, &entry(1, 0)), enqueue(&two, &entry(1, 1))]);
    // Another one of the same envelope, in a later batch.
    commit(store.as_ref(), &[enqueue(&three, &entry(1, 2))]);
    let all = [(one.clone(), entry(1, 0)), (two.clone(), entry(1, 1)), (three.clone(), entry(1, 2))];
    assert_eq!(store.positions_of(&id(1)).unwrap(), all);

    commit(store.as_ref(), &[dequeue(&two, &entry(1, 1))]);
    assert_eq!(store.envelope(&id(1)).unwrap(), Some(body(1)));
    commit(store.as_ref(), &[dequeue(&one, &entry(1, 0)), dequeue(&three, &entry(1, 2))]);
    assert_eq!(store.envelope(&id(1)).unwrap(), None);
    assert_eq!(store.positions_of(&id(1)).unwrap(), []);
    assert_eq!(store.ids_with_prefix(&id(1).into(), 9).unwrap(), []);

    // The same envelope comes again, and goes again.
    commit(store.as_ref(), &[put_envelope(1), enqueue(&at("ncb.ee", 1, 4), &entry(1, 0))]);
    assert_eq!(store.envelope(&id(1)).unwrap(), Some(body(1)));
    commit(store.as_ref(), &[dequeue(&at("ncb.ee", 1, 4), &entry(1, 0))]);
    assert_eq!(store.envelope(&id(1)).unwrap(), None);
}

pub(super) fn a_queue_is_read_by_rank_then_sequence(place: &dyn Place) {
    let store = place.open();
    let mut ops = Vec::new();
    for seq in 1..=60 {
        let name = ["ncb.ee", "ncb.eee", "ncb.e"][seq as usize % 3];
        ops.extend([put_envelope(seq), enqueue(&at(name, (seq % 5) as u8, seq), &entry(seq, 0))]);
    }
    commit(store.as_ref(), &ops);
    for (rank, expected) in [(0, [15, 30, 45, 60]), (1, [6, 21, 36, 51]), (4, [9, 24, 39, 54])] {
        assert_eq!(seqs(store.as_ref(), "ncb.ee", rank, 0, 9), expected);
    }
    assert_eq!(seqs(store.as_ref(), "ncb.ee", 0, 15, 2), [30, 45]);
    assert_eq!(seqs(store.as_ref(), "ncb.ee", 0, 29, 1), [30]);
    assert_eq!(seqs(store.as_ref(), "ncb.ee", 0, 60, 9), [0; 0]);
    assert_eq!(seqs(store.as_ref(), "ncb.ee", 0, u64::MAX, 9), [0; 0]);
    assert_eq!(seqs(store.as_ref(), "ncb.ee", 0, 0, 0), [0; 0]);
    assert_eq!(seqs(store.as_ref(), "ncb.xx", 0, 0, 9), [0; 0]);

    // The head goes, then one in the middle.
    commit(store.as_ref(), &[dequeue(&at("ncb.ee", 0, 15), &entry(15, 0))]);
    commit(store.as_ref(), &[dequeue(&at("ncb.ee", 0, 45), &entry(45, 0))]);
    assert_eq!(seqs(store.as_ref(), "ncb.ee", 0, 0, 9), [30, 60]);
    commit(store.as_ref(), &[dequeue(&at("ncb.ee", 0, 30), &entry(30, 0))]);
    assert_eq!(seqs(store.as_ref(), "ncb.ee", 0, 0, 9), [60]);
    let (_, read) = store.head(&queue("ncb.ee"), 0, 0, 1).unwrap().remove(0);
    assert_eq!(read, entry(60, 0));
}

pub(super) fn a_replaced_envelope_keeps_its_entries(place: &dyn Place) {
    let store = place.open();
    let (one, two) = (at("ncb.ee", 1, 1), at("ncb.fr", 1, 2));
    commit(store.as_ref(), &[put_envelope(1), enqueue(&one, &entry(1, 0))]);
    // Another branch of the same envelope arrives: the caller has merged the wraps.
    let merged = Bytes::from_static(b"both wraps");
    commit(store.as_ref(), &[Op::PutEnvelope { id: id(1), bytes: merged.clone() }, enqueue(&two, &entry(1, 1))]);
    assert_eq!(store.envelope(&id(1)).unwrap(), Some(merged.clone()));
    commit(store.as_ref(), &[dequeue(&one, &entry(1, 0))]);
    assert_eq!(store.envelope(&id(1)).unwrap(), Some(merged));
    commit(store.as_ref(), &[dequeue(&two, &entry(1, 1))]);
    assert_eq!(store.envelope(&id(1)).unwrap(), None);
}

pub(super) fn an_empty_batch_is_durable_at_once(place: &dyn Place) {
    let store = place.open();
    assert_eq!(store.commit(&[]).unwrap().commit(), 0);
    assert_eq!(store.commit(&[put(Table::Meta, b"k", b"v")]).unwrap().commit(), 1);
    assert_eq!(store.commit(&[put(Table::Meta, b"k", b"w")]).unwrap().commit(), 2);
    assert_eq!(store.commit(&[]).unwrap().commit(), 2);
}

// [CUST-4]
pub(super) fn deduplication_lasts_until_it_is_forgotten(place: &dyn Place) {
    let store = place.open();
    let remember = |index, held, until| Op::Remember { key: key(1, index), record: remembered(held, until) };
    commit(store.as_ref(), &[remember(0, Held::Yes, 10), remember(1, Held::Yes, 20), remember(300, Held::Yes, 30)]);
    commit(store.as_ref(), &[remember(0, Held::Released, 10), remember(1, Held::Released, 40)]);
    assert_eq!(store.remembered(&key(1, 0)).unwrap(), Some(remembered(Held::Released, 10)));
    assert_eq!(store.remembered(&key(1, 1)).unwrap(), Some(remembered(Held::Released, 40)));
    assert_eq!(store.remembered(&key(1, 2)).unwrap(), None);
    assert_eq!(store.remembered(&key(2, 0)).unwrap(), None);

    assert_eq!(forgettable(store.as_ref(), 9), []);
    assert_eq!(forgettable(store.as_ref(), 10), [key(1, 0)]);
    assert_eq!(forgettable(store.as_ref(), 39), [key(1, 0), key(1, 300)]);
    commit(store.as_ref(), &[Op::Forget { key: key(1, 0) }, Op::Forget { key: key(9, 9) }]);
    assert_eq!(store.remembered(&key(1, 0)).unwrap(), None);
    assert_eq!(forgettable(store.as_ref(), 40), [key(1, 1), key(1, 300)]);
    assert_eq!(store.forgettable(millis(40), 1).unwrap().len(), 1);
}

/// All of it: one call may look at a part.
fn forgettable(store: &dyn Store, now: u64) -> Vec<DedupeKey> {
    let mut all: Vec<_> = (0..4).flat_map(|_| store.forgettable(millis(now), 100).unwrap()).collect();
    all.sort();
    all.dedup();
    all
}

pub(super) fn entries_expire_in_order(place: &dyn Place) {
    let store = place.open();
    let expiring = |until, limit| {
        let found = store.expiring(millis(until), limit).unwrap();
        (found.entries.into_iter().map(|(at, _)| at.seq).collect::<Vec<_>>(), found.next)
    };
    assert_eq!(expiring(u64::MAX, 9), (vec![], None));
    let add = |seq: u64, expires: u64| {
        let entry = Entry { expires: millis(expires), ..entry(seq, 0) };
        commit(store.as_ref(), &[put_envelope(seq), enqueue(&at("ncb.ee", 1, seq), &entry)]);
    };
    let remove = |seq: u64, expires: u64| {
        let entry = Entry { expires: millis(expires), ..entry(seq, 0) };
        commit(store.as_ref(), &[dequeue(&at("ncb.ee", 1, seq), &entry)]);
    };
    for (seq, expires) in [(1, 50), (2, 20), (3, 40), (4, 20)] {
        add(seq, expires);
    }
    assert_eq!(expiring(19, 9), (vec![], Some(millis(20))));
    assert_eq!(expiring(20, 9), (vec![2, 4], Some(millis(40))));
    assert_eq!(expiring(45, 2), (vec![2, 4], Some(millis(40))));
    assert_eq!(expiring(45, 1), (vec![2], Some(millis(20))));
    assert_eq!(expiring(99, 9), (vec![2, 4, 3, 1], None));
    remove(2, 20);
    remove(4, 20);
    assert_eq!(expiring(30, 9), (vec![], Some(millis(40))));
    // One that expires sooner than all that were seen.
    add(5, 10);
    assert_eq!(expiring(30, 9), (vec![5], Some(millis(40))));
    remove(5, 10);
    remove(3, 40);
    remove(1, 50);
    assert_eq!(expiring(u64::MAX, 9), (vec![], None));
    add(6, 60);
    assert_eq!(expiring(u64::MAX, 9), (vec![6], None));
}

pub(super) fn everything_is_there_after_reopening(place: &dyn Place) {
    let store = place.open();
    let position = at("ncb.ee", 3, 41);
    commit(
        store.as_ref(),
        &[
            put_envelope(1),
            enqueue(&position, &entry(1, 5)),
            Op::Remember { key: key(1, 5), record: remembered(Held::Yes, 77) },
            put(Table::Outbox, b"draft", b"text"),
        ],
    );
    drop(store);
    let store = place.open();
    assert_eq!(store.head(&queue("ncb.ee"), 3, 0, 9).unwrap(), [(41, entry(1, 5))]);
    assert_eq!(store.positions_of(&id(1)).unwrap(), [(position.clone(), entry(1, 5))]);
    assert_eq!(store.envelope(&id(1)).unwrap(), Some(body(1)));
    assert_eq!(store.remembered(&key(1, 5)).unwrap(), Some(remembered(Held::Yes, 77)));
    assert_eq!(store.get(Table::Outbox, b"draft").unwrap(), Some(Bytes::from("text")));
    assert_eq!(store.expiring(Timestamp::MAX, 9).unwrap().entries.len(), 1);
    assert_eq!(store.queues().unwrap().len(), 1);
    assert_eq!(store.last_seq().unwrap(), 41);

    commit(store.as_ref(), &[dequeue(&position, &entry(1, 5))]);
    drop(store);
    let store = place.open();
    assert_eq!(store.queues().unwrap(), []);
    assert_eq!(store.envelope(&id(1)).unwrap(), None);
    assert_eq!(store.last_seq().unwrap(), 41);
    assert_eq!(store.remembered(&key(1, 5)).unwrap(), Some(remembered(Held::Yes, 77)));
}

pub(super) fn ids_are_found_by_their_beginning(place: &dyn Place) {
    let store = place.open();
    let mut ids: Vec<_> = (1..=50).map(id).collect();
    let lowest = MessageId(Hash([0; 32]));
    let highest = MessageId(Hash([0xff; 32]));
    ids.extend([lowest, highest]);
    for (seq, id) in (1..).zip(&ids) {
        let entry = Entry { id: *id, ..entry(seq, 0) };
        let put = Op::PutEnvelope { id: *id, bytes: body(seq) };
        commit(store.as_ref(), &[put, enqueue(&at("ncb.ee", 1, seq), &entry)]);
    }
    ids.sort();
    for id in &ids {
        let text = id.to_string();
        assert_eq!(store.ids_with_prefix(&text.parse().unwrap(), 9).unwrap(), [*id]);
        let expected: Vec<_> = ids.iter().filter(|other| other.to_string().starts_with(&text[..1])).copied().collect();
        assert_eq!(store.ids_with_prefix(&text[..1].parse().unwrap(), 99).unwrap(), expected);
        assert_eq!(store.ids_with_prefix(&text[..1].parse().unwrap(), 1).unwrap(), expected[..1]);
    }
}

pub(super) fn large_envelopes_with_many_recipients_fit(place: &dyn Place) {
    let store = place.open();
    let bytes = Bytes::from((0..2_600_000u32).map(|n| (n * 7) as u8).collect::<Vec<_>>());
    let mut ops = vec![Op::PutEnvelope { id: id(1), bytes: bytes.clone() }];
    let lane = |index: u16| at(&format!("agency-{index}"), 0, u64::from(index) + 1);
    ops.extend((0..1024).map(|index| enqueue(&lane(index), &entry(1, index))));
    commit(store.as_ref(), &ops);
    assert_eq!(store.envelope(&id(1)).unwrap(), Some(bytes.clone()));
    assert_eq!(store.positions_of(&id(1)).unwrap().len(), 1024);
    assert_eq!(store.queues().unwrap().len(), 1024);
    for chunk in (0..1024).collect::<Vec<_>>().chunks(100) {
        assert_eq!(store.envelope(&id(1)).unwrap(), Some(bytes.clone()));
        let ops: Vec<_> = chunk.iter().map(|index| dequeue(&lane(*index), &entry(1, *index))).collect();
        commit(store.as_ref(), &ops);
    }
    assert_eq!(store.envelope(&id(1)).unwrap(), None);
    assert_eq!(store.queues().unwrap(), []);
}

pub(super) fn misuse_is_refused_and_changes_nothing(place: &dyn Place) {
    let store = place.open();
    let here = at("ncb.ee", 1, 5);
    commit(store.as_ref(), &[put_envelope(1), enqueue(&here, &entry(1, 0))]);
    let before = (store.queues().unwrap(), store.positions_of(&id(1)).unwrap(), store.last_seq().unwrap());

    let there = at("ncb.fr", 1, 6);
    let cases = [
        (vec![put_envelope(2)], Misuse::EnvelopeUnnamed { id: id(2) }),
        (vec![enqueue(&there, &entry(2, 0)), put_envelope(2)], Misuse::EnvelopeMissing { id: id(2) }),
        (vec![dequeue(&here, &entry(2, 0))], Misuse::EntryMismatch { position: here.clone(), id: id(2) }),
        (vec![enqueue(&there, &entry(1, 0))], Misuse::EntryTwice { position: there.clone(), other: here.clone() }),
        (
            vec![put_envelope(2), enqueue(&here, &entry(2, 0))],
            Misuse::SeqReused { position: here.clone(), last_seq: 5 },
        ),
        (vec![enqueue(&there, &Entry { attempt: 0, ..entry(1, 1) })], Misuse::Attempt { attempt: 0 }),
        (
            vec![Op::Remember { key: key(1, 0), record: Remembered { attempt: 17, ..remembered(Held::Yes, 1) } }],
            Misuse::Attempt { attempt: 17 },
        ),
    ];
    for (ops, expected) in cases {
        assert_eq!(misuse(store.as_ref(), &ops), expected);
        let after = (store.queues().unwrap(), store.positions_of(&id(1)).unwrap(), store.last_seq().unwrap());
        assert_eq!(before, after, "{expected}");
    }
    assert_eq!(store.envelope(&id(2)).unwrap(), None);
    commit(store.as_ref(), &[put_envelope(2), enqueue(&there, &entry(2, 0))]);
}

pub(super) fn operations_see_the_earlier_ones_of_their_batch(place: &dyn Place) {
    let store = place.open();
    let (one, two) = (at("ncb.ee", 1, 1), at("ncb.ee", 2, 2));
    // Taken and released at once.
    commit(store.as_ref(), &[put_envelope(1), enqueue(&one, &entry(1, 0)), dequeue(&one, &entry(1, 0))]);
    assert_eq!(store.envelope(&id(1)).unwrap(), None);
    assert_eq!(store.queues().unwrap(), []);
    assert_eq!(store.last_seq().unwrap(), 1);

    // Moved to another queue: the body stays.
    commit(store.as_ref(), &[put_envelope(1), enqueue(&two, &entry(1, 0))]);
    let three = at("ncb.fr", 0, 3);
    commit(store.as_ref(), &[dequeue(&two, &entry(1, 0)), enqueue(&three, &entry(1, 0))]);
    assert_eq!(store.envelope(&id(1)).unwrap(), Some(body(1)));
    assert_eq!(store.positions_of(&id(1)).unwrap(), [(three.clone(), entry(1, 0))]);
    commit(store.as_ref(), &[dequeue(&three, &entry(1, 0))]);
    assert_eq!(store.envelope(&id(1)).unwrap(), None);

    let record = remembered(Held::Yes, 4);
    let remember = Op::Remember { key: key(1, 0), record };
    let forget = Op::Forget { key: key(1, 0) };
    commit(store.as_ref(), &[remember.clone(), forget.clone()]);
    assert_eq!(store.remembered(&key(1, 0)).unwrap(), None);
    commit(store.as_ref(), &[forget, remember]);
    assert_eq!(store.remembered(&key(1, 0)).unwrap(), Some(record));

    let delete = Op::Delete { table: Table::Meta, key: b"k".to_vec() };
    commit(store.as_ref(), &[put(Table::Meta, b"k", b"1"), delete.clone()]);
    assert_eq!(store.get(Table::Meta, b"k").unwrap(), None);
    commit(store.as_ref(), &[delete, put(Table::Meta, b"k", b"1"), put(Table::Meta, b"k", b"2")]);
    assert_eq!(store.get(Table::Meta, b"k").unwrap(), Some(Bytes::from("2")));
}

pub(super) fn records_are_scanned_both_ways_within_their_table(place: &dyn Place) {
    let store = place.open();
    let large = vec![7u8; 300_000];
    let tables = [Table::Bundles, Table::Events, Table::Submissions];
    for table in tables {
        let keys: [&[u8]; 7] = [b"", b"a", b"a\0", b"ab", b"b", b"\xff", b"\xff\xff"];
        let ops: Vec<_> = keys.iter().map(|key| put(table, key, key)).collect();
        commit(store.as_ref(), &ops);
    }
    commit(store.as_ref(), &[put(Table::Chunks, b"big", &large), put(Table::Meta, b"empty", b"")]);
    assert_eq!(store.get(Table::Chunks, b"big").unwrap(), Some(Bytes::from(large)));
    assert_eq!(store.get(Table::Meta, b"empty").unwrap(), Some(Bytes::new()));
    assert_eq!(store.get(Table::Meta, b"").unwrap(), None);

    let keys = |found: Vec<(Vec<u8>, Bytes)>| -> Vec<Vec<u8>> {
        found.into_iter().inspect(|(key, value)| assert_eq!(key, value)).map(|(key, _)| key).collect()
    };
    for table in tables {
        let scan = |prefix: &[u8], after, limit| keys(store.scan(table, prefix, after, limit).unwrap());
        let back = |prefix: &[u8], before, limit| keys(store.scan_back(table, prefix, before, limit).unwrap());
        let all: [&[u8]; 7] = [b"", b"a", b"a\0", b"ab", b"b", b"\xff", b"\xff\xff"];
        let reversed: Vec<_> = all.into_iter().rev().collect();
        assert_eq!(scan(b"", None, 99), all);
        assert_eq!(back(b"", None, 99), reversed);
        assert_eq!(scan(b"", Some(b"a"), 2), all[2..4]);
        assert_eq!(back(b"", Some(b"b"), 2), reversed[3..5]);
        assert_eq!(scan(b"a", None, 99), all[1..4]);
        assert_eq!(back(b"a", None, 99), reversed[3..6]);
        assert_eq!(scan(b"a", Some(b"a\0"), 99), all[3..4]);
        assert_eq!(scan(b"b", Some(b"a"), 99), all[4..5]);
        assert_eq!(scan(b"a", Some(b"b"), 99), Vec::<Vec<u8>>::new());
        assert_eq!(back(b"b", Some(b"a"), 99), Vec::<Vec<u8>>::new());
        assert_eq!(back(b"a", Some(b"b"), 1), all[3..4]);
        assert_eq!(scan(b"\xff", None, 99), all[5..]);
        assert_eq!(back(b"\xff", None, 99), reversed[..2]);
        assert_eq!(scan(b"", Some(b"\xff\xff"), 99), Vec::<Vec<u8>>::new());
        assert_eq!(back(b"", Some(b""), 99), Vec::<Vec<u8>>::new());
        assert_eq!(scan(b"", None, 0), Vec::<Vec<u8>>::new());
    }
    commit(store.as_ref(), &[Op::Delete { table: Table::Events, key: b"a".to_vec() }]);
    assert_eq!(store.scan(Table::Events, b"a", None, 9).unwrap().len(), 2);
    assert_eq!(store.scan(Table::Bundles, b"a", None, 9).unwrap().len(), 3);
}

pub(super) fn sequences_are_never_used_again(place: &dyn Place) {
    let store = place.open();
    let here = at("ncb.ee", 1, 9);
    commit(store.as_ref(), &[put_envelope(1), enqueue(&here, &entry(1, 0))]);
    commit(store.as_ref(), &[dequeue(&here, &entry(1, 0))]);
    drop(store);
    let store = place.open();
    assert_eq!(store.last_seq().unwrap(), 9);
    let again = [put_envelope(2), enqueue(&at("ncb.fr", 0, 9), &entry(2, 0))];
    assert_eq!(misuse(store.as_ref(), &again), Misuse::SeqReused { position: at("ncb.fr", 0, 9), last_seq: 9 });
}

pub(super) fn totals_follow_the_queues(place: &dyn Place) {
    let store = place.open();
    let lanes = [("ncb.fr", 1), ("ncb.ee", 4), ("ncb.ee", 0)];
    let mut ops = Vec::new();
    for seq in 1..=30u64 {
        let (name, rank) = lanes[seq as usize % 3];
        let entry = Entry { bytes: seq as u32, ..entry(seq, 0) };
        ops.extend([put_envelope(seq), enqueue(&at(name, rank, seq), &entry)]);
    }
    commit(store.as_ref(), &ops);
    let totals = |name: &str, rank, entries, bytes, oldest: u64| QueueTotals {
        queue: queue(name),
        rank,
        entries,
        bytes,
        oldest: millis(1_000).after(Duration::from_millis(oldest)),
    };
    let expected = [totals("ncb.ee", 0, 10, 155, 2), totals("ncb.ee", 4, 10, 145, 1), totals("ncb.fr", 1, 10, 165, 3)];
    assert_eq!(store.queues().unwrap(), expected);

    let gone: Vec<_> = (1..=30u64)
        .filter(|seq| seq % 3 == 1 || *seq == 2 || *seq == 6)
        .map(|seq| {
            let (name, rank) = lanes[seq as usize % 3];
            dequeue(&at(name, rank, seq), &entry(seq, 0))
        })
        .collect();
    commit(store.as_ref(), &gone);
    let expected = [totals("ncb.ee", 0, 9, 153, 5), totals("ncb.fr", 1, 9, 159, 3)];
    assert_eq!(store.queues().unwrap(), expected);
    drop(store);
    assert_eq!(place.open().queues().unwrap(), expected);
}
