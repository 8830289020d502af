//! The world: events in order of time, and what the nodes' actions do to each other.

use std::collections::BTreeMap;
use std::time::Duration;

use liaison_core::action::{Acknowledgement, Outcome, Send};
use liaison_core::event::{CommitResult, Disk as DiskLevel, Received};
use liaison_core::op::{DedupeKey, Entry, Op};
use liaison_core::{Action, Event, LinkKey, NodeKind, Ticket};
use liaison_protocol::envelope::{Envelope, verify_bytes};
use liaison_protocol::frame::{Ack, Transfer};
use liaison_protocol::inner::{Content, ContentType, Message, Tlp};
use liaison_protocol::seal::{SealRequest, seal};
use liaison_protocol::{AgencyId, MessageId, NodeId, Precedence, Timestamp};

use super::checker::{Violation, count};
use super::disk::Disk;
use super::fixture::{Federation, START};
use super::node::SimNode;
use super::plan::Plan;
use super::rng::SimRng;

/// A link that is not cut comes up again after this.
const REDIAL_MS: u64 = 500;
/// After the last fault everything must have drained within this: a minute of backoff, half of one for retried ends,
/// and room for the transfers themselves.
const DRAIN_MS: u64 = 600_000;

/// What a run did.
pub struct Report {
    /// What was submitted.
    pub submitted: Vec<Submitted>,
    /// What was seen to be broken while it ran.
    pub broken: Vec<Violation>,
    /// Whether everything had drained at the end.
    pub idle: bool,
    /// Steps by kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// The trace, a line for each step.
    pub lines: Vec<String>,
    /// A hash of the whole trace: the same for the same seed.
    pub digest: liaison_protocol::Hash,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    pub(super) disks: Vec<(NodeId, Disk)>,
}

/// One message that an agency submitted.
pub struct Submitted {
    /// Its id.
    pub id: MessageId,
    /// Whether its daemon said that it is durable.
    pub accepted: bool,
    pub(super) recipients: Vec<AgencyId>,
    pub(super) text: String,
}

/// One step, as a person reads it, and as it goes into the run's digest.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "the fields are read through Debug")]
pub(super) enum Trace {
    Acknowledged(NodeId, MessageId),
    Committed(NodeId, usize),
    Crashed(NodeId),
    Cut(NodeId, NodeId),
    Ended(NodeId, NodeId, MessageId, liaison_protocol::refusal::RefusalReason, String),
    Full(NodeId),
    LinkUp(NodeId, NodeId),
    Sent(NodeId, NodeId, MessageId),
    Submitted(NodeId, MessageId),
}

impl Trace {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Acknowledged(..) => "acknowledged",
            Self::Committed(..) => "committed",
            Self::Crashed(..) => "crashed",
            Self::Cut(..) => "cut",
            Self::Ended(..) => "ended",
            Self::Full(..) => "full",
            Self::LinkUp(..) => "link up",
            Self::Sent(..) => "sent",
            Self::Submitted(..) => "submitted",
        }
    }
}

enum What {
    Committed { node: usize, life: u64 },
    Crash { node: usize },
    Cut { pair: usize, for_ms: u64 },
    Dial { pair: usize },
    Frame { to: usize, link: LinkKey, frame: Frame },
    Start { node: usize },
    Submit { message: usize },
    Timer { node: usize, at: Timestamp },
}

enum Frame {
    Acks { rank: u8, acks: Vec<Ack> },
    Reach(Vec<liaison_protocol::frame::ReachEntry>),
    Transfer { rank: u8, transfer: Transfer },
}

/// Two nodes that keep a link.
struct Pair {
    ends: [usize; 2],
    /// The link that is up.
    link: Option<LinkKey>,
    cut_until: u64,
    /// A frame leaves no earlier than the one before it: links keep order.
    busy_until: [u64; 2],
}

