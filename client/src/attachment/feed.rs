//! Sending chunks: a few at a time, after everything that is more urgent, from where it stopped. Chunks that were lost
//! on their way to a recipient go before the others.

use std::time::Duration;

use liaison_core::op::{Op, RANK_BULK, Table};
use liaison_protocol::chunk::{ChunkRequest, seal_chunk};
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::inner::Message;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::seal::SealError;
use liaison_protocol::{MessageId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::office::Office;
use crate::outbox::{EnvelopePart, EnvelopeRef, SentHead, envelope_place, later_envelope_place};
use crate::shelf::{Place, ReadError, Shelf, decode};

/// Chunks of one message that wait in the outbox's queue for one recipient: 8 MiB.
const QUEUED_MAX: u64 = 32;
/// Messages looked at for the most urgent one.
const FEEDS_MAX: usize = 1000;
/// Tag of lost chunks.
const LOST: u8 = b'c';

/// A recipient that has the message, and has not said for so long that all is there, misses chunks.
const CHUNKS_SILENCE: Duration = Duration::from_secs(86_400);

/// The next chunk to send of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Next {
    pub(crate) attachment: u32,
    pub(crate) index: u32,
}

/// A message whose chunks are being sent.
pub(crate) struct Feed {
    pub(crate) first: MessageId,
    head: SentHead,
    message: Message,
}

/// One more chunk of a message.
pub(crate) enum Step {
    /// All have been sent.
    Done(Vec<Op>),
    /// To be submitted, with these records.
    Send(Box<VerifiedEnvelope>, Vec<Op>),
    /// As many wait as may wait.
    Wait,
}

/// What to send: a chunk, to whom if not to all, and what the commit that submits it says.
struct Turn {
    chunk: Next,
    only: Option<u16>,
    ops: Vec<Op>,
}

pub(crate) fn feed_place(first: MessageId) -> Place {
    Place::new(Table::Outbox, b'f', &[&first.0.0])
}

fn fed_place(first: MessageId) -> Place {
    Place::new(Table::Outbox, b't', &[&first.0.0])
}

/// A chunk that was lost on its way to the recipient `to`, before it is sent again and afterwards.
fn lost_place(first: MessageId, sent: bool, chunk: Next, to: u16) -> Place {
    let Next { attachment, index } = chunk;
    let parts: [&[u8]; 5] =
        [&first.0.0, &[sent.into()], &attachment.to_be_bytes(), &index.to_be_bytes(), &to.to_be_bytes()];
    Place::new(Table::Outbox, LOST, &parts)
}

impl Office {
    /// Puts a new message with attachments into the feed.
    pub(crate) fn plan_feed(&self, first: MessageId, head: &SentHead, message: &Message) -> Option<Op> {
        let chunks = message.attachments.iter().any(|attachment| attachment.chunk_count > 0);
        debug_assert_eq!(head.uploads.len(), message.attachments.len());
        chunks.then(|| Shelf::put_clear(feed_place(first), &(first, Next { attachment: 0, index: 0 })))
    }

    /// The most urgent message that has chunks to send, the oldest among equals.
    pub(crate) fn most_urgent_feed(&self) -> Result<Option<Feed>, ReadError> {
        let mut best: Option<(u8, u64, MessageId, SentHead)> = None;
        for (_, value) in self.shelf.store().scan(Table::Outbox, b"f", None, FEEDS_MAX)? {
            let (first, _): (MessageId, Next) = decode(Table::Outbox, &value)?;
            let Some(head) = self.sent_head(first)? else { continue };
            let place = (head.precedence.rank(), head.number);
            if best.as_ref().is_none_or(|(rank, number, ..)| place < (*rank, *number)) {
                best = Some((place.0, place.1, first, head));
            }
        }
        let Some((_, _, first, head)) = best else { return Ok(None) };
        let Some(letter) = self.sent(first)? else { return Ok(None) };
        Ok(Some(Feed { first, head, message: letter.message }))
    }

