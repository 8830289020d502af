//! The state of every disk and link, as the trace tells it.

use std::collections::{BTreeMap, BTreeSet};

use liaison_core::LinkKey;
use liaison_protocol::limits::CHUNK_BYTES;
use liaison_protocol::{Hash, MessageId, Timestamp};

use super::chains::Chains;
use crate::sim::fixture::START;
use crate::sim::plan::Plan;
use crate::sim::trace::{AckFacts, Carried, Fact, MailKind, NodeNo, QueuePlace, Step, Told};
use crate::sim::world::Report;

/// A message and which of its recipients.
pub(super) type Part = (MessageId, u16);
/// A chunk: the message that it belongs to, which attachment, which chunk of it.
pub(super) type Chunk = (MessageId, u32, u32);
/// A transfer, as its sender or receiver numbers it.
pub(super) type TransferKey = (NodeNo, LinkKey, u8, u64);

#[derive(Clone, Debug)]
pub(super) struct Queued {
    pub(super) part: Part,
    pub(super) bytes: u32,
    pub(super) expires: Timestamp,
}

/// What one disk holds, durably.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) queued: BTreeMap<QueuePlace, Queued>,
    pub(super) bodies: BTreeSet<MessageId>,
    /// Until when each id is remembered, and the highest attempt taken.
    pub(super) known: BTreeMap<Part, (Timestamp, u8)>,
    pub(super) inbox: BTreeMap<MessageId, u64>,
    pub(super) open: BTreeSet<Part>,
    /// Messages that are kept so that they can be sent again.
    pub(super) unsettled: BTreeSet<MessageId>,
    pub(super) told: BTreeMap<Part, u16>,
    /// Delivery receipts, by what read receipts name.
    pub(super) receipted: BTreeMap<Part, Option<Hash>>,
    /// Delivery receipts that read receipts name.
    pub(super) read_receipted: BTreeMap<Part, Hash>,
    /// Chunks that have come: the message that they belong to, which attachment, which chunk.
    pub(super) chunks: BTreeSet<Chunk>,
    /// Messages whose attachments are all there.
    pub(super) complete: BTreeSet<MessageId>,
    pub(super) handed_over: BTreeSet<MessageId>,
    pub(super) read: BTreeSet<MessageId>,
}

#[derive(Clone, Debug)]
pub(super) struct Submitted {
    pub(super) at_ms: u64,
    pub(super) created: Timestamp,
    pub(super) node: NodeNo,
    pub(super) recipients: Vec<NodeNo>,
    pub(super) rank: u8,
    pub(super) kind: MailKind,
    pub(super) text: String,
    pub(super) expires: Timestamp,
    pub(super) accepted: bool,
}

/// A transfer that has arrived, and how its receiver stood then.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) at_ms: u64,
    pub(super) from: NodeNo,
    pub(super) transfer: Carried,
    /// For whom it can be opened.
    pub(super) wraps: BTreeSet<u16>,
    pub(super) clock: Timestamp,
    pub(super) good: bool,
    pub(super) low: bool,
    pub(super) draining: bool,
    /// Parts that the receiver has had before, durably or about to be.
    pub(super) had: BTreeSet<u16>,
    /// Parts that it holds, durably or about to.
    pub(super) held: BTreeSet<u16>,
    /// Parts whose queue was full beyond its cap.
    pub(super) over: BTreeSet<u16>,
    /// Parts, other than flash, whose sender had more than half of what their queue may hold.
    pub(super) hogged: BTreeSet<u16>,
    pub(super) roster: u32,
}

#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) told: Told,
}

