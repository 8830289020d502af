//! Why a node refuses a message: the codes that two implementations share.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $word:literal;)*) => {
        /// A refusal's code on the wire, `u16` (SPEC.md, "Refusals").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "u16", into = "u16")]
        pub enum RefusalReason {
            $($(#[$doc])* $name = $code,)*
        }

        impl RefusalReason {
            /// All of them, by code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word that people, logs and metrics use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

reasons! {
    /// Its lifetime is over.
    Expired = 1, "expired";
    /// No agreement lets this sender write to this recipient at this precedence.
    NoAgreement = 2, "no-agreement";
    /// The recipient is not in the roster, or not in the header.
    UnknownRecipient = 3, "unknown-recipient";
    /// A quota is used up.
    Quota = 4, "quota";
    /// Sealed to a prekey whose private half is gone: seal again to a newer one.
    KeyUnavailable = 5, "key-unavailable";
    /// The signature does not cover these bytes.
    BadSignature = 6, "bad-signature";
    /// It does not open: wrap, commitment, body or padding, and deliberately not which.
    BadWrap = 7, "bad-wrap";
    /// It breaks a rule of SPEC.md.
    Malformed = 8, "malformed";
    /// A version, suite or critical extension that this node does not know.
    UnsupportedSuite = 9, "unsupported-suite";
    /// The sender's key has ended: by its time, or because a roster took it out.
    RevokedSender = 10, "revoked-sender";
    /// Its times are further from ours than clocks may differ.
    Clock = 11, "clock";
    /// Larger than a limit.
    TooLarge = 12, "too-large";
    /// Seen before (told to operators only).
    Replay = 13, "replay";
    /// It came back to a relay that it had passed, or passed too many.
    Loop = 14, "loop";
    // 15 stays free: a draft had given it a meaning.
    /// The node is going down for maintenance and takes nothing new.
    Draining = 16, "draining";
    /// The node's disk is at its low-water mark.
    DiskLow = 17, "disk-low";
    /// No path to the recipient is known.
    NoRoute = 18, "no-route";
    /// The sender, or its key, is not in the roster.
    UnknownSender = 19, "unknown-sender";
    /// Its sender withdrew it.
    Cancelled = 20, "cancelled";
    /// The agency hands over more in a second than it may.
    Rate = 21, "rate";
}

impl RefusalReason {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }
}

/// A code that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown refusal code {code}")]
pub struct UnknownReason {
    /// The code.
    pub code: u16,
}

impl TryFrom<u16> for RefusalReason {
    type Error = UnknownReason;

    fn try_from(code: u16) -> Result<Self, Self::Error> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code).ok_or(UnknownReason { code })
    }
}

impl From<RefusalReason> for u16 {
    fn from(reason: RefusalReason) -> Self {
        reason.code()
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_numbers_of_the_specification_and_round_trip() {
        let codes: Vec<u16> = RefusalReason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes, (1..=21).filter(|code| *code != 15).collect::<Vec<u16>>());
        for reason in RefusalReason::ALL {
            assert_eq!(RefusalReason::try_from(reason.code()), Ok(*reason));
        }
        assert_eq!(RefusalReason::try_from(0), Err(UnknownReason { code: 0 }));
        assert_eq!(RefusalReason::BadWrap.to_string(), "bad-wrap");
    }
}
