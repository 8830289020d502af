//! The one name of a message, and finding messages by it.
//!
//! A message is named by the id of its first envelope, at its sender and at every recipient. A recipient that could not open
//! that envelope holds a later one, which states the first in its `chain`. Records stand under the id of the envelope that
//! is held; what people and programs see goes by the name. The id of any envelope that is kept here is accepted where an id is asked for.

use liaison_core::op::{Op, Table};
use liaison_protocol::inner::Message;
use liaison_protocol::{Hash, MessageId};

use super::{Head, head_place, later_place, name_place};
use crate::api::model::{Direction, Problem, ProblemCode};
use crate::office::Office;
use crate::outbox::{EnvelopePart, EnvelopeRef};
use crate::problem::Answer;
use crate::shelf::{Place, ReadError, Shelf, decode};

/// Shortest beginning of an id that names a message.
const PREFIX_CHARS_MIN: usize = 4;
/// Records that one search reads of each kind: more than one message is ambiguous, and chunks are among them.
const FOUND_MAX: usize = 64;

/// A message that a search has found: its name, and the id that its records stand under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    name: MessageId,
    entry: MessageId,
    way: Direction,
}

impl Office {
    /// The name of the received message whose records stand under `entry`.
    ///
    /// Another sender can state any id as the first of a chain. So a stated name holds only while no message of that id is
    /// here, and for one message alone.
    pub(crate) fn name_of(&self, entry: MessageId) -> Result<MessageId, ReadError> {
        let Some(first) = self.shelf.get_clear::<MessageId>(&name_place(entry))? else { return Ok(entry) };
        let holds = self.shelf.get_clear(&later_place(first))? == Some(entry) && !self.shelf.has(&head_place(first))?;
        Ok(if holds { first } else { entry })
    }

    /// The id that the records of a received message stand under: `id` is any of its envelopes'.
    pub(crate) fn entry(&self, id: MessageId) -> Result<MessageId, ReadError> {
        if self.shelf.has(&head_place(id))? {
            return Ok(id);
        }
        Ok(self.shelf.get_clear(&later_place(id))?.unwrap_or(id))
    }

    /// The name of a new message, and what to commit so that the name finds it.
    pub(super) fn name(&self, id: MessageId, message: &Message) -> Result<(MessageId, Vec<Op>), ReadError> {
        let Some(first) = message.chain.map(|chain| chain.first).filter(|first| *first != id) else {
            return Ok((id, Vec::new()));
        };
        if self.shelf.has(&head_place(first))? || self.shelf.has(&later_place(first))? {
            return Ok((id, Vec::new()));
        }
        let ops = vec![Shelf::put_clear(name_place(id), &first), Shelf::put_clear(later_place(first), &id)];
        Ok((first, ops))
    }

    /// What to delete with the message `entry`.
    pub(super) fn forget_name(&self, entry: MessageId) -> Result<Vec<Op>, ReadError> {
        let Some(first) = self.shelf.get_clear::<MessageId>(&name_place(entry))? else { return Ok(Vec::new()) };
        let mut ops = vec![name_place(entry).delete()];
        if self.shelf.get_clear(&later_place(first))? == Some(entry) {
            ops.push(later_place(first).delete());
        }
        Ok(ops)
    }

    /// The name and the thread of a message that is held here, sent or received, by the id of any of its envelopes.
    ///
    /// # Errors
    /// `unknown_message`.
    pub(crate) fn held(&self, id: MessageId) -> Answer<(MessageId, MessageId)> {
        let entry = self.entry(id)?;
        if let Some(head) = self.shelf.get_clear::<Head>(&head_place(entry))? {
            return Ok((self.name_of(entry)?, head.thread));
        }
        let first = self.envelope_ref(id)?.map_or(id, |envelope| envelope.first);
        let head = self.sent_head(first)?.ok_or_else(|| crate::outbox::unknown(id))?;
        Ok((first, head.thread))
    }

