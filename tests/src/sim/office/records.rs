//! What the checker is told of the office's records: read by their form on the disk, as an auditor would, and not by the
//! office's own code.

use bytes::Bytes;
use liaison_core::op::{Op, Table};
use liaison_protocol::inner::Tlp;
use liaison_protocol::receipt::{Payload, SignedReceipt};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{AgencyId, Hash, MessageId, NodeId, Precedence, Timestamp, codec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::sim::trace::{Fact, NodeNo};
use crate::sim::world::World;

const RECORD_BYTES_MAX: usize = 1 << 20;

/// A record of the event stream.
#[derive(Serialize, Deserialize)]
struct EventRecord {
    at: Timestamp,
    what: What,
    id: Option<MessageId>,
    agency: Option<AgencyId>,
    node: Option<NodeId>,
    precedence: Option<Precedence>,
    tlp: Option<Tlp>,
    detail: String,
}

/// In the order of their numbers on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    Stored,
    Custody,
    Delivered,
    Read,
    Undeliverable,
    Cancelled,
    Resealed,
    Received,
    Complete,
    LinkUp,
    LinkDown,
    RosterChanged,
    Resubmitted,
    PrekeysForeign,
    PrekeysRestarted,
}

/// What became of a message for one recipient, as far as anything but its kind is read of it.
#[derive(Serialize, Deserialize)]
enum Became {
    Delivered(Proven),
    Read(Proven),
    Refused { envelope: MessageId, by: NodeId, reason: RefusalReason, detail: String, at: Timestamp, receipt: Bytes },
}

/// A receipt of the recipient's.
#[derive(Serialize, Deserialize)]
struct Proven {
    envelope: MessageId,
    at: Timestamp,
    receipt: Bytes,
    proof: Bytes,
}

/// Kinds of what became of a message, at the end of its key.
const DELIVERED: u8 = 1;
const READ: u8 = 2;
const REFUSED: u8 = 3;
const CANCELLED: u8 = 4;

/// Which message an envelope belongs to.
#[derive(Serialize, Deserialize)]
struct EnvelopeRef {
    first: MessageId,
    part: EnvelopePart,
}

#[derive(Serialize, Deserialize)]
enum EnvelopePart {
    Message,
    Chunk { attachment: u32, index: u32, only: Option<u16> },
}

/// Why something is sent again.
#[derive(Serialize, Deserialize)]
enum Because {
    Silence,
    Unknown { by: NodeId },
    Unreachable { holder: NodeId, for_ms: u64 },
    Unsigned { holder: NodeId, for_ms: u64 },
    Asked,
}

/// What is to be done about a message that was sent.
#[derive(Serialize, Deserialize)]
enum Work {
    Announce(EventRecord),
    Keyed { first: MessageId, index: u16 },
    Remind { id: MessageId },
    Reseal { first: MessageId, index: u16 },
    Resubmit { envelope: MessageId, index: u16, because: Because },
    Settle { first: MessageId },
}

/// The message whose chunk this envelope is, and which attachment's and chunk's.
pub(super) fn chunk_of(envelope: MessageId, ops: &[Op]) -> Option<(MessageId, u32, u32)> {
    match part_of(envelope, ops)? {
        EnvelopeRef { first, part: EnvelopePart::Chunk { attachment, index, .. } } => Some((first, attachment, index)),
        EnvelopeRef { part: EnvelopePart::Message, .. } => None,
    }
}

/// The message that this envelope is, if it was sealed anew.
pub(super) fn anew(envelope: MessageId, ops: &[Op]) -> Option<MessageId> {
    match part_of(envelope, ops)? {
        EnvelopeRef { first, part: EnvelopePart::Message } => (first != envelope).then_some(first),
        EnvelopeRef { part: EnvelopePart::Chunk { .. }, .. } => None,
    }
}

fn part_of(envelope: MessageId, ops: &[Op]) -> Option<EnvelopeRef> {
    let place = [&b"e"[..], &envelope.0.0].concat();
    ops.iter().find_map(|op| match op {
        Op::Put { table: Table::Outbox, key, value } if *key == place => Some(read(value)),
        _ => None,
    })
}

/// The message that these operations put into the outbox.
pub(super) fn stored(ops: &[Op]) -> Option<MessageId> {
    ops.iter().filter_map(event).find(|event| event.what == What::Stored)?.id
}

fn event(op: &Op) -> Option<EventRecord> {
    match op {
        Op::Put { table: Table::Events, value, .. } => Some(read(value)),
        _ => None,
    }
}

fn read<T: Serialize + DeserializeOwned>(value: &[u8]) -> T {
    codec::decode("a record of the office", value, RECORD_BYTES_MAX).expect("its form on the disk is known")
}

