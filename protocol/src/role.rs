//! The two kinds of node.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a node is in the roster. On the wire `u8`: 1 relay, 2 agency (SPEC.md, "Hello").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Role {
    /// Serves a region: holds and forwards.
    Relay = 1,
    /// An agency's daemon: sends and receives.
    Agency = 2,
}

impl Role {
    /// The word that people and metrics use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Agency => "agency",
        }
    }
}

impl From<Role> for u8 {
    fn from(role: Role) -> Self {
        role as Self
    }
}

impl TryFrom<u8> for Role {
    type Error = ParseRoleError;

    fn try_from(value: u8) -> Result<Self, Self::Error> {
        match value {
            1 => Ok(Self::Relay),
            2 => Ok(Self::Agency),
            _ => Err(ParseRoleError),
        }
    }
}

/// Neither of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is 1 (relay) or 2 (agency)")]
pub struct ParseRoleError;

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
