//! Values of the engine's keyspaces: postcard over private mirrors, so that the core's types may change while the
//! format stands. Whatever is read is checked again; errors are what is wrong, in words.

use liaison_core::op::{Entry, Held, Position, Remembered};
use liaison_protocol::{Hash, Hour, MessageId, NodeId, Timestamp, limits};
use serde::{Deserialize, Serialize};

use super::state::Totals;

/// What is wrong with a value.
pub(super) type Wrong = &'static str;

/// Relays on a stored path. More than [`limits::HOPS_MAX`], so that the core may judge what it was handed.
pub(super) const PATH_MAX: usize = 16;

#[derive(Serialize, Deserialize)]
struct EntryValue<'a> {
    id: [u8; 32],
    index: u16,
    attempt: u8,
    #[serde(borrow)]
    sender: &'a str,
    #[serde(borrow)]
    from: &'a str,
    #[serde(borrow)]
    path: Vec<&'a str>,
    accepted: u64,
    expires: u64,
    bytes: u32,
}

pub(super) fn encode_entry(entry: &Entry) -> Vec<u8> {
    encode(&EntryValue {
        id: entry.id.0.0,
        index: entry.index,
        attempt: entry.attempt,
        sender: entry.sender.as_str(),
        from: entry.from.as_str(),
        path: entry.path.iter().map(NodeId::as_str).collect(),
        accepted: entry.accepted.as_millis(),
        expires: entry.expires.as_millis(),
        bytes: entry.bytes,
    })
}

pub(super) fn decode_entry(bytes: &[u8]) -> Result<Entry, Wrong> {
    let value: EntryValue<'_> = decode(bytes)?;
    if value.path.len() > PATH_MAX {
        return Err("a path of too many relays");
    }
    Ok(Entry {
        id: MessageId(Hash(value.id)),
        index: value.index,
        attempt: checked_attempt(value.attempt)?,
        sender: name(value.sender)?,
        from: name(value.from)?,
        path: value.path.into_iter().map(name).collect::<Result<_, _>>()?,
        accepted: Timestamp::from_millis(value.accepted),
        expires: Timestamp::from_millis(value.expires),
        bytes: value.bytes,
    })
}

/// What the store knows of one message and recipient: never both nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) remembered: Option<Remembered>,
    /// Where its entry is, while there is one.
    pub(super) position: Option<Position>,
}

#[derive(Serialize, Deserialize)]
struct KnownValue<'a> {
    #[serde(borrow)]
    remembered: Option<RememberedValue<'a>>,
    #[serde(borrow)]
    position: Option<(&'a str, u8, u64)>,
}

#[derive(Serialize, Deserialize)]
struct RememberedValue<'a> {
    attempt: u8,
    held: bool,
    until: u64,
    hour: u32,
    #[serde(borrow)]
    from: Option<&'a str>,
    #[serde(borrow)]
    to: Option<&'a str>,
}

pub(super) fn encode_known(known: &Known) -> Vec<u8> {
    let remembered = known.remembered.as_ref().map(|record| RememberedValue {
        attempt: record.attempt,
        held: match record.held {
            Held::Released => false,
            Held::Yes => true,
        },
        until: record.until.as_millis(),
        hour: record.hour.0,
        from: record.from.as_ref().map(NodeId::as_str),
        to: record.to.as_ref().map(NodeId::as_str),
    });
    let position = known.position.as_ref().map(|at| (at.queue.as_str(), at.rank, at.seq));
    encode(&KnownValue { remembered, position })
}

pub(super) fn decode_known(bytes: &[u8]) -> Result<Known, Wrong> {
    let value: KnownValue<'_> = decode(bytes)?;
    if value.remembered.is_none() && value.position.is_none() {
        return Err("knows nothing");
    }
    Ok(Known {
        remembered: value.remembered.map(remembered).transpose()?,
        position: value.position.map(position).transpose()?,
    })
}

