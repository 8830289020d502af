//! Chunks that arrive, before or after the message that announces them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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

use super::{
    ChunkName, arrived_place, chunk_place, claim_place, claims_prefix, counted, missing_place, unannounced_place,
};
use crate::inbox::receive::{refuse, taken};
use crate::inbox::{Head, head_place};
use crate::office::Office;
use crate::shelf::{Place, ReadError, Shelf, decode};

/// A chunk that is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Arrived {
    pub(crate) sender: AgencyId,
    /// The end of its time here, if no message announces it.
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
    /// Its commit is open. The number counts how often it was handed over: by two relays at once, for instance.
    open: BTreeMap<MessageId, (Arrival, u32)>,
    /// Its commit has ended, and it is not yet matched. Matching reads what is in the store: what is not, matches nothing.
    ended: VecDeque<Arrival>,
}

/// Something that may complete a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    Chunk(ChunkName),
    Message(MessageId),
}

impl Arrivals {
    pub(crate) fn open(&self, envelope: MessageId, arrival: Arrival) {
        self.lock().open.entry(envelope).or_insert((arrival, 0)).1 += 1;
    }

    /// Whether there is something to match now.
    pub(crate) fn committed(&self, envelope: MessageId) -> bool {
        let mut state = self.lock();
        let arrival = state.open.remove(&envelope).map(|(arrival, _)| arrival);
        state.ended.extend(arrival);
        arrival.is_some()
    }

    /// Whether there is something to look at now: another copy of it may be in the store, or not even this one.
    pub(crate) fn dropped(&self, envelope: MessageId) -> bool {
        let mut state = self.lock();
        let Some((arrival, times)) = state.open.get_mut(&envelope) else { return false };
        let arrival = *arrival;
        *times -= 1;
        if *times == 0 {
            state.open.remove(&envelope);
        }
        state.ended.push_back(arrival);
        true
    }

    /// Puts what was durable before the start where it is matched.
    pub(crate) fn restore(&self, id: MessageId) {
        self.lock().ended.push_back(Arrival::Message(id));
    }

