//! What the simulated agencies keep in their stores: inbox, outbox and receipts that they owe.
//!
//! The real daemon's records hold more; what custody needs of them is the same.

use bytes::Bytes;
use liaison_core::op::{Op, Table};
use liaison_protocol::{Hash, MessageId, Timestamp};

use super::trace::{Fact, NodeNo};

/// A message that its sender still waits for, for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) attempt: u8,
    pub(super) expires: Timestamp,
    /// When it was last submitted.
    pub(super) since: Timestamp,
}

const OPEN: u8 = b'o';
const COPY: u8 = b'c';
const END: u8 = b'e';
const RECEIPT: u8 = b'r';

pub(super) fn open(id: MessageId, index: u16, open: Open) -> Op {
    let Open { attempt, expires, since } = open;
    let value = [&[attempt][..], &expires.as_millis().to_be_bytes(), &since.as_millis().to_be_bytes()].concat();
    put(OPEN, id, index, value)
}

/// A message and recipient, and what is kept of it. `None`: another record.
pub(super) fn read_open(key: &[u8], value: &[u8]) -> Option<(MessageId, u16, Open)> {
    let (id, index) = open_key(key)?;
    let (attempt, times) = value.split_first()?;
    let (expires, since) = times.split_at_checked(8)?;
    let time = |bytes: &[u8]| bytes.try_into().ok().map(|bytes| Timestamp::from_millis(u64::from_be_bytes(bytes)));
    Some((id, index, Open { attempt: *attempt, expires: time(expires)?, since: time(since)? }))
}

pub(super) fn open_key(key: &[u8]) -> Option<(MessageId, u16)> {
    key.strip_prefix(&[OPEN]).and_then(split)
}

pub(super) fn closed(id: MessageId, index: u16) -> Op {
    Op::Delete { table: Table::Outbox, key: key(OPEN, id, index) }
}

pub(super) fn is_open(id: MessageId, index: u16) -> (Table, Vec<u8>) {
    (Table::Outbox, key(OPEN, id, index))
}

pub(super) fn copy(id: MessageId, envelope: Bytes) -> Op {
    Op::Put { table: Table::Outbox, key: copy_key(id).1, value: envelope }
}

pub(super) fn copy_key(id: MessageId) -> (Table, Vec<u8>) {
    (Table::Outbox, [&[COPY][..], &id.0.0].concat())
}

pub(super) fn told(id: MessageId, index: u16, by: NodeNo, reason: u16) -> Op {
    let by = u16::try_from(by).expect("few nodes");
    put(END, id, index, [reason.to_be_bytes(), by.to_be_bytes()].concat())
}

pub(super) fn receipted(id: MessageId, index: u16) -> Op {
    put(RECEIPT, id, index, Vec::new())
}

/// A record for each time that a message is delivered, so that twice would show. `nonce` is never used again.
pub(super) fn inbox(id: MessageId, nonce: u64, sender: NodeNo, text: &str) -> Op {
    let sender = u16::try_from(sender).expect("few nodes");
    let value = Bytes::from([&sender.to_be_bytes()[..], text.as_bytes()].concat());
    Op::Put { table: Table::Inbox, key: [&id.0.0[..], &nonce.to_be_bytes()].concat(), value }
}

/// A delivery receipt that is owed to the agency of node `sender`.
pub(super) fn due(id: MessageId, sender: NodeNo) -> Op {
    let sender = u16::try_from(sender).expect("few nodes");
    Op::Put { table: Table::ReceiptsDue, key: id.0.0.to_vec(), value: Bytes::copy_from_slice(&sender.to_be_bytes()) }
}

pub(super) fn read_due(key: &[u8], value: &[u8]) -> Option<(MessageId, NodeNo)> {
    Some((id(key)?, u16::from_be_bytes(value.try_into().ok()?).into()))
}

pub(super) fn paid(id: MessageId) -> Op {
    Op::Delete { table: Table::ReceiptsDue, key: id.0.0.to_vec() }
}

/// What the checker is told of a record.
pub(super) fn fact(table: Table, key: &[u8], value: &[u8]) -> Option<Fact> {
    if table == Table::Inbox {
        let (sender, text) = value.split_at_checked(2)?;
        let sender = u16::from_be_bytes(sender.try_into().ok()?).into();
        return Some(Fact::Inbox { id: id(key)?, sender, text: Some(String::from_utf8_lossy(text).into_owned()) });
    }
    if table != Table::Outbox {
        return None;
    }
    if let Some((id, index, open)) = read_open(key, value) {
        return Some(Fact::Open { id, index, attempt: open.attempt });
    }
    let (kind, rest) = key.split_first()?;
    let (id, index) = split(rest)?;
    match *kind {
        RECEIPT => Some(Fact::Receipted { id, index, receipt: None }),
        END => {
            let (reason, by) = value.split_at_checked(2)?;
            let number = |bytes: &[u8]| bytes.try_into().ok().map(u16::from_be_bytes);
            Some(Fact::Told { id, index, by: number(by)?.into(), reason: number(reason)? })
        }
        _ => None,
    }
}

fn put(kind: u8, id: MessageId, index: u16, value: Vec<u8>) -> Op {
    Op::Put { table: Table::Outbox, key: key(kind, id, index), value: value.into() }
}

fn key(kind: u8, id: MessageId, index: u16) -> Vec<u8> {
    [&[kind][..], &id.0.0, &index.to_be_bytes()].concat()
}

fn split(key: &[u8]) -> Option<(MessageId, u16)> {
    let (_, index) = key.split_at_checked(32)?;
    Some((id(key)?, u16::from_be_bytes(index.try_into().ok()?)))
}

fn id(key: &[u8]) -> Option<MessageId> {
    Some(MessageId(Hash(*key.first_chunk()?)))
}
