//! What must be so, judged by the journal alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use liaison_protocol::limits::LANE_FRAME_BYTES_MAX;

use super::SILENCE_NOTICED;
use super::journal::{Left, Note, Took, What};
use super::plan::{Fault, Plan};

/// A handshake that began before the faults ended is given up by then.
const HANDSHAKES_END: Duration = Duration::from_secs(12);
/// So is a connection whose first packet was its last: QUIC keeps it for the idle timeout.
const CONNECTIONS_END: Duration = Duration::from_secs(12 + 15);
/// QUIC remembers a closed connection for three probe timeouts (RFC 9000 section 10.2), each of which is the smoothed round
/// trip and four times its variation (RFC 9002 section 6.2.1). Neither is ever above the longest round trip there was.
const CLOSED_ROUND_TRIPS: u32 = 3 * (1 + 4);

/// A link, as one of its ends knows it: node, life, its number there.
type End = (usize, u32, u64);

/// Frames of one kind over one link in one direction: they must arrive as they were sent, up to some point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Acks(u8),
    Control,
    Transfers(u8),
}

/// What a run was like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) faults: u64,
    pub(super) links: u64,
    pub(super) frames: u64,
    pub(super) simulated: Duration,
    /// From the end of all faults until every pair's frames moved both ways.
    pub(super) back: Duration,
    /// From the last packet that could arrive until a link was down.
    pub(super) silence: Duration,
}

impl Figures {
    pub(super) fn add(&mut self, other: Self) {
        self.faults += other.faults;
        self.links += other.links;
        self.frames += other.frames;
        self.simulated += other.simulated;
        self.back = self.back.max(other.back);
        self.silence = self.silence.max(other.silence);
    }
}

/// Reads a run's journal from its beginning to its end.
pub(super) fn check(plan: &Plan, notes: &[Note]) -> (Figures, Vec<String>) {
    let mut oracle = Oracle::new(plan);
    for note in notes {
        oracle.read(note);
    }
    oracle.finish();
    (oracle.figures, oracle.wrong)
}

struct Oracle<'a> {
    plan: &'a Plan,
    figures: Figures,
    wrong: Vec<String>,
    now: Duration,
    /// Links that are up at a node, with the peer and since when.
    up: BTreeMap<End, (usize, Duration)>,
    /// Which two ends are one link, both ways.
    pairs: BTreeMap<End, End>,
    sent: BTreeMap<(End, Kind), Vec<(u64, Duration)>>,
    arrived: BTreeMap<(End, Kind), usize>,
    /// Who sent a number, and where it stands there.
    numbers: BTreeMap<u64, (End, Kind, usize)>,
    stored: BTreeSet<(End, u8, u64)>,
    /// Between which nodes nothing passes, and since when.
    silent: BTreeMap<(usize, usize), Duration>,
    dead: BTreeMap<usize, Duration>,
    /// Between which nodes packets or their acknowledgements wait, and since when; and how long any did.
    held_up: BTreeMap<(usize, usize), Duration>,
    held_up_max: Duration,
    /// When links went down, by node.
    fallen: Vec<(usize, Duration)>,
    slow: BTreeMap<usize, Duration>,
    leaving: BTreeSet<usize>,
    removed: bool,
    healed: Option<Duration>,
    /// Pairs whose frames have moved since then, by direction.
    moving: BTreeSet<(usize, usize)>,
    back_judged: bool,
    /// Links over which everything must have arrived in the end.
    peaceful: Vec<End>,
}