    pub(crate) fn next(&self, limit: usize) -> Vec<Arrival> {
        let mut state = self.lock();
        let count = limit.min(state.ended.len());
        state.ended.drain(..count).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Office {
    // [CHUNK-1] [CHUNK-4]
    pub(crate) fn take_chunk(&self, envelope: &VerifiedEnvelope, now: Timestamp) -> Result<Received, ReadError> {
        let header = envelope.header();
        if self.roster().role(&header.sender) != Some(Role::Agency) {
            return Ok(refuse(RefusalReason::Malformed, "only agencies send attachments"));
        }
        let sender = header.sender.to_agency();
        let name = ChunkName::new(&sender, &header.body_hash);
        if self.shelf.has(&arrived_place(name))? {
            return Ok(taken(Vec::new()));
        }
        if let Err(detail) = self.room_for_chunk(name, &sender)? {
            return Ok(Received::Later { reason: RefusalReason::Quota, detail });
        }
        self.arrivals.open(envelope.id(), Arrival::Chunk(name));
        let life = now.after(self.unannounced.limits().life);
        let arrived = Arrived { sender, expires: life.min(header.expires.after(limits::DEDUPE_MARGIN)) };
        let chunk = chunk_place(name);
        // A copy: the body is a slice of the whole frame.
        let body = Bytes::copy_from_slice(&envelope.envelope().body);
        Ok(taken(vec![
            Op::Put { table: chunk.table, key: chunk.key, value: body },
            Shelf::put_clear(unannounced_place(arrived.expires, name), &name.0),
            Shelf::put_clear(arrived_place(name), &arrived),
        ]))
    }

    /// What a message with attachments waits for: all its chunks, those that are here already too.
    pub(crate) fn claims(&self, id: MessageId, sender: &AgencyId, message: &Message) -> Vec<Op> {
        let mut ops = Vec::new();
        for (attachment, announced) in counted(&message.attachments) {
            for (index, hash) in counted(&announced.chunk_hashes) {
                let claim = Claim { sender: sender.clone(), attachment, index };
                let name = ChunkName::new(sender, hash);
                ops.push(Shelf::put_clear(claim_place(name, id, attachment, index), &claim));
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
                Arrival::Chunk(name) => self.match_chunk(*name, &mut ops, &mut touched)?,
                Arrival::Message(id) => self.match_message(*id, &mut ops, &mut touched)?,
            }
        }
        touched.sort_unstable();
        touched.dedup();
        Ok((ops, touched))
    }

    /// Gives a chunk to all messages that announce it.
    fn match_chunk(&self, name: ChunkName, ops: &mut Vec<Op>, touched: &mut Vec<MessageId>) -> Result<(), ReadError> {
        let Some(arrived) = self.shelf.get_clear::<Arrived>(&arrived_place(name))? else {
            self.unannounced.remove(name);
            return Ok(());
        };
        let before = touched.len();
        for record in self.shelf.scan(Table::Chunks, &claims_prefix(name)) {
            let (key, value) = record?;
            let claim: Claim = decode(Table::Chunks, &value)?;
            let id = claimant(&key).ok_or(ReadError::Malformed { table: Table::Chunks })?;
            ops.push(missing_place(id, claim.attachment, claim.index).delete());
            touched.push(id);
        }
        if touched.len() == before {
            self.unannounced.add(name, &arrived.sender);
        } else {
            self.unannounced.remove(name);
            ops.push(unannounced_place(arrived.expires, name).delete());
        }
        Ok(())
    }

    /// Gives a message those of its chunks that are here.
    fn match_message(&self, id: MessageId, ops: &mut Vec<Op>, touched: &mut Vec<MessageId>) -> Result<(), ReadError> {
        let Some(head) = self.shelf.get_clear::<Head>(&head_place(id))? else { return Ok(()) };
        let prefix = Place::new(Table::Chunks, b'g', &[&id.0.0]).key;
        for record in self.shelf.scan(Table::Chunks, &prefix) {
            let (key, value) = record?;
            let name = ChunkName::new(&head.from, &decode(Table::Chunks, &value)?);
            if let Some(arrived) = self.shelf.get_clear::<Arrived>(&arrived_place(name))? {
                self.unannounced.remove(name);
                ops.push(Op::Delete { table: Table::Chunks, key });
                ops.push(unannounced_place(arrived.expires, name).delete());
            }
        }
        touched.push(id);
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

    /// Removes what a received message still waited for, and its chunks: those that no other message announces.
    pub(crate) fn drop_chunks(
        &self,
        id: MessageId,
        sender: &AgencyId,
        message: &Message,
    ) -> Result<Vec<Op>, ReadError> {
        let (mut ops, mut names) = (Vec::new(), BTreeSet::new());
        for (attachment, announced) in counted(&message.attachments) {
            for (index, hash) in counted(&announced.chunk_hashes) {
                let name = ChunkName::new(sender, hash);
                ops.push(claim_place(name, id, attachment, index).delete());
                ops.push(missing_place(id, attachment, index).delete());
                names.insert(name);
            }
        }
        for name in names {
            if !self.is_claimed_by_another(name, id)? || planted(Mutant::ChunkNotCounted) {
                ops.extend([chunk_place(name).delete(), arrived_place(name).delete()]);
            }
        }
        Ok(ops)
    }

    fn is_claimed_by_another(&self, name: ChunkName, id: MessageId) -> Result<bool, ReadError> {
        for record in self.shelf.scan(Table::Chunks, &claims_prefix(name)) {
            if claimant(&record?.0) != Some(id) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The message whose claim has this key.
fn claimant(key: &[u8]) -> Option<MessageId> {
    key.get(33..).and_then(|rest| rest.first_chunk()).map(|id| MessageId(Hash(*id)))
}
