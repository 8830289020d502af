//! Nodes, their disks, and the links between them. Every frame arrives at once, every commit is durable at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::frame::{Ack, Presence, Refused};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::roster::{Role, Roster, RosterDocument};
use liaison_protocol::{MessageId, NodeId, Precedence, Timestamp};

use super::federation::{Federation, NOW};
use crate::action::{Acknowledgement, Action, SendTransfer, Taken};
use crate::durable::Durable;
use crate::event::{CommitResult, Ended, Event, Received, Ticket};
use crate::link::{LinkKey, NodeKind};
use crate::node::{Config, Node, Restored, RestoredQueue};
use crate::op::{DedupeKey, Entry, Op, Position, Remembered};

#[derive(Default)]
struct Disk {
    entries: BTreeMap<Position, Entry>,
    memory: BTreeMap<DedupeKey, Remembered>,
}

struct Machine {
    node: Option<Node>,
    disk: Disk,
    roster: Arc<Roster>,
    ended: Vec<(MessageId, RefusalReason)>,
    /// What the last commit took: leaves of its receipt.
    custody: Vec<Taken>,
}

pub(super) struct World {
    federation: Federation,
    machines: BTreeMap<NodeId, Machine>,
    links: BTreeMap<LinkKey, [NodeId; 2]>,
    envelopes: BTreeMap<MessageId, VerifiedEnvelope>,
    delivered: BTreeMap<NodeId, Vec<MessageId>>,
    busy: BTreeSet<NodeId>,
    said: Vec<(NodeId, NodeId, String)>,
    transfers: Vec<(NodeId, NodeId)>,
    last: u64,
    now: Timestamp,
    due: VecDeque<(NodeId, Event)>,
}

fn name(text: &str) -> NodeId {
    text.parse().unwrap()
}

impl World {
    /// The relays run; agencies only take what comes, unless they are started.
    pub(super) fn new(federation: Federation) -> Self {
        let mut world = Self {
            federation,
            machines: BTreeMap::new(),
            links: BTreeMap::new(),
            envelopes: BTreeMap::new(),
            delivered: BTreeMap::new(),
            busy: BTreeSet::new(),
            said: Vec::new(),
            transfers: Vec::new(),
            last: 0,
            now: NOW,
            due: VecDeque::new(),
        };
        ["a-1", "a-2", "b-1"].into_iter().for_each(|relay| world.start(relay));
        world
    }

    pub(super) fn start(&mut self, node: &str) {
        let (id, roster) = (name(node), Arc::clone(&self.federation.roster));
        let kind = self.kind(&id);
        let config = Config {
            me: id.clone(),
            kind,
            home: Vec::new(),
            costs: BTreeMap::new(),
            agency_bytes_max: 1 << 30,
            flash_reserve_percent: 5,
            agency_rate: None,
            seed: 1,
        };
        let disk = self.machines.remove(&id).map(|machine| machine.disk).unwrap_or_default();
        let mut queues: BTreeMap<_, RestoredQueue> = BTreeMap::new();
        for (position, entry) in &disk.entries {
            let (queue, rank) = (position.queue.clone(), position.rank);
            let empty = RestoredQueue { queue, rank, entries: 0, bytes: 0, oldest: entry.accepted };
            let totals = queues.entry((position.queue.clone(), rank)).or_insert(empty);
            (totals.entries, totals.bytes) = (totals.entries + 1, totals.bytes + u64::from(entry.bytes));
        }
        let last_seq = disk.entries.keys().map(|position| position.seq).max().unwrap_or(0);
        let restored = Restored { last_seq, queues: queues.into_values().collect(), ..Restored::default() };
        let node = Some(Node::new(config, Arc::clone(&roster), restored));
        self.machines.insert(id.clone(), Machine { node, disk, roster, ended: Vec::new(), custody: Vec::new() });
        self.happen(&id, Event::Timer);
    }

