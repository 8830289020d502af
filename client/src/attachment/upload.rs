//! Uploads: an application brings a file in pieces, and goes on where it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use liaison_core::op::{Op, Table};
use liaison_protocol::chunk::{AttachmentKey, chunk_body, open_chunk};
use liaison_protocol::inner::Attachment;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{Hash, Timestamp, limits};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::attach::Claims;
use super::{body_place, tail_place, upload_place};
use crate::api::model::{NewUpload, Problem, ProblemCode, Upload};
use crate::office::Office;
use crate::outbox::UploadId;
use crate::problem::Answer;
use crate::shelf::ReadError;

/// Octets of one piece.
pub(crate) const PIECE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Uploads that are open at a time.
pub(super) const UPLOADS_MAX: usize = 256;

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct UploadRecord {
    pub(crate) name: String,
    pub(crate) total_len: u64,
    pub(crate) offset: u64,
    pub(crate) key: AttachmentKey,
    pub(crate) hashes: Vec<Hash>,
    pub(crate) touched: Timestamp,
}

impl UploadRecord {
    pub(super) fn chunk_count(&self) -> Option<u32> {
        u32::try_from(self.total_len.div_ceil(limits::CHUNK_BYTES as u64)).ok()
    }

    fn view(&self, id: UploadId) -> Upload {
        Upload { id: name_of(id), name: self.name.clone(), offset: self.offset, total_len: self.total_len }
    }

    /// The attachment that it is to become; whole only once all is here.
    pub(super) fn attachment(&self, name: &str, sha256: Hash) -> Attachment {
        Attachment {
            name: name.into(),
            total_len: self.total_len,
            chunk_count: self.chunk_count().unwrap_or(u32::MAX),
            key: self.key.clone(),
            chunk_hashes: self.hashes.clone(),
            sha256,
        }
    }
}

/// What the daemon holds in memory of uploads.
#[derive(Default)]
pub(crate) struct UploadDesk {
    /// One piece of an upload at a time, and its hash so far.
    open: Mutex<BTreeMap<UploadId, Arc<tokio::sync::Mutex<Running>>>>,
    pub(super) claimed: Arc<Mutex<BTreeSet<UploadId>>>,
}

/// The hash of what is here; `None` after a restart, until it is read again.
#[derive(Default)]
pub(crate) struct Running(Option<(u64, Sha256)>);

impl UploadDesk {
    pub(super) fn running(&self, id: UploadId) -> Arc<tokio::sync::Mutex<Running>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(open.entry(id).or_default())
    }

    /// Uploads that one caller is about to consume.
    pub(super) fn claims(&self) -> Claims {
        Claims { claimed: Arc::clone(&self.claimed), ids: Vec::new() }
    }

    pub(super) fn close(&self, id: UploadId) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

impl Office {
    /// `POST /v1/uploads`.
    ///
    /// # Errors
    /// A problem document.
    pub async fn new_upload(self: &Arc<Self>, request: NewUpload) -> Answer<Upload> {
        let chunks = request.total_len.div_ceil(limits::CHUNK_BYTES as u64);
        if chunks > limits::CHUNKS_MAX as u64 {
            let most = limits::CHUNKS_MAX as u64 * limits::CHUNK_BYTES as u64;
            let detail = format!("{} bytes, at most {most} in one message", request.total_len);
            return Err(Problem::new(ProblemCode::TooLarge, detail));
        }
        check_name(&request.name)?;
        self.check_room_for(request.total_len)?;
        let office = Arc::clone(self);
        let open = crate::blocking(move || office.shelf.store().scan(Table::Chunks, b"u", None, UPLOADS_MAX)).await??;
        if open.len() >= UPLOADS_MAX {
            let detail = format!("{UPLOADS_MAX} uploads are open; send or delete some of them (DELETE /v1/uploads/ID)");
            return Err(Problem::new(ProblemCode::QueueFull, detail));
        }
        let mut random = self.shelf.random();
        let id: UploadId = random.bytes();
        let record = UploadRecord {
            name: request.name,
            total_len: request.total_len,
            offset: 0,
            key: AttachmentKey::generate(&mut random),
            hashes: Vec::new(),
            touched: self.now(),
        };
        self.node.commit(vec![self.shelf.put(upload_place(id), &record)]).await?;
        Ok(record.view(id))
    }

