//! What applications attach, in pieces and again after a crash, and what they read of it once all is there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use liaison_client::api::model::{AttachmentRef, Direction, MessageState, NewUpload, Problem, ProblemCode};
use liaison_client::office::Office;
use liaison_core::op::Table;
use liaison_protocol::limits::DEDUPE_MARGIN;
use liaison_protocol::{Hash, MessageId, Timestamp};
use rand_core::Rng;

use crate::sim::rng::SimRng;
use crate::sim::trace::{NodeNo, Step};
use crate::sim::world::World;

/// An application brings a file in pieces of this size.
const PIECE_BYTES: usize = 100_000;
const HOUR_MS: u64 = 3_600_000;
/// What each of these records of a daemon is about, and that none is left behind: uploads and what does not fill a chunk
/// yet, chunks on their way out, and chunks that no message has claimed.
const PASSING: [(Table, u8, &str); 5] = [
    (Table::Chunks, b'u', "an upload"),
    (Table::Chunks, b'v', "a part of a chunk"),
    (Table::Chunks, b'b', "a chunk on its way out"),
    (Table::Chunks, b'x', "a chunk's expiry"),
    (Table::Outbox, b'f', "a message's place in the feed"),
];

/// Uploads that an application has begun for one message, as it remembers them through the daemon's crashes.
#[derive(Clone, Default)]
pub(super) struct Uploads(Arc<Mutex<Vec<String>>>);

impl Uploads {
    fn ids(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None of them is there any more: it begins anew.
    pub(super) fn forget(&self) {
        self.ids().clear();
    }

    /// Uploads what is not there yet. What a submission has consumed is known to it by its key.
    pub(super) async fn bring(&self, office: &Arc<Office>, files: &[Bytes]) -> Result<Vec<AttachmentRef>, Problem> {
        let mut attachments = Vec::with_capacity(files.len());
        for (number, file) in files.iter().enumerate() {
            let name = format!("file {number}");
            let begun = self.ids().get(number).cloned();
            let (upload, offset) = match begun {
                None => {
                    let new = NewUpload { name: name.clone(), total_len: file.len() as u64 };
                    let upload = office.new_upload(new).await?.id;
                    self.ids().push(upload.clone());
                    (upload, 0)
                }
                Some(upload) => match office.upload(&upload).await {
                    Ok(standing) => (upload, standing.offset),
                    Err(problem) if problem.code == ProblemCode::UnknownUpload.as_str() => (upload, file.len() as u64),
                    Err(problem) => return Err(problem),
                },
            };
            append(office, &upload, file, offset).await?;
            attachments.push(AttachmentRef { upload, name });
        }
        Ok(attachments)
    }
}

async fn append(office: &Arc<Office>, upload: &str, file: &Bytes, from: u64) -> Result<(), Problem> {
    let mut at = usize::try_from(from).expect("a small file");
    while at < file.len() {
        let end = file.len().min(at + PIECE_BYTES);
        office.append(upload, at as u64, file.slice(at..end)).await?;
        at = end;
    }
    Ok(())
}

impl World<'_> {
    /// What is attached to a message of the plan. No two files are the same.
    pub(super) fn files_of(&self, mail: usize) -> Vec<Bytes> {
        let of = |(number, bytes): (u64, &usize)| {
            let mut octets = vec![0; *bytes];
            SimRng::new(self.plan.seed ^ ((mail as u64) << 32) ^ (number << 16)).fill_bytes(&mut octets);
            Bytes::from(octets)
        };
        (1..).zip(&self.plan.mail[mail].attached).map(of).collect()
    }

    pub(super) fn note_attached(&mut self, node: NodeNo, id: MessageId, mail: usize) {
        let digests: Vec<_> = self.files_of(mail).iter().map(|file| (Hash::of(&[file]), file.len())).collect();
        if !digests.is_empty() {
            self.note(Step::Attached { node, id, files: digests });
        }
    }

    /// The application reads what is attached to messages that are whole now.
    pub(super) fn read_attached(&mut self, node: NodeNo) {
        let arriving: Vec<MessageId> = self.nodes[node].agency.arriving.iter().copied().collect();
        for id in arriving {
            let Some(office) = self.office(node) else { return };
            let message = match office.message(id, Direction::In) {
                Ok(message) => message,
                Err(problem) if problem.code == ProblemCode::StoreFault.as_str() => {
                    return self.die(node, "its office cannot read", false, 1_000);
                }
                // An old copy of the store, which does not know it, was put back.
                Err(_) => {
                    self.nodes[node].agency.arriving.remove(&id);
                    continue;
                }
            };
            if message.state == MessageState::Arriving {
                continue;
            }
            self.nodes[node].agency.arriving.remove(&id);
            for part in message.parts {
                let octets = read(&office, id, part.n);
                self.note(Step::ShownPart { node, id, n: part.n, digest: octets.map(|octets| Hash::of(&[&octets])) });
            }
        }
    }

    /// When the office next has chunks to let go of; it looks once an hour.
    pub(in crate::sim) fn chunks_due_ms(&self, node: NodeNo) -> Option<u64> {
        let disk = self.nodes[node].disk();
        let expiry = disk.scan(Table::Chunks, b"x", None).next().map(|(key, _)| key);
        let expiry = expiry.and_then(|key| Some(Timestamp::from_millis(u64::from_be_bytes(*key[1..].first_chunk()?))));
        let due = expiry.map(|expiry| self.nodes[node].true_ms(expiry.after(DEDUPE_MARGIN)));
        let begun = disk.scan(Table::Chunks, b"u", None).next().is_some();
        let soon = self.now_ms + HOUR_MS;
        let due = due.map(|due_ms| if due_ms < self.now_ms { soon } else { due_ms });
        due.into_iter().chain(begun.then_some(soon)).min()
    }

    /// What is left of attachments when all is over.
    pub(in crate::sim) fn note_left(&mut self) {
        for node in 0..self.nodes.len() {
            for (table, kind, what) in PASSING {
                let left = self.nodes[node].disk().scan(table, &[kind], None).count();
                if self.nodes[node].kind == liaison_core::NodeKind::Daemon && self.plan.office && left > 0 {
                    self.note(Step::Left { node, what, count: left });
                }
            }
        }
    }
}

/// `None`: it cannot be read.
fn read(office: &Office, id: MessageId, n: u32) -> Option<Vec<u8>> {
    let mut part = office.part(id, Direction::In, n).ok()?;
    let mut octets = Vec::new();
    while let Some(more) = part.next(office).ok()? {
        octets.extend_from_slice(&more);
    }
    Some(octets)
}
