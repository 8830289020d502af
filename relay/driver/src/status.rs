//! What an operator sees of a node: plain data, the same for terminal, JSON, page and metrics.
//!
//! Instants end in `_ms` and are milliseconds since the epoch; spans say their unit.

use std::fmt::Display;
use std::str::FromStr;

use liaison_core::op::RANKS;
use liaison_protocol::roster::RosterVersion;
use liaison_protocol::{AgencyId, Hash, MessageId, NodeId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use liaison_protocol::role::Role;

/// One screen: the node as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub id: NodeId,
    /// Relay or daemon.
    #[serde(with = "role_word")]
    pub role: Role,
    /// The region that a relay serves; empty for a daemon.
    pub region: String,
    /// Of the program.
    pub version: String,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// True if an operator has asked it to take no new custody.
    pub draining: bool,
    /// By how much this clock is ahead of the peers', if any peer has said.
    pub clock_offset_ms: Option<i64>,
    /// True if this clock can be right, by the peers'. A relay whose clock is off takes no custody.
    #[serde(default)]
    pub clock: ClockStanding,
    /// The roster that it follows.
    pub roster: RosterStatus,
    /// The disk.
    pub store: StoreStatus,
    /// Every peer that it is, or ought to be, linked to; by name.
    pub links: Vec<LinkStatus>,
    /// Every queue that holds something; by name.
    pub queues: Vec<QueueStatus>,
    /// Alarms: conditions that need an operator, in words, the worst first.
    pub alarms: Vec<String>,
}

/// The roster that a node follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterStatus {
    /// Its version.
    pub version: RosterVersion,
    /// SHA-256 of its payload.
    #[serde(with = "hash_hex")]
    pub hash: Hash,
    /// The time when it ends.
    pub expires_ms: Timestamp,
    /// Valid signatures of trusted roots on it.
    pub signed: u32,
    /// The number of it needs.
    pub threshold: u32,
    /// The roster's validity at this time.
    pub standing: RosterStanding,
    /// The time when this node's own keys end, by the roster.
    pub own_keys_expire_ms: Option<Timestamp>,
    /// A newer version that peers have spoken of for a day, and that never came.
    #[serde(default)]
    pub frozen_at: Option<RosterVersion>,
}

/// Two rosters of one version, both signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkReport {
    /// Of both.
    pub version: RosterVersion,
    /// The one that this node follows.
    pub followed: ForkSide,
    /// The other one.
    pub other: ForkSide,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkSide {
    /// SHA-256 of its payload.
    #[serde(with = "hash_hex")]
    pub hash: Hash,
    /// The time when it was made, it says.
    pub issued_ms: Timestamp,
    /// The time when it ends.
    pub expires_ms: Timestamp,
}

/// A roster's validity at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RosterStanding {
    /// In force.
    Current,
    /// Ended, and its days of grace too: no new custody.
    Expired,
    /// Two rosters of one version are in circulation: no update until an operator settles it.
    Forked,
    /// Ended; still used for its days of grace.
    Grace,
}

/// A clock against the peers'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockStanding {
    /// Most peers' clocks are more than five minutes away.
    Off,
    /// It is not, or too few have said.
    #[default]
    Sane,
}

/// The disk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Bytes of the store's files.
    pub used_bytes: u64,
    /// Bytes free on its file system.
    pub free_bytes: u64,
    /// New custody is refused below this.
    pub low_water_bytes: u64,
    /// True if it takes new custody: not full, not failed.
    pub writable: bool,
    /// Median of the latest commits.
    pub commit_p50_ms: Option<f64>,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// The peer.
    pub peer: NodeId,
    /// The peer's role in the roster.
    #[serde(with = "role_word")]
    pub role: Role,
    /// Hello exchanged.
    pub up: bool,
    /// Round trip, while up.
    pub rtt_ms: Option<f64>,
    /// The time when it came up, or went down; `None`: never up since this node started.
    pub since_ms: Option<Timestamp>,
    /// Last frame from it: up and silent is not the same as down.
    pub last_receive_ms: Option<Timestamp>,
    /// Since when tries have failed.
    pub failure_since_ms: Option<Timestamp>,
    /// The reason why it is down.
    pub last_error: Option<String>,
    /// The time when it is tried again; `None`: it is the peer that dials.
    pub next_try_ms: Option<Timestamp>,
}

/// One agency's queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// The agency.
    pub queue: AgencyId,
    /// To whom it drains; `None`: held until a link comes up.
    pub via: Option<NodeId>,
    /// Entries in custody.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The time when the oldest was accepted.
    pub oldest_ms: Option<Timestamp>,
    /// Entries by rank: flash, immediate, priority, routine, bulk ([`Rank::ALL`]).
    pub by_precedence: [u64; RANKS as usize],
    /// Bytes by rank.
    pub bytes_by_precedence: [u64; RANKS as usize],
    /// The time when the oldest was accepted, by rank.
    pub oldest_by_precedence_ms: [Option<Timestamp>; RANKS as usize],
    /// The state of its flow.
    pub state: QueueState,
    /// The next holder's last answer.
    pub last_error: Option<String>,
    /// The time when it is tried again; `None`: as soon as a link comes up.
    pub next_try_ms: Option<Timestamp>,
}

/// The flow of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueState {
    /// The next holder refused, and is asked again later.
    Backoff,
    /// On its way.
    Flowing,
    /// No link leads on.
    Offline,
}

impl QueueState {
    /// The word that people see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backoff => "backoff",
            Self::Flowing => "flowing",
            Self::Offline => "offline",
        }
    }
}

