//! Chunks that arrive, before or after the message that announces them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use liaison_core::op::{Op, Table};
use liaison_node::local::Received;
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::inner::Message;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::roster::Role;
use liaison_protocol::{AgencyId, Hash, MessageId, Timestamp, limits};
use serde::{Deserialize, Serialize};

use super::{arrived_place, chunk_place, claim_place, counted, missing_place, orphan_place, owner_place};
use crate::inbox::receive::{refuse, taken};
use crate::office::Office;
use crate::shelf::{Place, ReadError, Shelf, decode};

/// A chunk that is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Arrived {
    pub(crate) sender: AgencyId,
    pub(crate) expires: Timestamp,
}

/// That a message announces a chunk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) sender: AgencyId,
    pub(crate) attachment: u32,
    pub(crate) index: u32,
}

/// What has arrived, from the moment it is opened until it is matched.
#[derive(Default)]
pub(crate) struct Arrivals(Mutex<State>);

#[derive(Default)]
struct State {
    /// Its commit is open.
    open: BTreeMap<MessageId, Arrival>,
    /// It is durable, and not yet matched.
    durable: VecDeque<Arrival>,
}

/// Something that may complete a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    Chunk(Hash),
    Message(MessageId),
}

impl Arrivals {
    pub(crate) fn open(&self, envelope: MessageId, arrival: Arrival) {
        self.lock().open.insert(envelope, arrival);
    }

    /// Whether there is something to match now.
    pub(crate) fn committed(&self, envelope: MessageId) -> bool {
        let mut state = self.lock();
        let arrival = state.open.remove(&envelope);
        state.durable.extend(arrival);
        arrival.is_some()
    }

    pub(crate) fn dropped(&self, envelope: MessageId) {
        self.lock().open.remove(&envelope);
    }

    /// Puts what was durable before the start where it is matched.
    pub(crate) fn restore(&self, id: MessageId) {
        self.lock().durable.push_back(Arrival::Message(id));
    }

