//! Reading an attachment, chunk by chunk, each checked.

use liaison_core::op::Table;
use liaison_protocol::chunk::open_chunk;
use liaison_protocol::inner::Attachment;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{AgencyId, Hash, MessageId};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{ChunkName, chunk_place};
use crate::api::model::{Direction, Problem, ProblemCode};
use crate::office::Office;
use crate::outbox::{UploadId, unknown};
use crate::problem::Answer;
use crate::shelf::ReadError;

/// Why a chunk cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// A chunk is not what the message announces.
    #[error("chunk {index} of the attachment is damaged")]
    Damaged {
        /// Which, from 0.
        index: u32,
    },
    /// The whole is not what the message announces.
    #[error("the attachment has another hash than its message announces")]
    Differs,
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Reads one attachment from its beginning. Holds one chunk at a time.
pub struct PartReader {
    attachment: Attachment,
    source: Source,
    next: u32,
    hash: Sha256,
}

enum Source {
    /// From this sender.
    Received(AgencyId),
    Upload(UploadId),
}

impl PartReader {
    pub(crate) fn received(sender: AgencyId, attachment: Attachment) -> Self {
        Self { attachment, source: Source::Received(sender), next: 0, hash: Sha256::new() }
    }

    /// Bytes of the whole attachment.
    #[must_use]
    pub const fn total_len(&self) -> u64 {
        self.attachment.total_len
    }

    /// The next chunk's octets; `None` at the end, once the whole has the hash that the message announces. Reads the
    /// disk.
    ///
    /// # Errors
    /// [`PartError`].
    pub fn next(&mut self, office: &Office) -> Result<Option<Zeroizing<Vec<u8>>>, PartError> {
        if self.next < self.attachment.chunk_count {
            let octets = self.chunk(office, self.next)?;
            self.next += 1;
            self.hash.update(&*octets);
            return Ok(Some(octets));
        }
        let whole = Hash(std::mem::take(&mut self.hash).finalize().into());
        if whole == self.attachment.sha256 { Ok(None) } else { Err(PartError::Differs) }
    }

    fn chunk(&self, office: &Office, index: u32) -> Result<Zeroizing<Vec<u8>>, PartError> {
        match &self.source {
            Source::Upload(id) => Ok(office.outgoing_chunk(*id, &self.attachment, index)?),
            Source::Received(sender) => {
                let damaged = PartError::Damaged { index };
                let at = usize::try_from(index).unwrap_or(usize::MAX);
                let Some(hash) = self.attachment.chunk_hashes.get(at) else { return Err(damaged) };
                let place = chunk_place(ChunkName::new(sender, hash));
                let body = office.shelf.store().get(Table::Chunks, &place.key).map_err(ReadError::from)?;
                let Some(body) = body else { return Err(damaged) };
                open_chunk(&body, &self.attachment, index).map_err(|_| damaged)
            }
        }
    }
}

impl Office {
    /// Attachment `n`, from 1, of a message, once it is whole.
    ///
    /// # Errors
    /// `unknown_part`, `not_ready`, and whatever reading gives.
    pub fn part(&self, id: MessageId, way: Direction, n: u32) -> Answer<PartReader> {
        let no_part = |count: usize| {
            Problem::new(ProblemCode::UnknownPart, format!("{} has {count} attachments, no number {n}", id.short()))
        };
        let at = usize::try_from(n).ok().and_then(|n| n.checked_sub(1));
        let id = if way == Direction::In { self.entry(id)? } else { id };
        let letter = match way {
            Direction::In => self.received(id)?,
            Direction::Out => self.sent(id)?,
        };
        let letter = letter.ok_or_else(|| unknown(id))?;
        let sender = letter.envelope.header().sender.to_agency();
        let mut attachments = letter.message.attachments;
        let count = attachments.len();
        let at = at.filter(|at| *at < count).ok_or_else(|| no_part(count))?;
        let attachment = attachments.swap_remove(if planted(Mutant::FirstAttachmentRead) { 0 } else { at });
        if way == Direction::Out {
            let uploads = self.sent_head(id)?.map(|head| head.uploads).unwrap_or_default();
            let kept = self.is_open(id)?;
            let upload = uploads.get(at).copied().filter(|_| kept).ok_or_else(|| {
                let detail = format!("{} is delivered: its attachments are no longer kept here", id.short());
                Problem::new(ProblemCode::UnknownPart, detail)
            })?;
            return Ok(PartReader { source: Source::Upload(upload), ..PartReader::received(sender, attachment) });
        }
        if self.is_missing(id, at)? {
            return Err(Problem::new(ProblemCode::NotReady, format!("attachment {n} is not here whole yet")));
        }
        Ok(PartReader::received(sender, attachment))
    }
}