struct World {
    plan: Plan,
    rng: SimRng,
    federation: Federation,
    nodes: Vec<SimNode>,
    pairs: Vec<Pair>,
    queue: BTreeMap<(u64, u64), What>,
    order: u64,
    now_ms: u64,
    last_link: u64,
    submitted: Vec<Submitted>,
    tickets: BTreeMap<Ticket, usize>,
    /// What each transfer carries, by receiver, link, lane and number.
    carried: BTreeMap<(usize, LinkKey, u8, u64), MessageId>,
    trace: Vec<(u64, Trace)>,
    broken: Vec<Violation>,
}

/// Runs one plan to its end.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    let mut world = World::new(plan.clone());
    world.schedule();
    while let Some(((at, _), what)) = world.queue.pop_first() {
        if at > plan.trouble_ms + DRAIN_MS {
            break;
        }
        world.now_ms = at;
        world.step(what);
    }
    world.report()
}

impl World {
    fn new(plan: Plan) -> Self {
        let mut rng = SimRng::new(plan.seed);
        let federation = Federation::make(&plan, &mut rng);
        let relays = federation.relays.iter().map(|id| SimNode::new(id.clone(), NodeKind::Relay, Vec::new()));
        let daemons =
            federation.agencies.iter().map(|(id, home)| SimNode::new(id.into(), NodeKind::Daemon, home.clone()));
        let nodes: Vec<SimNode> = relays.chain(daemons).collect();
        let pairs = pairs(&plan, &federation);
        Self {
            plan,
            rng,
            federation,
            nodes,
            pairs,
            queue: BTreeMap::new(),
            order: 0,
            now_ms: 0,
            last_link: 0,
            submitted: Vec::new(),
            tickets: BTreeMap::new(),
            carried: BTreeMap::new(),
            trace: Vec::new(),
            broken: Vec::new(),
        }
    }

    fn schedule(&mut self) {
        for node in 0..self.nodes.len() {
            self.at(0, What::Start { node });
        }
        for pair in 0..self.pairs.len() {
            self.at(1, What::Dial { pair });
        }
        for message in 0..self.plan.messages {
            let at = self.rng.range(2, self.plan.trouble_ms);
            self.at(at, What::Submit { message });
        }
        for _ in 0..self.plan.crashes {
            let node = to_usize(self.rng.range(0, self.nodes.len() as u64));
            let at = self.rng.range(2, self.plan.trouble_ms);
            self.at(at, What::Crash { node });
        }
        for _ in 0..self.plan.cuts {
            let pair = to_usize(self.rng.range(0, self.pairs.len() as u64));
            let at = self.rng.range(2, self.plan.trouble_ms);
            let for_ms = self.rng.range(1, self.plan.trouble_ms);
            self.at(at, What::Cut { pair, for_ms });
        }
    }

    fn at(&mut self, at_ms: u64, what: What) {
        self.order += 1;
        self.queue.insert((at_ms, self.order), what);
    }

    fn after(&mut self, ms: u64, what: What) {
        self.at(self.now_ms + ms, what);
    }

    fn note(&mut self, step: Trace) {
        self.trace.push((self.now_ms, step));
    }

    fn now(&self) -> Timestamp {
        START.after(Duration::from_millis(self.now_ms))
    }

    fn in_trouble(&self) -> bool {
        self.now_ms < self.plan.trouble_ms
    }

    fn step(&mut self, what: What) {
        match what {
            What::Committed { node, life } => self.committed(node, life),
            What::Crash { node } => self.crash(node),
            What::Cut { pair, for_ms } => {
                let until = (self.now_ms + for_ms).min(self.plan.trouble_ms);
                self.pairs[pair].cut_until = self.pairs[pair].cut_until.max(until);
                let [a, b] = self.pairs[pair].ends;
                self.note(Trace::Cut(self.nodes[a].id.clone(), self.nodes[b].id.clone()));
                self.link_down(pair);
            }
            What::Dial { pair } => self.dial(pair),
            What::Frame { to, link, frame } => self.arrive(to, link, frame),
            What::Start { node } => {
                let seed = self.rng.next();
                self.nodes[node].start(&self.federation, seed);
            }
            What::Submit { message } => self.submit(message),
            What::Timer { node, at } => {
                if self.nodes[node].timer == Some(at) {
                    self.nodes[node].timer = None;
                    self.handle(node, Event::Timer);
                }
            }
        }
    }

