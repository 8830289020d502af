//! What is to be done about sent messages: a durable list, written together with what makes it necessary.

use liaison_core::op::{Op, Table};
use liaison_protocol::{Hash, MessageId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::events::EventRecord;
use crate::office::Office;
use crate::shelf::{Place, ReadError, Shelf, decode};

/// Why an envelope is sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Because {
    /// Nothing was heard of it for so long as silence may last.
    Silence,
    /// That node should have it, and does not know it.
    Unknown { by: NodeId },
    /// The holder has not answered for so long.
    Unreachable { holder: NodeId, for_ms: u64 },
    /// Somebody says that it is there, and no delivery receipt has come for so long.
    Unsigned { holder: NodeId, for_ms: u64 },
    /// People want it.
    Asked,
}

impl Because {
    /// For people.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Silence => "no relay said anything of the message for a day".into(),
            Self::Unknown { by } => format!("{by} does not know the message any more"),
            Self::Unreachable { holder, for_ms } => format!("{holder} has not answered for {}", span(*for_ms)),
            Self::Unsigned { holder, for_ms } => {
                format!("no delivery receipt for {}, though {holder} says that the message is there", span(*for_ms))
            }
            Self::Asked => "asked for with liaison retry".into(),
        }
    }
}

/// `40 s`, `12 min`, `3 h`: rounded down.
fn span(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Give an event its number.
    Announce(EventRecord),
    /// Seal a message for a recipient whose key has come, if it still waits for one.
    Keyed { first: MessageId, index: u16 },
    /// Owe a delivery receipt again: it has not reached its sender.
    Remind { id: MessageId },
    /// Seal a message anew for a recipient that has lost a key.
    Reseal { first: MessageId, index: u16 },
    /// Send an envelope again to a recipient: its last holder has lost it, or nothing was heard for long.
    Resubmit { envelope: MessageId, index: u16, because: Because },
    /// Look whether a message is over, and tidy up behind it.
    Settle { first: MessageId },
}

impl Work {
    /// Writes it. In the order of their times they are done.
    pub(crate) fn put(&self, shelf: &Shelf, now: Timestamp) -> Op {
        let random: [u8; 8] = shelf.random().bytes();
        let place = Place::new(Table::Outbox, b'w', &[&now.as_millis().to_be_bytes(), &random]);
        Shelf::put_clear(place, self)
    }
}

impl Work {
    /// Writes what is to be done once for a recipient of a message, however many envelopes give cause at a time: the last
    /// one written counts. `sent` places it among other things to do.
    pub(crate) fn put_once(&self, sent: Timestamp, first: MessageId, index: u16) -> Op {
        let Hash(name) = Hash::of(&[b"once", &first.0.0, &index.to_be_bytes()]);
        let name = name.first_chunk::<8>().copied().unwrap_or_default();
        let place = Place::new(Table::Outbox, b'w', &[&sent.as_millis().to_be_bytes(), &name]);
        Shelf::put_clear(place, self)
    }
}

impl Office {
    /// The first `limit` things to do, with their keys.
    pub(crate) fn work(&self, limit: usize) -> Result<Vec<(Vec<u8>, Work)>, ReadError> {
        let records = self.shelf.store().scan(Table::Outbox, b"w", None, limit)?;
        records.into_iter().map(|(key, value)| Ok((key, decode(Table::Outbox, &value)?))).collect()
    }
}
