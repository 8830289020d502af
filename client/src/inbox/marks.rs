//! Marks of received messages: handed over, read.

use std::sync::Arc;

use liaison_core::op::{Op, Table};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{Hash, MessageId};

use super::{Head, head_place, receipt_place, unacked_place, unread_place};
use crate::api::model::{Problem, ProblemCode};
use crate::office::Office;
use crate::outbox::unknown;
use crate::problem::Answer;
use crate::receipts::due::{Due, DueKind};
use crate::shelf::{Place, ReadError};

impl Office {
    /// An application has taken a received message over. Once said, it stays said.
    ///
    /// # Errors
    /// A problem document.
    pub async fn ack(self: &Arc<Self>, id: MessageId) -> Answer<()> {
        let (_, head) = self.received_head(id).await?;
        if planted(Mutant::HandOverForgotten) {
            return Ok(());
        }
        Ok(self.node.commit(vec![unacked_place(head.number).delete()]).await?)
    }

    /// Marks a received message read; the first time, with a receipt to its sender.
    ///
    /// # Errors
    /// A problem document.
    pub async fn mark_read(self: &Arc<Self>, id: MessageId) -> Answer<()> {
        let (id, head) = self.received_head(id).await?;
        if planted(Mutant::ReadingForgotten) {
            return Ok(());
        }
        let office = Arc::clone(self);
        let reading = self.reading.read().await;
        let ops = crate::blocking(move || office.read_ops(id, &head)).await??;
        self.node.commit(ops).await?;
        drop(reading);
        self.wake.receipts.notify_one();
        Ok(())
    }

    fn read_ops(&self, id: MessageId, head: &Head) -> Result<Vec<Op>, ReadError> {
        let unread = unread_place(head.number);
        if !self.shelf.has(&unread)? {
            return Ok(Vec::new());
        }
        let mut ops = vec![unread.delete()];
        // Without a delivery receipt (attachments are missing) there is nothing for a read receipt to follow.
        if let Some(delivery) = self.shelf.get_clear::<Hash>(&receipt_place(id))? {
            let kind = DueKind::Read { at: self.now(), delivery };
            ops.push(Due { kind, id, sender: head.from.clone(), precedence: head.precedence }.put());
        } else if !planted(Mutant::ReadWishForgotten) {
            ops.push(crate::shelf::Shelf::put_clear(read_wish_place(id), &self.now()));
        }
        Ok(ops)
    }

    /// The delivery receipt of a message is owed again; and the read receipt, which has to name it.
    pub(crate) fn owe_again(&self, id: MessageId) -> Result<Vec<Op>, ReadError> {
        let head = self.shelf.get_clear::<Head>(&head_place(id))?;
        // Without a receipt so far, one is due already, or attachments are missing.
        let Some(head) = head.filter(|_| self.shelf.has(&receipt_place(id)).unwrap_or(false)) else {
            return Ok(Vec::new());
        };
        let kind = DueKind::Delivered { at: head.received };
        let mut ops = vec![Due { kind, id, sender: head.from.clone(), precedence: head.precedence }.put()];
        if !self.shelf.has(&unread_place(head.number))? {
            ops.push(crate::shelf::Shelf::put_clear(read_wish_place(id), &self.now()));
        }
        Ok(ops)
    }

    /// What is known of a received message, by the id of any of its envelopes, and the id that its records stand under.
    async fn received_head(self: &Arc<Self>, id: MessageId) -> Answer<(MessageId, Head)> {
        let office = Arc::clone(self);
        let found = crate::blocking(move || {
            let entry = office.entry(id)?;
            Ok::<_, ReadError>(office.shelf.get_clear::<Head>(&head_place(entry))?.map(|head| (entry, head)))
        });
        if let Some(found) = found.await?? {
            return Ok(found);
        }
        let office = Arc::clone(self);
        match crate::blocking(move || office.sent_head(id)).await?? {
            Some(_) => Err(Problem::new(ProblemCode::WrongDirection, format!("{} was sent, not received", id.short()))),
            None => Err(unknown(id)),
        }
    }
}

/// Read before its delivery receipt was made: the read receipt follows it.
pub(crate) fn read_wish_place(id: MessageId) -> Place {
    Place::new(Table::Inbox, b'w', &[&id.0.0])
}
