//! What is sealed: a message, receipts, or a notice (SPEC.md, "Inner").
//!
//! Sender, recipients and time stand here again, under the seal, and must be the header's: so a recipient cannot pass
//! a message on as if it had been written to a third party.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::attachment_key::AttachmentKey;
use crate::codec::{self, Malformed};
use crate::hash::Hash;
use crate::ids::{AgencyId, MessageId, NodeId};
use crate::time::Timestamp;
use crate::{bounded, limits};

const WHAT: &str = "message";

/// The plaintext of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inner {
    /// 1.
    pub version: u8,
    /// The header's sender.
    pub sender: NodeId,
    /// The header's recipients, in its order.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::RECIPIENTS_MAX }>")]
    pub recipients: Vec<AgencyId>,
    /// The header's time.
    pub created: Timestamp,
    /// What is said.
    pub content: Content,
}

/// What an envelope says. From outside, all of them look the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "one is decoded at a time, and nearly all are messages")]
pub enum Content {
    /// From people or systems to others.
    Message(Message),
    /// From a recipient's daemon to the sender's: delivery and read receipts. Never answered with a receipt.
    Receipts(#[serde(deserialize_with = "bounded::list::<_, _, { limits::STATEMENTS_MAX }>")] Vec<SignedStatement>),
    /// From a relay to a sender: a message was not delivered. Never answered with a receipt.
    Notice(SignedStatement),
}

/// A signed receipt and the proofs that place messages under it; opaque here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedStatement {
    /// The receipt with its signature, encoded.
    pub receipt: Bytes,
    /// Merkle proofs, encoded.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::STATEMENTS_MAX }>")]
    pub proofs: Vec<Bytes>,
}

/// A message of one agency to others.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The first message of its thread; none if it starts one.
    pub thread: Option<MessageId>,
    /// The message that it answers.
    pub in_reply_to: Option<MessageId>,
    /// What it was sealed anew from, after a prekey was lost.
    pub chain: Option<Supersedes>,
    /// Recipients for their information only: some of the header's, strictly ascending.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::RECIPIENTS_MAX }>")]
    pub info: Vec<AgencyId>,
    /// At most [`limits::SUBJECT_BYTES_MAX`].
    #[serde(deserialize_with = "bounded::text::<_, { limits::SUBJECT_BYTES_MAX }>")]
    pub subject: String,
    /// Who may read it.
    pub tlp: Tlp,
    /// Further handling codes, at most [`limits::HANDLING_MAX`] of 1 to [`limits::HANDLING_BYTES_MAX`] bytes.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::HANDLING_MAX }>")]
    pub handling: Vec<String>,
    /// What `text` is.
    pub content_type: ContentType,
    /// The body.
    #[serde(deserialize_with = "bounded::text::<_, { limits::BODY_PLAIN_BYTES_MAX }>")]
    pub text: String,
    /// At most [`limits::ATTACHMENTS_MAX`], of at most [`limits::CHUNKS_MAX`] chunks together.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::ATTACHMENTS_MAX }>")]
    pub attachments: Vec<Attachment>,
}

/// Ties a message that was sealed anew to what people know it as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supersedes {
    /// The first of the chain: inboxes dedupe on it.
    pub first: MessageId,
    /// The one that this replaces.
    pub previous: MessageId,
    /// The header's time of the first: when its sender sent the message.
    pub sent: Timestamp,
}

/// A file that travels beside the message, in chunks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// [INNER-3] Its name, 1 to [`limits::ATTACHMENT_NAME_BYTES_MAX`] bytes; the sender's word, to be sanitised before any use
    /// as a path.
    #[serde(deserialize_with = "bounded::text::<_, { limits::ATTACHMENT_NAME_BYTES_MAX }>")]
    pub name: String,
    /// Bytes of the file.
    pub total_len: u64,
    /// `total_len / CHUNK_BYTES`, rounded up.
    pub chunk_count: u32,
    /// What its chunks are sealed with; new for every attachment.
    pub key: AttachmentKey,
    /// SHA-256 of each chunk's sealed body, in order: the `body_hash` of its envelope.
    #[serde(deserialize_with = "bounded::list::<_, _, { limits::CHUNKS_MAX }>")]
    pub chunk_hashes: Vec<Hash>,
    /// SHA-256 of the file.
    pub sha256: Hash,
}

