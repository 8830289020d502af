//! Keys of the engine's keyspaces. Numbers are big-endian, so that keys sort as what they say.
//!
//! | keyspace | key | value |
//! | --- | --- | --- |
//! | queue | queue, 0, rank, seq | [`super::values::encode_entry`] |
//! | expiry | expires, then the queue key | nothing |
//! | ids | id, index | [`super::values::Known`]: the dedupe memory, and where the entry is |
//! | envelopes | id | the envelope's bytes |
//! | records | tag of the table, key | the record |
//! | records | 0, then one of [`BRAND`], [`LAST_SEQ`], [`TOTALS`], [`SHARED`] | the store's own |
//!
//! Four rows a message are what bounds the rate: each is written to the journal, a memory table and a table. So the
//! dedupe memory has no index by time (it is swept, see `forgettable`), and the way from an id to its entries has no
//! rows of its own.
//!
//! Names hold no zero byte, so a queue's keys are together and no queue's keys are inside another's.

use liaison_core::op::{DedupeKey, Position, Table};
use liaison_protocol::{AgencyId, Hash, MessageId, Timestamp};

/// In every keyspace, and in no range that is ever read: see [`super::spaces::Spaces::beat`].
pub(super) const HEARTBEAT: &[u8] = &[0];
/// Tag of the store's own records: no table has it.
const OWN: u8 = 0;
/// First in every batch: see [`crate::store::brand`].
pub(in crate::store) const BRAND: &[u8] = &[OWN, b'b'];
/// The highest sequence so far.
pub(super) const LAST_SEQ: &[u8] = &[OWN, b'l'];
/// One queue's totals: then queue, 0, rank.
pub(super) const TOTALS: &[u8] = &[OWN, b't'];
/// An envelope that more than one entry has named: then its id.
const SHARED: &[u8] = &[OWN, b's'];

const ID_BYTES: usize = 32;
const TIME_BYTES: usize = 8;
/// What follows a queue's name: 0, rank, sequence.
const POSITION_TAIL_BYTES: usize = 1 + 1 + 8;

pub(super) fn queue(position: &Position) -> Vec<u8> {
    let mut key = lane(&position.queue, position.rank);
    key.extend_from_slice(&position.seq.to_be_bytes());
    key
}

/// What all keys of one queue and rank begin with.
pub(super) fn lane(queue: &AgencyId, rank: u8) -> Vec<u8> {
    let name = queue.as_str().as_bytes();
    let mut key = Vec::with_capacity(name.len() + POSITION_TAIL_BYTES);
    key.extend_from_slice(name);
    key.extend_from_slice(&[0, rank]);
    key
}

pub(super) fn parse_queue(key: &[u8]) -> Option<Position> {
    let (name, tail) = key.split_at_checked(key.len().checked_sub(POSITION_TAIL_BYTES)?)?;
    let [0, rank, seq @ ..] = tail else { return None };
    let seq = u64::from_be_bytes(seq.try_into().ok()?);
    Some(Position { queue: parse_name(name)?, rank: *rank, seq })
}

pub(super) fn expiry(expires: Timestamp, queue_key: &[u8]) -> Vec<u8> {
    [&time(expires), queue_key].concat()
}

/// The instant, and the queue key behind it.
pub(super) fn parse_expiry(key: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (millis, queue_key) = key.split_first_chunk::<TIME_BYTES>()?;
    Some((Timestamp::from_millis(u64::from_be_bytes(*millis)), queue_key))
}

/// What the keys of one instant begin with.
pub(super) fn time(at: Timestamp) -> [u8; TIME_BYTES] {
    at.as_millis().to_be_bytes()
}

pub(super) fn envelope(id: &MessageId) -> Vec<u8> {
    id.0.0.to_vec()
}

pub(super) fn parse_envelope(key: &[u8]) -> Option<MessageId> {
    Some(MessageId(Hash(key.try_into().ok()?)))
}

pub(super) fn id(key: &DedupeKey) -> Vec<u8> {
    [key.id.0.0.as_slice(), &key.index.to_be_bytes()].concat()
}