    /// The next chunk of a message, sealed.
    pub(crate) fn feed(&self, feed: &Feed) -> Result<Step, ReadError> {
        let open = self.is_open(feed.first)? && self.now() < feed.head.expires;
        let over = feed_place(feed.first).delete();
        if !open {
            return Ok(Step::Done(vec![over]));
        }
        let Some(turn) = self.turn(feed)? else {
            return Ok(Step::Done(vec![over, Shelf::put_clear(fed_place(feed.first), &self.now())]));
        };
        if self.queued_chunks(feed)? >= QUEUED_MAX {
            return Ok(Step::Wait);
        }
        let envelope = match self.seal_turn(feed, &turn)? {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::error!(message = %feed.first.short(), %error, "a chunk cannot be sealed");
                return Ok(Step::Wait);
            }
        };
        let Turn { chunk: Next { attachment, index }, only, mut ops } = turn;
        let part = EnvelopePart::Chunk { attachment, index, only };
        ops.push(Shelf::put_clear(envelope_place(envelope.id()), &EnvelopeRef { first: feed.first, part }));
        ops.push(Shelf::put_clear(later_envelope_place(feed.first, envelope.id()), &()));
        Ok(Step::Send(Box::new(envelope), ops))
    }

    fn turn(&self, feed: &Feed) -> Result<Option<Turn>, ReadError> {
        let pending = Place::new(Table::Outbox, LOST, &[&feed.first.0.0, &[0]]).key;
        if let Some((key, value)) = self.shelf.store().scan(Table::Outbox, &pending, None, 1)?.into_iter().next() {
            let (chunk, to): (Next, u16) = decode(Table::Outbox, &value)?;
            let sent = Shelf::put_clear(lost_place(feed.first, true, chunk, to), &(chunk, to));
            return Ok(Some(Turn { chunk, only: Some(to), ops: vec![Op::Delete { table: Table::Outbox, key }, sent] }));
        }
        let place = feed_place(feed.first);
        let next =
            self.shelf.get_clear::<(MessageId, Next)>(&place)?.and_then(|(_, next)| next.skip_empty(&feed.message));
        Ok(next.map(|chunk| {
            let after = Next { index: chunk.index + 1, ..chunk };
            Turn { chunk, only: None, ops: vec![Shelf::put_clear(place, &(feed.first, after))] }
        }))
    }

    fn seal_turn(&self, feed: &Feed, turn: &Turn) -> Result<Result<VerifiedEnvelope, SealError>, ReadError> {
        let malformed = || ReadError::Malformed { table: Table::Outbox };
        let at = usize::try_from(turn.chunk.attachment).unwrap_or(usize::MAX);
        let attachment = feed.message.attachments.get(at).ok_or_else(malformed)?;
        let upload = feed.head.uploads.get(at).ok_or_else(malformed)?;
        let recipients = match turn.only {
            Some(only) => feed.head.recipients.get(usize::from(only)..=usize::from(only)).ok_or_else(malformed)?,
            None => &feed.head.recipients,
        };
        let request = ChunkRequest {
            federation: self.roster().federation(),
            sender: &NodeId::from(&self.me),
            recipients,
            created: self.now(),
            expires: feed.head.expires,
            precedence: feed.head.precedence,
            key: &attachment.key,
            index: turn.chunk.index,
            count: attachment.chunk_count,
            plaintext: &self.outgoing_chunk(*upload, attachment, turn.chunk.index)?,
        };
        Ok(seal_chunk(&request, &*self.signer, &mut self.shelf.random()))
    }

    fn queued_chunks(&self, feed: &Feed) -> Result<u64, ReadError> {
        let totals = self.shelf.store().queues()?;
        let bulk = totals.iter().filter(|queue| queue.rank == RANK_BULK && feed.head.recipients.contains(&queue.queue));
        Ok(bulk.map(|queue| queue.entries).max().unwrap_or(0))
    }
}

impl Next {
    /// Past the end of an attachment comes the next one. `None`: there is none.
    fn skip_empty(mut self, message: &Message) -> Option<Self> {
        loop {
            let attachment = message.attachments.get(usize::try_from(self.attachment).ok()?)?;
            if self.index < attachment.chunk_count {
                return Some(self);
            }
            self = Self { attachment: self.attachment + 1, index: 0 };
        }
    }
}

impl Office {
    /// Sends all chunks of a message once more, unless they are being sent: nobody says which of them were lost.
    pub(crate) fn feed_again(&self, first: MessageId, head: &SentHead) -> Result<Vec<Op>, ReadError> {
        if head.uploads.is_empty() || self.shelf.has(&feed_place(first))? {
            return Ok(Vec::new());
        }
        let mut ops = self.delete_all(LOST, first)?;
        ops.push(Shelf::put_clear(feed_place(first), &(first, Next { attachment: 0, index: 0 })));
        Ok(ops)
    }

    /// As [`Office::feed_again`], if a recipient that has the message has been silent for long about what is attached. A
    /// receipt would say that all is there.
    pub(crate) fn feed_the_silent(
        &self,
        first: MessageId,
        head: &SentHead,
        now: Timestamp,
    ) -> Result<Vec<Op>, ReadError> {
        let fed = self.shelf.get_clear::<Timestamp>(&fed_place(first))?.unwrap_or(head.created);
        let silent = now.since(fed) >= CHUNKS_SILENCE && !planted(Mutant::ChunksSentOnce);
        if silent { self.feed_again(first, head) } else { Ok(Vec::new()) }
    }

    /// Of a message that is over.
    pub(crate) fn forget_feed(&self, first: MessageId) -> Result<Vec<Op>, ReadError> {
        let mut ops = self.delete_all(LOST, first)?;
        ops.extend([feed_place(first).delete(), fed_place(first).delete()]);
        Ok(ops)
    }

    /// Sends a chunk to the recipient `to` again, whose last holder has lost it: before all that is still to be sent, and
    /// once. Should it be lost again, [`Office::feed_the_silent`] finds out.
    pub(crate) fn lost_chunk(&self, first: MessageId, chunk: Next, to: u16) -> Result<Vec<Op>, ReadError> {
        let Some(head) = self.sent_head(first)? else { return Ok(Vec::new()) };
        let known = |sent: bool| self.shelf.has(&lost_place(first, sent, chunk, to));
        if !self.is_open(first)? || known(false)? || known(true)? {
            return Ok(Vec::new());
        }
        let mut ops = vec![Shelf::put_clear(lost_place(first, false, chunk, to), &(chunk, to))];
        if !self.shelf.has(&feed_place(first))? {
            let end = Next { attachment: u32::try_from(head.uploads.len()).unwrap_or(u32::MAX), index: 0 };
            ops.push(Shelf::put_clear(feed_place(first), &(first, end)));
        }
        Ok(ops)
    }
}
