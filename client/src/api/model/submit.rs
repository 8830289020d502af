//! Sending: submissions, and the uploads that bring their attachments.

use liaison_protocol::AgencyId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ContentType, Id, MessageState, Precedence, Time, Tlp};

/// `POST /v1/messages`. With the header `Idempotency-Key`, the same key and content name the same message (200 in
/// place of 201), the same key with another content is a conflict. Content is the same if the same is meant: defaults count
/// as if they were given, the order of recipients does not count, attachments count by the ids of their uploads. Remembered until the expiry plus 24 h.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Who is to act on it. At least one of `to` and `info` is named, 1,024 together at most, nobody twice.
    #[schema(value_type = Vec<String>, example = json!(["ncb.ee"]))]
    pub to: Vec<AgencyId>,
    /// Who gets it for information.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub info: Vec<AgencyId>,
    /// One line, at most 1,024 bytes, no control characters.
    pub subject: String,
    /// The text; with all the rest at most 1 MiB. Longer goes as an attachment.
    #[serde(default)]
    pub text: String,
    /// Without it the daemon's `policy.default_tlp` holds; without that too, the submission is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tlp: Option<Tlp>,
    /// Free handling codes; at most 32 of at most 64 bytes.
    #[serde(default)]
    pub handling: Vec<String>,
    /// Default routine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precedence: Option<Precedence>,
    /// Lifetime in seconds, 60 to 2,592,000 (30 days); default 7 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 2_592_000)]
    pub expires_in_s: Option<u64>,
    /// Default text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<ContentType>,
    /// The message that this answers; its thread is continued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<Id>,
    /// Finished uploads, in the order in which the recipient sees them.
    #[serde(default)]
    pub attachments: Vec<AttachmentRef>,
    /// Check everything, keep nothing: answered with 200 and no id.
    #[serde(default)]
    pub dry_run: bool,
}

/// A finished upload as part of a submission. An upload is used once; the submission consumes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachmentRef {
    /// The upload's id.
    pub upload: String,
    /// The name that the recipient sees: at most 255 bytes, no path, no control characters.
    pub name: String,
}

/// The message is in the outbox, durable (or would be, in a dry run).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// Absent in a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// Where it is now.
    pub state: MessageState,
    /// An earlier submission with the same key made this message.
    #[serde(default)]
    pub repeated: bool,
    /// How long the outbox took to make it durable, in milliseconds.
    pub fsync_ms: f64,
    /// As accepted.
    #[schema(value_type = Vec<String>)]
    pub to: Vec<AgencyId>,
    /// As accepted.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub info: Vec<AgencyId>,
    /// As accepted, default filled in.
    pub precedence: Precedence,
    /// As accepted, default filled in.
    pub tlp: Tlp,
    /// The text and each attachment.
    pub parts: u32,
    /// Bytes of all parts, before sealing.
    pub bytes: u64,
    /// When custody ends.
    pub expires: Time,
}

/// `POST /v1/uploads`: room for one attachment. Abandoned uploads are removed 24 h after their last octet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUpload {
    /// A name for people who look at unfinished uploads.
    pub name: String,
    /// Bytes to come; at most 100 GiB, and what fits in 24,576 chunks of 256 KiB.
    pub total_len: u64,
}

/// An upload: answer of `POST`, `GET` and `PATCH`.
///
/// `PATCH /v1/uploads/{id}` carries octets (at most 4 MiB) and the header `Upload-Offset`, which must equal `offset`
/// (409 `wrong_offset` otherwise); the octets are durable when it is answered. `offset == total_len` is finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    /// Names the upload; opaque.
    pub id: String,
    /// As given.
    pub name: String,
    /// Durable so far.
    pub offset: u64,
    /// Announced.
    pub total_len: u64,
}

/// `POST /v1/outbox/retry`: try now what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// Only messages for this agency; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub to: Option<AgencyId>,
}

/// Answer of both retries (`POST /v1/outbox/retry` and `POST /v1/messages/{id}/retry`): what was set going.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retried {
    /// Messages offered again at once, or asked after along their path.
    pub messages: u64,
    /// What is being done, in a sentence.
    pub detail: String,
}