/// The lane of an entry: a precedence, or bulk for chunks of attachments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rank {
    /// First.
    Flash,
    /// Second.
    Immediate,
    /// Third.
    Priority,
    /// Fourth.
    Routine,
    /// Chunks, after everything else.
    Bulk,
}

impl Rank {
    /// In the order in which queues drain: the index is the rank's number.
    pub const ALL: [Self; RANKS as usize] = [Self::Flash, Self::Immediate, Self::Priority, Self::Routine, Self::Bulk];

    /// The rank of this number: `Position::rank`. Anything above is bulk.
    #[must_use]
    pub fn from_number(rank: u8) -> Self {
        Self::ALL.get(usize::from(rank)).copied().unwrap_or(Self::Bulk)
    }

    /// The word that people and metrics use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flash => "flash",
            Self::Immediate => "immediate",
            Self::Priority => "priority",
            Self::Routine => "routine",
            Self::Bulk => "bulk",
        }
    }
}

/// One entry of a queue, from its header: content is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueEntry {
    /// The envelope, in full.
    #[serde(with = "as_text")]
    pub id: MessageId,
    /// For whom.
    pub queue: AgencyId,
    /// Its lane.
    pub rank: Rank,
    /// Its place in the queue, rising.
    pub seq: u64,
    /// The signer.
    pub sender: NodeId,
    /// The node that handed it over.
    pub from: NodeId,
    /// Relays it has passed before.
    pub path: Vec<NodeId>,
    /// Submission by its sender, from 1.
    pub attempt: u8,
    /// The time at which custody was accepted here.
    pub accepted_ms: Timestamp,
    /// The time at which custody ends in a notice.
    pub expires_ms: Timestamp,
    /// Size of the envelope.
    pub bytes: u32,
}

/// This node's knowledge of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The message, in full.
    #[serde(with = "as_text")]
    pub id: MessageId,
    /// Entries in custody here, one for each recipient.
    pub entries: Vec<QueueEntry>,
    /// The message's steps at this node, in order, as far back as the node remembers.
    pub events: Vec<TraceEvent>,
}

/// Something that happened to a message at this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEvent {
    /// The time, where it is remembered.
    pub at_ms: Option<Timestamp>,
    /// The step.
    pub what: TraceStep,
    /// For which recipients; empty where all are meant.
    pub agencies: Vec<AgencyId>,
    /// From or to whom, if another node has to do with it.
    pub peer: Option<NodeId>,
    /// In words, where the rest does not say it all.
    pub detail: String,
}

/// A step of a message at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceStep {
    /// Custody taken, durable.
    Accepted,
    /// It came again, and was not taken again.
    Duplicate,
    /// Custody ended here.
    Ended,
    /// Custody ended by expiry.
    Expired,
    /// A next holder took custody, by its acknowledgement.
    Forwarded,
    /// A notice to its sender was made.
    Notice,
    /// Custody was not taken here.
    Refused,
    /// A next holder would not take it.
    RefusedByPeer,
    /// Sent to a next holder.
    Sent,
}

impl TraceStep {
    /// The word that people see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::Forwarded => "forwarded",
            Self::Notice => "notice",
            Self::Refused => "refused",
            Self::RefusedByPeer => "refused by peer",
            Self::Sent => "sent",
        }
    }
}

/// One condition of being ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// `clock`, `draining`, `roster`, `store`.
    pub name: String,
    /// True if it holds.
    pub ok: bool,
    /// The fact.
    pub text: String,
}

/// A clock further off than this is worth a word; see [`ClockStanding`] for what stops custody.
pub const CLOCK_OFFSET_MS_MAX: u64 = 30_000;

impl NodeStatus {
    /// True if this node takes new custody, condition by condition. A peer that is down is none of them.
    #[must_use]
    pub fn readiness(&self) -> Vec<Condition> {
        let condition = |name: &str, ok, text: String| Condition { name: name.into(), ok, text };
        let clock = match self.clock_offset_ms {
            Some(offset) => format!("{offset} ms ahead of the peers'"),
            None => "no peer to compare with".into(),
        };
        let roster = match self.roster.standing {
            RosterStanding::Current => "in force",
            RosterStanding::Expired => "ended, and its days of grace too",
            RosterStanding::Forked => "two rosters of one version are in circulation; the first is followed",
            RosterStanding::Grace => "ended; days of grace",
        };
        let store = format!(
            "{} bytes free, custody is refused below {}{}",
            self.store.free_bytes,
            self.store.low_water_bytes,
            if self.store.writable { "" } else { "; not taking anything" }
        );
        vec![
            condition("clock", self.clock == ClockStanding::Sane, clock),
            condition("draining", !self.draining, if self.draining { "yes" } else { "no" }.into()),
            condition("roster", self.roster.standing != RosterStanding::Expired, roster.into()),
            condition("store", self.store.writable, store),
        ]
    }
}

/// A hash, as its `Display` writes it.
#[must_use]
pub fn hash_from_hex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(Hash(hash))
}

pub(crate) mod as_text {
    use super::*;

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod role_word {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(role.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Role, D::Error> {
        match String::deserialize(from)?.as_str() {
            "agency" => Ok(Role::Agency),
            "relay" => Ok(Role::Relay),
            other => Err(D::Error::unknown_variant(other, &["agency", "relay"])),
        }
    }
}

pub(crate) mod hash_hex {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(hash)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(from)?;
        hash_from_hex(&text).ok_or_else(|| D::Error::invalid_length(text.len(), &"64 hexadecimal digits"))
    }
}
