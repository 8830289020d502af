//! Random batches, on disk and in memory: the two stores never differ.

use std::collections::BTreeMap;

use bytes::Bytes;
use liaison_core::op::{DedupeKey, Entry, Held, Op, Position, Remembered, Table};
use liaison_protocol::Timestamp;
use proptest::prelude::*;

use super::{OnDisk, open};
use crate::store::conformance::{Place, at, dequeue, enqueue, entry, id, millis, put};
use crate::store::testing::MemoryStore;
use crate::store::{IdPrefix, Store, StoreError};

pub(super) const QUEUES: [&str; 4] = ["ncb.ee", "ncb.e", "ncb.eee", "igci.interpol"];
const RANKS: u8 = 5;
const IDS: u64 = 12;
const INDEXES: u16 = 3;

/// Whatever can be asked has the same answer.
pub(super) fn assert_same(store: &dyn Store, model: &dyn Store) {
    assert_eq!(store.last_seq(), model.last_seq());
    assert_eq!(store.queues(), model.queues());
    for name in QUEUES {
        for rank in 0..RANKS {
            let queue = name.parse().unwrap();
            let all = store.head(&queue, rank, 0, usize::MAX).unwrap();
            assert_eq!(all, model.head(&queue, rank, 0, usize::MAX).unwrap());
            let after = all.first().map_or(0, |(seq, _)| *seq);
            assert_eq!(store.head(&queue, rank, after, 2), model.head(&queue, rank, after, 2));
        }
    }
    let id = |octet| liaison_protocol::MessageId(liaison_protocol::Hash([octet; 32]));
    let everything = IdPrefix::between(id(0), id(0xff));
    let ids = store.ids_with_prefix(&everything, usize::MAX).unwrap();
    assert_eq!(ids, model.ids_with_prefix(&everything, usize::MAX).unwrap());
    for id in &ids {
        assert_eq!(store.envelope(id), model.envelope(id));
        assert_eq!(store.positions_of(id), model.positions_of(id));
    }
    assert_eq!(store.expiring(Timestamp::MAX, usize::MAX), model.expiring(Timestamp::MAX, usize::MAX));
    assert_eq!(store.expiring(millis(1_000_006), 3), model.expiring(millis(1_000_006), 3));
    for table in [Table::Meta, Table::Outbox] {
        assert_eq!(store.scan(table, b"", None, usize::MAX), model.scan(table, b"", None, usize::MAX));
        assert_eq!(store.scan_back(table, b"k", Some(b"k5"), 3), model.scan_back(table, b"k", Some(b"k5"), 3));
    }
}

fn assert_same_memory(store: &dyn Store, model: &dyn Store) {
    for number in 0..IDS {
        for index in 0..INDEXES {
            let key = DedupeKey { id: id(number), index };
            assert_eq!(store.remembered(&key), model.remembered(&key));
        }
    }
    let mut due = store.forgettable(millis(3), usize::MAX).unwrap();
    due.sort();
    assert_eq!(due, model.forgettable(millis(3), usize::MAX).unwrap());
}

/// What a batch tries. Whether it is allowed is for the stores to say, and they must agree.
#[derive(Clone, Debug)]
enum Try {
    Accept { id: u64, index: u16, queue: usize, rank: u8, fresh: bool },
    Again,
    Forget { id: u64, index: u16 },
    Record { key: u8, value: Option<u8> },
    Release { nth: usize },
    Remember { id: u64, index: u16, until: u64, released: bool },
    Replace { id: u64, size: usize },
}

fn tries() -> impl Strategy<Value = Try> {
    let (id, index) = (0..IDS, 0..INDEXES);
    prop_oneof![
        6 => (id.clone(), index.clone(), 0..QUEUES.len(), 0..RANKS, prop::bool::weighted(0.7))
            .prop_map(|(id, index, queue, rank, fresh)| Try::Accept { id, index, queue, rank, fresh }),
        1 => Just(Try::Again),
        1 => (id.clone(), index.clone()).prop_map(|(id, index)| Try::Forget { id, index }),
        2 => (0..9u8, prop::option::of(any::<u8>())).prop_map(|(key, value)| Try::Record { key, value }),
        6 => (0..20usize).prop_map(|nth| Try::Release { nth }),
        3 => (id.clone(), index, 0..6u64, any::<bool>())
            .prop_map(|(id, index, until, released)| Try::Remember { id, index, until, released }),
        1 => (id, 0..5_000usize).prop_map(|(id, size)| Try::Replace { id, size }),
    ]
}

/// Turns what is tried into operations, and remembers what was enqueued.
#[derive(Default)]
struct Maker {
    seq: u64,
    held: BTreeMap<Position, Entry>,
    last: Vec<Op>,
}

impl Maker {
    fn ops(&mut self, tries: &[Try]) -> Vec<Op> {
        let mut ops = Vec::new();
        for one in tries {
            self.push(one, &mut ops);
        }
        self.last.clone_from(&ops);
        ops
    }

    fn push(&mut self, one: &Try, ops: &mut Vec<Op>) {
        match one {
            Try::Accept { id: number, index, queue, rank, fresh } => {
                self.seq += 1;
                let position = at(QUEUES[*queue], *rank, self.seq);
                let entry = entry(*number, *index);
                if *fresh {
                    ops.push(Op::PutEnvelope { id: entry.id, bytes: Bytes::from(vec![*number as u8; 1500]) });
                }
                ops.push(enqueue(&position, &entry));
                self.held.insert(position, entry);
            }
            Try::Again => ops.extend(self.last.iter().cloned()),
            Try::Forget { id: number, index } => {
                ops.push(Op::Forget { key: DedupeKey { id: id(*number), index: *index } });
            }
            Try::Record { key, value } => {
                let key = format!("k{key}").into_bytes();
                ops.push(match value {
                    Some(value) => put(Table::Outbox, &key, &[*value]),
                    None => Op::Delete { table: Table::Outbox, key },
                });
            }
            Try::Release { nth } => {
                if let Some((position, entry)) = self.held.iter().nth(*nth) {
                    ops.push(dequeue(position, entry));
                }
            }
            Try::Remember { id: number, index, until, released } => {
                let held = if *released { Held::Released } else { Held::Yes };
                let key = DedupeKey { id: id(*number), index: *index };
                ops.push(Op::Remember { key, record: Remembered::mark(1, held, millis(*until)) });
            }
            Try::Replace { id: number, size } => {
                ops.push(Op::PutEnvelope { id: id(*number), bytes: Bytes::from(vec![1; *size]) });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn the_disk_store_and_the_model_never_differ(
        batches in prop::collection::vec((prop::collection::vec(tries(), 1..8), prop::bool::weighted(0.1)), 1..40),
    ) {
        let place = OnDisk::in_memory();
        let mut store = place.open();
        let model = MemoryStore::default();
        let mut maker = Maker::default();
        for (tries, reopen) in batches {
            let ops = maker.ops(&tries);
            match (store.commit(&ops), model.commit(&ops)) {
                (Ok(_), Ok(_)) => {}
                (Err(StoreError::Misuse(one)), Err(StoreError::Misuse(other))) => prop_assert_eq!(one, other),
                (one, other) => prop_assert!(false, "{:?} and {:?}", one, other),
            }
            if reopen {
                drop(store);
                store = std::sync::Arc::new(open(&place.directory()).unwrap());
            }
            assert_same(store.as_ref(), &model);
            assert_same_memory(store.as_ref(), &model);
        }
    }
}