#[derive(Default)]
pub(super) struct NodeState {
    pub(super) disk: Disk,
    /// The commit under way.
    pub(super) flying: Option<(u64, Vec<Fact>)>,
    pub(super) down: bool,
    pub(super) low: bool,
    pub(super) draining: bool,
    pub(super) clock_ms: i64,
    pub(super) roster: u32,
    /// It has played false at some time: nothing is expected of it from then on.
    pub(super) hostile: bool,
    /// Parts that a next holder has acknowledged, in this life.
    pub(super) acked: BTreeSet<Part>,
    pub(super) ended: BTreeMap<Part, End>,
    /// What next hops refused for good, and why.
    pub(super) refused: BTreeSet<(Part, u16)>,
    /// What the application has read, by its text.
    pub(super) shown: BTreeMap<String, MessageId>,
    /// Attachments that the application has read.
    pub(super) shown_parts: BTreeSet<(MessageId, u32)>,
    /// What the application has said that it has read.
    pub(super) marking: BTreeSet<MessageId>,
    /// Until when a refused part's queue waits.
    pub(super) waits: BTreeMap<(Part, LinkKey), u64>,
    snapshots: BTreeMap<u64, Disk>,
}

/// See the module.
pub(super) struct Model<'a> {
    pub(super) report: &'a Report,
    pub(super) plan: &'a Plan,
    pub(super) now_ms: u64,
    pub(super) nodes: Vec<NodeState>,
    pub(super) submitted: BTreeMap<MessageId, Submitted>,
    pub(super) in_flight: BTreeMap<TransferKey, Carried>,
    pub(super) arrivals: BTreeMap<TransferKey, Arrival>,
    /// What is attached to messages: hashes and sizes of files.
    pub(super) attached: BTreeMap<MessageId, Vec<(Hash, usize)>>,
    /// What envelopes of chunks carry.
    pub(super) chunks: BTreeMap<MessageId, Chunk>,
    /// When each part was first in its recipient's inbox, whole, and when its sender first knew that it would not be.
    pub(super) delivered_ms: BTreeMap<Part, u64>,
    pub(super) told_ms: BTreeMap<Part, u64>,
    /// When each part was marked read, and when its sender first had both receipts that prove it.
    pub(super) read_ms: BTreeMap<Part, u64>,
    pub(super) known_read_ms: BTreeMap<Part, u64>,
    /// Every end that a node has made: by whom, of what, why.
    pub(super) notices: BTreeSet<(NodeNo, Part, u16)>,
    /// Why senders were told of ends, other than that time was up.
    pub(super) reasons: Vec<(u64, Part, NodeNo, u16)>,
    /// When what a node took anew from another had come to it.
    pub(super) taken_ms: BTreeMap<(NodeNo, NodeNo), Vec<u64>>,
    /// Receipts by their issuers and numbers.
    pub(super) signed: BTreeMap<(NodeNo, u64), Hash>,
    /// Whom links lead to, as their ends number them.
    pub(super) peers: BTreeMap<(NodeNo, LinkKey), NodeNo>,
    /// Which messages were sealed anew.
    pub(super) chains: Chains,
    /// States that a disk is set back to later.
    wanted: BTreeSet<(NodeNo, u64)>,
}

impl<'a> Model<'a> {
    pub(super) fn new(report: &'a Report) -> Self {
        let wanted = report.trace.steps.iter().filter_map(|(_, step)| match step {
            Step::DiskReplaced { node, by: Some(batch) } => Some((*node, *batch)),
            _ => None,
        });
        let mut nodes: Vec<NodeState> = report.names.iter().map(|_| NodeState::default()).collect();
        nodes.iter_mut().for_each(|node| (node.down, node.roster) = (true, 1));
        Self {
            report,
            plan: &report.plan,
            now_ms: 0,
            nodes,
            submitted: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            attached: BTreeMap::new(),
            chunks: BTreeMap::new(),
            delivered_ms: BTreeMap::new(),
            told_ms: BTreeMap::new(),
            read_ms: BTreeMap::new(),
            known_read_ms: BTreeMap::new(),
            notices: BTreeSet::new(),
            reasons: Vec::new(),
            taken_ms: BTreeMap::new(),
            signed: BTreeMap::new(),
            peers: BTreeMap::new(),
            chains: Chains::of(&report.trace),
            wanted: wanted.collect(),
        }
    }

