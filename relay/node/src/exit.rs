//! Exit codes: one table for `liaison`, `liaisond` and `liaison-relay`.

use std::process::ExitCode;

/// How a command ended. The numbers follow sysexits.h where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; for `send`: durable in the outbox.
    Done = 0,
    /// The check failed, or a finding exists.
    Finding = 1,
    /// Wrong arguments.
    Usage = 2,
    /// Bad input data, or a signature that is not valid.
    Data = 65,
    /// An input file is missing.
    NoInput = 66,
    /// Unknown agency.
    NoAgency = 67,
    /// The daemon or relay cannot be reached.
    Unavailable = 69,
    /// A mistake of ours.
    Internal = 70,
    /// Disk or network trouble.
    Io = 74,
    /// Not yet: a wait ran out, a queue is full. What was accepted is safe.
    TryLater = 75,
    /// Refused by policy or permission.
    Refused = 77,
    /// The configuration is wrong.
    Config = 78,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// All, in order.
    pub const ALL: [Self; 13] = [
        Self::Done,
        Self::Finding,
        Self::Usage,
        Self::Data,
        Self::NoInput,
        Self::NoAgency,
        Self::Unavailable,
        Self::Internal,
        Self::Io,
        Self::TryLater,
        Self::Refused,
        Self::Config,
        Self::Interrupted,
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The exit with this number, if it is one of ours.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| exit.code() == code)
    }

    /// What it means, for the help topic `exit-codes`.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done; for send: durable in the outbox",
            Self::Finding => "the check failed, or a finding exists (check, doctor, verify)",
            Self::Usage => "usage error",
            Self::Data => "bad input data, or a signature that is not valid",
            Self::NoInput => "an input file is missing",
            Self::NoAgency => "unknown agency",
            Self::Unavailable => "the daemon or relay cannot be reached",
            Self::Internal => "internal error",
            Self::Io => "input/output error",
            Self::TryLater => "not yet: a wait ran out, a queue is full; what was accepted is safe",
            Self::Refused => "refused by policy or permission",
            Self::Config => "the configuration is wrong",
            Self::Interrupted => "interrupted",
        }
    }

    /// The table as `help exit-codes` prints it.
    #[must_use]
    pub fn help() -> String {
        Self::ALL.iter().map(|exit| format!("{:>4}  {}\n", exit.code(), exit.meaning())).collect()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_found_by_number() {
        for exit in Exit::ALL {
            assert_eq!(Exit::from_code(exit.code()), Some(exit));
        }
        assert_eq!(Exit::from_code(3), None);
        assert!(Exit::help().contains("  78  the configuration is wrong\n"));
    }
}
