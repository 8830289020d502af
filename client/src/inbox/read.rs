//! One message, whole, received or sent.

use liaison_core::op::Table;
use liaison_protocol::{KeyId, MessageId, Timestamp};

use super::{Head, arriving_place, head_place, kept_place, split_recipients, thread_of, unacked_place, unread_place};
use crate::api::model::{Direction, Message, MessageState, Part, RecipientStatus, Verification};
use crate::kept::{Kept, Letter};
use crate::office::Office;
use crate::outbox::unknown;
use crate::problem::Answer;
use crate::shelf::ReadError;

impl Office {
    /// `GET /v1/messages/{id}`.
    ///
    /// # Errors
    /// A problem document.
    pub fn message(&self, id: MessageId, way: Direction) -> Answer<Message> {
        match way {
            Direction::In => self.received_message(id),
            Direction::Out => self.sent_message(id),
        }
    }

    pub(crate) fn received_kept(&self, id: MessageId) -> Result<Option<Kept>, ReadError> {
        self.shelf.get(&kept_place(id))
    }

    /// A received message, opened.
    pub(crate) fn received(&self, id: MessageId) -> Result<Option<Letter>, ReadError> {
        let kept = self.received_kept(id)?;
        kept.map(|kept| kept.open(Table::Inbox, &self.roster().federation())).transpose()
    }

    fn received_message(&self, id: MessageId) -> Answer<Message> {
        let id = self.entry(id)?;
        let head: Head = self.shelf.get_clear(&head_place(id))?.ok_or_else(|| unknown(id))?;
        let kept = self.received_kept(id)?.ok_or_else(|| unknown(id))?;
        let letter = kept.open(Table::Inbox, &self.roster().federation())?;
        let arriving = self.shelf.has(&arriving_place(id))?;
        let mut parts = parts(&letter);
        if arriving {
            for (part, missing) in parts.iter_mut().zip(self.missing_bytes(id, &letter.message)?) {
                part.bytes_here = part.bytes.saturating_sub(missing);
            }
        }
        Ok(Message {
            state: if arriving { MessageState::Arriving } else { MessageState::Received },
            received: Some(head.received.into()),
            unread: self.shelf.has(&unread_place(head.number))?,
            acked: !self.shelf.has(&unacked_place(head.number))?,
            ..view(self.name_of(id)?, Direction::In, &kept, letter, parts, Vec::new())
        })
    }

    fn sent_message(&self, id: MessageId) -> Answer<Message> {
        let standing = self.standing(id)?.ok_or_else(|| unknown(id))?;
        let kept: Kept = self.shelf.get(&crate::outbox::kept_place(id))?.ok_or_else(|| unknown(id))?;
        let letter = kept.open(Table::Outbox, &self.roster().federation())?;
        let recipients = standing.ordered(&letter.message);
        let parts = parts(&letter);
        Ok(Message { state: standing.state, ..view(id, Direction::Out, &kept, letter, parts, recipients) })
    }
}

fn parts(letter: &Letter) -> Vec<Part> {
    let part = |(n, attachment): (u32, &liaison_protocol::inner::Attachment)| Part {
        n,
        name: attachment.name.clone(),
        bytes: attachment.total_len,
        bytes_here: attachment.total_len,
        sha256: attachment.sha256.to_string(),
    };
    (1..).zip(&letter.message.attachments).map(part).collect()
}

fn view(
    id: MessageId,
    direction: Direction,
    kept: &Kept,
    letter: Letter,
    parts: Vec<Part>,
    recipients: Vec<RecipientStatus>,
) -> Message {
    let Letter { envelope, message } = letter;
    let header = envelope.header();
    let (to, info) = split_recipients(header, &message);
    let created = sent(&message, header.created);
    Message {
        id: id.into(),
        direction,
        state: MessageState::Unknown,
        from: header.sender.to_agency(),
        to,
        info,
        thread: thread_of(id, &message).into(),
        subject: message.subject,
        text: message.text,
        content_type: message.content_type.into(),
        tlp: message.tlp.into(),
        handling: message.handling,
        precedence: header.precedence.into(),
        created: created.into(),
        expires: header.expires.into(),
        received: None,
        in_reply_to: message.in_reply_to.map(Into::into),
        parts,
        verification: Verification {
            // Opening it has just checked it again, under the key that the roster named when it was taken.
            verified: true,
            signer: header.sender.to_agency(),
            key: hex(header.sender_key),
            roster_version: kept.roster_version.0,
            reason: None,
        },
        unread: false,
        acked: false,
        recipients,
    }
}

/// When its sender sent the message: an envelope that was sealed anew is younger. Nobody can send after sealing.
fn sent(message: &liaison_protocol::inner::Message, sealed: Timestamp) -> Timestamp {
    message.chain.map_or(sealed, |chain| chain.sent.min(sealed))
}

fn hex(key: KeyId) -> String {
    key.to_string()
}
