//! What an audit shows an operator: what went from this relay to each other one, hour by hour, and what of it is missing.

use liaison_protocol::{Hash, Hour, MessageId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::status::{as_text, hash_hex};

/// All hours since some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// True if a comparison is under way: what follows may change in a moment.
    pub comparing: bool,
    /// By peer and hour.
    pub hours: Vec<AuditHour>,
}

/// One peer and hour. An hour is named by when the releasing relay had accepted custody, by its clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHour {
    /// With whom.
    pub peer: NodeId,
    /// The hour's beginning.
    pub hour_ms: Timestamp,
    /// Entries released to the peer.
    pub released: u64,
    /// The sum of their hashes (SPEC.md, "Conservation").
    #[serde(with = "hash_hex")]
    pub released_sum: Hash,
    /// Entries accepted from the peer.
    pub accepted: u64,
    /// The result of comparing releases.
    pub state: AuditState,
    /// The time at which entries were found to be missing.
    pub found_ms: Option<Timestamp>,
    /// The number of missing entries.
    pub missing: u64,
    /// The first thousand of them.
    pub named: Vec<MissingEntry>,
}

/// The progress of an hour's comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditState {
    /// The peer accepted all that was released to it.
    Agreed,
    /// The peer does not know some of it.
    Missing,
    /// Nothing was released.
    None,
    /// Not compared since it last grew.
    Open,
}

impl AuditState {
    /// The word that people see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::Missing => "missing",
            Self::None => "-",
            Self::Open => "not compared yet",
        }
    }
}

/// An entry that was released to a peer, and that the peer does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingEntry {
    /// The message, in full.
    #[serde(with = "as_text")]
    pub id: MessageId,
    /// The recipient's place in its header.
    pub index: u16,
    /// Submission by its sender that was released.
    pub attempt: u8,
    /// The submission that has passed here since. `None`: it was delivered before it was lost, or its sender has not
    /// heard yet.
    pub sent_again: Option<u8>,
}

impl AuditHour {
    /// Nothing known yet.
    #[must_use]
    pub const fn new(peer: NodeId, hour: Hour) -> Self {
        Self {
            peer,
            hour_ms: hour.start(),
            released: 0,
            released_sum: Hash::ZERO,
            accepted: 0,
            state: AuditState::None,
            found_ms: None,
            missing: 0,
            named: Vec::new(),
        }
    }
}
