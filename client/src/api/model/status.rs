//! The daemon's condition and the federation as it sees it.

use liaison_protocol::{AgencyId, NodeId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Precedence, Time};

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Whose daemon this is.
    #[schema(value_type = String)]
    pub agency: AgencyId,
    /// Its version.
    pub version: String,
    /// Since when it runs.
    pub started: Time,
    /// Seconds since.
    pub uptime_s: u64,
    /// The roster that holds.
    pub roster: RosterStatus,
    /// Links to home relays, in order of preference.
    pub links: Vec<LinkStatus>,
    /// What was sent.
    pub outbox: OutboxStatus,
    /// What was received.
    pub inbox: InboxStatus,
    /// The disk.
    pub store: StoreStatus,
    /// The clock.
    pub clock: ClockStatus,
    /// Last day for which this agency has published a prekey. Past it, nobody can write to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prekeys_until: Option<Time>,
    /// What needs somebody, in words; `GET /v1/doctor` says what to do.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// Where the event stream stands.
    pub cursor: u64,
}

/// The roster that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RosterStatus {
    /// The federation's id, hexadecimal.
    pub federation: String,
    /// Rises by one with every roster.
    pub version: u32,
    /// SHA-256 of the document, 64 hexadecimal digits.
    pub hash: String,
    /// When it was signed.
    pub issued: Time,
    /// When it ends. Nothing is accepted 14 days later.
    pub expires: Time,
    /// Valid root signatures on it.
    pub signatures: u32,
    /// How many it needs.
    pub threshold: u32,
    /// Root keys there are.
    pub roots: u32,
}

/// A link's condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Hello exchanged.
    Up,
    /// Being tried.
    Connecting,
    /// Waiting for the next try.
    Down,
    /// From a newer daemon.
    #[serde(other)]
    Unknown,
}

/// A link to a home relay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LinkStatus {
    /// The relay.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Its region, by the roster.
    #[serde(default)]
    pub region: String,
    /// Its condition.
    pub state: LinkState,
    /// Since when it is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Round trip in milliseconds, while up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Last frame from it: up and silent is not the same as down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_receive: Option<Time>,
    /// Why it is not up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Time>,
}

/// What was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutboxStatus {
    /// Messages kept because a delivery receipt is not in.
    pub open: u64,
    /// Of these, not yet taken by any relay.
    pub waiting: u64,
    /// Bytes of the open ones.
    pub bytes: u64,
    /// The oldest open one was sent then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Time>,
}

/// What was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InboxStatus {
    /// Messages kept.
    pub messages: u64,
    /// Of these, unread.
    pub unread: u64,
    /// Of these, with attachments still arriving.
    pub arriving: u64,
    /// Bytes of attachments that no message here announces yet.
    #[serde(default)]
    pub unannounced_bytes: u64,
}

/// The disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreStatus {
    /// Bytes used by the store.
    pub used_bytes: u64,
    /// Bytes free on its file system.
    pub free_bytes: u64,
    /// Below this the daemon takes nothing more.
    pub min_free_bytes: u64,
}

/// The clock, against the relays'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClockStatus {
    /// This clock minus theirs in milliseconds; absent while nobody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_ms: Option<i64>,
    /// Whose clock that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub against: Option<NodeId>,
}

/// `GET /v1/agencies`: the agencies of the roster, by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Agencies {
    /// Of the roster.
    pub roster_version: u32,
    /// All of them, this one too.
    pub agencies: Vec<AgencyView>,
}

/// One agency, as this one may deal with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgencyView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: AgencyId,
    /// Its name in words.
    pub name: String,
    /// Its home relays, in order of preference.
    #[schema(value_type = Vec<String>)]
    pub home: Vec<NodeId>,
    /// `active`, or why not, as the roster says.
    pub status: String,
    /// This is the asking agency.
    #[serde(default)]
    pub me: bool,
    /// The highest precedence at which we may write to it; absent: no agreement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub we_may_send: Option<Precedence>,
    /// The highest precedence at which it may write to us; absent: no agreement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub they_may_send: Option<Precedence>,
    /// Ids of its signing keys, 16 hexadecimal digits each.
    pub keys: Vec<String>,
    /// Last day for which we hold a prekey of it; absent: none, a message waits in the outbox for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prekeys_until: Option<Time>,
    /// Longest lifetime of a message to it, in seconds.
    pub lifetime_max_s: u64,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Will become a failure.
    Warn,
    /// Something does not work.
    Fail,
}

/// One check and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// Stable name of the check: `clock`, `roster`, `relay ap-1`.
    pub id: String,
    /// How bad.
    pub level: Level,
    /// What is so.
    pub text: String,
    /// The command or deed that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// `GET /v1/doctor`: every check, those that are well too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Doctor {
    /// In a fixed order.
    pub findings: Vec<Finding>,
}
