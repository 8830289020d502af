//! Strict JSON: what two parsers could read differently is refused, not guessed (SPEC.md, "Roster").

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Objects and arrays inside one another.
pub(crate) const DEPTH_MAX: usize = 16;

/// Why a text is not the JSON that we accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or a rule of the subset is broken; the parser's words, with line and column.
    #[error("not strict JSON: {detail}")]
    Syntax {
        /// What the parser says.
        detail: String,
    },
    /// Longer than its bound; nothing was parsed.
    #[error("{bytes} bytes of JSON, at most {bytes_max} allowed")]
    TooLong {
        /// What came.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
}

/// Parses one JSON value: no duplicate keys, no depth over [`DEPTH_MAX`], no number but `u64`, no byte order mark,
/// nothing after it.
///
/// # Errors
/// [`JsonError`].
// [ROSTER-4]
pub(crate) fn parse(bytes: &[u8], bytes_max: usize) -> Result<Value, JsonError> {
    if bytes.len() > bytes_max {
        return Err(JsonError::TooLong { bytes: bytes.len(), bytes_max });
    }
    let syntax = |error: serde_json::Error| JsonError::Syntax { detail: error.to_string() };
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth_left: DEPTH_MAX }.deserialize(&mut parser).map_err(syntax)?;
    parser.end().map_err(syntax)?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1);
        depth_left.map(|depth_left| Self { depth_left }).ok_or_else(|| E::custom("nested too deeply"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, array, string, boolean, null or whole number from 0")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key occurs twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) -> bool {
        parse(text.as_bytes(), 1 << 20).is_ok()
    }

    // [ROSTER-4]
    #[test]
    fn what_parsers_disagree_about_is_refused() {
        assert!(accepts(r#"{"a": 1, "b": [true, null, "x"], "c": {"a": 18446744073709551615}}"#));
        for bad in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"x": {"a": 1, "\u0061": 2}}"#,
            r#"{"a": 18446744073709551616}"#,
            r#"{"a": 1e400}"#,
            r#"{"a": 1.0}"#,
            r#"{"a": -1}"#,
            "\u{feff}{}",
            "{} {}",
            r#"{"a": 1,}"#,
            r#"{"a": "\ud800"}"#,
            "",
        ] {
            assert!(!accepts(bad), "{bad}");
        }
    }

    #[test]
    fn sixteen_levels_are_enough_and_one_more_is_refused() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(accepts(&nested(DEPTH_MAX)));
        assert!(!accepts(&nested(DEPTH_MAX + 1)));
        assert!(!accepts(&nested(1_000_000)));
    }

    #[test]
    fn the_bound_is_checked_before_parsing() {
        let spaces = vec![b' '; 17];
        assert_eq!(parse(&spaces, 16), Err(JsonError::TooLong { bytes: 17, bytes_max: 16 }));
    }
}
