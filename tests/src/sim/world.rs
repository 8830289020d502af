//! The world: one queue of events in order of time, and the nodes that they happen to.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use liaison_core::{Event, LinkKey};
use liaison_protocol::envelope::{EnvelopeError, VerifiedEnvelope, verify_bytes};
use liaison_protocol::{MessageId, Timestamp};

use super::fixture::Federation;
use super::network::{Frame, FrameFaults, Link, Pair};
use super::node::SimNode;
use super::office::Keys;
use super::plan::{Place, Plan, Trick};
use super::rng::SimRng;
use super::trace::{NodeNo, Step, Trace};

/// Nothing takes so many events but a node that spins.
const EVENTS_MAX: u64 = 200_000;
/// Unless it is mail that waits for weeks, and is asked after every hour.
const EVENTS_PER_MAIL: u64 = 6_000;
/// Events that a roster on its way counts for: nodes that pass them round for ever show it soon.
const ROSTER_EVENTS: u64 = 50;
/// Longer than any lifetime and what follows it.
const AFTER_QUIET_MS: u64 = 33 * 86_400_000;

/// What can happen next.
pub(super) enum What {
    Attend { node: NodeNo, life: u64, part: (MessageId, u16) },
    Cancel { mail: usize },
    CloseEnd { link: LinkKey, side: usize },
    Committed { node: NodeNo, life: u64 },
    Dial { pair: usize },
    FaultBegins { fault: usize },
    FaultEnds { fault: usize },
    Flap { pair: usize, until_ms: u64 },
    Frame { link: LinkKey, to: usize, frame: Frame },
    Housekeep { node: NodeNo, life: u64 },
    Mark { node: NodeNo, id: MessageId },
    Mischief { node: NodeNo, trick: Trick },
    Offer { node: NodeNo, roster: Bytes },
    PayReceipts { node: NodeNo, life: u64 },
    Round { node: NodeNo, at_ms: u64 },
    Start { node: NodeNo },
    Submit { mail: usize },
    TellTimes { node: NodeNo },
    Timer { node: NodeNo, at_ms: u64 },
    Wake { node: NodeNo, at_ms: u64 },
}

/// See the module.
pub(super) struct World<'a> {
    pub(super) plan: &'a Plan,
    pub(super) rng: SimRng,
    pub(super) federation: Federation,
    pub(super) nodes: Vec<SimNode>,
    pub(super) pairs: Vec<Pair>,
    pub(super) links: BTreeMap<LinkKey, Link>,
    pub(super) last_link: u64,
    queue: BTreeMap<(u64, u64), What>,
    order: u64,
    pub(super) now_ms: u64,
    pub(super) trace: Trace,
    /// Offices that have something to do now.
    pub(super) stirred: BTreeSet<NodeNo>,
    /// What offices have put into their outboxes, and which message of the plan it is.
    pub(super) sent: BTreeMap<MessageId, usize>,
    pub(super) keys: Keys,
    /// Ids of the plan's messages, once they are submitted.
    pub(super) mail: BTreeMap<usize, MessageId>,
    /// What a network of broken frames does, and until when.
    pub(super) frames: (u64, [u64; 3]),
    pub(super) frame_faults: FrameFaults,
    /// Envelopes seen on the way: what a spoofer knows.
    pub(super) captured: VecDeque<(u8, Vec<u16>, Bytes)>,
    /// Verification depends on nothing but the bytes and the roster: done once for each.
    verified: HashMap<(u32, Bytes), Result<VerifiedEnvelope, EnvelopeError>>,
}

/// What a run did.
pub struct Report {
    /// The plan.
    pub plan: Plan,
    /// Names of the nodes, by number.
    pub names: Vec<String>,
    /// Relays come first.
    pub relays: usize,
    /// What happened.
    pub trace: Trace,
    /// Simulated milliseconds until nothing was left to do.
    pub simulated_ms: u64,
    /// Whether nothing was left to do, or the run was broken off as it seemed never to end.
    pub ended: bool,
    /// Frames that went over links, acknowledgements among them.
    pub frames: u64,
    /// What went wrong with them.
    pub frame_faults: FrameFaults,
}

