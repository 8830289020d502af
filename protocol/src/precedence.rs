//! How urgent a message is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How urgent a message is, least first. On the wire `u8` 0 to 3 (SPEC.md, "Precedence").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Precedence {
    /// No hurry.
    #[default]
    Routine,
    /// Before routine.
    Priority,
    /// Before priority.
    Immediate,
    /// Before everything; keeps a reserve of every quota.
    Flash,
}

impl Precedence {
    /// All, most urgent first: the order in which queues drain.
    pub const DRAIN_ORDER: [Self; 4] = [Self::Flash, Self::Immediate, Self::Priority, Self::Routine];

    /// 0 for flash to 3 for routine, so that ascending keys drain in order.
    #[must_use]
    pub const fn rank(self) -> u8 {
        3 - (self as u8)
    }

    /// The inverse of [`Precedence::rank`].
    #[must_use]
    pub const fn from_rank(rank: u8) -> Option<Self> {
        match rank {
            0 => Some(Self::Flash),
            1 => Some(Self::Immediate),
            2 => Some(Self::Priority),
            3 => Some(Self::Routine),
            _ => None,
        }
    }

    /// The word that people and metrics use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::Priority => "priority",
            Self::Immediate => "immediate",
            Self::Flash => "flash",
        }
    }
}

impl From<Precedence> for u8 {
    fn from(precedence: Precedence) -> Self {
        precedence as Self
    }
}

impl TryFrom<u8> for Precedence {
    type Error = ParsePrecedenceError;

    fn try_from(value: u8) -> Result<Self, Self::Error> {
        3u8.checked_sub(value).and_then(Self::from_rank).ok_or(ParsePrecedenceError)
    }
}

/// Not one of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("precedence is one of routine, priority, immediate, flash")]
pub struct ParsePrecedenceError;

impl FromStr for Precedence {
    type Err = ParsePrecedenceError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::DRAIN_ORDER.into_iter().find(|p| p.as_str() == word).ok_or(ParsePrecedenceError)
    }
}

impl fmt::Display for Precedence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
