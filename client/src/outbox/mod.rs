//! Messages of this agency, kept until every recipient's delivery receipt is in, or their expiry.
//!
//! ```text
//!  Table::Outbox  m id                     Sent: content, as Kept            encrypted
//!                 s number                 Line: what lists show             encrypted
//!                 h id                     SentHead: number, times, uploads
//!                 o id                     open: a recipient has not got it
//!                 v envelope               Kept: a later sealing of it       encrypted
//!                 e envelope               EnvelopeRef: which message an envelope belongs to
//!                 r id index kind          Fact: what became of it for one recipient
//!                 k id envelope …          CustodyFact: who has or had it, by receipt
//!                 n agency 0 id            waits for a prekey of that agency
//!                 w time random            Work: what is to be done
//!                 f id                     chunks are being sent: which is next
//!                 c id sent? chunk index   a chunk that was lost on its way to one recipient
//!                 t id                     when the last chunk was sent
//!                 y envelope index         how often it was sent, and when last
//!                 z id envelope            a later envelope of it, a chunk's or sealed anew, to be forgotten with it
//! ```
//! Facts are written once, each under its own key, by whoever learns them; what state a recipient is in follows from
//! the facts. So two receipts that come at once cannot overwrite each other; of several for one fact the better is kept
//! ([`crate::receipts::fresh`]).

pub(crate) mod agenda;
mod check;
pub(crate) mod fact;
pub(crate) mod keys;
pub(crate) mod order;
mod progress;
pub(crate) mod reseal;
pub(crate) mod sealing;
mod settle;
pub(crate) mod state;
mod submit;
mod vouch;
pub(crate) mod ways;
mod withdraw;
pub(crate) mod work;

pub(crate) use progress::{Refusal, in_words};
pub(crate) use withdraw::unknown;

use liaison_core::op::Table;
use liaison_protocol::{AgencyId, MessageId, Precedence, Timestamp};
use serde::{Deserialize, Serialize};

use crate::kept::Letter;
use crate::office::Office;
use crate::shelf::{Place, ReadError};

/// What is looked up most of a sent message.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SentHead {
    pub(crate) number: u64,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) precedence: Precedence,
    /// In the header's order: a fact's index counts in it.
    pub(crate) recipients: Vec<AgencyId>,
    pub(crate) thread: MessageId,
    /// Its attachments' uploads, in their order.
    pub(crate) uploads: Vec<UploadId>,
    pub(crate) bytes: u64,
}

/// Names an upload.
pub(crate) type UploadId = [u8; 16];

/// Which message an envelope belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EnvelopeRef {
    /// The message as it was first sent.
    pub(crate) first: MessageId,
    pub(crate) part: EnvelopePart,
}

/// What of it an envelope carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EnvelopePart {
    /// All but its attachments.
    Message,
    /// A chunk; `only` for one recipient, by its place in the message's header.
    Chunk { attachment: u32, index: u32, only: Option<u16> },
}

pub(crate) fn kept_place(id: MessageId) -> Place {
    Place::new(Table::Outbox, b'm', &[&id.0.0])
}

pub(crate) fn line_place(number: u64) -> Place {
    Place::new(Table::Outbox, b's', &[&number.to_be_bytes()])
}

pub(crate) fn head_place(id: MessageId) -> Place {
    Place::new(Table::Outbox, b'h', &[&id.0.0])
}

pub(crate) fn open_place(id: MessageId) -> Place {
    Place::new(Table::Outbox, b'o', &[&id.0.0])
}

pub(crate) fn resealed_place(envelope: MessageId) -> Place {
    Place::new(Table::Outbox, b'v', &[&envelope.0.0])
}

/// Where the sealing `envelope` of the message `first` is kept.
pub(crate) fn sealing_place(first: MessageId, envelope: MessageId) -> Place {
    if envelope == first { kept_place(first) } else { resealed_place(envelope) }
}

pub(crate) fn envelope_place(envelope: MessageId) -> Place {
    Place::new(Table::Outbox, b'e', &[&envelope.0.0])
}

pub(crate) fn unkeyed_place(agency: &AgencyId, id: MessageId) -> Place {
    Place::new(Table::Outbox, b'n', &[agency.as_str().as_bytes(), &[0], &id.0.0])
}

/// An envelope of a message but its first, a chunk's or one that was sealed anew, so that what is known of it goes with
/// the message.
pub(crate) fn later_envelope_place(first: MessageId, envelope: MessageId) -> Place {
    Place::new(Table::Outbox, b'z', &[&first.0.0, &envelope.0.0])
}

impl Office {
    pub(crate) fn sent_head(&self, id: MessageId) -> Result<Option<SentHead>, ReadError> {
        self.shelf.get_clear(&head_place(id))
    }

    /// A sent message, opened.
    pub(crate) fn sent(&self, id: MessageId) -> Result<Option<Letter>, ReadError> {
        let kept: Option<crate::kept::Kept> = self.shelf.get(&kept_place(id))?;
        kept.map(|kept| kept.open(Table::Outbox, &self.roster().federation())).transpose()
    }

    /// Which of our messages an envelope belongs to; `None`: none, or one that is long over.
    pub(crate) fn envelope_ref(&self, envelope: MessageId) -> Result<Option<EnvelopeRef>, ReadError> {
        self.shelf.get_clear(&envelope_place(envelope))
    }
}

#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod ways_tests;