impl World<'_> {
    /// What an office's commit changes.
    pub(in crate::sim) fn office_facts(&self, node: NodeNo, ops: &[Op]) -> Vec<Fact> {
        let mut facts = Vec::with_capacity(ops.len());
        for op in ops {
            match op {
                Op::Put { table, key, value } => self.put_facts(node, (*table, key), value, &mut facts),
                Op::Delete { table: Table::Outbox, key } => {
                    facts.extend(key.strip_prefix(b"o").and_then(id).map(|id| Fact::Settled { id }));
                }
                Op::Delete { table: Table::Inbox, key } => facts.extend(self.mark_gone(node, key)),
                Op::Delete { .. } => {}
                other => facts.extend(Fact::of(other)),
            }
        }
        facts
    }

    fn put_facts(&self, node: NodeNo, (table, key): (Table, &[u8]), value: &[u8], facts: &mut Vec<Fact>) {
        match (table, key.split_first()) {
            (Table::Events, _) => self.event_facts(&read(value), facts),
            (Table::Inbox, Some((b'h', key))) => facts.extend(id(key).map(|id| Fact::Listed { id })),
            (Table::Outbox, Some((b'w', _))) => {
                if let Work::Reseal { first: id, index } | Work::Keyed { first: id, index } = read(value) {
                    facts.push(Fact::Resealing { id, index });
                }
            }
            (Table::Outbox, Some((b'r', key))) => {
                let Some((id, index, kind)) = part(key) else { return };
                if let DELIVERED | READ = kind {
                    facts.extend(self.kept(&signed(value)));
                }
                let by_itself = |reason: RefusalReason| Fact::Told { id, index, by: node, reason: reason.code() };
                facts.push(match kind {
                    DELIVERED => Fact::Receipted { id, index, receipt: Some(signed(value).hash()) },
                    READ => {
                        return facts.extend(followed(value).map(|to| Fact::ReadReceipted { id, index, delivery: to }));
                    }
                    CANCELLED => by_itself(RefusalReason::Cancelled),
                    REFUSED => {
                        let Became::Refused { by, reason, .. } = read(value) else { return };
                        let by = self.federation.number(&by).expect("a name of the plan");
                        Fact::Told { id, index, by, reason: reason.code() }
                    }
                    _ => return,
                });
                facts.push(Fact::Closed { id, index });
            }
            _ => {}
        }
    }

    fn kept(&self, receipt: &SignedReceipt) -> Option<Fact> {
        let body = receipt.decode_body().ok()?;
        let by = self.federation.number(&body.issuer)?;
        Some(Fact::ReceiptKept { by, seq: body.seq, receipt: receipt.hash() })
    }

    /// Which message's mark a deleted record of an inbox was: marks go by the number of the message.
    fn mark_gone(&self, node: NodeNo, key: &[u8]) -> Option<Fact> {
        let fact = match key.first()? {
            b'a' => |id| Fact::HandedOver { id },
            b'u' => |id| Fact::Read { id },
            _ => return None,
        };
        let disk = self.nodes[node].disk();
        disk.record(&(Table::Inbox, key.to_vec())).map(|marked| fact(read(marked)))
    }

    fn event_facts(&self, event: &EventRecord, facts: &mut Vec<Fact>) {
        match (event.what, event.id, &event.agency) {
            (What::Received, Some(id), Some(sender)) => {
                let sender = self.federation.number(&NodeId::from(sender)).expect("a name of the plan");
                facts.push(Fact::Inbox { id, sender, text: None });
            }
            (What::Complete, Some(id), _) => facts.push(Fact::Complete { id }),
            (What::Stored, Some(id), _) => {
                let recipients = self.sent.get(&id).map_or(0, |mail| self.plan.mail[*mail].to.len());
                facts.extend((0..u16::try_from(recipients).expect("few recipients")).map(|index| Fact::Open {
                    id,
                    index,
                    attempt: 1,
                }));
                facts.push(Fact::Unsettled { id });
            }
            _ => {}
        }
    }
}

/// The receipt in what became of a message.
fn signed(value: &[u8]) -> SignedReceipt {
    let (Became::Delivered(proven) | Became::Read(proven)) = read(value) else { unreachable!("its key says so") };
    SignedReceipt::decode(&proven.receipt).expect("what is kept decodes")
}

/// The delivery receipt that a read receipt names.
fn followed(value: &[u8]) -> Option<Hash> {
    match signed(value).decode_body().expect("what is kept decodes").payload {
        Payload::Read(facts) => Some(facts.delivery),
        _ => None,
    }
}

fn part(key: &[u8]) -> Option<(MessageId, u16, u8)> {
    let (id, rest) = key.split_first_chunk::<32>()?;
    let (index, kind) = rest.split_first_chunk::<2>()?;
    Some((MessageId(Hash(*id)), u16::from_be_bytes(*index), *kind.first()?))
}

fn id(key: &[u8]) -> Option<MessageId> {
    key.try_into().ok().map(|id| MessageId(Hash(id)))
}