    pub(crate) fn next(&self, limit: usize) -> Vec<Arrival> {
        let mut state = self.lock();
        let count = limit.min(state.durable.len());
        state.durable.drain(..count).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Office {
    pub(crate) fn take_chunk(&self, envelope: &VerifiedEnvelope, _now: Timestamp) -> Result<Received, ReadError> {
        let header = envelope.header();
        if self.roster().role(&header.sender) != Some(Role::Agency) {
            return Ok(refuse(RefusalReason::Malformed, "only agencies send attachments"));
        }
        let hash = header.body_hash;
        self.arrivals.open(envelope.id(), Arrival::Chunk(hash));
        if self.shelf.has(&arrived_place(hash))? {
            return Ok(taken(Vec::new()));
        }
        let arrived = Arrived { sender: header.sender.to_agency(), expires: header.expires };
        let chunk = chunk_place(hash);
        // A copy: the body is a slice of the whole frame.
        let body = Bytes::copy_from_slice(&envelope.envelope().body);
        Ok(taken(vec![
            Op::Put { table: chunk.table, key: chunk.key, value: body },
            Shelf::put_clear(arrived_place(hash), &arrived),
            Shelf::put_clear(orphan_place(header.expires, hash), &hash),
        ]))
    }

    /// What a message with attachments waits for: all its chunks, those that are here already too.
    pub(crate) fn claims(&self, id: MessageId, sender: &AgencyId, message: &Message) -> Vec<Op> {
        let mut ops = Vec::new();
        for (attachment, announced) in counted(&message.attachments) {
            for (index, hash) in counted(&announced.chunk_hashes) {
                let claim = Claim { sender: sender.clone(), attachment, index };
                ops.push(Shelf::put_clear(claim_place(*hash, id), &claim));
                ops.push(Shelf::put_clear(missing_place(id, attachment, index), hash));
            }
        }
        if !ops.is_empty() {
            self.arrivals.open(id, Arrival::Message(id));
        }
        ops
    }

    /// Gives chunks to the messages that announce them. Returns what to commit, and whose turn it may then be.
    pub(crate) fn match_arrivals(&self, arrivals: &[Arrival]) -> Result<(Vec<Op>, Vec<MessageId>), ReadError> {
        let (mut ops, mut touched) = (Vec::new(), Vec::new());
        for arrival in arrivals {
            match arrival {
                Arrival::Chunk(hash) => self.match_chunk(*hash, &mut ops, &mut touched)?,
                Arrival::Message(id) => {
                    touched.push(*id);
                    let prefix = Place::new(Table::Chunks, b'g', &[&id.0.0]).key;
                    for record in self.shelf.scan(Table::Chunks, &prefix) {
                        let hash: Hash = decode(Table::Chunks, &record?.1)?;
                        self.match_chunk(hash, &mut ops, &mut touched)?;
                    }
                }
            }
        }
        touched.sort_unstable();
        touched.dedup();
        Ok((ops, touched))
    }

    fn match_chunk(&self, hash: Hash, ops: &mut Vec<Op>, touched: &mut Vec<MessageId>) -> Result<(), ReadError> {
        let Some(arrived) = self.shelf.get_clear::<Arrived>(&arrived_place(hash))? else { return Ok(()) };
        let prefix = Place::new(Table::Chunks, b'a', &[&hash.0]).key;
        for record in self.shelf.scan(Table::Chunks, &prefix) {
            let (key, value) = record?;
            let claim: Claim = decode(Table::Chunks, &value)?;
            let id = key.last_chunk().map(|id| MessageId(Hash(*id)));
            let id = id.ok_or(ReadError::Malformed { table: Table::Chunks })?;
            if claim.sender != arrived.sender {
                continue;
            }
            ops.push(Op::Delete { table: Table::Chunks, key });
            ops.push(missing_place(id, claim.attachment, claim.index).delete());
            ops.push(Shelf::put_clear(owner_place(hash), &id));
            touched.push(id);
        }
        Ok(())
    }

    /// Bytes that are still missing, attachment by attachment.
    pub(crate) fn missing_bytes(&self, id: MessageId, message: &Message) -> Result<Vec<u64>, ReadError> {
        let mut missing = vec![0u64; message.attachments.len()];
        for (attachment, index) in self.missing(id)? {
            let at = usize::try_from(attachment).unwrap_or(usize::MAX);
            if let (Some(missing), Some(announced)) = (missing.get_mut(at), message.attachments.get(at)) {
                let start = u64::from(index) * limits::CHUNK_BYTES as u64;
                let rest = announced.total_len.saturating_sub(start);
                *missing += rest.min(limits::CHUNK_BYTES as u64);
            }
        }
        Ok(missing)
    }

    /// How many parts are here, the text among them.
    pub(crate) fn parts_here(&self, id: MessageId, parts: u32) -> Result<u32, ReadError> {
        let mut waiting: Vec<u32> = self.missing(id)?.into_iter().map(|(attachment, _)| attachment).collect();
        waiting.dedup();
        Ok(parts.saturating_sub(u32::try_from(waiting.len()).unwrap_or(u32::MAX)).max(1))
    }

    /// Missing chunks by attachment and index, ascending.
    fn missing(&self, id: MessageId) -> Result<Vec<(u32, u32)>, ReadError> {
        let prefix = Place::new(Table::Chunks, b'g', &[&id.0.0]).key;
        let mut missing = Vec::new();
        for record in self.shelf.scan(Table::Chunks, &prefix) {
            let (key, _) = record?;
            let place = key.get(prefix.len()..).and_then(|rest| rest.split_first_chunk::<4>());
            let place = place.and_then(|(attachment, index)| Some((attachment, index.first_chunk::<4>()?)));
            let (attachment, index) = place.ok_or(ReadError::Malformed { table: Table::Chunks })?;
            missing.push((u32::from_be_bytes(*attachment), u32::from_be_bytes(*index)));
        }
        Ok(missing)
    }

    /// Whether a chunk of the attachment at `at` is missing.
    pub(crate) fn is_missing(&self, id: MessageId, at: usize) -> Result<bool, ReadError> {
        let Ok(at) = u32::try_from(at) else { return Ok(false) };
        let prefix = Place::new(Table::Chunks, b'g', &[&id.0.0, &at.to_be_bytes()]).key;
        Ok(!self.shelf.store().scan(Table::Chunks, &prefix, None, 1)?.is_empty())
    }

    /// Whether no chunk is missing.
    pub(crate) fn is_whole(&self, id: MessageId) -> Result<bool, ReadError> {
        let prefix = Place::new(Table::Chunks, b'g', &[&id.0.0]).key;
        Ok(self.shelf.store().scan(Table::Chunks, &prefix, None, 1)?.is_empty() || planted(Mutant::WholeTooSoon))
    }

    /// Removes the chunks of a received message, and what it still waited for.
    pub(crate) fn drop_chunks(id: MessageId, message: &Message) -> Vec<Op> {
        let mut ops = Vec::new();
        for (attachment, announced) in counted(&message.attachments) {
            for (index, hash) in counted(&announced.chunk_hashes) {
                let places = [
                    chunk_place(*hash),
                    arrived_place(*hash),
                    owner_place(*hash),
                    claim_place(*hash, id),
                    missing_place(id, attachment, index),
                ];
                ops.extend(places.map(Place::delete));
            }
        }
        ops
    }

    /// Chunks past their expiry and a day that no message has announced.
    pub(crate) fn forget_orphans(&self, now: Timestamp, limit: usize) -> Result<Vec<Op>, ReadError> {
        let mut ops = Vec::new();
        for (key, value) in self.shelf.store().scan(Table::Chunks, b"x", None, limit)? {
            let expires = key.get(1..).and_then(|rest| rest.first_chunk()).map(|at| u64::from_be_bytes(*at));
            let expires = Timestamp::from_millis(expires.unwrap_or(0));
            if expires.after(limits::DEDUPE_MARGIN) > now {
                break;
            }
            let hash: Hash = decode(Table::Chunks, &value)?;
            if !self.shelf.has(&owner_place(hash))? {
                ops.extend([chunk_place(hash).delete(), arrived_place(hash).delete()]);
            }
            ops.push(Op::Delete { table: Table::Chunks, key });
        }
        Ok(ops)
    }
}
