//! What is to be done about sent messages: a durable list, written together with what makes it necessary.

use liaison_core::op::{Op, Table};
use liaison_protocol::{MessageId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::events::EventRecord;
use crate::office::Office;
use crate::random;
use crate::shelf::{Place, ReadError, Shelf, decode};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Give an event its number.
    Announce(EventRecord),
    /// Seal a message for a recipient whose key has come, if it still waits for one.
    Keyed { first: MessageId, index: u16 },
    /// Seal a message anew for a recipient that has lost a key.
    Reseal { first: MessageId, index: u16 },
    /// Send an envelope again to a recipient: its last holder has lost it, or nothing was heard for long.
    Resubmit { envelope: MessageId, index: u16 },
    /// Look whether a message is over, and tidy up behind it.
    Settle { first: MessageId },
}

impl Work {
    /// Writes it. In the order of their times they are done.
    pub(crate) fn put(&self, now: Timestamp) -> Op {
        let place = Place::new(Table::Outbox, b'w', &[&now.as_millis().to_be_bytes(), &random::bytes::<8>()]);
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
