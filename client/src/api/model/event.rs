//! The event stream.

use liaison_protocol::{AgencyId, NodeId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Id, Precedence, Time, Tlp};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum EventKind {
    /// A message is durable in the outbox.
    #[serde(rename = "message.stored")]
    Stored,
    /// A relay took custody; its receipt verified.
    #[serde(rename = "message.custody")]
    Custody,
    /// A recipient has it; its receipt verified.
    #[serde(rename = "message.delivered")]
    Delivered,
    /// A recipient has read it.
    #[serde(rename = "message.read")]
    Read,
    /// Expired, or refused for good, for one recipient.
    #[serde(rename = "message.undeliverable")]
    Undeliverable,
    /// Called back.
    #[serde(rename = "message.cancelled")]
    Cancelled,
    /// Sealed anew to another key of the recipient.
    #[serde(rename = "message.resealed")]
    Resealed,
    /// Sent again as it is: its holder has lost it, or nothing was heard for long.
    #[serde(rename = "message.resubmitted")]
    Resubmitted,
    /// A message is durable in the inbox, its text readable.
    #[serde(rename = "message.received")]
    Received,
    /// The last attachment of a received message is here too.
    #[serde(rename = "message.complete")]
    Complete,
    /// A link to a relay is up.
    #[serde(rename = "link.up")]
    LinkUp,
    /// It is down.
    #[serde(rename = "link.down")]
    LinkDown,
    /// A newer roster holds.
    #[serde(rename = "roster.changed")]
    RosterChanged,
    /// Prekeys of this agency are published that its daemon did not make: an alarm.
    #[serde(rename = "prekeys.foreign")]
    PrekeysForeign,
    /// Store and prekeys were not of one time, as after a restore: new prekeys are published.
    #[serde(rename = "prekeys.restarted")]
    PrekeysRestarted,
    /// From a newer daemon.
    #[serde(other, rename = "unknown")]
    Unknown,
}

impl EventKind {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "message.stored",
            Self::Custody => "message.custody",
            Self::Delivered => "message.delivered",
            Self::Read => "message.read",
            Self::Undeliverable => "message.undeliverable",
            Self::Cancelled => "message.cancelled",
            Self::Resealed => "message.resealed",
            Self::Resubmitted => "message.resubmitted",
            Self::Received => "message.received",
            Self::Complete => "message.complete",
            Self::LinkUp => "link.up",
            Self::LinkDown => "link.down",
            Self::RosterChanged => "roster.changed",
            Self::PrekeysForeign => "prekeys.foreign",
            Self::PrekeysRestarted => "prekeys.restarted",
            Self::Unknown => "unknown",
        }
    }
}

/// One event. Carries who and what about, never content: ask for the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Durable and rising: a reader that comes back with the last one it handled misses nothing.
    pub cursor: u64,
    /// When, by the daemon's clock.
    pub at: Time,
    /// What happened.
    pub kind: EventKind,
    /// The message, for `message.*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// The other agency: sender of what was received, recipient of what was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agency: Option<AgencyId>,
    /// The relay, for custody and links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub node: Option<NodeId>,
    /// The message's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precedence: Option<Precedence>,
    /// The message's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tlp: Option<Tlp>,
    /// Why, in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Query of `GET /v1/events`.
///
/// With `Accept: text/event-stream` the answer is server-sent events, one [`Event`] each, `id:` its cursor, a comment
/// every 15 s; the header `Last-Event-ID` stands in for `after`. Otherwise it is an [`EventPage`], at once if there are
/// events, after `wait` seconds at the latest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Only later ones. Without it: from now on. Zero: everything kept. A cursor older than what is kept, or
    /// one that was never given (the daemon was restored from a backup), is refused with 410 `cursor_gone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Seconds to wait for one, at most 60; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u32>,
    /// At most this many, 1 to 1,000; default 100. A stream ends after so many; without a limit, it has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Answer of a long poll, in the form of every list: `items`, and `next` to go on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// Oldest first.
    pub items: Vec<Event>,
    /// `after` of the next question: the last event's cursor, or where the stream stands. Always there: events have no
    /// last page.
    pub next: u64,
}
