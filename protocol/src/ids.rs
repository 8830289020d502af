//! Names and identifiers. A value that exists is valid.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hash::Hash;

/// Which rule a node's name breaks (SPEC.md, "Names").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// Names have 3 to 63 bytes.
    #[error("a name has 3 to 63 characters, '{name}' has {bytes}")]
    Length {
        /// The name, shortened to 80 characters.
        name: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// Only `a-z`, `0-9`, `.` and `-`; upper case is refused, never folded.
    #[error("'{character}' in '{name}' is not allowed: names use a-z, 0-9, '.' and '-'")]
    Character {
        /// The name.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// Labels between dots are neither empty nor start or end with a hyphen.
    #[error("'{name}' has an empty part between dots, or a part that starts or ends with '-'")]
    Label {
        /// The name.
        name: String,
    },
}

/// Shortest name in bytes.
pub const NAME_BYTES_MIN: usize = 3;
/// Longest name in bytes.
pub const NAME_BYTES_MAX: usize = 63;

// [NAME-1]
fn check_name(name: &str) -> Result<(), ParseIdError> {
    if !(NAME_BYTES_MIN..=NAME_BYTES_MAX).contains(&name.len()) {
        return Err(ParseIdError::Length { name: name.chars().take(80).collect(), bytes: name.len() });
    }
    let allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '.' || *c == '-';
    if let Some(character) = name.chars().find(|c| !allowed(c)) {
        return Err(ParseIdError::Character { name: name.into(), character });
    }
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    if name.split('.').all(is_label) { Ok(()) } else { Err(ParseIdError::Label { name: name.into() }) }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = ParseIdError;

            /// # Errors
            /// Names the first rule that `name` breaks.
            fn from_str(name: &str) -> Result<Self, Self::Err> {
                check_name(name)?;
                Ok(Self(name.into()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = ParseIdError;

            fn try_from(name: String) -> Result<Self, Self::Error> {
                name.parse()
            }
        }

        impl From<$type> for String {
            fn from(id: $type) -> Self {
                id.0.as_ref().into()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// An agency's name in the roster: lower-case labels joined by dots, 3 to 63 bytes (`ncb.ee`).
    AgencyId
}
name! {
    /// The name of any node in the roster: a relay (`eu-1`), or an agency's daemon, which goes by its agency's name.
    NodeId
}
name! {
    /// A region that relays serve (`europe`).
    Region
}

impl From<AgencyId> for NodeId {
    fn from(agency: AgencyId) -> Self {
        Self(agency.0)
    }
}

impl From<&AgencyId> for NodeId {
    fn from(agency: &AgencyId) -> Self {
        Self(agency.0.clone())
    }
}

impl NodeId {
    /// The same name as an agency's. Whether such an agency exists is the roster's to say.
    #[must_use]
    pub fn to_agency(&self) -> AgencyId {
        AgencyId(self.0.clone())
    }
}

macro_rules! opaque {
    ($(#[$doc:meta])* $type:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $type(pub [u8; $bytes]);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

opaque! {
    /// Names one federation and proves its first roots (SPEC.md, "Federation id").
    FederationId, 16
}
opaque! {
    /// First 8 bytes of a signing key's hash: a hint for look-up, never a proof.
    KeyId, 8
}
opaque! {
    /// First 16 bytes of a prekey's id.
    PrekeyId, 16
}

/// SHA-256 over the header bytes: same id, same message, everywhere (SPEC.md, "Message id").
///
/// People see it as lower-case Crockford base32: `Display` gives all 52 characters, [`MessageId::short`] the first 10.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MessageId(pub Hash);

const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl MessageId {
    /// Characters of the short form.
    pub const SHORT_CHARS: usize = 10;
    /// Characters of the full form: 256 bits, 5 a character.
    pub const FULL_CHARS: usize = 52;

    /// The first ten characters, as logs and lists show it.
    #[must_use]
    pub fn short(&self) -> String {
        self.characters().take(Self::SHORT_CHARS).collect()
    }

    fn characters(&self) -> impl Iterator<Item = char> + '_ {
        (0..Self::FULL_CHARS).map(|index| {
            let bits = (0..5).fold(0u8, |acc, offset| (acc << 1) | self.bit(index * 5 + offset));
            CROCKFORD.get(usize::from(bits)).map_or('0', |c| char::from(*c))
        })
    }

    /// Bit `index` from the most significant end; zero past the last.
    fn bit(&self, index: usize) -> u8 {
        self.0.0.get(index / 8).map_or(0, |byte| (byte >> (7 - index % 8)) & 1)
    }
}

impl FromStr for MessageId {
    type Err = ParseMessageIdError;

    /// # Errors
    /// Anything but the full form of 52 characters.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0u8; 32];
        if text.len() != Self::FULL_CHARS {
            return Err(ParseMessageIdError);
        }
        for (index, character) in text.bytes().enumerate() {
            let value = CROCKFORD.iter().position(|c| *c == character).ok_or(ParseMessageIdError)?;
            for offset in 0..5 {
                let bit = index * 5 + offset;
                let set = (value >> (4 - offset)) & 1 == 1;
                match bytes.get_mut(bit / 8) {
                    Some(byte) => *byte |= u8::from(set) << (7 - bit % 8),
                    None if set => return Err(ParseMessageIdError),
                    None => {}
                }
            }
        }
        Ok(Self(Hash(bytes)))
    }
}

/// Not a message id in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message id: 52 characters of lower-case Crockford base32")]
pub struct ParseMessageIdError;

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.characters().try_for_each(|c| write!(f, "{c}"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [NAME-1]
    #[test]
    fn names_follow_the_grammar() {
        for good in ["ncb.ee", "eu-1", "a1b", "igci.interpol"] {
            assert_eq!(good.parse::<NodeId>().unwrap().as_str(), good);
        }
        for bad in ["ab", "NCB.ee", "ncb..ee", ".ncb", "ncb.", "-ab", "ab-", "ncb_ee", "ñcb", &"a".repeat(64)] {
            assert!(bad.parse::<AgencyId>().is_err(), "{bad}");
        }
    }

    // [NAME-2]
    #[test]
    fn message_ids_round_trip_as_text() {
        let id = MessageId(Hash(std::array::from_fn(|i| (i * 37 + 5) as u8)));
        let text = id.to_string();
        assert_eq!(text.len(), MessageId::FULL_CHARS);
        assert!(text.starts_with(&id.short()));
        assert_eq!(text.parse::<MessageId>().unwrap(), id);
        assert!(text.to_uppercase().parse::<MessageId>().is_err());
    }

    // [NAME-2]
    #[test]
    fn spare_bits_of_the_last_character_must_be_zero() {
        let text = "0".repeat(51) + "1";
        assert!(text.parse::<MessageId>().is_err());
    }
}