    fn crash(&mut self, node: usize) {
        if self.nodes[node].core.is_none() {
            return;
        }
        self.note(Trace::Crashed(self.nodes[node].id.clone()));
        for pair in 0..self.pairs.len() {
            if self.pairs[pair].ends.contains(&node) {
                self.link_down(pair);
            }
        }
        let synced = self.rng.percent(50);
        self.nodes[node].crash(synced);
        let back = self.rng.range(10, 30_000).min(self.plan.trouble_ms.saturating_sub(self.now_ms).max(10));
        self.after(back, What::Start { node });
    }

    fn dial(&mut self, pair: usize) {
        let [a, b] = self.pairs[pair].ends;
        let up = |node: usize| self.nodes[node].core.is_some();
        if self.pairs[pair].link.is_some() {
            return;
        }
        if self.now_ms < self.pairs[pair].cut_until || !up(a) || !up(b) {
            return self.after(REDIAL_MS, What::Dial { pair });
        }
        self.last_link += 1;
        let link = LinkKey(self.last_link);
        self.pairs[pair].link = Some(link);
        self.note(Trace::LinkUp(self.nodes[a].id.clone(), self.nodes[b].id.clone()));
        for (here, there) in [(a, b), (b, a)] {
            let (peer, kind) = (self.nodes[there].id.clone(), self.nodes[there].kind);
            self.nodes[here].links.insert(link, peer.clone());
            self.handle(here, Event::LinkUp { link, peer, kind });
        }
    }

    fn link_down(&mut self, pair: usize) {
        let Some(link) = self.pairs[pair].link.take() else { return };
        for end in self.pairs[pair].ends {
            if self.nodes[end].core.is_some() {
                self.nodes[end].links.remove(&link);
                self.handle(end, Event::LinkDown { link });
            }
        }
        self.after(REDIAL_MS, What::Dial { pair });
    }

    /// Puts a frame on a link, in order; what is on its way when the link goes is lost.
    fn transmit(&mut self, from: usize, link: LinkKey, frame: Frame) {
        let Some(pair) = self.pairs.iter().position(|pair| pair.link == Some(link)) else { return };
        let side = usize::from(self.pairs[pair].ends[1] == from);
        let delay = self.rng.range(0, self.plan.delay_ms_max);
        let at = (self.now_ms + delay).max(self.pairs[pair].busy_until[side]);
        self.pairs[pair].busy_until[side] = at;
        let to = self.pairs[pair].ends[1 - side];
        self.at(at, What::Frame { to, link, frame });
    }

    fn arrive(&mut self, to: usize, link: LinkKey, frame: Frame) {
        if !self.nodes[to].links.contains_key(&link) {
            return;
        }
        match frame {
            Frame::Acks { rank, acks } => self.handle(to, Event::Acked { link, rank, acks }),
            Frame::Reach(relays) => self.handle(to, Event::Reach { link, relays }),
            Frame::Transfer { rank, transfer } => self.receive(to, link, rank, transfer),
        }
    }

