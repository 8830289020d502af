//! What becomes of an envelope that is addressed to this agency.

use liaison_core::op::Op;
use liaison_node::local::Received;
use liaison_protocol::MessageId;
use liaison_protocol::Timestamp;
use liaison_protocol::envelope::{ContentKey, Kind, SenderKeys, VerifiedEnvelope};
use liaison_protocol::inner::{Content, Message, Supersedes};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::open::{OpenError, open};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::roster::Role;

use super::{
    Head, Line, Way, arriving_place, chain_of, chain_place, head_place, kept_place, line_place, put_thread, thread_of,
    unacked_place, unread_place,
};
use crate::events::{EventRecord, What};
use crate::kept::Kept;
use crate::office::Office;
use crate::receipts::due::{Due, DueKind};
use crate::shelf::{ReadError, Shelf};

impl Office {
    /// See [`liaison_node::local::LocalAgency::receive`].
    pub(crate) fn take(&self, envelope: &VerifiedEnvelope, index: u16, now: Timestamp) -> Result<Received, ReadError> {
        self.note_witness(&envelope.header().sender, envelope.header().created, now);
        if envelope.header().kind == Kind::Chunk {
            return self.take_chunk(envelope, now);
        }
        let needed = envelope.header().recipients.get(usize::from(index)).map(|recipient| recipient.prekey_id);
        let Some(secret) = needed.and_then(|id| self.keyring.secret(id)) else {
            return Ok(refuse(RefusalReason::KeyUnavailable, "its prekey has been erased, or was lost"));
        };
        let opened = match open(envelope, &self.me, &secret) {
            Ok(opened) => opened,
            Err(error) => return Ok(refuse_unopened(&error)),
        };
        match opened.inner.content {
            Content::Message(message) => self.take_message(envelope, &message, &opened.content_key, now),
            Content::Receipts(statements) => self.take_receipts(envelope, &statements, now),
            Content::Notice(statement) => self.take_notice(envelope, &statement, now),
        }
    }

    fn take_message(
        &self,
        envelope: &VerifiedEnvelope,
        message: &Message,
        content_key: &ContentKey,
        now: Timestamp,
    ) -> Result<Received, ReadError> {
        let (id, header, roster) = (envelope.id(), envelope.header(), self.roster());
        if roster.role(&header.sender) != Some(Role::Agency) {
            return Ok(refuse(RefusalReason::Malformed, "only agencies send messages"));
        }
        let Some(signer) = roster.verifying_key(&header.sender, header.sender_key, header.created) else {
            return Ok(later("the roster has just changed"));
        };
        let sender = header.sender.to_agency();
        let chain = message.chain.map_or(id, |chain| chain.first);
        let chain = chain_of(&sender, chain);
        if !self.chains.enter(chain, id) {
            return Ok(later("another copy of the message is being stored"));
        }
        let due = Due::new(DueKind::Delivered { at: now }, id, header);
        if let Some(known) = self.known_as(envelope, message, chain)? {
            // To people it is one message; its sender waits for a receipt for this envelope all the same. While
            // attachments are missing there is none: the message's own, once it is whole, is for all its envelopes.
            let whole = !self.shelf.has(&arriving_place(known))? || planted(Mutant::CopyReceiptedInPart);
            return Ok(taken(whole.then(|| due.put()).into_iter().collect()));
        }
        let number = self.sequence.take_for(id);
        let claims = self.claims(id, &sender, message);
        let arriving = !claims.is_empty();
        let head = Head {
            number,
            from: sender.clone(),
            received: now,
            expires: header.expires,
            precedence: header.precedence,
            thread: thread_of(id, message),
            chain: message.chain.map(|_| chain),
            chunks: message.attachments.iter().map(|attachment| attachment.chunk_count).sum(),
        };
        let (name, named) = self.name(id, message)?;
        let event = EventRecord::new(What::Received, now);
        let event = event.about(name).with_agency(&sender).marked(header.precedence, message.tlp);
        let mut ops = vec![
            self.shelf.put(kept_place(id), &Kept::new(envelope, content_key, &signer, roster.version())),
            self.shelf.put(line_place(number), &Line::new(id, header, message, now)),
            Shelf::put_clear(head_place(id), &head),
            Shelf::put_clear(unread_place(number), &id),
            Shelf::put_clear(unacked_place(number), &id),
            put_thread(head.thread, number, Way::In, id),
        ];
        ops.extend((!planted(Mutant::InboxWithoutEvent)).then(|| event.put(number)));
        ops.extend(head.chain.map(|chain| Shelf::put_clear(chain_place(chain), &id)));
        ops.extend(named);
        ops.extend(claims);
        if arriving && planted(Mutant::ReceiptBeforeAttachments) {
            ops.push(due.put());
        }
        ops.push(if arriving { Shelf::put_clear(arriving_place(id), &number) } else { due.put() });
        Ok(Received::Deliver { ops, chain: head.chain })
    }

    /// Which message of the inbox it is: this very one, or another envelope of its chain ([INNER-4] [CUST-5]).
    fn known_as(
        &self,
        envelope: &VerifiedEnvelope,
        message: &Message,
        chain: MessageId,
    ) -> Result<Option<MessageId>, ReadError> {
        let id = envelope.id();
        if planted(Mutant::CopyIsSecondMessage) {
            return Ok(None);
        }
        if self.shelf.has(&head_place(id))? {
            return Ok(Some(id));
        }
        if let Some(other) = self.shelf.get_clear(&chain_place(chain))? {
            return Ok(Some(other));
        }
        let Some(Supersedes { first, .. }) = message.chain else { return Ok(None) };
        let head: Option<Head> = self.shelf.get_clear(&head_place(first))?;
        Ok(head.is_some_and(|head| envelope.header().sender.to_agency() == head.from).then_some(first))
    }
}

fn refuse_unopened(error: &OpenError) -> Received {
    refuse(error.reason(), &error.to_string())
}

pub(crate) fn refuse(reason: RefusalReason, detail: &str) -> Received {
    Received::Refuse { reason, detail: detail.into(), ops: Vec::new() }
}

fn later(detail: &str) -> Received {
    Received::Later { reason: RefusalReason::NoRoute, detail: detail.into() }
}

/// Taken, and nothing more to do.
pub(crate) const fn taken(ops: Vec<Op>) -> Received {
    Received::Deliver { ops, chain: None }
}
