//! What every engine must do: functions over [`Store`], which [`conformance`] runs for each.

pub(super) mod batches;
pub(super) mod envelopes;
pub(super) mod queues;
pub(super) mod records;

use std::sync::Arc;

use bytes::Bytes;
use liaison_core::op::{DedupeKey, Entry, Held, Op, Position, Remembered, Table};
use liaison_protocol::{AgencyId, Hash, MessageId, Timestamp};

use super::{Misuse, QueueTotals, Store, StoreError};

/// A place that a store is opened in, again and again.
pub(super) trait Place {
    /// Opens it; whoever had it open before has dropped it.
    fn open(&self) -> Arc<dyn Store>;
}

/// One test for each function of the suite, for the place that `$make` gives.
macro_rules! conformance {
    ($make:expr) => {
        $crate::store::conformance::conformance! { $make =>
            batches: a_batch_is_there_whole_or_not_at_all
            batches: a_batch_may_be_submitted_again
            batches: an_empty_batch_is_durable_at_once
            batches: everything_is_there_after_reopening
            batches: misuse_is_refused_and_changes_nothing
            batches: operations_see_the_earlier_ones_of_their_batch
            batches: sequences_are_never_used_again
            envelopes: a_body_is_freed_with_its_last_entry
            envelopes: a_replaced_envelope_keeps_its_entries
            envelopes: ids_are_found_by_their_beginning
            envelopes: large_envelopes_with_many_recipients_fit
            queues: a_queue_is_read_by_rank_then_sequence
            queues: entries_expire_in_order
            queues: totals_follow_the_queues
            records: deduplication_lasts_until_it_is_forgotten
            records: records_are_scanned_both_ways_within_their_table
        }
    };
    ($make:expr => $($group:ident: $name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::store::conformance::$group::$name(&$make);
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
    Remembered::mark(1, held, millis(until))
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
