//! Envelopes at rest: as they were signed, with the key that opens each.
//!
//! Content is kept once, in the form that a third party can check: reading a message verifies and opens its envelope
//! again. The content key is what the record's encryption protects.

use bytes::Bytes;
use liaison_core::op::Table;
use liaison_protocol::FederationId;
use liaison_protocol::envelope::{ContentKey, VerifiedEnvelope, verify_bytes};
use liaison_protocol::inner::{Content, Message};
use liaison_protocol::open::open_with_key;
use liaison_protocol::roster::RosterVersion;
use liaison_protocol::sign::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::office::{Pinned, Secret32};
use crate::shelf::ReadError;

/// One envelope, and what was known when it was taken or made.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) envelope: Bytes,
    pub(crate) content_key: Secret32,
    pub(crate) signer: [u8; 32],
    pub(crate) roster_version: RosterVersion,
}

/// An opened message with its envelope.
pub(crate) struct Letter {
    pub(crate) envelope: VerifiedEnvelope,
    pub(crate) message: Message,
}

impl Kept {
    pub(crate) fn new(
        envelope: &VerifiedEnvelope,
        content_key: &ContentKey,
        signer: &VerifyingKey,
        roster_version: RosterVersion,
    ) -> Self {
        Self {
            envelope: envelope.encoded().clone(),
            content_key: Secret32::new(content_key.as_bytes()),
            signer: *signer.as_bytes(),
            roster_version,
        }
    }

    /// The envelope, verified under the key that it was verified under before.
    pub(crate) fn envelope(&self, table: Table, federation: &FederationId) -> Result<VerifiedEnvelope, ReadError> {
        let malformed = ReadError::Malformed { table };
        let signer = VerifyingKey::from_bytes(&self.signer).map_err(|_| malformed.clone())?;
        verify_bytes(self.envelope.clone(), federation, &Pinned(signer)).map_err(|_| malformed)
    }

    /// The message in it.
    pub(crate) fn open(&self, table: Table, federation: &FederationId) -> Result<Letter, ReadError> {
        let malformed = ReadError::Malformed { table };
        let envelope = self.envelope(table, federation)?;
        let inner = open_with_key(&envelope, &self.content_key()).map_err(|_| malformed.clone())?;
        match inner.content {
            Content::Message(message) => Ok(Letter { envelope, message }),
            Content::Receipts(_) | Content::Notice(_) => Err(malformed),
        }
    }

    /// Opens this one message to whoever it is revealed to.
    pub(crate) fn content_key(&self) -> ContentKey {
        #[expect(clippy::expect_used, reason = "a content key is any 32 bytes")]
        ContentKey::from_slice(self.content_key.0.as_ref()).expect("32 bytes")
    }

    /// The same without wraps: for what will never be sent again.
    pub(crate) fn slim(&self, table: Table, federation: &FederationId) -> Result<Self, ReadError> {
        let envelope = self.envelope(table, federation)?.prune(&[]);
        Ok(Self { envelope: envelope.encoded().clone(), ..self.clone() })
    }
}
