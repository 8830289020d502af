//! Errors as problem documents (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Body of every answer that is no success; `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:liaison:problem:` and the code.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The same for every problem with this code.
    #[serde(default)]
    pub title: String,
    /// HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What is wrong this time.
    #[serde(default)]
    pub detail: String,
    /// Stable, for programs: one of [`ProblemCode`]'s words, or a newer one.
    pub code: String,
    /// Exit code of a command that ends with it.
    pub exit: u8,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The same request may succeed later without any change.
    #[serde(default)]
    pub retryable: bool,
}

impl Problem {
    /// A problem with everything that its code decides filled in.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:liaison:problem:{}", code.as_str()),
            title: code.title().into(),
            status: code.status(),
            detail: detail.into(),
            code: code.as_str().into(),
            exit: code.exit(),
            hint: None,
            retryable: code.retryable(),
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $status:literal, $exit:literal, $retryable:literal, $title:literal;)+) => {
        /// Every code that the daemon answers with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ProblemCode {
            $($(#[$doc])* $variant,)+
        }

        impl ProblemCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code in documents: stable.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// Exit code of a command that ends with it.
            #[must_use]
            pub const fn exit(self) -> u8 {
                match self { $(Self::$variant => $exit,)+ }
            }

            /// The same request may succeed later.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)+ }
            }

            /// What all problems with this code have in common.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

codes! {
    /// The prefix names several messages.
    AmbiguousId = "ambiguous_id", 409, 65, false, "the prefix names several messages";
    /// Cannot be called back: a relay has it.
    AlreadySent = "already_sent", 409, 1, false, "a relay has already taken the message";
    /// The request cannot be read.
    BadRequest = "bad_request", 400, 65, false, "the request cannot be read";
    /// A bound of what the daemon does at a time.
    Busy = "busy", 503, 75, true, "too much at once";
    /// The clock is too far off to sign anything.
    Clock = "clock", 503, 75, true, "the clock is too far off";
    /// The event cursor is older than what is kept.
    CursorGone = "cursor_gone", 410, 65, false, "events before this cursor are no longer kept";
    /// The disk is at its low-water mark, or full.
    DiskFull = "disk_full", 507, 75, true, "no room on the disk";
    /// The idempotency key names another content.
    IdempotencyConflict = "idempotency_conflict", 409, 65, false, "the key was used with other content";
    /// Not our doing that should happen.
    Internal = "internal", 500, 70, false, "internal error";
    /// No agreement, or one with a lower precedence.
    NoAgreement = "no_agreement", 403, 77, false, "no agreement allows this message";
    /// No such path.
    NotFound = "not_found", 404, 69, false, "no such resource";
    /// The part is still arriving.
    NotReady = "not_ready", 409, 75, true, "not all of the attachment is here yet";
    /// Only for received, or only for sent, messages.
    WrongDirection = "wrong_direction", 409, 65, false, "not for messages of this direction";
    /// Refused by the daemon's policy.
    Policy = "policy", 403, 77, false, "refused by policy";
    /// The outbox is at its quota.
    QueueFull = "queue_full", 503, 75, true, "the outbox is full";
    /// The daemon is stopping, or its store has failed.
    Stopping = "stopping", 503, 69, true, "the daemon is stopping";
    /// The store failed: the daemon has stopped serving.
    StoreFault = "store_fault", 500, 74, false, "the store failed";
    /// No TLP and no default.
    TlpMissing = "tlp_missing", 422, 65, false, "no TLP given and no default set";
    /// Beyond a documented bound.
    TooLarge = "too_large", 413, 65, false, "too large";
    /// The agency is not in the roster.
    UnknownAgency = "unknown_agency", 422, 67, false, "no such agency in the roster";
    /// No message has this id or prefix.
    UnknownMessage = "unknown_message", 404, 65, false, "no such message";
    /// The message has no such part.
    UnknownPart = "unknown_part", 404, 65, false, "no such attachment";
    /// No such upload, or it was used or removed.
    UnknownUpload = "unknown_upload", 404, 65, false, "no such upload";
    /// The upload is not finished.
    UploadIncomplete = "upload_incomplete", 409, 65, false, "the upload is not finished";
    /// `Upload-Offset` is not where the upload stands.
    WrongOffset = "wrong_offset", 409, 65, false, "the upload stands at another offset";
}