// Content and file names are not for logs.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message {{ {} bytes, {} attachments }}", self.text.len(), self.attachments.len())
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attachment {{ {} bytes, {} chunks }}", self.total_len, self.chunk_count)
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $error:ident, $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// All of them, in the order of the wire.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word that people use.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        /// Not one of the words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("not one of{}", concat!($(" ", $word),*))]
        pub struct $error;

        impl FromStr for $type {
            type Err = $error;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word).ok_or($error)
            }
        }
    };
}

words! {
    /// Traffic Light Protocol 2.0 (FIRST): who may read a message. Never guessed.
    Tlp, ParseTlpError,
    /// Anybody.
    Clear = "clear",
    /// The recipients' community.
    Green = "green",
    /// The recipients' organisations and their clients, as they need to know.
    Amber = "amber",
    /// The recipients' organisations only.
    AmberStrict = "amber+strict",
    /// The recipients themselves.
    Red = "red",
}

words! {
    /// What a message's text is.
    ContentType, ParseContentTypeError,
    /// Plain text.
    Text = "text",
    /// A STIX 2.1 bundle.
    Stix = "stix",
    /// A MISP event.
    Misp = "misp",
    /// A UMF document.
    Umf = "umf",
}

impl Inner {
    /// The version that this crate reads and writes.
    pub const VERSION: u8 = 1;

    /// # Errors
    /// [`Malformed`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let inner: Self = codec::decode(WHAT, bytes, limits::BODY_PLAIN_BYTES_MAX)?;
        if inner.version != Self::VERSION {
            return Err(Malformed::Rule { what: WHAT, rule: "its version is not 1" });
        }
        inner.content.check(&inner.recipients)?;
        Ok(inner)
    }
}

/// [`Inner`], borrowed: what sealing encodes.
#[derive(Serialize)]
pub(crate) struct InnerRef<'a> {
    pub(crate) version: u8,
    pub(crate) sender: &'a NodeId,
    pub(crate) recipients: &'a [&'a AgencyId],
    pub(crate) created: Timestamp,
    pub(crate) content: &'a Content,
}

impl InnerRef<'_> {
    /// The plaintext, written once into memory that is erased.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        codec::encode_secret(self)
    }
}

impl Content {
    /// [INNER-2] The rules that decoding alone does not keep.
    ///
    /// # Errors
    /// Names the first that is broken.
    pub fn check(&self, recipients: &[AgencyId]) -> Result<(), Malformed> {
        match self {
            Self::Message(message) => message.check(recipients),
            Self::Receipts(statements) => rule(!statements.is_empty(), "it holds no receipt"),
            Self::Notice(_) => Ok(()),
        }
    }
}

impl Message {
    fn check(&self, recipients: &[AgencyId]) -> Result<(), Malformed> {
        let chunks = self.attachments.iter().map(|attachment| u64::from(attachment.chunk_count)).sum::<u64>();
        let code = |code: &String| (1..=limits::HANDLING_BYTES_MAX).contains(&code.len());
        rule(self.info.is_sorted_by(|a, b| a < b), "those for their information are not in ascending order")?;
        rule(self.info.iter().all(|agency| recipients.contains(agency)), "one for its information is no recipient")?;
        rule(self.subject.len() <= limits::SUBJECT_BYTES_MAX, "its subject is too long")?;
        rule(self.handling.len() <= limits::HANDLING_MAX, "it has too many handling codes")?;
        rule(self.handling.iter().all(code), "a handling code is empty or too long")?;
        rule(self.attachments.len() <= limits::ATTACHMENTS_MAX, "it has too many attachments")?;
        rule(chunks <= limits::CHUNKS_MAX as u64, "its attachments are too large together")?;
        self.attachments.iter().try_for_each(Attachment::check)
    }
}

impl Attachment {
    fn check(&self) -> Result<(), Malformed> {
        let count = self.total_len.div_ceil(limits::CHUNK_BYTES as u64);
        rule((1..=limits::ATTACHMENT_NAME_BYTES_MAX).contains(&self.name.len()), "a file's name is empty or too long")?;
        rule(u64::from(self.chunk_count) == count, "a file has another number of chunks than its length")?;
        rule(self.chunk_hashes.len() as u64 == count, "a file has another number of hashes than chunks")
    }
}

const fn rule(holds: bool, rule: &'static str) -> Result<(), Malformed> {
    if holds { Ok(()) } else { Err(Malformed::Rule { what: WHAT, rule }) }
}