    pub(super) fn is_relay(&self, node: NodeNo) -> bool {
        node < self.report.relays
    }

    pub(super) fn clock(&self, node: NodeNo, at_ms: u64) -> Timestamp {
        Timestamp::from_millis((START.as_millis() + at_ms).saturating_add_signed(self.nodes[node].clock_ms))
    }

    pub(super) fn recipient(&self, part: Part) -> Option<NodeNo> {
        self.submitted.get(&part.0)?.recipients.get(usize::from(part.1)).copied()
    }

    pub(super) fn apply(&mut self, at_ms: u64, step: &Step) {
        match step {
            Step::AckReceived { node, link, rank, seq, ack } => self.hear(at_ms, (*node, *link, *rank, *seq), ack),
            Step::Answered { id, done: true, .. } => {
                self.submitted.entry(*id).and_modify(|submitted| submitted.accepted = true);
            }
            Step::ClockJumped { node, by_ms } => self.nodes[*node].clock_ms += by_ms,
            Step::Commit { node, batch, facts } => self.nodes[*node].flying = Some((*batch, facts.clone())),
            Step::Crashed { node, kept } | Step::Died { node, kept, .. } => self.stop(*node, *kept, at_ms),
            Step::DiskReplaced { node, by } => {
                let state = &mut self.nodes[*node];
                state.disk = by.and_then(|batch| state.snapshots.get(&batch).cloned()).unwrap_or_default();
                if by.is_some() {
                    self.set_back(*node);
                }
            }
            Step::Drained { node, draining } => self.nodes[*node].draining = *draining,
            Step::Durable { node, .. } => self.durable(*node, at_ms),
            Step::Ended { node, id, index, reason, told, .. } => {
                let part = (*id, *index);
                self.nodes[*node].ended.insert(part, End { told: *told });
                self.notices.insert((*node, part, reason.code()));
            }
            Step::Full { node, .. } => self.nodes[*node].flying = None,
            Step::Hostile { node, .. } => self.nodes[*node].hostile = true,
            Step::Closed { node, link, .. } | Step::LinkDown { node, link } => {
                self.in_flight.retain(|(of, by, ..), _| (of, by) != (node, link));
            }
            Step::Low { node, low } => self.nodes[*node].low = *low,
            Step::Received { node, from, link, rank, seq, transfer, wraps, clock, good } => {
                let mut arrival = self.arrival(at_ms, (*node, *from), transfer, *clock, *good);
                arrival.wraps = wraps.iter().copied().collect();
                self.arrivals.insert((*node, *link, *rank, *seq), arrival);
            }
            Step::Roster { node, version, .. } => self.nodes[*node].roster = *version,
            Step::Sent { node, link, rank, seq, transfer, .. } => {
                self.in_flight.insert((*node, *link, *rank, *seq), transfer.clone());
            }
            Step::Started { node } => (self.nodes[*node].down, self.nodes[*node].draining) = (false, false),
            Step::Submitted { node, id, recipients, rank, kind, text, expires } if *kind != MailKind::Again => {
                let new = Submitted {
                    at_ms,
                    created: self.clock(*node, at_ms),
                    node: *node,
                    recipients: recipients.clone(),
                    rank: *rank,
                    kind: *kind,
                    text: text.clone(),
                    expires: *expires,
                    accepted: false,
                };
                self.submitted.insert(*id, new);
            }
            Step::Acknowledged { node, link, rank, seq, ack } => {
                let arrival = self.arrivals.get(&(*node, *link, *rank, *seq));
                let new = arrival.filter(|arrival| ack.taken.iter().any(|index| !arrival.had.contains(index)));
                if let Some((from, came_ms)) = new.map(|arrival| (arrival.from, arrival.at_ms)) {
                    self.taken_ms.entry((*node, from)).or_default().push(came_ms);
                }
            }
            other => self.learn(other),
        }
    }

