//! Messages and lists of them.

use liaison_protocol::AgencyId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ContentType, Id, Precedence, RecipientStatus, Time, Tlp};

/// Which way a message goes, seen from this agency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// Where a message stands as a whole. A sent one is as far as its slowest recipient; `undeliverable` as soon as one
/// recipient cannot get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// Sent: durable here, no relay has it for every recipient yet.
    Outbox,
    /// Sent: a relay holds it for every recipient that has not got it.
    Custody,
    /// Sent: every recipient has it, with verified delivery receipts.
    Delivered,
    /// Sent: every recipient has read it.
    Read,
    /// Sent: expired or finally refused for one recipient at least.
    Undeliverable,
    /// Sent: called back before any relay took it.
    Cancelled,
    /// Received: text here, attachments still arriving.
    Arriving,
    /// Received: all of it is here.
    Received,
    /// From a newer daemon.
    #[serde(other)]
    Unknown,
}

/// How a message's signature stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// Signature, recipients and content agree, by the roster named here.
    pub verified: bool,
    /// Whose signature it is.
    #[schema(value_type = String)]
    pub signer: AgencyId,
    /// The signing key's id, 16 hexadecimal digits.
    pub key: String,
    /// Version of the roster that it was checked against.
    pub roster_version: u32,
    /// Why it is not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Part {
    /// From 1; the text is no part. `GET /v1/messages/{id}/parts/{n}` gives the octets.
    pub n: u32,
    /// As the sender wrote it: not safe as a file name.
    pub name: String,
    /// Bytes when complete.
    pub bytes: u64,
    /// Bytes here, verified and durable. Equal to `bytes`: complete.
    pub bytes_here: u64,
    /// SHA-256 of the whole, 64 hexadecimal digits.
    pub sha256: String,
}

/// `GET /v1/messages/{id}`: one message, whole, but for attachments' octets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// The id.
    pub id: Id,
    /// Sent or received.
    pub direction: Direction,
    /// Where it stands.
    pub state: MessageState,
    /// Who sent it.
    #[schema(value_type = String)]
    pub from: AgencyId,
    /// Who is to act on it.
    #[schema(value_type = Vec<String>)]
    pub to: Vec<AgencyId>,
    /// Who got it for information.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub info: Vec<AgencyId>,
    /// One line.
    pub subject: String,
    /// The text. Give it to nobody before looking at `verification`.
    pub text: String,
    /// What the text is written in.
    pub content_type: ContentType,
    /// How far it may be shared.
    pub tlp: Tlp,
    /// Free handling codes.
    #[serde(default)]
    pub handling: Vec<String>,
    /// How urgent it is.
    pub precedence: Precedence,
    /// By the sender's clock.
    pub created: Time,
    /// When custody ends, or ended.
    pub expires: Time,
    /// When it was durable in this inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Time>,
    /// First message of the thread; itself if it starts one.
    pub thread: Id,
    /// What it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<Id>,
    /// Attachments.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// Who signed, and whether that holds.
    pub verification: Verification,
    /// Received, and nobody has marked it read.
    #[serde(default)]
    pub unread: bool,
    /// Received, and an application has confirmed that it took it over (`POST /v1/inbox/{id}/ack`).
    #[serde(default)]
    pub acked: bool,
    /// Sent: each recipient, `to` first.
    #[serde(default)]
    pub recipients: Vec<RecipientStatus>,
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MessageSummary {
    /// Place in the list, rising: `after` and `before` take it.
    pub seq: u64,
    /// The id.
    pub id: Id,
    /// Sent or received.
    pub direction: Direction,
    /// Where it stands.
    pub state: MessageState,
    /// Who sent it.
    #[schema(value_type = String)]
    pub from: AgencyId,
    /// Recipients, those for information after the others.
    #[schema(value_type = Vec<String>)]
    pub to: Vec<AgencyId>,
    /// One line.
    pub subject: String,
    /// How far it may be shared.
    pub tlp: Tlp,
    /// How urgent it is.
    pub precedence: Precedence,
    /// When it was sent (outbox, by this clock) or durable here (inbox).
    pub at: Time,
    /// The text and each attachment.
    pub parts: u32,
    /// How many of them are here.
    pub parts_here: u32,
    /// Bytes of all parts.
    pub bytes: u64,
    /// Received, and nobody has marked it read.
    #[serde(default)]
    pub unread: bool,
    /// Signature, recipients and content agree. Always so for one's own.
    pub verified: bool,
    /// First message of the thread.
    pub thread: Id,
}

/// Which end a list starts at: `oldest` or `newest`. `next` of a page then goes into `after` or `before`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListOrder {
    /// `oldest` first: `next` is the `after` of the next question. For programs that follow a list.
    #[default]
    Oldest,
    /// `newest` first: `next` is the `before` of the next question. For people.
    Newest,
}

/// A choice among sent messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SentFilter {
    /// A recipient has not got it yet, and may still get it.
    Waiting,
    /// It was refused or expired for a recipient.
    Failed,
}

/// Query of `GET /v1/inbox` and `GET /v1/outbox`. All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only entries whose `seq` is higher. One that no entry has had yet is refused with 410 `cursor_gone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only entries whose `seq` is lower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// At most this many, 1 to 1,000; default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `true`: only unread ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<bool>,
    /// Only from this agency (inbox) or to it (outbox).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    #[schema(value_type = Option<String>)]
    pub from: Option<AgencyId>,
    /// Only with this mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tlp: Option<Tlp>,
    /// Only not older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Only not newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Outbox: only messages that stand so. The inbox ignores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<SentFilter>,
    /// `oldest` (default) or `newest` first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<ListOrder>,
}

/// Answer of `GET /v1/inbox` and `GET /v1/outbox`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListPage {
    /// In the order asked for.
    pub items: Vec<MessageSummary>,
    /// The `seq` to go on from: `after` of the next question, or its `before` when the order is `newest`. Absent on the last
    /// page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// `GET /v1/threads/{id}`, by any of its messages: what this agency holds of it, sent and received, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Thread {
    /// The first message's id.
    pub id: Id,
    /// At most 1,000.
    pub messages: Vec<MessageSummary>,
}