/// Runs one plan to its end.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    let mut world = World::new(plan);
    world.schedule();
    let (mut events, mut frames) = (0, 0);
    let until_ms = plan.settled_ms() + AFTER_QUIET_MS;
    let events_max = EVENTS_MAX.max(plan.mail.len() as u64 * EVENTS_PER_MAIL);
    let ended = loop {
        let Some(((at, _), what)) = world.queue.pop_first() else { break true };
        if events > events_max || at > until_ms {
            break false;
        }
        let roster = matches!(what, What::Offer { .. } | What::Frame { frame: Frame::Roster(_), .. });
        events += if roster { ROSTER_EVENTS } else { 1 };
        frames += u64::from(matches!(what, What::Frame { .. }));
        world.now_ms = at;
        world.step(what);
        world.run_offices();
    };
    world.note_left();
    Report {
        plan: plan.clone(),
        names: world.federation.names.iter().map(ToString::to_string).collect(),
        relays: plan.shape.relays(),
        trace: world.trace,
        simulated_ms: world.now_ms,
        ended,
        frames,
        frame_faults: world.frame_faults,
    }
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan) -> Self {
        let federation = Federation::make(&plan.shape);
        let nodes: Vec<_> = (0..federation.names.len()).map(|number| SimNode::new(number, &federation)).collect();
        let keys = if plan.office { Keys::exchange(&nodes, &federation, plan.seed) } else { Keys::default() };
        let pairs = Pair::all(&plan.shape, &federation);
        Self {
            plan,
            rng: SimRng::new(!plan.seed),
            federation,
            nodes,
            pairs,
            links: BTreeMap::new(),
            last_link: 0,
            queue: BTreeMap::new(),
            order: 0,
            now_ms: 0,
            trace: Trace::default(),
            stirred: BTreeSet::new(),
            sent: BTreeMap::new(),
            keys,
            mail: BTreeMap::new(),
            frames: (0, [0; 3]),
            frame_faults: FrameFaults::default(),
            captured: VecDeque::new(),
            verified: HashMap::new(),
        }
    }

    fn schedule(&mut self) {
        for node in 0..self.nodes.len() {
            self.at(0, What::Start { node });
        }
        for (mail, message) in self.plan.mail.iter().enumerate() {
            self.at(message.at_ms, What::Submit { mail });
        }
        for (fault, planned) in self.plan.faults.iter().enumerate() {
            self.at(planned.at_ms, What::FaultBegins { fault });
            self.at(planned.at_ms + planned.for_ms, What::FaultEnds { fault });
        }
    }

    pub(super) fn at(&mut self, at_ms: u64, what: What) {
        self.order += 1;
        self.queue.insert((at_ms, self.order), what);
    }

    pub(super) fn after(&mut self, ms: u64, what: What) {
        self.at(self.now_ms + ms, what);
    }

    pub(super) fn note(&mut self, step: Step) {
        self.trace.note(self.now_ms, step);
    }

    pub(super) fn clock(&self, node: NodeNo) -> Timestamp {
        self.nodes[node].clock(self.now_ms)
    }

    pub(super) fn node(&self, place: Place) -> Option<NodeNo> {
        self.plan.shape.node(place)
    }

    fn step(&mut self, what: What) {
        match what {
            What::Attend { node, life, part } => self.attend(node, life, part),
            What::Cancel { mail } => self.cancel(mail),
            What::CloseEnd { link, side } => self.close_end(link, side),
            What::Committed { node, life } => self.committed(node, life),
            What::Dial { pair } => self.dial(pair),
            What::FaultBegins { fault } => self.fault_begins(fault),
            What::FaultEnds { fault } => self.fault_ends(fault),
            What::Flap { pair, until_ms } => self.flap(pair, until_ms),
            What::Frame { link, to, frame } => self.arrive(link, to, frame),
            What::Housekeep { node, life } => self.housekeep(node, life),
            What::Mark { node, id } => self.mark(node, id),
            What::Mischief { node, trick } => self.mischief(node, trick),
            What::Offer { node, roster } => self.offered(node, &roster),
            What::PayReceipts { node, life } => self.pay_receipts(node, life),
            What::Round { node, at_ms } => self.round(node, at_ms),
            What::Start { node } => self.start(node),
            What::Submit { mail } => self.submit(mail),
            What::TellTimes { node } => self.tell_times(node),
            What::Wake { node, at_ms } => self.wake(node, at_ms),
            What::Timer { node, at_ms } => {
                if self.nodes[node].timer_ms == Some(at_ms) {
                    self.nodes[node].timer_ms = None;
                    self.handle(node, Event::Timer);
                }
            }
        }
    }

    fn start(&mut self, node: NodeNo) {
        if self.nodes[node].is_up() || self.nodes[node].faults.gone {
            return;
        }
        let seed = self.rng.next();
        self.nodes[node].start(seed, self.plan.shape.rate);
        self.resume_receipts(node);
        self.note(Step::Started { node });
        self.open_desk(node, seed);
        self.dial_all(node);
        let life = self.nodes[node].life;
        self.housekeep(node, life);
        self.after(100, What::PayReceipts { node, life });
        self.arm(node);
        self.arm_round(node);
    }

    /// The core's turn, and what follows from it.
    pub(super) fn handle(&mut self, node: NodeNo, event: Event) {
        let now = self.clock(node);
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut actions = Vec::new();
            let Some(core) = self.nodes[node].core.as_mut() else { return };
            core.handle(event, now, &mut actions);
            for action in actions {
                // A disk that fails on the way stops the node at once.
                if !self.nodes[node].is_up() {
                    return;
                }
                self.perform(node, action, &mut events, now);
            }
        }
        self.arm(node);
    }

    /// The core's timer, only if it wants one: an idle node costs nothing.
    pub(super) fn arm(&mut self, node: NodeNo) {
        let Some(deadline) = self.nodes[node].core.as_ref().and_then(liaison_core::Node::next_deadline) else { return };
        let at_ms = self.nodes[node].true_ms(deadline).max(self.now_ms + 1);
        if self.nodes[node].timer_ms.is_none_or(|timer| at_ms < timer) {
            self.nodes[node].timer_ms = Some(at_ms);
            self.at(at_ms, What::Timer { node, at_ms });
        }
    }

    /// What the node's roster says of these bytes.
    pub(super) fn verify(&mut self, node: NodeNo, encoded: Bytes) -> Result<VerifiedEnvelope, EnvelopeError> {
        let roster = self.nodes[node].roster();
        let key = (roster.version().0, encoded);
        if let Some(known) = self.verified.get(&key) {
            return known.clone();
        }
        let verified = verify_bytes(key.1.clone(), &roster.federation(), &**roster);
        self.verified.insert(key, verified.clone());
        verified
    }
}
