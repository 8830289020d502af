//! Envelopes: one body for many entries.

use super::*;

pub(in crate::store) fn a_body_is_freed_with_its_last_entry(place: &dyn Place) {
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

pub(in crate::store) fn a_replaced_envelope_keeps_its_entries(place: &dyn Place) {
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

pub(in crate::store) fn ids_are_found_by_their_beginning(place: &dyn Place) {
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

pub(in crate::store) fn large_envelopes_with_many_recipients_fit(place: &dyn Place) {
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
