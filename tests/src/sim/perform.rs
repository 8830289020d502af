//! Doing what cores say: commits, transfers, acknowledgements; and what arrives for them.

use std::collections::VecDeque;

use bytes::Bytes;
use liaison_core::action::{Acknowledgement, CloseReason, SendTransfer, Taken};
use liaison_core::durable::Durable;
use liaison_core::event::{CommitResult, Disk as DiskLevel, Ended, Received};
use liaison_core::op::{DedupeKey, Op};
use liaison_core::proofs::VerifiedReceipt;
use liaison_core::{Action, Event, LinkKey, NodeKind};
use liaison_protocol::envelope::Envelope;
use liaison_protocol::frame::{Ack, ReachEntry, Transfer};
use liaison_protocol::{MessageId, NodeId, Timestamp};

use super::network::Frame;
use super::plan::Trick;
use super::trace::{AckFacts, Carried, Fact, NodeNo, Step, Told};
use super::world::{What, World};

impl World<'_> {
    pub(super) fn perform(&mut self, node: NodeNo, action: Action, events: &mut VecDeque<Event>, now: Timestamp) {
        match action {
            Action::Acknowledge { link, rank, acks } => self.acknowledge(node, link, rank, acks),
            Action::Answer { ticket, outcome } => events.extend(self.answered(node, ticket, &outcome)),
            Action::Close { link, why } => self.close(node, link, why),
            Action::Commit { ops, custody } => self.commit(node, ops, &custody, now),
            Action::End { position, entry, reason, detail } => {
                let outcome = self.end(node, &position, &entry, (reason, &detail), now);
                let told = match &outcome {
                    Ended::Later => Told::Later,
                    Ended::Notice(notice) => Told::Notice(notice.id()),
                    Ended::Records(records) if records.is_empty() => Told::Nobody,
                    Ended::Records(_) => Told::Sender,
                };
                self.note(Step::Ended { node, id: entry.id, index: entry.index, reason, clock: now, told });
                events.push_back(Event::Ended { position, outcome });
            }
            Action::Load { queue, rank, after, limit } => {
                let entries = self.nodes[node].disk().head(&queue, rank, after, limit);
                let end = entries.len() < limit;
                events.push_back(Event::Loaded { queue, rank, entries, end });
            }
            Action::LoadExpiring { until, limit } => {
                let (entries, next) = self.nodes[node].disk().expiring(until, limit);
                events.push_back(Event::Expiring { entries, next });
            }
            Action::Ask { link, inquiry } => self.transmit(node, link, Frame::Inquiry(inquiry)),
            Action::AskedAfter { id } => events.extend(self.asked_after(node, id)),
            Action::Attest { link, custody, taken } => self.attest(node, link, custody, &taken),
            Action::Measure(_) => {}
            Action::Passed(passed) => events.extend(self.pass_back(node, passed)),
            Action::Compare { link, frame } => self.transmit(node, link, Frame::Comparison(frame)),
            Action::Compared { peer, finding: Some(finding), .. } => self.compared(node, &peer, &finding),
            Action::Compared { finding: None, .. } => {}
            Action::LoadReleased { link, peer, hours, after } => {
                self.load_released(node, (link, &peer), &hours, after, events);
            }
            Action::Presence { link, presence } => self.transmit(node, link, Frame::Presence(presence)),
            Action::Reach { link, relays } => self.reach(node, link, relays),
            Action::Send(send) => self.send(node, send),
            Action::Tell { link, answer } => self.transmit(node, link, Frame::Answer(answer)),
            Action::Unproven { .. } => {}
        }
    }

    fn close(&mut self, node: NodeNo, link: LinkKey, why: CloseReason) {
        let why = match why {
            CloseReason::Protocol => "protocol",
            CloseReason::Timeout => "timeout",
        };
        self.note(Step::Closed { node, link, why });
        // In its own turn: the core is in the middle of one.
        if let Some(side) = self.side(link, node) {
            self.after(0, What::CloseEnd { link, side });
        }
    }

    fn commit(&mut self, node: NodeNo, mut ops: Vec<Op>, custody: &[Taken], now: Timestamp) {
        self.claim(node, custody, now);
        ops.extend(self.chain_record(node));
        let facts = match &self.nodes[node].desk {
            Some(_) => self.office_facts(node, &ops),
            None => ops.iter().filter_map(Fact::of).collect(),
        };
        let state = &mut self.nodes[node];
        state.last_batch += 1;
        let (batch, life) = (state.last_batch, state.life);
        state.syncing = Some((batch, ops));
        let (slow_until, slow_ms) = state.faults.slow;
        let slowest = if self.now_ms < slow_until { slow_ms } else { self.plan.pace.commit_ms_max };
        self.note(Step::Commit { node, batch, facts });
        let ms = self.rng.range(0, slowest);
        self.after(ms, What::Committed { node, life });
    }

    pub(super) fn committed(&mut self, node: NodeNo, life: u64) {
        if self.nodes[node].life != life {
            return;
        }
        if let Some(down_ms) = self.nodes[node].faults.sync_fails.take() {
            let kept = self.rng.percent(50);
            return self.die(node, "a sync failed", kept, down_ms);
        }
        let Some((batch, ops)) = self.nodes[node].syncing.take() else { return };
        let (full_until, percent) = self.nodes[node].faults.full;
        if self.now_ms < full_until && self.rng.percent(percent) {
            self.note(Step::Full { node, batch });
            self.after(5_000, What::Housekeep { node, life });
            return self.handle(node, Event::Committed(CommitResult::Full));
        }
        self.note(Step::Durable { node, batch });
        self.nodes[node].disk_mut().apply(ops);
        self.nodes[node].disk_mut().batch = batch;
        self.sign_claim(node);
        self.handle(node, Event::Committed(CommitResult::Durable(Durable::assertion(batch))));
        self.put_claim_away(node);
        self.look_after_agency(node);
    }

    /// Room on the disk is looked at now and then.
    pub(super) fn housekeep(&mut self, node: NodeNo, life: u64) {
        if self.nodes[node].life == life && self.nodes[node].is_up() {
            let low = self.now_ms < self.nodes[node].faults.low_until;
            self.note(Step::Low { node, low });
            self.stir(node);
            self.handle(node, Event::Disk(if low { DiskLevel::Low } else { DiskLevel::Ok }));
        }
    }

    fn acknowledge(&mut self, node: NodeNo, link: LinkKey, rank: u8, acks: Vec<Acknowledgement>) {
        let mut frames = Vec::with_capacity(acks.len());
        let mut receipt = None;
        for Acknowledgement { mut ack, custody } in acks {
            self.settle_offer(node, link, rank, &ack);
            if let Some((signed, proof)) = custody.and_then(|custody| self.proof(node, custody)) {
                (receipt, ack.proof) = (Some(signed), Some(proof));
            }
            let id = self.nodes[node].carried.get(&(link, rank, ack.seq)).copied();
            // What does not verify has an id that nobody signed.
            let id = id.unwrap_or(MessageId(liaison_protocol::Hash::ZERO));
            self.note(Step::Acknowledged { node, link, rank, seq: ack.seq, ack: facts_of(id, &ack) });
            frames.push((id, ack));
        }
        self.transmit(node, link, Frame::Acks { rank, acks: frames, receipt });
    }

    pub(super) fn acked(
        &mut self,
        node: NodeNo,
        link: LinkKey,
        rank: u8,
        acks: Vec<(MessageId, Ack)>,
        receipt: Option<Bytes>,
    ) {
        let mut own = Vec::new();
        let peer = self.nodes[node].links.get(&link).copied();
        let from_relay = peer.is_some_and(|peer| self.federation.is_relay(peer));
        let receipt = receipt.filter(|_| from_relay);
        let receipt = receipt.and_then(|receipt| VerifiedReceipt::verify(receipt, self.nodes[node].roster()).ok());
        for (id, ack) in acks {
            if self.nodes[node].faults.false_seqs.remove(&(link, rank, ack.seq)) {
                continue;
            }
            // A relay's word without a receipt is worth nothing.
            let proven = !from_relay || receipt.is_some() && ack.proof.is_some();
            let counted = if proven { ack.clone() } else { Ack { taken: vec![], duplicate: vec![], ..ack.clone() } };
            self.note(Step::AckReceived { node, link, rank, seq: ack.seq, ack: facts_of(id, &counted) });
            if let Some(peer) = peer {
                let holders = &mut self.nodes[node].holders;
                holders.extend(counted.taken.iter().map(|index| ((id, *index), peer)));
            }
            own.push(ack);
        }
        self.handle(node, Event::Acked { link, rank, acks: own, receipt });
    }

    pub(super) fn receive(&mut self, node: NodeNo, from: NodeNo, link: LinkKey, rank: u8, transfer: Transfer) {
        let clock = self.clock(node);
        let verified = self.verify(node, transfer.envelope.clone());
        let envelope = Envelope::decode_shared(transfer.envelope).ok();
        let id = envelope.as_ref().map_or(MessageId(liaison_protocol::Hash::ZERO), Envelope::id);
        let wraps = envelope.iter().flat_map(|envelope| &envelope.wraps).map(|wrap| wrap.index).collect();
        let Transfer { seq, attempt, branch, path, accepted, .. } = transfer;
        let carried = Carried { id, branch: branch.clone(), attempt, path: self.numbers(&path) };
        let good = verified.is_ok();
        self.note(Step::Received { node, from, link, rank, seq, transfer: carried, wraps, clock, good });
        self.nodes[node].carried.insert((link, rank, seq), id);
        let envelope = match verified {
            Ok(envelope) => envelope,
            Err(error) => {
                let (reason, detail) = (error.reason(), error.to_string());
                return self.handle(node, Event::Rejected { link, rank, seq, branch, reason, detail });
            }
        };
        if self.plays(node, Trick::Swallow) {
            // Half of the time it signs for what it drops.
            let signed = if self.rng.percent(50) { self.false_receipt(node, from, id, &branch) } else { None };
            let (receipt, proof) = signed.unzip();
            let ack = Ack { seq, taken: branch, duplicate: vec![], refused: vec![], proof };
            self.note(Step::Acknowledged { node, link, rank, seq, ack: facts_of(id, &ack) });
            return self.transmit(node, link, Frame::Acks { rank, acks: vec![(id, ack)], receipt });
        }
        let Ok(stored) = self.nodes[node].disk().envelope(&id) else { return self.rotten(node) };
        let local = if self.nodes[node].desk.is_some() {
            self.offer(node, &envelope, &branch, (link, rank, seq))
        } else {
            (self.nodes[node].kind == NodeKind::Daemon).then(|| self.open(node, &envelope))
        };
        if !self.nodes[node].is_up() {
            return;
        }
        let stored = stored.and_then(|bytes| self.verify(node, bytes).ok());
        let disk = self.nodes[node].disk();
        let seen = branch.iter().map(|index| disk.remembered(&DedupeKey { id, index: *index })).collect();
        drop(disk);
        let received = Received { link, rank, seq, attempt, accepted, branch, path, envelope, seen, stored, local };
        self.handle(node, Event::Received(Box::new(received)));
    }

    fn numbers(&self, path: &[NodeId]) -> Vec<NodeNo> {
        path.iter().map(|name| self.federation.number(name).unwrap_or(NodeNo::MAX)).collect()
    }

    fn reach(&mut self, node: NodeNo, link: LinkKey, mut relays: Vec<ReachEntry>) {
        if self.plays(node, Trick::Reach) {
            let others = (0..self.plan.shape.relays()).filter(|other| *other != node);
            relays = others.map(|o| ReachEntry { relay: self.nodes[o].id.clone(), cost: 0, hops: 1 }).collect();
            relays.sort_by(|a, b| a.relay.cmp(&b.relay));
        }
        self.transmit(node, link, Frame::Reach(relays));
    }

    fn send(&mut self, node: NodeNo, send: SendTransfer) {
        let Some(peer) = self.nodes[node].links.get(&send.link).copied() else { return };
        let Ok(bytes) = self.nodes[node].disk().envelope(&send.id) else { return self.rotten(node) };
        let SendTransfer { link, rank, seq, id, attempt, branch, path, accepted } = send;
        let transfer = Carried { id, branch: branch.clone(), attempt, path: self.numbers(&path) };
        self.note(Step::Sent { node, peer, link, rank, seq, transfer });
        // Without its bytes nothing leaves; the checker sees that it is not on the disk.
        let Some(bytes) = bytes else { return };
        let envelope: Bytes =
            Envelope::decode_shared(bytes).expect("stored bytes decode").prune(&branch).encode().into();
        self.captured.push_back((rank, branch.clone(), envelope.clone()));
        self.captured.truncate(64);
        let transfer = Transfer { seq, attempt, branch, path, accepted, envelope };
        self.transmit_played(node, link, rank, transfer);
    }
}

fn facts_of(id: MessageId, ack: &Ack) -> AckFacts {
    let refused = ack.refused.iter().map(|refused| (refused.index, refused.reason, refused.retry_after_ms)).collect();
    AckFacts { id, taken: ack.taken.clone(), duplicate: ack.duplicate.clone(), refused }
}
