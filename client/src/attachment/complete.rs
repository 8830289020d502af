//! A message whose last chunk has come: checked as a whole, and only then receipted.

use liaison_core::op::{Op, Table};
use liaison_protocol::envelope::Header;
use liaison_protocol::inner::Attachment;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{AgencyId, Hash, MessageId};

use super::PartReader;
use super::part::PartError;
use crate::events::{EventRecord, What};
use crate::inbox::arriving_place;
use crate::office::Office;
use crate::receipts::due::{Due, DueKind};
use crate::sequence::Ticket;
use crate::shelf::{ReadError, decode};

/// What to commit for a message that is whole, and the number of its event, open until then.
pub(crate) struct Completed {
    pub(crate) ops: Vec<Op>,
    pub(crate) _ticket: Ticket,
}

impl Office {
    /// Checks a message whose chunks are all here. `None`: some are missing, or it was complete before. Reads every
    /// chunk: for a worker.
    // [CHUNK-2]
    pub(crate) fn complete(&self, id: MessageId) -> Result<Option<Completed>, ReadError> {
        if !self.shelf.has(&arriving_place(id))? || !self.is_whole(id)? {
            return Ok(None);
        }
        let Some(letter) = self.received(id)? else { return Ok(None) };
        let (header, now) = (letter.envelope.header(), self.now());
        let damage = self
            .damage(&header.sender.to_agency(), &letter.message.attachments)?
            .filter(|_| !planted(Mutant::DamagedAttachmentSignedFor));
        let ticket = self.sequence.take();
        let event =
            EventRecord::new(What::Complete, now).about(self.name_of(id)?).with_agency(&header.sender.to_agency());
        let event = event.marked(header.precedence, letter.message.tlp).because(damage.clone().unwrap_or_default());
        let kind = match damage {
            Some(detail) => DueKind::Damaged { at: now, detail },
            None => DueKind::Delivered { at: now },
        };
        let ops = vec![due(kind, id, header).put(), arriving_place(id).delete(), event.put(ticket.number())];
        Ok(Some(Completed { ops, _ticket: ticket }))
    }

    /// Which attachment is not what the message announces.
    fn damage(&self, sender: &AgencyId, attachments: &[Attachment]) -> Result<Option<String>, ReadError> {
        for (n, attachment) in (1..).zip(attachments) {
            let mut reader = PartReader::received(sender.clone(), attachment.clone());
            loop {
                match reader.next(self) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(PartError::Read(error)) => return Err(error),
                    Err(error) => return Ok(Some(format!("attachment {n}: {error}"))),
                }
            }
        }
        Ok(None)
    }

    /// Messages that were arriving when the daemon stopped.
    pub(crate) fn arriving(&self) -> Result<Vec<MessageId>, ReadError> {
        let mut ids = Vec::new();
        for record in self.shelf.scan(Table::Inbox, b"p") {
            let (key, value) = record?;
            let _: u64 = decode(Table::Inbox, &value)?;
            ids.extend(key.get(1..).and_then(|id| id.first_chunk()).map(|id| MessageId(Hash(*id))));
        }
        Ok(ids)
    }
}

fn due(kind: DueKind, id: MessageId, header: &Header) -> Due {
    Due::new(kind, id, header)
}