    /// `GET /v1/uploads/{id}`.
    ///
    /// # Errors
    /// A problem document.
    pub async fn upload(self: &Arc<Self>, name: &str) -> Answer<Upload> {
        let id = parse_id(name)?;
        let office = Arc::clone(self);
        let record = crate::blocking(move || office.shelf.get::<UploadRecord>(&upload_place(id))).await??;
        record.map(|record| record.view(id)).ok_or_else(|| unknown(name))
    }

    /// `PATCH /v1/uploads/{id}`: octets at `offset`, durable on return.
    ///
    /// # Errors
    /// A problem document.
    pub async fn append(self: &Arc<Self>, name: &str, offset: u64, octets: Bytes) -> Answer<Upload> {
        let id = parse_id(name)?;
        if octets.len() > PIECE_BYTES_MAX {
            let detail = format!("{} octets in one piece, at most {PIECE_BYTES_MAX}", octets.len());
            return Err(Problem::new(ProblemCode::TooLarge, detail));
        }
        self.check_room()?;
        let mut running = self.uploads.running(id).lock_owned().await;
        let office = Arc::clone(self);
        let (record, ops, running_after) = self
            .costly(move || {
                let piece = office.piece(id, offset, &octets, &mut running)?;
                Ok::<_, Problem>((piece.record, piece.ops, (running, piece.hash)))
            })
            .await??;
        let (mut running, hash) = running_after;
        running.0 = None;
        self.node.commit(ops).await?;
        running.0 = Some((record.offset, hash));
        Ok(record.view(id))
    }

    /// `DELETE /v1/uploads/{id}`: the upload and its octets go.
    ///
    /// # Errors
    /// A problem document; `unknown_upload` if a message has it, or is about to.
    pub async fn delete_upload(self: &Arc<Self>, name: &str) -> Answer<()> {
        let id = parse_id(name)?;
        let mut claims = self.uploads.claims();
        if !claims.claim(id) {
            return Err(unknown(name));
        }
        let _alone = self.uploads.running(id).lock_owned().await;
        let office = Arc::clone(self);
        let ops = crate::blocking(move || office.upload_gone(id)).await??;
        let ops = ops.ok_or_else(|| unknown(name))?;
        self.node.commit(ops).await?;
        self.uploads.close(id);
        Ok(())
    }

    /// What to delete of an upload; `None`: no such one.
    fn upload_gone(&self, id: UploadId) -> Result<Option<Vec<Op>>, ReadError> {
        if !self.shelf.has(&upload_place(id))? {
            return Ok(None);
        }
        let mut ops = vec![upload_place(id).delete(), tail_place(id).delete()];
        ops.extend(self.upload_octets(id)?);
        Ok(Some(ops))
    }

