//! [ENC-3] Lists, bytes and text whose length is checked against its bound before anything is allocated.
//!
//! For `#[serde(deserialize_with = "…")]` on a field that a peer fills. What these refuse shows as
//! [`Malformed::Undecodable`](crate::Malformed::Undecodable).

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serializer};

/// Elements that memory is set aside for before the first of them has been read.
const RESERVE_MAX: usize = 16;

/// A list of at most `MAX` elements. Memory grows with the elements that are there, not with the claimed length.
///
/// # Errors
/// A longer list, by its claimed length already; an element that does not decode.
pub fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct List<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let claimed = seq.size_hint().unwrap_or(0);
            if claimed > MAX {
                return Err(A::Error::invalid_length(claimed, &self));
            }
            let mut items = Vec::with_capacity(claimed.min(RESERVE_MAX));
            while let Some(item) = seq.next_element()? {
                if items.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                items.push(item);
            }
            Ok(items)
        }
    }

    deserializer.deserialize_seq(List::<T, MAX>(PhantomData))
}

struct Octets<const MAX: usize>;

impl<const MAX: usize> Visitor<'_> for Octets<MAX> {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        if bytes.len() > MAX { Err(E::invalid_length(bytes.len(), &self)) } else { Ok(bytes.to_vec()) }
    }
}

/// At most `MAX` bytes.
///
/// # Errors
/// More of them, or fewer than claimed.
pub fn bytes<'de, D: Deserializer<'de>, const MAX: usize>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    deserializer.deserialize_bytes(Octets::<MAX>)
}

/// The other half of [`bytes`]: as bytes, not as a list of numbers (the same on the wire, and faster).
///
/// # Errors
/// The serializer's.
pub fn serialize_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// As [`bytes`], into [`Bytes`].
///
/// # Errors
/// As [`bytes`].
pub fn shared<'de, D: Deserializer<'de>, const MAX: usize>(deserializer: D) -> Result<Bytes, D::Error> {
    bytes::<D, MAX>(deserializer).map(Bytes::from)
}

/// UTF-8 text of at most `MAX` bytes.
///
/// # Errors
/// More of them, fewer than claimed, or not UTF-8.
pub fn text<'de, D: Deserializer<'de>, const MAX: usize>(deserializer: D) -> Result<String, D::Error> {
    struct Text<const MAX: usize>;

    impl<const MAX: usize> Visitor<'_> for Text<MAX> {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "text of at most {MAX} bytes")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            if text.len() > MAX { Err(E::invalid_length(text.len(), &self)) } else { Ok(text.to_owned()) }
        }
    }

    deserializer.deserialize_str(Text::<MAX>)
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::codec;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Lists {
        #[serde(deserialize_with = "list::<_, _, 3>")]
        list: Vec<u32>,
        #[serde(deserialize_with = "shared::<_, 3>")]
        bytes: Bytes,
        #[serde(deserialize_with = "text::<_, 3>")]
        text: String,
    }

    #[test]
    fn what_is_within_its_bound_round_trips() {
        let lists = Lists { list: vec![1, 2, 300], bytes: Bytes::from_static(b"abc"), text: "xyz".into() };
        assert_eq!(codec::decode("lists", &codec::encode(&lists), 100), Ok(lists));
    }

    #[test]
    fn one_more_than_the_bound_is_refused() {
        for lists in [
            Lists { list: vec![1, 2, 3, 4], bytes: Bytes::new(), text: String::new() },
            Lists { list: vec![], bytes: Bytes::from_static(b"abcd"), text: String::new() },
            Lists { list: vec![], bytes: Bytes::new(), text: "wxyz".into() },
        ] {
            assert!(codec::decode::<Lists>("lists", &codec::encode(&lists), 100).is_err());
        }
    }
}
