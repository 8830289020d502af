//! What became of a message, recipient by recipient.

use bytes::Bytes;
use liaison_core::op::{Op, Table};
use liaison_protocol::frame::CustodyState;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::receipt::SignedReceipt;
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{Hash, MessageId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::work::Because;
use crate::office::Office;
use crate::shelf::{Place, ReadError, Shelf, decode};

/// Something that is so for one recipient. At most one of each kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fact {
    /// Durable and whole in its inbox, by its own receipt.
    Delivered(Proven),
    /// Read there, by its own receipt.
    Read(Proven),
    /// Not delivered, and not to be; `receipt` where a relay or the recipient signed for it.
    Refused { envelope: MessageId, by: NodeId, reason: RefusalReason, detail: String, at: Timestamp, receipt: Bytes },
    /// Called back before any relay took it.
    Cancelled { at: Timestamp },
    /// Sealed anew: from here on this envelope counts for it.
    Resealed { envelope: MessageId, at: Timestamp, times: u8 },
    /// No key of its is known but the one that `envelope` was sealed to in vain: it waits for another.
    Unkeyed { at: Timestamp, envelope: MessageId },
    /// What the last answer to an inquiry about `envelope` said: somebody's word, without a signature.
    Told { envelope: MessageId, by: NodeId, state: CustodyState, at: Timestamp },
    /// Sent again, the last time.
    Resubmitted { envelope: MessageId, attempt: u8, because: Because, at: Timestamp },
}

/// A receipt that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proven {
    /// Which of the message's envelopes it names.
    pub(crate) envelope: MessageId,
    /// By the issuer's clock.
    pub(crate) at: Timestamp,
    /// The signed receipt, encoded.
    pub(crate) receipt: Bytes,
    /// Leaf and path, where it is a batch's.
    pub(crate) proof: Bytes,
}

impl Proven {
    /// A later receipt of one issuer has a higher number.
    fn number(&self) -> Option<u64> {
        Some(SignedReceipt::decode(&self.receipt).ok()?.decode_body().ok()?.seq)
    }

    /// Whether this receipt is to be kept instead of `held`, of the same kind. A recipient that is asked again signs
    /// again, and its read receipt names the last delivery receipt that it has made: kept is the one that `fits` what
    /// is held of the other kind, and the later one while none does.
    pub(crate) fn is_better(&self, held: &Self, fits: impl Fn(&Self) -> bool) -> bool {
        if fits(held) || planted(Mutant::FirstReceiptKept) {
            return false;
        }
        fits(self) || self.number() > held.number()
    }
}

impl Fact {
    const fn kind(&self) -> u8 {
        match self {
            Self::Delivered(_) => 1,
            Self::Read(_) => 2,
            Self::Refused { .. } => 3,
            Self::Cancelled { .. } => 4,
            Self::Resealed { .. } => 5,
            Self::Unkeyed { .. } => 6,
            Self::Told { .. } => 7,
            Self::Resubmitted { .. } => 8,
        }
    }

    /// Writes it for recipient `index` of the message `first`.
    pub(crate) fn put(&self, first: MessageId, index: u16) -> Op {
        Shelf::put_clear(place(first, index, self.kind()), self)
    }
}

fn place(first: MessageId, index: u16, kind: u8) -> Place {
    Place::new(Table::Outbox, b'r', &[&first.0.0, &index.to_be_bytes(), &[kind]])
}

/// Who has, or had, one of a message's envelopes, by a verified receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CustodyFact {
    pub(crate) envelope: MessageId,
    pub(crate) indices: Vec<u16>,
    pub(crate) holder: NodeId,
    pub(crate) from: NodeId,
    pub(crate) at: Timestamp,
    pub(crate) receipt: Bytes,
    pub(crate) proof: Bytes,
}

impl CustodyFact {
    pub(crate) fn put(&self, first: MessageId) -> Op {
        Shelf::put_clear(self.place(first), self)
    }

    pub(crate) fn place(&self, first: MessageId) -> Place {
        // One holder may sign several times, for several recipients; the same receipt twice is one fact.
        let Hash(receipt) = Hash::of(&[&self.receipt]);
        Place::new(Table::Outbox, b'k', &[&first.0.0, &self.envelope.0.0, self.holder.as_str().as_bytes(), &receipt])
    }
}