    fn piece(&self, id: UploadId, offset: u64, octets: &[u8], running: &mut Running) -> Answer<Piece> {
        let record: Option<UploadRecord> = self.shelf.get(&upload_place(id))?;
        let mut record = record.ok_or_else(|| unknown(&name_of(id)))?;
        if record.offset != offset && !planted(Mutant::UploadOffsetIgnored) {
            let detail = format!("the upload stands at offset {}, not {offset}", record.offset);
            return Err(Problem::new(ProblemCode::WrongOffset, detail));
        }
        let end = offset.saturating_add(octets.len() as u64);
        if end > record.total_len {
            let detail = format!("{end} bytes, {} were announced", record.total_len);
            return Err(Problem::new(ProblemCode::BadRequest, detail));
        }
        let mut hash = self.hash_so_far(id, &record, running)?;
        hash.update(octets);
        let count = record.chunk_count().ok_or_else(|| unknown(&name_of(id)))?;
        let mut ops = Vec::new();
        let mut tail = self.tail(id)?;
        let mut rest = octets;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(limits::CHUNK_BYTES - tail.len()));
            tail.extend_from_slice(now);
            rest = later;
            record.offset += now.len() as u64;
            if tail.len() == limits::CHUNK_BYTES || record.offset == record.total_len {
                let index = u32::try_from(record.hashes.len()).unwrap_or(u32::MAX);
                let body = chunk_body(&record.key, index, count, &tail)
                    .map_err(|error| Problem::new(ProblemCode::Internal, error.to_string()))?;
                record.hashes.push(Hash::of(&[&body]));
                let place = body_place(id, index);
                ops.push(Op::Put { table: place.table, key: place.key, value: body });
                tail = Zeroizing::new(Vec::with_capacity(limits::CHUNK_BYTES));
            }
        }
        record.touched = self.now();
        ops.push(if tail.is_empty() { tail_place(id).delete() } else { self.shelf.put_bytes(tail_place(id), &tail) });
        ops.push(self.shelf.put(upload_place(id), &record));
        Ok(Piece { record, ops, hash })
    }

    fn tail(&self, id: UploadId) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        let mut tail = Zeroizing::new(Vec::with_capacity(limits::CHUNK_BYTES));
        if let Some(kept) = self.shelf.get_bytes(&tail_place(id))? {
            tail.extend_from_slice(&kept);
        }
        Ok(tail)
    }

    /// From memory, or read again from what is here.
    pub(super) fn hash_so_far(
        &self,
        id: UploadId,
        record: &UploadRecord,
        running: &Running,
    ) -> Result<Sha256, ReadError> {
        if let Some((offset, hash)) = &running.0
            && *offset == record.offset
        {
            return Ok(hash.clone());
        }
        let mut hash = Sha256::new();
        let attachment = record.attachment("upload", Hash::ZERO);
        for (index, _) in super::counted(&record.hashes) {
            hash.update(&*self.outgoing_chunk(id, &attachment, index)?);
        }
        hash.update(&*self.tail(id)?);
        Ok(hash)
    }

    /// One chunk of an upload, opened.
    pub(super) fn outgoing_chunk(
        &self,
        id: UploadId,
        attachment: &Attachment,
        index: u32,
    ) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        let malformed = ReadError::Malformed { table: Table::Chunks };
        let place = body_place(id, index);
        let body = self.shelf.store().get(place.table, &place.key)?.ok_or_else(|| malformed.clone())?;
        open_chunk(&body, attachment, index).map_err(|_| malformed)
    }
}

struct Piece {
    record: UploadRecord,
    ops: Vec<Op>,
    hash: Sha256,
}

pub(super) fn check_name(name: &str) -> Answer<()> {
    let bad = name.is_empty()
        || name.len() > limits::ATTACHMENT_NAME_BYTES_MAX
        || name.chars().any(|c| c.is_control() || c == '/' || c == '\\')
        || name == "."
        || name == "..";
    if !bad {
        return Ok(());
    }
    let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
    let detail = format!("'{shown}' is no attachment name: 1 to 255 bytes, no path, no control characters");
    Err(Problem::new(ProblemCode::BadRequest, detail))
}

fn name_of(id: UploadId) -> String {
    id.iter().fold(String::with_capacity(32), |name, byte| name + &format!("{byte:02x}"))
}

pub(super) fn parse_id(name: &str) -> Answer<UploadId> {
    let mut id = UploadId::default();
    if name.len() != 32 || !name.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()) {
        return Err(unknown(name));
    }
    for (byte, pair) in id.iter_mut().zip(name.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(pair).unwrap_or("");
        *byte = u8::from_str_radix(digits, 16).map_err(|_| unknown(name))?;
    }
    Ok(id)
}

pub(super) fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
    Problem::new(ProblemCode::UnknownUpload, format!("no upload '{shown}'"))
}
