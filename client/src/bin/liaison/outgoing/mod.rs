//! From flags, headers or a template to a durable message in the outbox.

pub(crate) mod confirm;
pub(crate) mod flags;
pub(crate) mod headers;
pub(crate) mod input;
pub(crate) mod submit;
pub(crate) mod upload;
pub(crate) mod wait;

use std::path::PathBuf;
use std::time::Duration;

use liaison_client::api::model::{ContentType, Id, Precedence, Tlp};

/// A message as far as its author has said it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    /// Agencies as typed.
    pub(crate) to: Vec<String>,
    pub(crate) info: Vec<String>,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) tlp: Option<Tlp>,
    pub(crate) handling: Vec<String>,
    pub(crate) precedence: Option<Precedence>,
    pub(crate) expires: Option<Duration>,
    pub(crate) content_type: Option<ContentType>,
    /// The message that this answers.
    pub(crate) in_reply_to: Option<Id>,
    /// Files to attach.
    pub(crate) attach: Vec<PathBuf>,
    /// Attachments of another message to send on.
    pub(crate) carry: Vec<Carried>,
}

/// An attachment of a message that the daemon holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) message: Id,
    pub(crate) part: liaison_client::api::model::Part,
}
