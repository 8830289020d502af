//! From uploads to attachments: what a submission consumes, and what is left behind.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use liaison_core::op::{Op, Table};
use liaison_protocol::inner::Attachment;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{Hash, MessageId, Timestamp, limits};
use sha2::Digest;

use super::upload::{UPLOADS_MAX, UploadRecord, check_name, parse_id, unknown};
use super::{tail_place, upload_place};
use crate::api::model::{AttachmentRef, Problem, ProblemCode};
use crate::office::Office;
use crate::outbox::{SentHead, UploadId};
use crate::problem::Answer;
use crate::shelf::ReadError;

/// An upload that nobody continues is removed after this.
const ABANDONED: Duration = Duration::from_secs(86_400);

/// Uploads that a submission is about to consume: no other one can.
pub(crate) struct Claims {
    pub(super) claimed: Arc<Mutex<BTreeSet<UploadId>>>,
    pub(super) ids: Vec<UploadId>,
}

impl Claims {
    /// Whether nobody else has claimed the upload.
    pub(super) fn claim(&mut self, id: UploadId) -> bool {
        let is_free = self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        self.ids.extend(is_free.then_some(id));
        is_free
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        for id in &self.ids {
            claimed.remove(id);
        }
    }
}

/// A submission's attachments, and what its commit does about their uploads.
pub(crate) struct Attached {
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) uploads: Vec<UploadId>,
    pub(crate) ops: Vec<Op>,
    pub(crate) claims: Claims,
}

impl Office {
    /// The attachments that finished uploads become. Their order is the recipients'.
    pub(crate) fn attach(&self, refs: &[AttachmentRef]) -> Answer<Attached> {
        if refs.len() > limits::ATTACHMENTS_MAX {
            let detail = format!("{} attachments, at most {}", refs.len(), limits::ATTACHMENTS_MAX);
            return Err(Problem::new(ProblemCode::TooLarge, detail));
        }
        let mut claims = self.uploads.claims();
        let (mut attachments, mut ops, mut chunks) = (Vec::new(), Vec::new(), 0u64);
        for wanted in refs {
            let id = parse_id(&wanted.upload)?;
            check_name(&wanted.name)?;
            if !claims.claim(id) {
                return Err(Problem::new(
                    ProblemCode::UnknownUpload,
                    format!("'{}': its upload is used by another attachment", wanted.name),
                ));
            }
            let record: Option<UploadRecord> = self.shelf.get(&upload_place(id))?;
            let record = record.ok_or_else(|| unknown(&wanted.upload))?;
            if record.offset != record.total_len {
                let detail = format!("{} of {} bytes of '{}' are here", record.offset, record.total_len, wanted.name);
                return Err(Problem::new(ProblemCode::UploadIncomplete, detail));
            }
            chunks += u64::from(record.chunk_count().unwrap_or(u32::MAX));
            let running = self.uploads.running(id);
            let hash = self.hash_so_far(id, &record, &running.blocking_lock())?;
            attachments.push(record.attachment(&wanted.name, Hash(hash.finalize().into())));
            ops.push(upload_place(id).delete());
        }
        if chunks > limits::CHUNKS_MAX as u64 {
            let detail = format!("{chunks} chunks of 256 KiB together, at most {}", limits::CHUNKS_MAX);
            return Err(Problem::new(ProblemCode::TooLarge, detail));
        }
        let uploads = claims.ids.clone();
        uploads.iter().for_each(|id| self.uploads.close(*id));
        Ok(Attached { attachments, uploads, ops, claims })
    }

    /// Chunks that nobody needs any more, of a message that is over; and its place in the feed.
    pub(crate) fn drop_uploads(&self, first: MessageId, head: &SentHead) -> Result<Vec<Op>, ReadError> {
        let mut ops = self.forget_feed(first)?;
        for upload in head.uploads.iter().filter(|_| !planted(Mutant::ChunksLeftBehind)) {
            let prefix = [b"b", upload.as_slice()].concat();
            for key in self.keys(&prefix)? {
                ops.push(Op::Delete { table: Table::Chunks, key });
            }
        }
        Ok(ops)
    }

    /// Keys of chunks under `prefix`, without holding their values.
    fn keys(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, ReadError> {
        const AT_ONCE: usize = 16;
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let page = self.shelf.store().scan(Table::Chunks, prefix, keys.last().map(Vec::as_slice), AT_ONCE)?;
            let ended = page.len() < AT_ONCE;
            keys.extend(page.into_iter().map(|(key, _)| key));
            if ended {
                return Ok(keys);
            }
        }
    }

    /// Uploads that nobody has continued for a day, with all their octets.
    pub(crate) fn forget_uploads(&self, now: Timestamp) -> Result<Vec<Op>, ReadError> {
        let mut ops = Vec::new();
        for (key, value) in self.shelf.store().scan(Table::Chunks, b"u", None, UPLOADS_MAX)? {
            let record: UploadRecord = self.shelf.open_record(Table::Chunks, key.clone(), &value)?;
            let Some(id) = key.get(1..).and_then(|id| UploadId::try_from(id).ok()) else { continue };
            if record.touched.after(ABANDONED) > now {
                continue;
            }
            self.uploads.close(id);
            ops.push(Op::Delete { table: Table::Chunks, key });
            ops.push(tail_place(id).delete());
            ops.extend(self.upload_octets(id)?);
        }
        Ok(ops)
    }

    /// Deletes the sealed chunks of an upload.
    pub(super) fn upload_octets(&self, id: UploadId) -> Result<Vec<Op>, ReadError> {
        let keys = self.keys(&[b"b", id.as_slice()].concat())?;
        Ok(keys.into_iter().map(|key| Op::Delete { table: Table::Chunks, key }).collect())
    }
}
