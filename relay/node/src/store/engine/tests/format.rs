//! Stores of every format that this program reads, as the programs of their time left them: `format-N` beside this file.
//!
//! `LIAISON_STORE_FIXTURE=FOLDER cargo test -p liaison-node --lib -- --ignored leaves_a_store` makes one of today's
//! format. It is made once, when a format is new: a fixture that is made again proves nothing.

use std::path::{Path, PathBuf};

use liaison_core::op::{DedupeKey, Held, Op, Remembered, Table};

use super::damage::{copy_directory, journal, shorten};
use super::model::assert_same;
use super::{OnDisk, open};
use crate::store::Reads as _;
use crate::store::Store;
use crate::store::conformance::{at, dequeue, enqueue, entry, id, millis, put, put_envelope};
use crate::store::directory::FORMAT;
use crate::store::recover::batch_ends;
use crate::store::testing::MemoryStore;

const TABLES: [Table; 9] = [
    Table::Bundles,
    Table::Custody,
    Table::Events,
    Table::Chunks,
    Table::Ledger,
    Table::Inbox,
    Table::Meta,
    Table::Outbox,
    Table::ReceiptsDue,
];

/// One of everything: envelopes for one recipient and for two, what is remembered, a record in every table, and removals.
fn batches() -> Vec<Vec<Op>> {
    let remember = |number, held, until| {
        let record = Remembered { from: Some("ap-1".parse().unwrap()), ..Remembered::mark(2, held, millis(until)) };
        Op::Remember { key: DedupeKey { id: id(number), index: 0 }, record }
    };
    let [one, two, three] = [at("ncb.ee", 1, 1), at("igci.interpol", 3, 2), at("ncb.ee", 0, 3)];
    let accepted = vec![
        put_envelope(1),
        enqueue(&one, &entry(1, 0)),
        enqueue(&two, &entry(1, 1)),
        put_envelope(2),
        enqueue(&three, &entry(2, 0)),
        remember(1, Held::Yes, 5_000),
        remember(2, Held::Yes, 6_000),
    ];
    let records = TABLES.iter().flat_map(|table| [put(*table, b"k1", b"kept"), put(*table, b"k2", b"deleted")]);
    let deleted = TABLES.iter().map(|table| Op::Delete { table: *table, key: b"k2".to_vec() });
    let mut removed = vec![dequeue(&three, &entry(2, 0)), remember(2, Held::Released, 6_000)];
    removed.extend(deleted);
    vec![accepted, records.collect(), removed]
}

fn assert_whole(store: &dyn Store) {
    let model = MemoryStore::default();
    for ops in batches() {
        let _durable = model.commit(&ops).unwrap();
    }
    assert_same(store, &model);
    for number in [1, 2] {
        let key = DedupeKey { id: id(number), index: 0 };
        assert_eq!(store.remembered(&key), model.remembered(&key));
    }
    for table in TABLES {
        assert_eq!(store.scan(table, b"", None, 10).unwrap(), [(b"k1".to_vec(), "kept".into())], "{table:?}");
    }
}

#[test]
fn a_store_that_the_first_program_of_this_format_left_is_read_whole_and_goes_on() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/store/engine/tests/format-{FORMAT}"));
    let place = OnDisk::in_memory();
    copy_directory(&fixture, &place.directory());
    let store = open(&place.directory()).unwrap();
    assert_whole(&store);
    let _durable = store.commit(&[put(Table::Meta, b"k1", b"new")]).unwrap();
    drop(store);
    let store = open(&place.directory()).unwrap();
    assert_eq!(store.get(Table::Meta, b"k1").unwrap().unwrap(), "new");
    assert_eq!(store.last_seq(), Ok(3));
}

#[test]
#[ignore = "makes a fixture"]
fn leaves_a_store() {
    let folder = PathBuf::from(std::env::var_os("LIAISON_STORE_FIXTURE").expect("a folder"));
    let store = open(&folder).unwrap();
    for ops in batches() {
        let _durable = store.commit(&ops).unwrap();
    }
    drop(store);
    let ends = batch_ends(&journal(&folder));
    shorten(&folder, ends[ends.len() - 1]);
}