    fn receive(&mut self, to: usize, link: LinkKey, rank: u8, transfer: Transfer) {
        let roster = self.federation.roster.clone();
        let envelope = match verify_bytes(transfer.envelope, &roster.federation(), &*roster) {
            Ok(envelope) => envelope,
            Err(error) => {
                return self.broken.push(Violation(format!("I3: an honest node's envelope is refused: {error}")));
            }
        };
        let id = envelope.id();
        let node = &mut self.nodes[to];
        let local = (node.kind == NodeKind::Daemon).then(|| node.open(&envelope, &self.federation));
        let seen = transfer.branch.iter().map(|index| node.disk.remembered(&DedupeKey { id, index: *index })).collect();
        let stored = node.disk.envelope(&id).and_then(|bytes| verify_bytes(bytes, &roster.federation(), &*roster).ok());
        let Transfer { seq, attempt, branch, path, .. } = transfer;
        self.carried.insert((to, link, rank, seq), id);
        let received = Received { link, rank, seq, attempt, branch, path, envelope, seen, stored, local };
        self.handle(to, Event::Received(Box::new(received)));
    }

    fn submit(&mut self, message: usize) {
        let agencies = self.federation.agencies.len() as u64;
        let from = to_usize(self.rng.range(0, agencies));
        let node = self.federation.relays.len() + from;
        if self.nodes[node].core.is_none() {
            // An analyst tries again when the daemon is back.
            return self.after(1_000, What::Submit { message });
        }
        let count = to_usize(self.rng.range(1, agencies.min(4) + 1));
        let mut recipients: Vec<AgencyId> = Vec::new();
        while recipients.len() < count {
            let agency = self.rng.pick(&self.federation.agencies).0.clone();
            if !recipients.contains(&agency) {
                recipients.push(agency);
            }
        }
        recipients.sort();
        let text = format!("message {message} of seed {}", self.plan.seed);
        let precedence = *self.rng.pick(&Precedence::DRAIN_ORDER);
        let envelope = self.seal(&self.nodes[node].id.clone(), &recipients, &text, precedence);
        let ticket = Ticket(message as u64 + 1);
        self.tickets.insert(ticket, self.submitted.len());
        self.note(Trace::Submitted(self.nodes[node].id.clone(), envelope.id()));
        self.submitted.push(Submitted { id: envelope.id(), accepted: false, recipients, text });
        self.handle(node, Event::Submitted { ticket, envelope, attempt: 1, ops: Vec::new() });
    }

    fn seal(
        &mut self,
        sender: &NodeId,
        recipients: &[AgencyId],
        text: &str,
        precedence: Precedence,
    ) -> liaison_protocol::envelope::VerifiedEnvelope {
        let created = self.now();
        let keys: Vec<_> =
            recipients.iter().map(|agency| (agency.clone(), self.federation.prekeys[agency].public())).collect();
        let lifetime = Duration::from_secs(self.rng.range(1, self.plan.lifetime_s + 1));
        let content = Content::Message(Message {
            thread: None,
            in_reply_to: None,
            chain: None,
            info: Vec::new(),
            subject: "simulated".into(),
            tlp: Tlp::Green,
            handling: Vec::new(),
            content_type: ContentType::Text,
            text: text.into(),
            attachments: Vec::new(),
        });
        let request = SealRequest {
            federation: self.federation.roster.federation(),
            sender,
            recipients: &keys,
            created,
            expires: created.after(lifetime),
            precedence,
            content: &content,
        };
        seal(&request, &self.federation.signers[sender], &mut self.rng).expect("a message seals").envelope
    }

    fn committed(&mut self, node: usize, life: u64) {
        if self.nodes[node].life != life {
            return;
        }
        let Some(ops) = self.nodes[node].syncing.take() else { return };
        if self.in_trouble() && self.rng.percent(self.plan.full_percent) {
            self.note(Trace::Full(self.nodes[node].id.clone()));
            self.handle(node, Event::Committed(CommitResult::Full));
            return self.handle(node, Event::Disk(DiskLevel::Ok));
        }
        self.check_removals(node, &ops);
        self.note(Trace::Committed(self.nodes[node].id.clone(), ops.len()));
        self.nodes[node].disk.apply(ops);
        self.handle(node, Event::Committed(CommitResult::Durable));
    }