    /// An agency's old store has taken the place of the newer one: what was accepted since is promised no more, and what was
    /// shown since may be shown again.
    fn set_back(&mut self, node: NodeNo) {
        let state = &mut self.nodes[node];
        let disk = &state.disk;
        state.shown.retain(|_, id| disk.inbox.contains_key(id));
        state.shown_parts.retain(|(id, _)| disk.complete.contains(id));
        for (id, submitted) in self.submitted.iter_mut().filter(|(_, submitted)| submitted.node == node) {
            let known = |index: u16| {
                let part = (*id, index);
                disk.open.contains(&part) || disk.told.contains_key(&part) || disk.receipted.contains_key(&part)
            };
            submitted.accepted &= (0..).zip(&submitted.recipients).all(|(index, _)| known(index));
        }
    }

    /// What is attached, shown and linked.
    fn learn(&mut self, step: &Step) {
        match step {
            Step::Attached { id, files, .. } => drop(self.attached.insert(*id, files.clone())),
            Step::Chunk { id, of, attachment, index, .. } => {
                self.chunks.insert(*id, (*of, *attachment, *index));
            }
            // The same ciphertext: a chunk by any name.
            Step::Copied { id, of, .. } => {
                if let Some(chunk) = self.chunks.get(of).copied() {
                    self.chunks.insert(*id, chunk);
                }
            }
            Step::ShownPart { node, id, n, .. } => drop(self.nodes[*node].shown_parts.insert((*id, *n))),
            Step::Signed { node, seq, receipt } => drop(self.signed.insert((*node, *seq), *receipt)),
            Step::LinkUp { node, peer, link } => drop(self.peers.insert((*node, *link), *peer)),
            Step::Marking { node, id } => drop(self.nodes[*node].marking.insert(*id)),
            Step::Shown { node, id, text, .. } => drop(self.nodes[*node].shown.insert(text.clone(), *id)),
            // What follows from the others shows in commits and frames.
            _ => {}
        }
    }

    /// A next hop says what it has taken, and what not.
    fn hear(&mut self, at_ms: u64, transfer: TransferKey, ack: &AckFacts) {
        self.in_flight.remove(&transfer);
        let (node, link, ..) = transfer;
        let state = &mut self.nodes[node];
        state.acked.extend(ack.taken.iter().chain(&ack.duplicate).map(|index| (ack.id, *index)));
        for (index, reason, retry_ms) in &ack.refused {
            let part = (ack.id, *index);
            match u64::from(*retry_ms) {
                0 => drop(state.refused.insert((part, *reason))),
                wait_ms => drop(state.waits.insert((part, link), at_ms + wait_ms.min(3_600_000))),
            }
        }
    }

    fn arrival(
        &self,
        at_ms: u64,
        (node, from): (NodeNo, NodeNo),
        transfer: &Carried,
        clock: Timestamp,
        good: bool,
    ) -> Arrival {
        let state = &self.nodes[node];
        let id = transfer.id;
        let coming = |is: fn(&Fact) -> Option<Part>, index: u16| {
            state.flying.iter().flat_map(|(_, facts)| facts).any(|fact| is(fact) == Some((id, index)))
        };
        let known = |fact: &Fact| match fact {
            Fact::Known { id, index, .. } => Some((*id, *index)),
            _ => None,
        };
        let queued = |fact: &Fact| match fact {
            Fact::Queued { id, index, .. } => Some((*id, *index)),
            _ => None,
        };
        let in_queue = |index: u16| state.disk.queued.values().any(|entry| entry.part == (id, index));
        let parts = |is: &dyn Fn(u16) -> bool| transfer.branch.iter().copied().filter(|index| is(*index)).collect();
        Arrival {
            at_ms,
            from,
            transfer: transfer.clone(),
            wraps: BTreeSet::new(),
            clock,
            good,
            low: state.low,
            draining: state.draining,
            had: parts(&|index| state.disk.known.contains_key(&(id, index)) || coming(known, index)),
            held: parts(&|index| in_queue(index) || coming(queued, index)),
            over: parts(&|index| self.is_over(node, (id, index))),
            hogged: parts(&|index| self.is_hogged(node, (id, index))),
            roster: state.roster,
        }
    }

