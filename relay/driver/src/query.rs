//! What reads take and give, beside the core's own types.

use std::str::FromStr;

use bytes::Bytes;
use liaison_core::op::{Entry, Position};
use liaison_protocol::{AgencyId, MessageId, Timestamp};

/// A record's key and value.
pub type Record = (Vec<u8>, Bytes);

/// The answer to `Reads::expiring`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expiring {
    /// Expired entries, the soonest first.
    pub entries: Vec<(Position, Entry)>,
    /// The time when the first entry that is not among `entries` expires.
    pub next: Option<Timestamp>,
}

/// The totals of one rank of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueTotals {
    /// The recipient.
    pub queue: AgencyId,
    /// The rank.
    pub rank: u8,
    /// Entries, at least 1.
    pub entries: u64,
    /// Sum of [`Entry::bytes`]: a body that several queues share counts in each.
    pub bytes: u64,
    /// The time when the entry with the lowest sequence was accepted.
    pub oldest: Timestamp,
}

/// Space on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the store's files. Some of them may not be in use, but free for the store alone.
    pub used_bytes: u64,
    /// Bytes that the file system would still give us.
    pub free_bytes: u64,
}

/// The beginning of a message id, as people type it: 1 to 52 characters of lower-case Crockford base32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdPrefix {
    first: MessageId,
    last: MessageId,
}

impl IdPrefix {
    /// All ids from `first` to `last`.
    #[must_use]
    pub const fn between(first: MessageId, last: MessageId) -> Self {
        Self { first, last }
    }

    /// The lowest and the highest id that begin so.
    #[must_use]
    pub const fn range(&self) -> (MessageId, MessageId) {
        (self.first, self.last)
    }
}

/// Not the beginning of a message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the beginning of a message id: 1 to 52 characters of lower-case Crockford base32")]
pub struct ParseIdPrefixError;

impl FromStr for IdPrefix {
    type Err = ParseIdPrefixError;

    /// # Errors
    /// Empty, too long, or another character.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(ParseIdPrefixError);
        }
        // The 52nd character carries one bit: its values are '0' and 'g'.
        let fill = |rest: char, end: char| -> Result<MessageId, ParseIdPrefixError> {
            let mut full = String::from(text);
            for at in text.len()..MessageId::FULL_CHARS {
                full.push(if at + 1 == MessageId::FULL_CHARS { end } else { rest });
            }
            full.parse().map_err(|_| ParseIdPrefixError)
        };
        Ok(Self { first: fill('0', '0')?, last: fill('z', 'g')? })
    }
}

impl From<MessageId> for IdPrefix {
    fn from(id: MessageId) -> Self {
        Self { first: id, last: id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use liaison_protocol::Hash;

    #[test]
    fn every_beginning_of_an_id_spans_it() {
        let id = MessageId(Hash(std::array::from_fn(|i| (i * 89 + 11) as u8)));
        let text = id.to_string();
        for chars in 1..=text.len() {
            let prefix: IdPrefix = text[..chars].parse().unwrap();
            assert!(prefix.first <= id && id <= prefix.last, "{chars} characters");
            assert!(prefix.first.to_string().starts_with(&text[..chars]));
            assert!(prefix.last.to_string().starts_with(&text[..chars]));
        }
        assert_eq!(text.parse::<IdPrefix>().unwrap(), IdPrefix::from(id));
    }

    #[test]
    fn other_text_is_refused() {
        for bad in ["", "I", "u", "ABC", &"0".repeat(53), "ñ", "0 0"] {
            assert_eq!(bad.parse::<IdPrefix>(), Err(ParseIdPrefixError), "{bad}");
        }
    }
}
