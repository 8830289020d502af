//! Handed over, read, and finding messages by the beginning of their ids.

use std::sync::Arc;

use liaison_core::op::{Op, Table};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{Hash, MessageId};

use super::{Head, head_place, receipt_place, unacked_place, unread_place};
use crate::api::model::{Direction, Problem, ProblemCode};
use crate::office::Office;
use crate::outbox::unknown;
use crate::problem::Answer;
use crate::receipts::due::{Due, DueKind};
use crate::shelf::{Place, ReadError};

/// Shortest beginning of an id that names a message.
const PREFIX_CHARS_MIN: usize = 4;

impl Office {
    /// An application has taken a received message over. Once said, it stays said.
    ///
    /// # Errors
    /// A problem document.
    pub async fn ack(self: &Arc<Self>, id: MessageId) -> Answer<()> {
        let head = self.received_head(id).await?;
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
        let head = self.received_head(id).await?;
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

    async fn received_head(self: &Arc<Self>, id: MessageId) -> Answer<Head> {
        let office = Arc::clone(self);
        let head = crate::blocking(move || office.shelf.get_clear::<Head>(&head_place(id))).await??;
        if let Some(head) = head {
            return Ok(head);
        }
        let office = Arc::clone(self);
        match crate::blocking(move || office.sent_head(id)).await?? {
            Some(_) => Err(Problem::new(ProblemCode::WrongDirection, format!("{} was sent, not received", id.short()))),
            None => Err(unknown(id)),
        }
    }

    /// The thread of a message that is held here.
    pub(crate) fn thread_of_known(&self, id: MessageId) -> Answer<MessageId> {
        if let Some(head) = self.shelf.get_clear::<Head>(&head_place(id))? {
            return Ok(head.thread);
        }
        match self.sent_head(id)? {
            Some(head) => Ok(head.thread),
            None => Err(unknown(id)),
        }
    }

    /// The message that `text` begins the id of, and which way it went.
    ///
    /// # Errors
    /// `unknown_message`, `ambiguous_id`.
    pub fn find(&self, text: &str) -> Answer<(MessageId, Direction)> {
        let shown: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
        let none = || Problem::new(ProblemCode::UnknownMessage, format!("no message begins with '{shown}'"));
        if text.len() < PREFIX_CHARS_MIN {
            return Err(none().with_hint(format!("give {PREFIX_CHARS_MIN} characters of its id at least")));
        }
        let Some((first, last)) = span(text) else { return Err(none()) };
        let mut found = Vec::new();
        for (table, way) in [(Table::Inbox, Direction::In), (Table::Outbox, Direction::Out)] {
            found.extend(self.beginning(table, first, last)?.into_iter().map(|id| (id, way)));
        }
        match found.as_slice() {
            [] => self.find_envelope(first, last)?.map(|id| (id, Direction::Out)).ok_or_else(none),
            [one] => Ok(*one),
            // Sent to oneself: the inbox's is the one that people ask for.
            [(a, _), (b, _)] if a == b => Ok((*a, Direction::In)),
            many => {
                let ids: Vec<String> = many.iter().take(5).map(|(id, _)| id.short()).collect();
                let detail = format!("'{shown}' begins several ids: {}", ids.join(", "));
                Err(Problem::new(ProblemCode::AmbiguousId, detail))
            }
        }
    }

    /// Heads with ids from `first` to `last`; at most six.
    fn beginning(&self, table: Table, first: MessageId, last: MessageId) -> Result<Vec<MessageId>, ReadError> {
        let common = first.0.0.iter().zip(&last.0.0).take_while(|(a, b)| a == b).count();
        let prefix = Place::new(table, b'h', &[first.0.0.get(..common).unwrap_or_default()]).key;
        let mut found = Vec::new();
        for record in self.shelf.scan(table, &prefix) {
            let (key, _) = record?;
            let id = key.get(1..).and_then(|id| id.first_chunk()).map(|id| MessageId(Hash(*id)));
            let id = id.ok_or(ReadError::Malformed { table })?;
            if id > last || found.len() > 5 {
                break;
            }
            if id >= first {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// A later sealing's id names the message that it carries.
    fn find_envelope(&self, first: MessageId, last: MessageId) -> Result<Option<MessageId>, ReadError> {
        if first != last {
            return Ok(None);
        }
        Ok(self.envelope_ref(first)?.map(|envelope| envelope.first))
    }
}

/// Lowest and highest id that begin with `text`.
fn span(text: &str) -> Option<(MessageId, MessageId)> {
    // The 52nd character carries one bit: its values are '0' and 'g'.
    let fill = |rest: char, end: char| -> Option<MessageId> {
        let mut full = String::from(text);
        for at in text.len()..MessageId::FULL_CHARS {
            full.push(if at + 1 == MessageId::FULL_CHARS { end } else { rest });
        }
        full.parse().ok()
    };
    Some((fill('0', '0')?, fill('z', 'g')?))
}

/// Read before its delivery receipt was made: the read receipt follows it.
pub(crate) fn read_wish_place(id: MessageId) -> Place {
    Place::new(Table::Inbox, b'w', &[&id.0.0])
}