/// All that is known of what became of a message.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) by_recipient: Vec<(u16, Fact)>,
    /// In the order of hand-over.
    pub(crate) custody: Vec<CustodyFact>,
}

impl Facts {
    pub(crate) fn of(&self, index: u16) -> impl Iterator<Item = &Fact> {
        self.by_recipient.iter().filter(move |(of, _)| *of == index).map(|(_, fact)| fact)
    }

    /// The last sealing that counts for a recipient.
    pub(crate) fn envelope_of(&self, index: u16, first: MessageId) -> MessageId {
        let resealed = self.of(index).find_map(|fact| match fact {
            Fact::Resealed { envelope, .. } => Some(*envelope),
            _ => None,
        });
        resealed.unwrap_or(first)
    }

    /// Later sealings of the message, each for one recipient, oldest first.
    pub(crate) fn resealed(&self) -> Vec<(u16, MessageId, Timestamp)> {
        let mut resealed: Vec<_> = self
            .by_recipient
            .iter()
            .filter_map(|(index, fact)| match fact {
                Fact::Resealed { envelope, at, .. } => Some((*index, *envelope, *at)),
                _ => None,
            })
            .collect();
        resealed.sort_by_key(|(_, _, at)| *at);
        resealed
    }

    /// Who has, or had, the sealing that counts for a recipient, in the order of hand-over.
    pub(crate) fn holders(&self, index: u16, first: MessageId) -> impl DoubleEndedIterator<Item = &CustodyFact> {
        let envelope = self.envelope_of(index, first);
        self.custody.iter().filter(move |fact| fact.envelope == envelope && fact.indices.contains(&index))
    }

    /// What was answered last about the sealing that counts for a recipient.
    pub(crate) fn told(&self, index: u16, first: MessageId) -> Option<(&NodeId, &CustodyState, Timestamp)> {
        let current = self.envelope_of(index, first);
        self.of(index).find_map(|fact| match fact {
            Fact::Told { envelope, by, state, at } if *envelope == current => Some((by, state, *at)),
            _ => None,
        })
    }

    /// Why the sealing that counts for a recipient was sent again, the last time.
    pub(crate) fn resubmitted(&self, index: u16, first: MessageId) -> Option<&Because> {
        let current = self.envelope_of(index, first);
        self.of(index).find_map(|fact| match fact {
            Fact::Resubmitted { envelope, because, .. } if *envelope == current => Some(because),
            _ => None,
        })
    }

    /// Whether a recipient waits for a key.
    pub(crate) fn is_unkeyed(&self, index: u16, first: MessageId) -> bool {
        let current = self.envelope_of(index, first);
        self.of(index).any(|fact| matches!(fact, Fact::Unkeyed { envelope, .. } if *envelope == current))
    }
}

/// Whether an answer says where a message is. That it was handed to somebody who does not answer says no more than
/// silence: that one may have ended it in a notice, which was sealed to a key that is lost.
pub(crate) fn is_word(state: &CustodyState) -> bool {
    !matches!(state, CustodyState::Released { .. }) || planted(Mutant::HearsayIsWord)
}

impl Office {
    pub(crate) fn facts(&self, first: MessageId) -> Result<Facts, ReadError> {
        let mut facts = Facts::default();
        let prefix = |kind| Place::new(Table::Outbox, kind, &[&first.0.0]).key;
        let by_recipient = prefix(b'r');
        for record in self.shelf.scan(Table::Outbox, &by_recipient) {
            let (key, value) = record?;
            let index = key.get(by_recipient.len()..).and_then(|rest| rest.first_chunk());
            let index = index.ok_or(ReadError::Malformed { table: Table::Outbox })?;
            facts.by_recipient.push((u16::from_be_bytes(*index), decode(Table::Outbox, &value)?));
        }
        for record in self.shelf.scan(Table::Outbox, &prefix(b'k')) {
            facts.custody.push(decode(Table::Outbox, &record?.1)?);
        }
        super::order::sort(&mut facts.custody, &NodeId::from(&self.me));
        Ok(facts)
    }

    pub(crate) fn fact(&self, first: MessageId, index: u16, kind: FactKind) -> Result<Option<Fact>, ReadError> {
        self.shelf.get_clear(&place(first, index, kind as u8))
    }
}

/// Which fact to look up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FactKind {
    Delivered = 1,
    Read = 2,
}
