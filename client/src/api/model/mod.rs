//! Requests and answers of the local API, one type each. Server and command line share them, and the OpenAPI document
//! is made from them.
//!
//! JSON, snake_case. Ids are texts, times are RFC 3339 in UTC with milliseconds, sizes are bytes, spans are seconds
//! unless the name says otherwise. A reader ignores fields that it does not know, and a list may be empty but is never
//! absent; unknown event kinds and states must be expected from a newer daemon.
//!
//! | request | body or query | answer |
//! | --- | --- | --- |
//! | `POST /v1/messages` | [`Submission`], `Idempotency-Key` | 201 [`Submitted`] (200: repeated, or a dry run) |
//! | `GET /v1/messages/{id}` | | [`Message`] |
//! | `GET /v1/messages/{id}/custody` | | [`CustodyTrace`]; sent messages only |
//! | `GET /v1/messages/{id}/receipts` | | [`Receipts`] |
//! | `GET /v1/messages/{id}/evidence` | | octets: the evidence file |
//! | `GET /v1/messages/{id}/parts/{n}` | | octets of attachment n, from 1 |
//! | `POST /v1/messages/{id}/cancel` | | [`CustodyTrace`]: what was not yet taken is called back; 409 `already_sent` if nothing |
//! | `POST /v1/messages/{id}/retry` | | [`Retried`] |
//! | `POST /v1/messages/{id}/read` | | 204: marked read, read receipt sent (once) |
//! | `GET /v1/threads/{id}` | | [`Thread`] |
//! | `POST /v1/uploads` | [`NewUpload`] | 201 [`Upload`] |
//! | `GET /v1/uploads/{id}` | | [`Upload`] |
//! | `PATCH /v1/uploads/{id}` | octets, `Upload-Offset` | [`Upload`] |
//! | `GET /v1/inbox`, `GET /v1/outbox` | [`ListQuery`] | [`ListPage`] |
//! | `POST /v1/inbox/{id}/ack` | | 204 |
//! | `POST /v1/outbox/retry` | [`RetryRequest`] | [`Retried`] |
//! | `GET /v1/events` | [`EventQuery`] | [`EventPage`], or server-sent [`Event`]s |
//! | `GET /v1/agencies` | | [`Agencies`] |
//! | `GET /v1/status` | | [`Status`] |
//! | `GET /v1/doctor` | | [`Doctor`] |
//!
//! `{id}` is a message id or any unique prefix of at least 4 characters: 404 `unknown_message`, 409 `ambiguous_id`
//! otherwise. Every answer that is no success is a [`Problem`].

mod event;
mod message;
mod problem;
mod scalar;
mod status;
mod submit;
mod trace;

pub use event::{Event, EventKind, EventPage, EventQuery};
pub use message::{
    Direction, ListOrder, ListPage, ListQuery, Message, MessageState, MessageSummary, Part, SentFilter, Thread,
    Verification,
};
pub use problem::{Problem, ProblemCode};
pub use scalar::{ContentType, Id, ParseWordError, Precedence, Time, Tlp};
pub use status::{
    Agencies, AgencyView, ClockStatus, Doctor, Finding, InboxStatus, Level, LinkState, LinkStatus, OutboxStatus,
    RosterStatus, Status, StoreStatus,
};
pub use submit::{AttachmentRef, NewUpload, Retried, RetryRequest, Submission, Submitted, Upload};
pub use trace::{
    Attempt, CustodyTrace, Hop, ReceiptKind, ReceiptView, Receipts, RecipientState, RecipientStatus, Stage,
};

#[cfg(test)]
mod tests;
