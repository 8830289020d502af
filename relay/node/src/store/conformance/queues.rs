//! Queues: their order, their expiry and their totals.

use std::time::Duration;

use super::*;

pub(in crate::store) fn a_queue_is_read_by_rank_then_sequence(place: &dyn Place) {
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

pub(in crate::store) fn entries_expire_in_order(place: &dyn Place) {
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

pub(in crate::store) fn totals_follow_the_queues(place: &dyn Place) {
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
