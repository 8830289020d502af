//! The words and texts that the other types are made of.

use std::fmt;
use std::str::FromStr;

use liaison_protocol::ids::ParseMessageIdError;
use liaison_protocol::{MessageId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// A message's id in full: 52 characters of lower-case Crockford base32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[0-9a-hjkmnp-tv-z]{51}[0g]$", example = "4m7x0qd2ka0000000000000000000000000000000000000000g0")]
pub struct Id(pub MessageId);

impl Id {
    /// The first ten characters, as lists show it.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Id {
    type Err = ParseMessageIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for Id {
    type Error = ParseMessageIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.to_string()
    }
}

impl From<MessageId> for Id {
    fn from(id: MessageId) -> Self {
        Self(id)
    }
}

/// An instant: RFC 3339 in UTC with milliseconds, `2026-11-24T14:02:11.204Z`. Any offset is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, format = DateTime, example = "2026-11-24T14:02:11.204Z")]
pub struct Time(pub Timestamp);

impl Time {
    /// The same instant for a calendar. Times past the year 9999 become its end.
    #[must_use]
    pub fn to_jiff(self) -> jiff::Timestamp {
        let millis = i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_jiff().strftime("%Y-%m-%dT%H:%M:%S.%3fZ"))
    }
}

impl FromStr for Time {
    type Err = ParseWordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseWordError { wanted: "an RFC 3339 time, like 2026-11-24T14:02:11Z", got: shorten(text) };
        let at: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
        u64::try_from(at.as_millisecond()).map(|millis| Self(Timestamp::from_millis(millis))).map_err(|_| wrong())
    }
}

impl TryFrom<String> for Time {
    type Error = ParseWordError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.to_string()
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

/// A word outside the list that its place allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{got}' is not {wanted}")]
pub struct ParseWordError {
    wanted: &'static str,
    got: String,
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// An enum whose JSON, command line and text forms are one list of words.
macro_rules! words {
    ($(#[doc = $doc:literal])* $type:ident: $wanted:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $type {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $type {
            /// All of them, in the order of their meaning.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        // Not derived: the derive does not see words that come from a macro.
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([$($word),+]));
                words.description(Some(concat!($($doc),*).trim())).into()
            }
        }

        impl ToSchema for $type {}

        impl FromStr for $type {
            type Err = ParseWordError;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.iter().copied().find(|known| known.as_str() == word);
                found.ok_or_else(|| ParseWordError { wanted: concat!("one of ", $wanted), got: shorten(word) })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// How urgent a message is.
    Precedence: "routine, priority, immediate, flash" {
        /// No hurry.
        Routine = "routine",
        /// Before routine.
        Priority = "priority",
        /// Before priority.
        Immediate = "immediate",
        /// Before everything.
        Flash = "flash",
    }
}

impl From<liaison_protocol::Precedence> for Precedence {
    fn from(precedence: liaison_protocol::Precedence) -> Self {
        match precedence {
            liaison_protocol::Precedence::Routine => Self::Routine,
            liaison_protocol::Precedence::Priority => Self::Priority,
            liaison_protocol::Precedence::Immediate => Self::Immediate,
            liaison_protocol::Precedence::Flash => Self::Flash,
        }
    }
}

impl From<Precedence> for liaison_protocol::Precedence {
    fn from(precedence: Precedence) -> Self {
        match precedence {
            Precedence::Routine => Self::Routine,
            Precedence::Priority => Self::Priority,
            Precedence::Immediate => Self::Immediate,
            Precedence::Flash => Self::Flash,
        }
    }
}

words! {
    /// Traffic light protocol 2.0: how far the recipient may share.
    Tlp: "clear, green, amber, amber+strict, red" {
        /// Anyone.
        Clear = "clear",
        /// The community.
        Green = "green",
        /// The organisation and its clients.
        Amber = "amber",
        /// The organisation only.
        AmberStrict = "amber+strict",
        /// The named recipients only.
        Red = "red",
    }
}

words! {
    /// What the text is written in.
    ContentType: "text, stix, misp, umf" {
        /// Plain text.
        Text = "text",
        /// A STIX 2.1 bundle.
        Stix = "stix",
        /// A MISP event.
        Misp = "misp",
        /// An UMF document.
        Umf = "umf",
    }
}
