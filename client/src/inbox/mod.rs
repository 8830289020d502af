//! Messages delivered to this agency.
//!
//! ```text
//!  Table::Inbox   m id            Kept: envelope and content key          encrypted
//!                 s number        Line: what lists show                   encrypted
//!                 h id            Head: number, chain, times
//!                 u number        not read yet            → id
//!                 a number        not handed over yet     → id
//!                 p id            attachments still arriving
//!                 c chain         → id: the one of a chain of superseding envelopes that was delivered
//!                 t thread number → direction, id: of what was sent, too
//!                 d id            hash of the delivery receipt, once made
//!                 f id            → the id that names the message, if that is another envelope's
//!                 l envelope      → id: the message that goes by that name
//! ```
//! The record and its marks are one commit with the dedupe ids, so that hand-over is exactly once.

mod list;
mod marks;
mod names;
mod read;
pub(crate) mod receive;
mod retain;

pub(crate) use marks::read_wish_place;

use liaison_core::op::{Op, Table};
use liaison_protocol::envelope::Header;
use liaison_protocol::inner::{Message, Tlp};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{AgencyId, Hash, MessageId, Precedence, Timestamp};
use serde::{Deserialize, Serialize};

use crate::shelf::{Place, Shelf};

/// What lists show of a message, sent or received.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) id: MessageId,
    pub(crate) from: AgencyId,
    /// Those for information after the others.
    pub(crate) to: Vec<AgencyId>,
    pub(crate) subject: String,
    pub(crate) tlp: Tlp,
    pub(crate) precedence: Precedence,
    pub(crate) at: Timestamp,
    /// The text and each attachment.
    pub(crate) parts: u32,
    pub(crate) bytes: u64,
    pub(crate) thread: MessageId,
}

impl Line {
    pub(crate) fn new(id: MessageId, header: &Header, message: &Message, at: Timestamp) -> Self {
        let (to, info) = split_recipients(header, message);
        let attached: u64 = message.attachments.iter().map(|attachment| attachment.total_len).sum();
        Self {
            id,
            from: header.sender.to_agency(),
            to: [to, info].concat(),
            subject: message.subject.clone(),
            tlp: message.tlp,
            precedence: header.precedence,
            at,
            parts: u32::try_from(message.attachments.len() + 1).unwrap_or(u32::MAX),
            bytes: attached.saturating_add(message.text.len() as u64),
            thread: thread_of(id, message),
        }
    }
}

/// Who is to act, and who gets it for information.
pub(crate) fn split_recipients(header: &Header, message: &Message) -> (Vec<AgencyId>, Vec<AgencyId>) {
    let all = header.recipients.iter().map(|recipient| recipient.id.clone());
    all.partition(|agency| !message.info.contains(agency))
}

/// The first message of the thread; of a message that was sealed anew, what it was first sent as.
pub(crate) fn thread_of(id: MessageId, message: &Message) -> MessageId {
    message.thread.unwrap_or_else(|| message.chain.map_or(id, |chain| chain.first))
}

/// What is looked up most of a received message.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) number: u64,
    pub(crate) from: AgencyId,
    pub(crate) received: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) precedence: Precedence,
    pub(crate) thread: MessageId,
    pub(crate) chain: Option<MessageId>,
    /// The sealed bodies' hashes of its attachments' chunks are its claims.
    pub(crate) chunks: u32,
}

/// Which way a message of a thread went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    In,
    Out,
}

pub(crate) fn kept_place(id: MessageId) -> Place {
    Place::new(Table::Inbox, b'm', &[&id.0.0])
}

pub(crate) fn line_place(number: u64) -> Place {
    Place::new(Table::Inbox, b's', &[&number.to_be_bytes()])
}

pub(crate) fn head_place(id: MessageId) -> Place {
    Place::new(Table::Inbox, b'h', &[&id.0.0])
}

pub(crate) fn unread_place(number: u64) -> Place {
    Place::new(Table::Inbox, b'u', &[&number.to_be_bytes()])
}

pub(crate) fn unacked_place(number: u64) -> Place {
    Place::new(Table::Inbox, b'a', &[&number.to_be_bytes()])
}

pub(crate) fn arriving_place(id: MessageId) -> Place {
    Place::new(Table::Inbox, b'p', &[&id.0.0])
}

pub(crate) fn chain_place(chain: MessageId) -> Place {
    Place::new(Table::Inbox, b'c', &[&chain.0.0])
}

pub(crate) fn thread_place(thread: MessageId, number: u64) -> Place {
    Place::new(Table::Inbox, b't', &[&thread.0.0, &number.to_be_bytes()])
}

/// The id that names the message `id`.
pub(crate) fn name_place(id: MessageId) -> Place {
    Place::new(Table::Inbox, b'f', &[&id.0.0])
}

/// The message that goes by the id of an envelope that was never held here.
pub(crate) fn later_place(name: MessageId) -> Place {
    Place::new(Table::Inbox, b'l', &[&name.0.0])
}

pub(crate) fn receipt_place(id: MessageId) -> Place {
    Place::new(Table::Inbox, b'd', &[&id.0.0])
}

/// Puts a message into its thread.
pub(crate) fn put_thread(thread: MessageId, number: u64, way: Way, id: MessageId) -> Op {
    Shelf::put_clear(thread_place(thread, number), &(way, id))
}

/// Names a chain of one sender's: no other sender can claim a place in it.
pub(crate) fn chain_of(sender: &AgencyId, first: MessageId) -> MessageId {
    if planted(Mutant::AnyoneSupersedes) {
        return first;
    }
    MessageId(Hash::of(&[b"chain", sender.as_str().as_bytes(), &[0], &first.0.0]))
}

#[cfg(test)]
mod tests;