impl<'a> Oracle<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            figures: Figures::default(),
            wrong: Vec::new(),
            now: Duration::ZERO,
            up: BTreeMap::new(),
            pairs: BTreeMap::new(),
            sent: BTreeMap::new(),
            arrived: BTreeMap::new(),
            numbers: BTreeMap::new(),
            stored: BTreeSet::new(),
            silent: BTreeMap::new(),
            dead: BTreeMap::new(),
            held_up: BTreeMap::new(),
            held_up_max: Duration::ZERO,
            fallen: Vec::new(),
            slow: BTreeMap::new(),
            leaving: BTreeSet::new(),
            removed: false,
            healed: None,
            moving: BTreeSet::new(),
            back_judged: false,
            peaceful: Vec::new(),
        }
    }

    fn fail(&mut self, what: impl AsRef<str>) {
        self.wrong.push(format!("{:?}: {}", self.now, what.as_ref()));
    }

    fn read(&mut self, note: &Note) {
        self.now = note.at.max(self.now);
        let end = |link: u64| (note.node, note.life, link);
        match &note.what {
            What::Started => self.start(note),
            What::Up { link, peer } => self.rise(end(*link), *peer),
            What::Down { link, peer, reason } => self.fall(end(*link), *peer, reason),
            What::Sent { link, rank, number, .. } => self.send(end(*link), Kind::Transfers(*rank), *number),
            What::ControlSent { link, number } => self.send(end(*link), Kind::Control, *number),
            What::AcksSent { link, rank, number, .. } => self.send(end(*link), Kind::Acks(*rank), *number),
            What::Received { link, rank, seq, number, whole, .. } => {
                if !whole {
                    self.fail(format!("a transfer that nobody sent: {note:?}"));
                }
                self.stored.insert((end(*link), *rank, *seq));
                self.arrive(end(*link), Kind::Transfers(*rank), *number);
            }
            What::ControlReceived { link, number } => self.arrive(end(*link), Kind::Control, *number),
            What::AcksReceived { link, rank, number, seqs } => {
                self.arrive(end(*link), Kind::Acks(*rank), *number);
                self.acknowledged(end(*link), *rank, seqs);
            }
            What::Foreign { .. } => self.fail(format!("{note:?}")),
            What::DialFailed { reason, .. } => {
                if !self.removed && reason.contains("roster") {
                    self.fail(format!("refused though the roster names it: {reason}"));
                }
            }
            What::Stopping => self.stop(note),
            What::Left(left) => self.left(note, *left),
            What::Took(took) => self.took(note, *took),
            What::Fault(fault) => self.fault(*fault),
            What::Healed => self.healed = Some(self.now),
        }
        self.judge_time();
    }

    // Links: at most one for each peer, from its Up to its Down.

    fn start(&mut self, note: &Note) {
        self.up.retain(|(node, ..), _| *node != note.node);
        self.fallen.retain(|(node, _)| *node != note.node);
        self.leaving.remove(&note.node);
        self.dead.remove(&note.node);
    }

    fn rise(&mut self, end: End, peer: usize) {
        self.figures.links += 1;
        if let Some((other, _)) = self.up.iter().find(|((node, ..), (whom, _))| *node == end.0 && *whom == peer) {
            self.fail(format!("{end:?} is up while {other:?} is, to the same peer"));
        }
        if self.up.insert(end, (peer, self.now)).is_some() {
            self.fail(format!("{end:?} is up twice"));
        }
    }

    fn fall(&mut self, end: End, peer: usize, reason: &str) {
        let Some((_, since)) = self.up.remove(&end) else {
            return self.fail(format!("{end:?} is down and was not up"));
        };
        self.fallen.push((end.0, self.now));
        let label = reason.split([':', ' ']).next().unwrap_or_default();
        let known = ["draining", "duplicate-link", "reset", "shutdown", "timeout"];
        if !(known.contains(&label) || self.removed && ["roster-removed", "not-in-roster"].contains(&label)) {
            self.fail(format!("{end:?} ended among honest nodes with: {reason}"));
        }
        if let Some(silent) = self.silent_since(end.0, peer) {
            self.figures.silence = self.figures.silence.max(self.now.saturating_sub(silent.max(since)));
        }
        let leaves = [end.0, peer].iter().any(|node| self.leaving.contains(node));
        if self.back_judged && !leaves {
            self.fail(format!("{end:?} went down in fair weather: {reason}"));
        }
    }

    fn stop(&mut self, note: &Note) {
        self.leaving.insert(note.node);
        if self.healed.is_some() {
            let ours =
                self.up.iter().filter(|((node, ..), (peer, _))| *node == note.node && !self.leaving.contains(peer));
            self.peaceful.extend(ours.map(|(end, _)| *end));
        }
    }

    fn left(&mut self, note: &Note, left: Left) {
        // QUIC remembers what a single packet opened and closed, and peers that cannot be told.
        if left.tracked > 0 || left.room_bytes > 0 || left.tasks > left.connections + 1 {
            self.fail(format!("node {} left something behind: {left:?}", note.node));
        }
        let open: Vec<_> = self.up.keys().filter(|(node, ..)| *node == note.node).copied().collect();
        for end in open {
            self.fail(format!("{end:?} has no end, though its node closed"));
        }
        self.dead.insert(note.node, self.now);
    }

    // Frames: what arrives on a link is the beginning of what was sent on it, once, whole, in order.

    fn send(&mut self, end: End, kind: Kind, number: u64) {
        if !self.up.contains_key(&end) && kind != Kind::Control {
            // The first transfer is queued while Up is handled; anything else on a link that is not up is a mistake here.
            self.fail(format!("{end:?} is sent on and not up"));
        }
        let sent = self.sent.entry((end, kind)).or_default();
        self.numbers.insert(number, (end, kind, sent.len()));
        sent.push((number, self.now));
    }

    fn arrive(&mut self, end: End, kind: Kind, number: u64) {
        self.figures.frames += 1;
        let Some((peer, _)) = self.up.get(&end).copied() else {
            return self.fail(format!("{end:?} brings {kind:?} {number}, and is not up"));
        };
        let Some((from, sent_as, place)) = self.numbers.get(&number).copied() else {
            return self.fail(format!("{end:?} brings {kind:?} {number}, which nobody sent"));
        };
        let due = self.arrived.entry((end, kind)).or_default();
        let expected = std::mem::replace(due, *due + 1);
        if (sent_as, place) != (kind, expected) {
            self.fail(format!("{end:?} brings {sent_as:?} no. {place} where {kind:?} no. {expected} was due"));
        }
        if from.0 != peer {
            self.fail(format!("{end:?} brings what {from:?} sent"));
        }
        for (one, other) in [(end, from), (from, end)] {
            let known = *self.pairs.entry(one).or_insert(other);
            if known != other {
                self.fail(format!("{one:?} is one link with {known:?} and with {other:?}"));
            }
        }
        let sent_at = self.sent.get(&(from, kind)).and_then(|sent| sent.get(place)).map_or(self.now, |(_, at)| *at);
        if kind == Kind::Control {
            self.note_moving(from.0, end.0, sent_at);
        }
    }

    fn acknowledged(&mut self, end: End, rank: u8, seqs: &[u64]) {
        let Some(peer) = self.pairs.get(&end).copied() else { return };
        for seq in seqs {
            if !self.stored.contains(&(peer, rank, *seq)) {
                self.fail(format!("{end:?}: transfer {seq} of rank {rank} is acknowledged and did not arrive"));
            }
        }
    }

    // Time: what is silent is noticed, what can move moves.

    fn fault(&mut self, fault: Fault) {
        self.figures.faults += 1;
        self.hold_up(fault);
        match fault {
            Fault::Cut { a, b } | Fault::Hold { a, b } => {
                self.silent.entry((a.min(b), a.max(b))).or_insert(self.now);
            }
            Fault::Mend { a, b } | Fault::Release { a, b } => {
                self.silent.remove(&(a.min(b), a.max(b)));
            }
            Fault::Crash { node } => {
                self.dead.insert(node, self.now);
                self.up.retain(|(whose, ..), _| *whose != node);
            }
            Fault::Slow { node, millis } => *self.slow.entry(node).or_default() += Duration::from_millis(millis),
            Fault::Remove { .. } => self.removed = true,
            _ => {}
        }
    }

    fn hold_up(&mut self, fault: Fault) {
        let pair = |a: usize, b: usize| (a.min(b), a.max(b));
        match fault {
            Fault::Cut { a, b } | Fault::CutOneWay { from: a, to: b } | Fault::Hold { a, b } => {
                self.held_up.entry(pair(a, b)).or_insert(self.now);
            }
            Fault::Mend { a, b } | Fault::Release { a, b } => {
                if let Some(since) = self.held_up.remove(&pair(a, b)) {
                    self.held_up_max = self.held_up_max.max(self.now - since);
                }
            }
            _ => {}
        }
    }

    /// Links of `node` that are down and that QUIC may still remember.
    fn remembered(&self, node: usize) -> usize {
        let round_trip_max = self.plan.rtt_max() + self.held_up_max.min(SILENCE_NOTICED);
        let since = self.now.saturating_sub(round_trip_max * CLOSED_ROUND_TRIPS);
        self.fallen.iter().filter(|(whose, at)| *whose == node && *at >= since).count()
    }

    /// Since when nothing can come from `peer`.
    fn silent_since(&self, node: usize, peer: usize) -> Option<Duration> {
        let cut = self.silent.get(&(node.min(peer), node.max(peer)));
        cut.into_iter().chain(self.dead.get(&peer)).min().copied()
    }

    fn judge_time(&mut self) {
        let late = self.up.iter().find_map(|(end, (peer, since))| {
            let silent = self.silent_since(end.0, *peer)?.max(*since);
            let bound = SILENCE_NOTICED + self.plan.rtt_max() + self.slow.get(&end.0).copied().unwrap_or_default();
            (self.now > silent + bound).then_some((*end, silent))
        });
        if let Some((end, silent)) = late {
            self.fail(format!("{end:?} is still up, and its peer has been silent since {silent:?}"));
            self.up.remove(&end);
        }
        let due = self.healed.map(|healed| healed + self.plan.back_within());
        if !self.back_judged && due.is_some_and(|due| self.now > due) {
            self.back_judged = true;
            for (a, b) in self.plan.dials.clone() {
                for way in [(a, b), (b, a)] {
                    if !self.moving.contains(&way) {
                        self.fail(format!("nothing moves from {} to {} again", way.0, way.1));
                    }
                }
            }
        }
    }

    fn note_moving(&mut self, from: usize, to: usize, sent_at: Duration) {
        if let Some(healed) = self.healed
            && sent_at >= healed
            && self.moving.insert((from, to))
        {
            self.figures.back = self.figures.back.max(self.now - healed);
        }
    }

    // Bounds.

    fn took(&mut self, note: &Note, took: Took) {
        if took.held_bytes > self.plan.received_bytes_max.max(LANE_FRAME_BYTES_MAX) {
            self.fail(format!("node {} has more in memory than there is room for: {took:?}", note.node));
        }
        let Some(fair) = self.healed.map(|healed| self.now - healed).filter(|_| self.leaving.is_empty()) else {
            return;
        };
        let dials = self.plan.dials.iter().filter(|(dialer, _)| *dialer == note.node).count();
        let Took { links, connections, tracked, tasks, .. } = took;
        // The listener, the roster; QUIC's own, and a link's: two for its control stream, ten for its lanes.
        if fair > HANDSHAKES_END && (tracked > 2 + dials + links || tasks > tracked + 1 + connections + links * 12) {
            self.fail(format!("node {} has too many tasks: {took:?}", note.node));
        }
        if fair > CONNECTIONS_END && connections > links + self.remembered(note.node) {
            self.fail(format!("node {} has too many connections: {took:?}", note.node));
        }
    }

    fn finish(&mut self) {
        self.figures.simulated = self.now;
        for end in std::mem::take(&mut self.peaceful) {
            for ((sender, kind), sent) in self.sent.clone() {
                let drained = matches!(kind, Kind::Acks(_) | Kind::Control);
                let Some(peer) = self.pairs.get(&end).filter(|_| drained && sender == end) else { continue };
                let arrived = self.arrived.get(&(*peer, kind)).copied().unwrap_or_default();
                if arrived < sent.len() {
                    self.fail(format!("{end:?} closed in peace: {arrived} of {} {kind:?} arrived", sent.len()));
                }
            }
        }
    }
}
