//! The dedupe memory, and records.

use super::*;

// [CUST-4]
pub(in crate::store) fn deduplication_lasts_until_it_is_forgotten(place: &dyn Place) {
    let store = place.open();
    let remember = |index, held, until| Op::Remember { key: key(1, index), record: remembered(held, until) };
    commit(store.as_ref(), &[remember(0, Held::Yes, 10), remember(1, Held::Yes, 20), remember(300, Held::Yes, 30)]);
    commit(store.as_ref(), &[remember(0, Held::Released, 10), remember(1, Held::Released, 40)]);
    assert_eq!(store.remembered(&key(1, 0)).unwrap(), Some(remembered(Held::Released, 10)));
    assert_eq!(store.remembered(&key(1, 1)).unwrap(), Some(remembered(Held::Released, 40)));
    assert_eq!(store.remembered(&key(1, 2)).unwrap(), None);
    assert_eq!(store.remembered(&key(2, 0)).unwrap(), None);

    let after = |key: Option<&DedupeKey>, limit| {
        let found = store.remembered_after(key, limit).unwrap();
        found.into_iter().map(|(key, record)| (key.index, record.until.as_millis())).collect::<Vec<_>>()
    };
    assert_eq!(after(None, 9), [(0, 10), (1, 40), (300, 30)]);
    assert_eq!(after(Some(&key(1, 0)), 1), [(1, 40)]);
    assert_eq!(after(Some(&key(1, 2)), 9), [(300, 30)]);
    assert_eq!(after(Some(&key(1, 300)), 9), []);

    assert_eq!(forgettable(store.as_ref(), 9), []);
    assert_eq!(forgettable(store.as_ref(), 10), [key(1, 0)]);
    assert_eq!(forgettable(store.as_ref(), 39), [key(1, 0), key(1, 300)]);
    commit(store.as_ref(), &[Op::Forget { key: key(1, 0) }, Op::Forget { key: key(9, 9) }]);
    assert_eq!(store.remembered(&key(1, 0)).unwrap(), None);
    assert_eq!(forgettable(store.as_ref(), 40), [key(1, 1), key(1, 300)]);
    let in_steps: Vec<_> = (0..4).flat_map(|_| store.forgettable(millis(40), 1).unwrap()).collect();
    assert!(in_steps.contains(&key(1, 1)) && in_steps.contains(&key(1, 300)), "{in_steps:?}");
}

/// All of it: one call may look at a part.
fn forgettable(store: &dyn Store, now: u64) -> Vec<DedupeKey> {
    let mut all: Vec<_> = (0..4).flat_map(|_| store.forgettable(millis(now), 100).unwrap()).collect();
    all.sort();
    all.dedup();
    all
}

pub(in crate::store) fn records_are_scanned_both_ways_within_their_table(place: &dyn Place) {
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