    pub(super) fn stop(&mut self, node: &str) {
        let of: Vec<LinkKey> =
            self.links.iter().filter(|(_, ends)| ends.contains(&name(node))).map(|(link, _)| *link).collect();
        of.into_iter().for_each(|link| self.drop_link(link));
        self.machines.get_mut(&name(node)).unwrap().node = None;
    }

    fn kind(&self, id: &NodeId) -> NodeKind {
        match self.federation.roster.role(id) {
            Some(Role::Relay) => NodeKind::Relay,
            _ => NodeKind::Daemon,
        }
    }

    pub(super) fn link(&mut self, one: &str, other: &str) {
        self.last += 1;
        let (link, ends) = (LinkKey(self.last), [name(one), name(other)]);
        self.links.insert(link, ends.clone());
        for (here, there) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
            let kind = self.kind(there);
            self.due.push_back((here.clone(), Event::LinkUp { link, peer: there.clone(), kind }));
        }
        self.run();
    }

    pub(super) fn unlink(&mut self, one: &str, other: &str) {
        let link = self.between(one, other);
        self.drop_link(link);
    }

    fn between(&self, one: &str, other: &str) -> LinkKey {
        let is = |ends: &[NodeId; 2]| ends.contains(&name(one)) && ends.contains(&name(other));
        *self.links.iter().find(|(_, ends)| is(ends)).expect("they are linked").0
    }

    fn drop_link(&mut self, link: LinkKey) {
        for end in self.links.remove(&link).unwrap() {
            self.due.push_back((end, Event::LinkDown { link }));
        }
        self.run();
    }

    /// From now on this agency acknowledges nothing.
    pub(super) fn busy(&mut self, agency: &str) {
        self.busy.insert(name(agency));
    }

    pub(super) fn ready(&mut self, agency: &str) {
        self.busy.remove(&name(agency));
    }

    /// `ncb.s` hands a letter to `ncb.x` over to its home relay.
    pub(super) fn submit(&mut self, text: &str, precedence: Precedence) -> MessageId {
        let envelope = self.federation.letter(text, precedence);
        let (id, link) = (envelope.id(), self.between("b-1", "ncb.s"));
        self.envelopes.insert(id, envelope);
        self.transfer(&name("b-1"), link, precedence.rank(), self.last, 1, Vec::new(), id);
        self.last += 1;
        self.run();
        id
    }

    /// The same by a daemon that runs.
    pub(super) fn submit_at(&mut self, daemon: &str, text: &str, precedence: Precedence) -> MessageId {
        let envelope = self.federation.letter(text, precedence);
        let id = envelope.id();
        self.envelopes.insert(id, envelope.clone());
        let (ticket, stored, tried, ops) = (Ticket(1), None, vec![], vec![]);
        self.happen(&name(daemon), Event::Submitted { ticket, envelope, attempt: 1, stored, tried, ops });
        id
    }

    #[expect(clippy::too_many_arguments, reason = "a transfer's fields")]
    fn transfer(
        &mut self,
        to: &NodeId,
        link: LinkKey,
        rank: u8,
        seq: u64,
        attempt: u8,
        path: Vec<NodeId>,
        id: MessageId,
    ) {
        let seen = vec![self.machines[to].disk.memory.get(&DedupeKey { id, index: 0 }).cloned()];
        let envelope = self.envelopes[&id].clone();
        let received = Received {
            link,
            rank,
            seq,
            attempt,
            accepted: self.now,
            branch: vec![0],
            path,
            envelope,
            seen,
            stored: None,
            local: None,
        };
        self.due.push_back((to.clone(), Event::Received(Box::new(received))));
    }

    /// A transfer beside those that cores send. Gives the refusal.
    pub(super) fn hand_over(&mut self, from: &str, to: &str, id: MessageId, path: &[&str]) -> Refused {
        let (link, to) = (self.between(from, to), name(to));
        let rank = self.envelopes[&id].header().precedence.rank();
        self.transfer(&to, link, rank, 999, 1, path.iter().map(|relay| name(relay)).collect(), id);
        let (_, event) = self.due.pop_front().unwrap();
        let mut actions = Vec::new();
        let now = self.now;
        let core = self.machines.get_mut(&to).unwrap().node.as_mut().unwrap();
        core.handle(event, now, &mut actions);
        core.handle(Event::Committed(CommitResult::Durable(Durable::assertion(1))), now, &mut actions);
        let acks = actions.into_iter().find_map(|action| match action {
            Action::Acknowledge { acks, .. } => Some(acks),
            _ => None,
        });
        acks.expect("every transfer is answered")[0].ack.refused[0].clone()
    }

    pub(super) fn claim_presence(&mut self, from: &str, to: &str, agency: &str) {
        let link = self.between(from, to);
        let presence = Presence { left: vec![], linked: vec![agency.parse().unwrap()] };
        self.happen(&name(to), Event::Presence { link, presence });
    }

    pub(super) fn publish(&mut self, change: impl FnOnce(&mut RosterDocument)) -> Arc<Roster> {
        self.federation.publish(change)
    }

    pub(super) fn follow(&mut self, node: &str, roster: &Arc<Roster>) {
        self.machines.get_mut(&name(node)).unwrap().roster = Arc::clone(roster);
        self.happen(&name(node), Event::Roster(Arc::clone(roster)));
    }

    /// Every node that runs follows a new roster.
    pub(super) fn roster(&mut self, change: impl FnOnce(&mut RosterDocument)) {
        let roster = self.publish(change);
        let up: Vec<NodeId> =
            self.machines.iter().filter(|(_, machine)| machine.node.is_some()).map(|(id, _)| id.clone()).collect();
        up.iter().for_each(|node| self.follow(node.as_str(), &roster));
    }

    pub(super) fn wait_ms(&mut self, ms: u64) {
        self.now = self.now.after(Duration::from_millis(ms));
        let all: Vec<NodeId> = self.machines.keys().cloned().collect();
        all.iter().for_each(|node| self.happen(node, Event::Timer));
    }

    pub(super) fn held(&self, node: &str) -> usize {
        self.machines[&name(node)].disk.entries.len()
    }

    pub(super) fn ended(&self, node: &str) -> Vec<(MessageId, RefusalReason)> {
        self.machines[&name(node)].ended.clone()
    }

    pub(super) fn delivered(&self, agency: &str) -> Vec<MessageId> {
        self.delivered.get(&name(agency)).cloned().unwrap_or_default()
    }

    pub(super) fn came_from(&self, node: &str, id: MessageId) -> String {
        self.machines[&name(node)].disk.memory[&DedupeKey { id, index: 0 }].from.as_ref().unwrap().to_string()
    }

    /// What one relay told another of its agencies' links.
    pub(super) fn said(&self, from: &str, to: &str) -> Vec<&str> {
        let of = |(one, other, _): &&(NodeId, NodeId, String)| (one.as_str(), other.as_str()) == (from, to);
        self.said.iter().filter(of).map(|(_, _, word)| word.as_str()).collect()
    }

    pub(super) fn transfers(&self, from: &str, to: &str) -> usize {
        self.transfers.iter().filter(|(one, other)| (one.as_str(), other.as_str()) == (from, to)).count()
    }

    fn happen(&mut self, node: &NodeId, event: Event) {
        self.due.push_back((node.clone(), event));
        self.run();
    }

    fn run(&mut self) {
        while let Some((node, event)) = self.due.pop_front() {
            let mut actions = Vec::new();
            let now = self.now;
            let Some(core) = self.machines.get_mut(&node).and_then(|machine| machine.node.as_mut()) else { continue };
            core.handle(event, now, &mut actions);
            for action in actions {
                self.perform(&node, action);
            }
        }
    }

    fn perform(&mut self, node: &NodeId, action: Action) {
        let machine = self.machines.get_mut(node).unwrap();
        match action {
            Action::Commit { ops, custody } => {
                machine.disk.commit(ops);
                machine.custody = custody;
                self.due.push_back((node.clone(), Event::Committed(CommitResult::Durable(Durable::assertion(1)))));
            }
            Action::End { position, entry, reason, .. } => {
                machine.ended.push((entry.id, reason));
                self.due.push_back((node.clone(), Event::Ended { position, outcome: Ended::Records(vec![]) }));
            }
            Action::Load { queue, rank, after, limit } => {
                let of =
                    |position: &&Position| position.queue == queue && position.rank == rank && position.seq > after;
                let entries = &machine.disk.entries;
                let found = entries.keys().filter(of).take(limit).map(|at| (at.seq, entries[at].clone()));
                let entries: Vec<(u64, Entry)> = found.collect();
                let end = entries.len() < limit;
                self.due.push_back((node.clone(), Event::Loaded { queue, rank, entries, end }));
            }
            Action::Send(send) => self.send(node, send),
            Action::Acknowledge { link, rank, acks } => {
                let taken = machine.custody.clone();
                let relay = self.kind(node) == NodeKind::Relay && !taken.is_empty();
                let (receipt, proofs) = relay.then(|| self.federation.receipt(node, &taken, self.now)).unzip();
                let proofs = proofs.unwrap_or_default();
                let proven = |acknowledgement: Acknowledgement| {
                    let proof = acknowledgement.custody.and_then(|place| proofs.get(place).cloned());
                    Ack { proof, ..acknowledgement.ack }
                };
                let acks = acks.into_iter().map(proven).collect();
                self.pass(node, link, Event::Acked { link, rank, acks, receipt });
            }
            Action::Presence { link, presence } => {
                let Some(there) = self.other(node, link) else { return };
                for (sign, agencies) in [("-", &presence.left), ("+", &presence.linked)] {
                    let word =
                        |agency: &liaison_protocol::AgencyId| (node.clone(), there.clone(), format!("{sign}{agency}"));
                    self.said.extend(agencies.iter().map(word));
                }
                self.pass(node, link, Event::Presence { link, presence });
            }
            Action::Reach { link, relays } => self.pass(node, link, Event::Reach { link, relays }),
            _ => {}
        }
    }

    fn other(&self, node: &NodeId, link: LinkKey) -> Option<NodeId> {
        self.links.get(&link)?.iter().find(|end| *end != node).cloned()
    }

    fn pass(&mut self, from: &NodeId, link: LinkKey, event: Event) {
        if let Some(to) = self.other(from, link) {
            self.due.push_back((to, event));
        }
    }

    fn send(&mut self, from: &NodeId, send: SendTransfer) {
        let SendTransfer { link, rank, seq, attempt, id, path, .. } = send;
        let Some(to) = self.other(from, link) else { return };
        self.transfers.push((from.clone(), to.clone()));
        if self.machines.contains_key(&to) {
            return self.transfer(&to, link, rank, seq, attempt, path, id);
        }
        if !self.busy.contains(&to) {
            self.delivered.entry(to).or_default().push(id);
            let ack = Ack { seq, taken: vec![0], duplicate: vec![], refused: vec![], proof: None };
            self.due.push_back((from.clone(), Event::Acked { link, rank, acks: vec![ack], receipt: None }));
        }
    }
}

impl Disk {
    fn commit(&mut self, ops: Vec<Op>) {
        for op in ops {
            match op {
                Op::Dequeue { position, .. } => drop(self.entries.remove(&position)),
                Op::Enqueue { position, entry } => drop(self.entries.insert(position, entry)),
                Op::Remember { key, record } => drop(self.memory.insert(key, record)),
                _ => {}
            }
        }
    }
}