    /// The message that `text` begins an id of, and which way it went. Of a message to one's own agency, the received one.
    ///
    /// # Errors
    /// `unknown_message`, `ambiguous_id`.
    pub fn find(&self, text: &str) -> Answer<(MessageId, Direction)> {
        self.find_going(text, Direction::In)
    }

    /// As [`Office::find`]; of a message to one's own agency, the one that went `way`.
    ///
    /// # Errors
    /// `unknown_message`, `ambiguous_id`.
    pub fn find_going(&self, text: &str, way: Direction) -> Answer<(MessageId, Direction)> {
        let shown: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
        let none = || Problem::new(ProblemCode::UnknownMessage, format!("no message begins with '{shown}'"));
        if text.len() < PREFIX_CHARS_MIN {
            return Err(none().with_hint(format!("give {PREFIX_CHARS_MIN} characters of its id at least")));
        }
        let Some(span) = span(text) else { return Err(none()) };
        let mut found = self.received_between(span)?;
        found.extend(self.sent_between(span)?);
        let mut names: Vec<MessageId> = found.iter().map(|found| found.name).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > 1 {
            let ids: Vec<String> = names.iter().take(5).map(MessageId::short).collect();
            let detail = format!("'{shown}' begins several ids: {}", ids.join(", "));
            return Err(Problem::new(ProblemCode::AmbiguousId, detail));
        }
        let wanted = found.iter().find(|found| found.way == way).or_else(|| found.first());
        wanted.map(|found| (found.entry, found.way)).ok_or_else(none)
    }

    fn received_between(&self, span: (MessageId, MessageId)) -> Result<Vec<Found>, ReadError> {
        let mut entries: Vec<MessageId> =
            self.between(Table::Inbox, b'h', span)?.into_iter().map(|(id, _)| id).collect();
        for (name, value) in self.between(Table::Inbox, b'l', span)? {
            let entry = decode(Table::Inbox, &value)?;
            entries.extend((self.name_of(entry)? == name).then_some(entry));
        }
        entries.sort_unstable();
        entries.dedup();
        let found =
            entries.into_iter().map(|entry| Ok(Found { name: self.name_of(entry)?, entry, way: Direction::In }));
        found.collect()
    }

    /// A message of ours goes by the id of each of its envelopes; chunks have ids of their own, which name nothing.
    fn sent_between(&self, span: (MessageId, MessageId)) -> Result<Vec<Found>, ReadError> {
        let mut firsts: Vec<MessageId> =
            self.between(Table::Outbox, b'h', span)?.into_iter().map(|(id, _)| id).collect();
        for (_, value) in self.between(Table::Outbox, b'e', span)? {
            let envelope: EnvelopeRef = decode(Table::Outbox, &value)?;
            firsts.extend((envelope.part == EnvelopePart::Message).then_some(envelope.first));
        }
        firsts.sort_unstable();
        firsts.dedup();
        Ok(firsts.into_iter().map(|first| Found { name: first, entry: first, way: Direction::Out }).collect())
    }

    /// Records of one kind whose ids lie in `span`, with their values; at most [`FOUND_MAX`].
    fn between(
        &self,
        table: Table,
        kind: u8,
        (first, last): (MessageId, MessageId),
    ) -> Result<Vec<(MessageId, bytes::Bytes)>, ReadError> {
        let common = first.0.0.iter().zip(&last.0.0).take_while(|(a, b)| a == b).count();
        let prefix = Place::new(table, kind, &[first.0.0.get(..common).unwrap_or_default()]).key;
        let mut found = Vec::new();
        for record in self.shelf.scan(table, &prefix) {
            let (key, value) = record?;
            let id = key.get(1..).and_then(|id| id.first_chunk()).map(|id| MessageId(Hash(*id)));
            let id = id.ok_or(ReadError::Malformed { table })?;
            if id > last || found.len() >= FOUND_MAX {
                break;
            }
            if id >= first {
                found.push((id, value));
            }
        }
        Ok(found)
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
