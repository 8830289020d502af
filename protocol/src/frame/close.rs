//! Why a link was closed (SPEC.md, "Close codes").

use std::fmt;

/// QUIC application error codes. Every close has one, and a short text beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CloseCode {
    /// The node stops, or no longer needs the link.
    Shutdown = 0,
    /// No version in common.
    Version = 1,
    /// The key that the peer proved is not in the roster.
    NotInRoster = 2,
    /// The hello names another node than the one whose key was proven.
    WrongIdentity = 3,
    /// The hello names another federation.
    Federation = 4,
    /// Bytes that no correct peer sends.
    ProtocolViolation = 5,
    /// A frame claims more bytes than its type allows.
    FrameTooLarge = 6,
    /// The peer was silent or did not read for too long.
    Timeout = 7,
    /// A newer roster no longer names the peer, or names another key for it.
    RosterRemoved = 8,
    /// The peer has a newer link.
    DuplicateLink = 9,
    /// This node cannot take another link now.
    Overload = 10,
    /// This node drains: it takes nothing new.
    Draining = 11,
}

impl CloseCode {
    /// All, in the order of their codes.
    pub const ALL: [Self; 12] = [
        Self::Shutdown,
        Self::Version,
        Self::NotInRoster,
        Self::WrongIdentity,
        Self::Federation,
        Self::ProtocolViolation,
        Self::FrameTooLarge,
        Self::Timeout,
        Self::RosterRemoved,
        Self::DuplicateLink,
        Self::Overload,
        Self::Draining,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The code behind a number; `None` for one that this version does not know.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|known| u64::from(known.code()) == code)
    }

    /// The word in logs, metrics and reasons.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Version => "version",
            Self::NotInRoster => "not-in-roster",
            Self::WrongIdentity => "wrong-identity",
            Self::Federation => "federation",
            Self::ProtocolViolation => "protocol-violation",
            Self::FrameTooLarge => "frame-too-large",
            Self::Timeout => "timeout",
            Self::RosterRemoved => "roster-removed",
            Self::DuplicateLink => "duplicate-link",
            Self::Overload => "overload",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_known_by_its_number_and_the_next_number_is_not() {
        for (number, code) in CloseCode::ALL.into_iter().enumerate() {
            assert_eq!(code.code() as usize, number);
            assert_eq!(CloseCode::from_code(number as u64), Some(code));
        }
        assert_eq!(CloseCode::from_code(CloseCode::ALL.len() as u64), None);
    }
}
