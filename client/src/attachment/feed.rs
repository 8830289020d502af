//! Sending chunks: a few at a time, after everything that is more urgent, from where it stopped.

use liaison_core::op::{Op, RANK_BULK, Table};
use liaison_protocol::chunk::{ChunkRequest, seal_chunk};
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::inner::Message;
use liaison_protocol::{MessageId, NodeId};
use serde::{Deserialize, Serialize};

use crate::office::Office;
use crate::outbox::{EnvelopePart, EnvelopeRef, SentHead, chunk_envelope_place, envelope_place};
use crate::shelf::{Place, ReadError, Shelf, decode};

/// Chunks of one message that wait in the outbox's queue for one recipient: 8 MiB.
const QUEUED_MAX: u64 = 32;
/// Messages looked at for the most urgent one.
const FEEDS_MAX: usize = 1000;

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

pub(crate) fn feed_place(first: MessageId) -> Place {
    Place::new(Table::Outbox, b'f', &[&first.0.0])
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
        let place = feed_place(feed.first);
        let next = self.shelf.get_clear::<(MessageId, Next)>(&place)?.map(|(_, next)| next);
        let open = self.is_open(feed.first)? && self.now() < feed.head.expires;
        let Some(next) = next.filter(|_| open).and_then(|next| next.skip_empty(&feed.message)) else {
            return Ok(Step::Done(vec![place.delete()]));
        };
        if self.queued_chunks(feed)? >= QUEUED_MAX {
            return Ok(Step::Wait);
        }
        let malformed = || ReadError::Malformed { table: Table::Outbox };
        let at = usize::try_from(next.attachment).unwrap_or(usize::MAX);
        let attachment = feed.message.attachments.get(at).ok_or_else(malformed)?;
        let upload = feed.head.uploads.get(at).ok_or_else(malformed)?;
        let plaintext = self.outgoing_chunk(*upload, attachment, next.index)?;
        let request = ChunkRequest {
            federation: self.roster().federation(),
            sender: &NodeId::from(&self.me),
            recipients: &feed.head.recipients,
            created: self.now(),
            expires: feed.head.expires,
            precedence: feed.head.precedence,
            key: &attachment.key,
            index: next.index,
            count: attachment.chunk_count,
            plaintext: &plaintext,
        };
        let envelope = match seal_chunk(&request, &*self.signer, &mut self.shelf.random()) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::error!(message = %feed.first.short(), %error, "a chunk cannot be sealed");
                return Ok(Step::Wait);
            }
        };
        let part = EnvelopePart::Chunk { attachment: next.attachment, index: next.index, only: None };
        let ops = vec![
            Shelf::put_clear(envelope_place(envelope.id()), &EnvelopeRef { first: feed.first, part }),
            Shelf::put_clear(chunk_envelope_place(feed.first, envelope.id()), &()),
            Shelf::put_clear(place, &(feed.first, Next { index: next.index + 1, ..next })),
        ];
        Ok(Step::Send(Box::new(envelope), ops))
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
    pub(crate) fn feed_again(&self, first: MessageId, head: &SentHead) -> Result<Option<Op>, ReadError> {
        if head.uploads.is_empty() || self.shelf.has(&feed_place(first))? {
            return Ok(None);
        }
        Ok(Some(Shelf::put_clear(feed_place(first), &(first, Next { attachment: 0, index: 0 }))))
    }
}