pub(super) fn parse_id(key: &[u8]) -> Option<DedupeKey> {
    let (id, index) = key.split_first_chunk::<ID_BYTES>()?;
    Some(DedupeKey { id: MessageId(Hash(*id)), index: u16::from_be_bytes(index.try_into().ok()?) })
}

pub(super) fn shared(id: &MessageId) -> Vec<u8> {
    [SHARED, &id.0.0].concat()
}

pub(super) fn totals(queue: &AgencyId, rank: u8) -> Vec<u8> {
    [TOTALS, &lane(queue, rank)].concat()
}

pub(super) fn parse_totals(key: &[u8]) -> Option<(AgencyId, u8)> {
    match key.strip_prefix(TOTALS)? {
        [name @ .., 0, rank] => Some((parse_name(name)?, *rank)),
        _ => None,
    }
}

pub(super) fn record(table: Table, key: &[u8]) -> Vec<u8> {
    [&[tag(table)], key].concat()
}

/// Part of the format: never renumbered.
fn tag(table: Table) -> u8 {
    match table {
        Table::Bundles => 1,
        Table::Chunks => 2,
        Table::Custody => 3,
        Table::Events => 4,
        Table::Inbox => 5,
        Table::Meta => 6,
        Table::Outbox => 7,
        Table::ReceiptsDue => 8,
        Table::Submissions => 9,
        Table::Ledger => 10,
        Table::Shares => 11,
    }
}

fn parse_name(name: &[u8]) -> Option<AgencyId> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

/// The lowest key above every key that begins with `prefix`; `None` if there is none.
pub(super) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut key = prefix.get(..=last)?.to_vec();
    if let Some(byte) = key.last_mut() {
        *byte += 1;
    }
    Some(key)
}

/// The lowest key above `key`.
pub(super) fn successor(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(queue: &str, rank: u8, seq: u64) -> Position {
        Position { queue: queue.parse().unwrap(), rank, seq }
    }

    #[test]
    fn queue_keys_sort_by_queue_then_rank_then_sequence() {
        let sorted = [
            position("aaa", 0, 1),
            position("aaa", 0, 256),
            position("aaa", 1, 2),
            position("aaa-a", 0, 0),
            position("aaa.b", 4, u64::MAX),
            position("aaaa", 0, 0),
        ];
        assert!(sorted.map(|at| queue(&at)).is_sorted());
    }

    #[test]
    fn keys_round_trip() {
        let at = position("ncb.ee", 3, 77);
        let id = MessageId(Hash([7; 32]));
        let key = queue(&at);
        assert_eq!(parse_queue(&key), Some(at));
        assert_eq!(parse_envelope(&envelope(&id)), Some(id));
        let when = Timestamp::from_millis(1_700_000_000_123);
        assert_eq!(parse_expiry(&expiry(when, &key)), Some((when, key.as_slice())));
        let dedupe = DedupeKey { id, index: 513 };
        assert_eq!(parse_id(&super::id(&dedupe)), Some(dedupe));
        let queue: AgencyId = "ncb.ee".parse().unwrap();
        assert_eq!(parse_totals(&totals(&queue, 4)), Some((queue, 4)));
    }

    #[test]
    fn foreign_keys_do_not_parse() {
        for bad in [&b""[..], b"\0", b"ncb.ee", b"NCB.EE\0\x01\0\0\0\0\0\0\0\x01", &[0xff; 40]] {
            assert_eq!(parse_queue(bad), None);
            assert_eq!(parse_totals(bad), None);
        }
        assert_eq!(parse_id(&[1; 33]), None);
        assert_eq!(parse_envelope(&[1; 31]), None);
        assert_eq!(parse_expiry(&[1; 7]), None);
    }

    #[test]
    fn the_end_of_a_prefix_is_above_all_that_begin_with_it() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(after_prefix(&[0xff, 0xff]), None);
        assert_eq!(after_prefix(b""), None);
    }
}