fn remembered(value: RememberedValue<'_>) -> Result<Remembered, Wrong> {
    Ok(Remembered {
        attempt: checked_attempt(value.attempt)?,
        held: if value.held { Held::Yes } else { Held::Released },
        until: Timestamp::from_millis(value.until),
        hour: Hour(value.hour),
        from: value.from.map(name).transpose()?,
        to: value.to.map(name).transpose()?,
    })
}

fn position((queue, rank, seq): (&str, u8, u64)) -> Result<Position, Wrong> {
    Ok(Position { queue: queue.parse().map_err(|_| "not a queue's name")?, rank, seq })
}

pub(super) fn encode_totals(totals: &Totals) -> Vec<u8> {
    encode(totals)
}

pub(super) fn decode_totals(bytes: &[u8]) -> Result<Totals, Wrong> {
    let totals: Totals = decode(bytes)?;
    if totals.entries == 0 { Err("the totals of an empty queue") } else { Ok(totals) }
}

pub(super) fn decode_seq(bytes: &[u8]) -> Result<u64, Wrong> {
    Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| "not a sequence")?))
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    liaison_protocol::codec::encode(value)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Wrong> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err("bytes after the value"),
        Err(_) => Err("does not decode"),
    }
}

fn name(text: &str) -> Result<NodeId, Wrong> {
    text.parse().map_err(|_| "not a name")
}

fn checked_attempt(attempt: u8) -> Result<u8, Wrong> {
    if (1..=limits::ATTEMPTS_MAX).contains(&attempt) { Ok(attempt) } else { Err("an attempt out of range") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            id: MessageId(Hash([9; 32])),
            index: 3,
            attempt: 2,
            sender: "ncb.sg".parse().unwrap(),
            from: "ap-1".parse().unwrap(),
            path: vec!["ap-1".parse().unwrap(), "eu-1".parse().unwrap()],
            accepted: Timestamp::from_millis(1),
            expires: Timestamp::MAX,
            bytes: 2048,
        }
    }

    #[test]
    fn values_round_trip() {
        assert_eq!(decode_entry(&encode_entry(&entry())), Ok(entry()));
        let remembered = |held| Remembered {
            attempt: 16,
            held,
            until: Timestamp::from_millis(5),
            hour: Hour(u32::MAX),
            from: Some("ap-1".parse().unwrap()),
            to: (held == Held::Released).then(|| "eu-1".parse().unwrap()),
        };
        let position = Position { queue: "ncb.ee".parse().unwrap(), rank: 4, seq: u64::MAX };
        for known in [
            Known { remembered: Some(remembered(Held::Yes)), position: Some(position.clone()) },
            Known { remembered: Some(remembered(Held::Released)), position: None },
            Known { remembered: None, position: Some(position) },
        ] {
            assert_eq!(decode_known(&encode_known(&known)), Ok(known));
        }
        let totals = Totals { entries: 1, bytes: u64::MAX, floor: 300 };
        assert_eq!(decode_totals(&encode_totals(&totals)), Ok(totals));
    }

    #[test]
    fn every_truncation_and_every_addition_is_refused() {
        let bytes = encode_entry(&entry());
        for end in 0..bytes.len() {
            assert!(decode_entry(&bytes[..end]).is_err(), "{end} bytes");
        }
        assert_eq!(decode_entry(&[bytes.as_slice(), &[0]].concat()), Err("bytes after the value"));
    }

    #[test]
    fn values_that_break_a_rule_are_refused() {
        let bad = Entry { attempt: 17, ..entry() };
        assert_eq!(decode_entry(&encode_entry(&bad)), Err("an attempt out of range"));
        let long = Entry { path: vec!["ap-1".parse().unwrap(); PATH_MAX + 1], ..entry() };
        assert_eq!(decode_entry(&encode_entry(&long)), Err("a path of too many relays"));
        assert_eq!(decode_totals(&encode_totals(&Totals::default())), Err("the totals of an empty queue"));
        assert_eq!(decode_known(&[0, 0]), Err("knows nothing"));
        assert_eq!(decode_known(&[2, 0]), Err("does not decode"));
    }
}