    /// I5: what is removed is in another node's durable memory, or its end is told in the same commit.
    fn check_removals(&mut self, node: usize, ops: &[Op]) {
        let tells = ops.iter().any(|op| matches!(op, Op::Put { .. } | Op::PutEnvelope { .. }));
        for op in ops {
            let Op::Dequeue { position, id, .. } = op else { continue };
            let Some(entry) = self.nodes[node].disk.entries.get(position) else { continue };
            let key = DedupeKey { id: *id, index: entry.index };
            let elsewhere = self.nodes.iter().enumerate().any(|(other, holder)| {
                other != node
                    && (holder.disk.remembered(&key).is_some() || holder.disk.entries.values().any(|e| e.id == *id))
            });
            let notice = !self.federation.prekeys.contains_key(&entry.sender.to_agency());
            let own = holder_is_recipient(&self.nodes[node], entry);
            if !elsewhere && !tells && !notice && !own {
                self.broken
                    .push(Violation(format!("I5: {id:?} is removed at {} and held nowhere", self.nodes[node].id)));
            }
        }
    }

    fn handle(&mut self, node: usize, event: Event) {
        let now = self.now();
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut actions = Vec::new();
            let Some(core) = self.nodes[node].core.as_mut() else { return };
            core.handle(event, now, &mut actions);
            for action in actions {
                self.perform(node, action, &mut events, now);
            }
        }
        self.arm(node);
    }

    fn arm(&mut self, node: usize) {
        let now = self.now();
        let Some(deadline) = self.nodes[node].core.as_ref().and_then(liaison_core::Node::next_deadline) else { return };
        let deadline = deadline.max(now.after(Duration::from_millis(1)));
        if self.nodes[node].timer.is_none_or(|timer| deadline < timer) {
            self.nodes[node].timer = Some(deadline);
            let at = self.now_ms + u64::try_from(deadline.since(now).as_millis()).expect("a span fits");
            self.at(at, What::Timer { node, at: deadline });
        }
    }

    fn perform(&mut self, node: usize, action: Action, events: &mut Vec<Event>, now: Timestamp) {
        match action {
            Action::Acknowledge { link, rank, acks } => self.acknowledge(node, link, rank, acks),
            Action::Answer { ticket, outcome } => self.answer(ticket, &outcome),
            Action::Close { link, .. } => {
                if let Some(pair) = self.pairs.iter().position(|pair| pair.link == Some(link)) {
                    self.broken.push(Violation(format!("{} closes the link of an honest peer", self.nodes[node].id)));
                    self.link_down(pair);
                }
            }
            Action::Commit { ops, .. } => {
                let ms = self.rng.range(0, self.plan.commit_ms_max);
                let life = self.nodes[node].life;
                self.nodes[node].syncing = Some(ops);
                self.after(ms, What::Committed { node, life });
            }
            Action::End { position, entry, reason, detail } => {
                let (holder, queue) = (self.nodes[node].id.clone(), NodeId::from(&position.queue));
                self.note(Trace::Ended(holder, queue, entry.id, reason, detail));
                let (federation, rng) = (&self.federation, &mut self.rng);
                let outcome = self.nodes[node].end(&position, &entry, reason, federation, now, rng);
                events.push(Event::Ended { position, outcome });
            }
            Action::Load { queue, rank, after, limit } => {
                let entries = self.nodes[node].disk.head(&queue, rank, after, limit);
                let end = entries.len() < limit;
                events.push(Event::Loaded { queue, rank, entries, end });
            }
            Action::LoadExpiring { until, limit } => {
                let (entries, next) = self.nodes[node].disk.expiring(until, limit);
                events.push(Event::Expiring { entries, next });
            }
            Action::Measure(_) | Action::Passed(_) => {}
            Action::Reach { link, relays } => self.transmit(node, link, Frame::Reach(relays)),
            Action::Send(send) => self.send(node, send),
        }
    }

    /// I4: what is said to be taken is on this node's disk now.
    fn acknowledge(&mut self, node: usize, link: LinkKey, rank: u8, acks: Vec<Acknowledgement>) {
        for Acknowledgement { ack, .. } in &acks {
            self.check_durable(node, link, rank, ack);
        }
        let frames: Vec<Ack> = acks.into_iter().map(|acknowledgement| acknowledgement.ack).collect();
        self.transmit(node, link, Frame::Acks { rank, acks: frames });
    }

    fn check_durable(&mut self, node: usize, link: LinkKey, rank: u8, ack: &Ack) {
        let Some(id) = self.carried.remove(&(node, link, rank, ack.seq)) else {
            return self.broken.push(Violation(format!("I4: {} acknowledges twice", self.nodes[node].id)));
        };
        self.note(Trace::Acknowledged(self.nodes[node].id.clone(), id));
        for index in ack.taken.iter().chain(&ack.duplicate) {
            if self.nodes[node].disk.remembered(&DedupeKey { id, index: *index }).is_none() {
                let detail = format!("I4: {} acknowledges {id:?}, which is not on its disk", self.nodes[node].id);
                self.broken.push(Violation(detail));
            }
        }
    }

    fn answer(&mut self, ticket: Ticket, outcome: &Outcome) {
        if let (Outcome::Done { .. }, Some(index)) = (outcome, self.tickets.get(&ticket)) {
            self.submitted[*index].accepted = true;
        }
    }

    fn send(&mut self, node: usize, send: Send) {
        let Some(bytes) = self.nodes[node].disk.envelope(&send.id) else {
            let detail = format!("I1: {} sends {:?}, whose bytes are not on its disk", self.nodes[node].id, send.id);
            return self.broken.push(Violation(detail));
        };
        let Some(peer) = self.nodes[node].links.get(&send.link).cloned() else { return };
        self.note(Trace::Sent(self.nodes[node].id.clone(), peer, send.id));
        let envelope = Envelope::decode_shared(bytes).expect("a stored envelope decodes").prune(&send.branch).encode();
        let Send { link, rank, seq, attempt, branch, path, accepted, .. } = send;
        let transfer = Transfer { seq, attempt, branch, path, accepted_first: accepted, envelope: envelope.into() };
        self.transmit(node, link, Frame::Transfer { rank, transfer });
    }

    fn report(self) -> Report {
        let idle = self.nodes.iter().all(|node| node.core.as_ref().is_some_and(liaison_core::Node::is_idle));
        let lines: Vec<String> = self.trace.iter().map(|(at, step)| format!("{at:>8} ms  {step:?}")).collect();
        Report {
            submitted: self.submitted,
            broken: self.broken,
            idle,
            counts: count(self.trace.iter().map(|(_, step)| step)),
            digest: liaison_protocol::Hash::of(&[lines.join("\n").as_bytes()]),
            lines,
            simulated_ms: self.now_ms,
            disks: self.nodes.into_iter().map(|node| (node.id, node.disk)).collect(),
        }
    }
}

fn holder_is_recipient(node: &SimNode, entry: &Entry) -> bool {
    node.kind == NodeKind::Daemon && entry.from != node.id
}

/// Relays in a mesh or a ring, and each daemon with its homes.
fn pairs(plan: &Plan, federation: &Federation) -> Vec<Pair> {
    let relays = federation.relays.len();
    let neighbours = |a: usize, b: usize| b == a + 1 || (a == 0 && b + 1 == relays);
    let mut ends = Vec::new();
    for a in 0..relays {
        ends.extend((a + 1..relays).filter(|b| plan.meshed || neighbours(a, *b)).map(|b| [a, b]));
    }
    for (index, (_, home)) in federation.agencies.iter().enumerate() {
        let relay = |id: &NodeId| federation.relays.iter().position(|relay| relay == id).expect("a home is a relay");
        ends.extend(home.iter().map(|id| [relay(id), relays + index]));
    }
    ends.into_iter().map(|ends| Pair { ends, link: None, cut_until: 0, busy_until: [0, 0] }).collect()
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("a small number")
}