    /// Whether what is held for this part's recipient is more than may be, whatever is just leaving left out.
    fn is_over(&self, node: NodeNo, part: Part) -> bool {
        let (Some(quota), Some(recipient)) = (self.plan.shape.quota_bytes, self.recipient(part)) else { return false };
        let flash = self.submitted.get(&part.0).is_some_and(|submitted| submitted.rank == 0);
        let limit = if flash { quota } else { common_room(quota) };
        self.held_for(node, recipient).map(|entry| u64::from(entry.bytes)).sum::<u64>() > limit
    }

    /// Whether this part's sender already has more than half of its recipient's queue. Flash has a reserve beside.
    fn is_hogged(&self, node: NodeNo, part: Part) -> bool {
        let (Some(quota), Some(recipient)) = (self.plan.shape.quota_bytes, self.recipient(part)) else { return false };
        let Some(submitted) = self.submitted.get(&part.0).filter(|submitted| submitted.rank != 0) else { return false };
        let of_sender = self.held_for(node, recipient).filter(|entry| {
            let other = self.submitted.get(&entry.part.0);
            other.is_some_and(|other| other.node == submitted.node && other.rank != 0)
        });
        of_sender.map(|entry| u64::from(entry.bytes)).sum::<u64>() > common_room(quota) / 2
    }

    /// What a node holds for a recipient, and is not just letting go.
    fn held_for(&self, node: NodeNo, recipient: NodeNo) -> impl Iterator<Item = &Queued> {
        let (state, queue) = (&self.nodes[node], self.report.names[recipient].as_str());
        let of_queue = state.disk.queued.iter().filter(move |(place, _)| &*place.queue == queue);
        let leaves = |entry: &Queued| state.acked.contains(&entry.part) || state.ended.contains_key(&entry.part);
        of_queue.map(|(_, entry)| entry).filter(move |entry| !leaves(entry))
    }

    fn is_delivered(&mut self, node: NodeNo, id: MessageId, at_ms: u64) {
        if let Some(part) = self.part_of(id, node) {
            self.delivered_ms.entry(part).or_insert(at_ms);
        }
    }

    /// Whether all that is attached to a message has come to this node: files go in chunks of this size.
    pub(super) fn is_whole(&self, node: NodeNo, id: MessageId) -> bool {
        let files = self.attached.get(&id).map_or(&[][..], Vec::as_slice);
        (0..).zip(files).all(|(attachment, (_, bytes))| {
            let mut chunks = 0..u32::try_from(bytes.div_ceil(CHUNK_BYTES)).expect("a small file");
            chunks.all(|index| self.nodes[node].disk.chunks.contains(&(id, attachment, index)))
        })
    }

    /// What ends with an envelope's end: of a chunk, its message; of one that was sealed anew, the first.
    pub(super) fn message_of(&self, (id, index): Part) -> Part {
        let first = self.chains.first(id);
        (self.chunks.get(&id).map_or(first, |(message, ..)| *message), index)
    }

    /// Which part of a message comes to this node.
    fn part_of(&self, id: MessageId, node: NodeNo) -> Option<Part> {
        let index = self.submitted.get(&id)?.recipients.iter().position(|recipient| *recipient == node)?;
        Some((id, u16::try_from(index).ok()?))
    }

    /// A read receipt counts beside the delivery receipt that it names.
    fn compare_receipts(&mut self, node: NodeNo, part: Part, at_ms: u64) {
        let disk = &self.nodes[node].disk;
        let read = disk.read_receipted.get(&part);
        if read.is_some() && disk.receipted.get(&part).and_then(Option::as_ref) == read {
            self.known_read_ms.entry(part).or_insert(at_ms);
        }
    }

