//! One file that shows a third party, offline and years later, what happened to one message.
//!
//! ```text
//!  EvidenceParts ─► assemble ─► .evidence (ZIP, stored) ─► verify (root keys) ─► Verdict
//!    manifest.json    DSSE: every other file with its SHA-256; signed by the exporter if it wants to
//!    header.bin, signature.bin                 the message, as its sender signed it
//!    body.bin, opening.bin                     optional: the sealed body, and the key that opens this one message
//!    attempts/0001.bin                         optional: later envelopes of the same message, each with its body and key
//!    prekeys/0001.bin                          optional: the bundles whose keys it was sealed to
//!    receipts/0001.bin                         custody, delivery, read, refusal, each with its Merkle paths
//!    rosters/0000000001.json                   every version that a signature needs, and every change of roots
//! ```
//!
//! Verification needs the bundle and the root keys, and no clock: a key is judged at the time of its signature.

mod archive;
mod case;
mod manifest;
#[cfg(test)]
mod tests;
mod told;
mod verdict;
mod verify;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use archive::{ARCHIVE_BYTES_MAX, ArchiveError, ENTRIES_MAX};
pub use manifest::EVIDENCE_TYPE;
pub use verdict::{Fact, NOT_PROVEN, Strength, Verdict};
pub use verify::{EvidenceError, verify};

use crate::codec;
use crate::envelope::{ContentKey, message_id};
use crate::ids::NodeId;
use crate::inner::SignedStatement;
use crate::prekey::SignedBundle;
use crate::roster::Roster;
use crate::sign::{SignError, Signature, Signer};
use crate::time::Timestamp;
use archive::Entry;

/// What goes into a bundle. Nothing is checked here: [`verify`] is for that, and for the exporter, too.
pub struct EvidenceParts<'a> {
    /// The header's bytes.
    pub header: &'a Bytes,
    /// The sender's signature.
    pub signature: &'a Signature,
    /// The sealed body, to show that it is the signed one.
    pub body: Option<&'a Bytes>,
    /// The content key, to show what the message says; it opens no other message. Needs the body.
    pub opening: Option<&'a ContentKey>,
    /// Later envelopes of the same message, which were sealed anew for some recipients. Needs the content key.
    pub attempts: &'a [Attempt],
    /// Prekey bundles of the recipients.
    pub bundles: &'a [SignedBundle],
    /// Receipts with the leaves that are about this message.
    pub receipts: &'a [SignedStatement],
    /// Rosters, oldest first: from version 1 or the last change of roots on, those in force at each signature, and
    /// for the sender's the next one as well, which shows that no other was in between.
    pub rosters: Vec<&'a Roster>,
}

/// A later envelope of a message: the same content, sealed anew.
pub struct Attempt {
    /// The header's bytes.
    pub header: Bytes,
    /// The sender's signature.
    pub signature: Signature,
    /// The sealed body.
    pub body: Bytes,
    /// The content key.
    pub opening: ContentKey,
}

/// [`Attempt`] in a bundle (SPEC.md, section 21).
#[derive(Serialize, Deserialize)]
struct AttemptFile {
    header: Bytes,
    signature: Signature,
    body: Bytes,
    opening: [u8; 32],
}

impl Attempt {
    fn encode(&self) -> Vec<u8> {
        codec::encode(&AttemptFile {
            header: self.header.clone(),
            signature: self.signature.clone(),
            body: self.body.clone(),
            opening: *self.opening.as_bytes(),
        })
    }
}

/// Who puts a bundle together.
pub struct Exporter<'a> {
    /// Its name.
    pub id: &'a NodeId,
    /// When, by its clock.
    pub time: Timestamp,
    /// Signs the selection; `None` leaves it unsigned, which takes nothing from what the parts prove.
    pub signer: Option<&'a dyn Signer>,
}

/// Why no bundle is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// Too much for one bundle.
    #[error("the bundle would have {files} files with {bytes} bytes; at most {ENTRIES_MAX} with 256 MiB fit")]
    TooLarge {
        /// How many files.
        files: usize,
        /// How many bytes.
        bytes: usize,
    },
    /// The token did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Writes a bundle.
///
/// # Errors
/// [`AssembleError`].
pub fn assemble(parts: &EvidenceParts<'_>, exporter: &Exporter<'_>) -> Result<Vec<u8>, AssembleError> {
    let mut files = vec![
        entry("header.bin".into(), parts.header.clone()),
        entry("signature.bin".into(), codec::encode(parts.signature)),
    ];
    files.extend(parts.body.map(|body| entry("body.bin".into(), body.clone())));
    files.extend(parts.opening.map(|key| entry("opening.bin".into(), key.as_bytes().to_vec())));
    files.extend(numbered("attempts", parts.attempts.iter().map(Attempt::encode)));
    files.extend(numbered("prekeys", parts.bundles.iter().map(SignedBundle::encode)));
    files.extend(numbered("receipts", parts.receipts.iter().map(codec::encode)));
    files.extend(parts.rosters.iter().map(|roster| {
        let name = format!("rosters/{:010}.json", roster.version().0);
        entry(name, roster.signed().clone())
    }));
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let manifest = manifest::make(&message_id(parts.header), &files, exporter)?;
    files.insert(0, entry(archive::MANIFEST.into(), manifest));
    let bytes = archive::size(&files);
    if files.len() > ENTRIES_MAX || bytes > ARCHIVE_BYTES_MAX {
        return Err(AssembleError::TooLarge { files: files.len(), bytes });
    }
    Ok(archive::write(&files))
}

fn numbered(folder: &str, contents: impl Iterator<Item = Vec<u8>>) -> impl Iterator<Item = Entry> {
    contents.zip(1u32..).map(move |(content, number)| entry(format!("{folder}/{number:04}.bin"), content))
}

fn entry(name: String, data: impl Into<Bytes>) -> Entry {
    Entry { name, data: data.into() }
}
