//! The store's rows as bytes, for fuzzing: what is read from anything that a disk may hold.

use super::{keys, values};

/// The parts of a row that hold more than one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// A value: an entry of a queue.
    Entry,
    /// A value: what is known of a message and recipient.
    Known,
    /// A value: a queue's totals.
    Totals,
    /// A key: a place in a queue.
    QueueKey,
    /// A key: when a place expires.
    ExpiryKey,
    /// A key: a message and recipient.
    IdKey,
    /// A key: a queue's totals.
    TotalsKey,
}

impl Row {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Entry, Self::Known, Self::Totals, Self::QueueKey, Self::ExpiryKey, Self::IdKey, Self::TotalsKey];

    /// What the store would write for what it reads in `bytes`; `None` if it calls them corrupt.
    #[must_use]
    pub fn rewritten(self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Entry => values::decode_entry(bytes).ok().map(|entry| values::encode_entry(&entry)),
            Self::Known => values::decode_known(bytes).ok().map(|known| values::encode_known(&known)),
            Self::Totals => values::decode_totals(bytes).ok().map(|totals| values::encode_totals(&totals)),
            Self::QueueKey => keys::parse_queue(bytes).map(|position| keys::queue(&position)),
            Self::ExpiryKey => keys::parse_expiry(bytes).map(|(at, queue)| keys::expiry(at, queue)),
            Self::IdKey => keys::parse_id(bytes).map(|key| keys::id(&key)),
            Self::TotalsKey => keys::parse_totals(bytes).map(|(queue, rank)| keys::totals(&queue, rank)),
        }
    }
}
