//! Batches: whole, durable, in order, and within the rules.

use super::*;

// [CUST-5]
pub(in crate::store) fn a_batch_is_there_whole_or_not_at_all(place: &dyn Place) {
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

pub(in crate::store) fn a_batch_may_be_submitted_again(place: &dyn Place) {
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

pub(in crate::store) fn an_empty_batch_is_durable_at_once(place: &dyn Place) {
    let store = place.open();
    assert_eq!(store.commit(&[]).unwrap().commit(), 0);
    assert_eq!(store.commit(&[put(Table::Meta, b"k", b"v")]).unwrap().commit(), 1);
    assert_eq!(store.commit(&[put(Table::Meta, b"k", b"w")]).unwrap().commit(), 2);
    assert_eq!(store.commit(&[]).unwrap().commit(), 2);
}

pub(in crate::store) fn everything_is_there_after_reopening(place: &dyn Place) {
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

pub(in crate::store) fn misuse_is_refused_and_changes_nothing(place: &dyn Place) {
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

pub(in crate::store) fn operations_see_the_earlier_ones_of_their_batch(place: &dyn Place) {
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
    let remember = Op::Remember { key: key(1, 0), record: record.clone() };
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

pub(in crate::store) fn sequences_are_never_used_again(place: &dyn Place) {
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
