//! Receipts that are owed, by sender: written with what they are about, removed with the envelope that carries them.

use liaison_core::op::{Op, Table};
use liaison_protocol::envelope::Header;
use liaison_protocol::{AgencyId, Hash, MessageId, Precedence, Timestamp};
use serde::{Deserialize, Serialize};

use crate::shelf::{Place, ReadError, Shelf, decode};

/// One receipt that is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Due {
    pub(crate) kind: DueKind,
    pub(crate) id: MessageId,
    /// To whom.
    pub(crate) sender: AgencyId,
    /// A receipt takes the precedence of what it is about.
    pub(crate) precedence: Precedence,
}

/// What it is to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DueKind {
    /// Durable here, whole, since then.
    Delivered { at: Timestamp },
    /// Read then.
    Read { at: Timestamp, delivery: Hash },
    /// Its attachments are not what the message announces.
    Damaged { at: Timestamp, detail: String },
}

impl Due {
    pub(crate) fn new(kind: DueKind, id: MessageId, header: &Header) -> Self {
        Self { kind, id, sender: header.sender.to_agency(), precedence: header.precedence }
    }

    /// Owes it. Owing it twice is owing it once.
    pub(crate) fn put(&self) -> Op {
        Shelf::put_clear(self.place(), self)
    }

    pub(crate) fn delete(&self) -> Op {
        self.place().delete()
    }

    /// Where it stands, whatever it says of its message.
    pub(crate) fn place(&self) -> Place {
        let kind = match self.kind {
            DueKind::Delivered { .. } => 1u8,
            DueKind::Read { .. } => 2,
            DueKind::Damaged { .. } => 3,
        };
        let sender = [self.sender.as_str().as_bytes(), &[0]].concat();
        Place::new(Table::ReceiptsDue, b'r', &[&sender, &[kind], &self.id.0.0])
    }

    /// What is owed, by sender; at most `limit` from after `after`.
    pub(crate) fn list(shelf: &Shelf, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Self)>, ReadError> {
        let records = shelf.store().scan(Table::ReceiptsDue, b"r", after, limit)?;
        records.into_iter().map(|(key, value)| Ok((key, decode(Table::ReceiptsDue, &value)?))).collect()
    }
}