    fn stop(&mut self, node: NodeNo, kept: bool, at_ms: u64) {
        if kept {
            self.durable(node, at_ms);
        }
        let state = &mut self.nodes[node];
        state.flying = None;
        state.down = true;
        state.acked.clear();
        state.waits.clear();
        self.in_flight.retain(|(of, ..), _| *of != node);
    }

    fn durable(&mut self, node: NodeNo, at_ms: u64) {
        let Some((batch, facts)) = self.nodes[node].flying.take() else { return };
        for fact in facts {
            self.apply_fact(node, at_ms, fact);
        }
        if self.wanted.contains(&(node, batch)) {
            let disk = self.nodes[node].disk.clone();
            self.nodes[node].snapshots.insert(batch, disk);
        }
    }

    fn apply_fact(&mut self, node: NodeNo, at_ms: u64, fact: Fact) {
        let disk = &mut self.nodes[node].disk;
        match fact {
            Fact::Body(id) => drop(disk.bodies.insert(id)),
            Fact::Closed { id, index } => drop(disk.open.remove(&(id, index))),
            Fact::Forgot { id, index } => drop(disk.known.remove(&(id, index))),
            Fact::Inbox { id, .. } => {
                *disk.inbox.entry(id).or_default() += 1;
                if !self.attached.contains_key(&id) {
                    self.is_delivered(node, id, at_ms);
                }
            }
            Fact::Complete { id } => {
                disk.complete.insert(id);
                self.is_delivered(node, id, at_ms);
            }
            Fact::Known { id, index, until, attempt, .. } => {
                disk.known.insert((id, index), (until, attempt));
                if let Some(chunk) = self.chunks.get(&id) {
                    disk.chunks.insert(*chunk);
                }
            }
            Fact::Open { id, index, .. } => drop(disk.open.insert((id, index))),
            Fact::Queued { place, id, index, bytes, expires } => {
                disk.queued.insert(place, Queued { part: (id, index), bytes, expires });
                self.nodes[node].acked.remove(&(id, index));
                self.nodes[node].ended.remove(&(id, index));
            }
            // A thing to do, not a state.
            Fact::Listed { .. } | Fact::Resealing { .. } => {}
            Fact::ReceiptKept { by, seq, receipt } => drop(self.signed.insert((by, seq), receipt)),
            Fact::Settled { id } => drop(disk.unsettled.remove(&id)),
            Fact::Unsettled { id } => drop(disk.unsettled.insert(id)),
            Fact::HandedOver { id } => drop(disk.handed_over.insert(id)),
            Fact::Read { id } => {
                disk.read.insert(id);
                if let Some(part) = self.part_of(id, node) {
                    self.read_ms.entry(part).or_insert(at_ms);
                }
            }
            Fact::Receipted { id, index, receipt } => {
                disk.receipted.insert((id, index), receipt);
                self.compare_receipts(node, (id, index), at_ms);
            }
            Fact::ReadReceipted { id, index, delivery } => {
                disk.read_receipted.insert((id, index), delivery);
                self.compare_receipts(node, (id, index), at_ms);
            }
            Fact::Told { id, index, by, reason } => {
                disk.told.insert((id, index), reason);
                self.told_ms.entry((id, index)).or_insert(at_ms);
                self.reasons.push((at_ms, (id, index), by, reason));
            }
            Fact::Unqueued { place, id } => {
                disk.queued.remove(&place);
                if !disk.queued.values().any(|entry| entry.part.0 == id) {
                    disk.bodies.remove(&id);
                }
            }
        }
    }
}

/// What of a queue's room is for all precedences: a twentieth is for flash alone.
const fn common_room(quota: u64) -> u64 {
    quota - quota / 100 * 5
}
