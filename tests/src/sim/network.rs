//! Links: QUIC as the nodes see it. Streams keep their order, each for itself; what a cut holds up arrives after it,
//! unless an end has given the link up; the two ends learn of that at different times.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use liaison_core::op::DedupeKey;
use liaison_core::{Event, LinkKey, NodeKind};
use liaison_node::bundles::KnownBundle;
use liaison_node::local::OwnEvent;
use liaison_protocol::frame::{Ack, Comparison, CustodyProof, Inquiry, InquiryAnswer, Presence, ReachEntry, Transfer};
use liaison_protocol::roster::{AgencyStatus, Role, Roster};
use liaison_protocol::{MessageId, Timestamp};

use super::fixture::Federation;
use super::plan::{Shape, Trick};
use super::trace::{NodeNo, Step};
use super::world::{What, World};

/// A lost link is dialled again after this.
const REDIAL_MS: u64 = 500;
/// A silent link is given up after this, and at most twice as long.
const SILENCE_MS: u64 = 15_000;
/// The stream of control frames, beside the lanes'.
const CONTROL: u8 = u8::MAX;

/// What frames went through, beside the faults of the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameFaults {
    /// Never arrived.
    pub lost: u64,
    /// Arrived twice.
    pub repeated: u64,
    /// Delayed past later ones.
    pub overtaken: u64,
    /// Sent into a link that carried nothing.
    pub held: u64,
}

/// Two nodes that keep a link. The second one dials.
pub(super) struct Pair {
    pub(super) ends: [NodeNo; 2],
    /// What the end of this index sends arrives no earlier.
    pub(super) blocked_until: [u64; 2],
    current: Option<LinkKey>,
}

/// One link of a pair, as both its ends see it.
pub(super) struct Link {
    pair: usize,
    open: [bool; 2],
    /// When the last frame of each end's streams arrives.
    busy_until: BTreeMap<(usize, u8), u64>,
}

#[derive(Clone)]
pub(super) enum Frame {
    Acks { rank: u8, acks: Vec<(MessageId, Ack)>, receipt: Option<Bytes> },
    Answer(InquiryAnswer),
    Bundle(Arc<KnownBundle>),
    Comparison(Comparison),
    Custody(Vec<CustodyProof>),
    Inquiry(Inquiry),
    Presence(Presence),
    Reach(Vec<ReachEntry>),
    Roster(Bytes),
    Time(Timestamp),
    Transfer { rank: u8, transfer: Transfer },
}

impl Frame {
    const fn stream(&self) -> u8 {
        match self {
            Self::Acks { rank, .. } | Self::Transfer { rank, .. } => *rank,
            Self::Answer(_)
            | Self::Bundle(_)
            | Self::Comparison(_)
            | Self::Custody(_)
            | Self::Inquiry(_)
            | Self::Presence(_)
            | Self::Reach(_)
            | Self::Roster(_)
            | Self::Time(_) => CONTROL,
        }
    }
}

impl Pair {
    /// Relays in a mesh or a ring, those of a region with each other, and each daemon with its homes.
    pub(super) fn all(shape: &Shape, federation: &Federation) -> Vec<Self> {
        let relays = shape.relays();
        let mut ends = Vec::new();
        for a in 0..relays {
            ends.extend((a + 1..relays).filter(|b| shape.are_linked(a, *b)).map(|b| [a, b]));
        }
        for (agency, homes) in federation.homes.iter().enumerate() {
            ends.extend(homes.iter().map(|relay| [*relay, relays + agency]));
        }
        ends.into_iter().map(|ends| Self { ends, blocked_until: [0, 0], current: None }).collect()
    }
}

impl World<'_> {
    /// Both ends of an open link belong to the roster that the other end follows.
    fn may_link(&self, [a, b]: [NodeNo; 2]) -> bool {
        admits(self.nodes[a].roster(), &self.nodes[b]) && admits(self.nodes[b].roster(), &self.nodes[a])
    }

    pub(super) fn pair_of(&self, a: NodeNo, b: NodeNo) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.ends == [a, b] || pair.ends == [b, a])
    }

    pub(super) fn side(&self, link: LinkKey, node: NodeNo) -> Option<usize> {
        let link = self.links.get(&link)?;
        self.pairs[link.pair].ends.iter().position(|end| *end == node)
    }

    /// Something has changed at a node: each of its links is tried.
    pub(super) fn dial_all(&mut self, node: NodeNo) {
        for pair in 0..self.pairs.len() {
            if self.pairs[pair].ends.contains(&node) {
                let ms = self.rng.range(0, REDIAL_MS);
                self.after(ms, What::Dial { pair });
            }
        }
    }

    pub(super) fn dial(&mut self, pair: usize) {
        let Pair { ends: [a, b], blocked_until, current } = &self.pairs[pair];
        let (a, b, blocked) = (*a, *b, blocked_until[0].max(blocked_until[1]));
        let dialler_has_link = current.is_some_and(|link| self.links.get(&link).is_some_and(|link| link.open[1]));
        if dialler_has_link || !self.nodes[a].is_up() || !self.nodes[b].is_up() || !self.may_link([a, b]) {
            return; // whatever changes that dials again
        }
        if blocked > self.now_ms {
            let ms = self.rng.range(0, 1_000);
            return self.at(blocked + ms, What::Dial { pair });
        }
        let old = self.pairs[pair].current;
        self.last_link += 1;
        let link = LinkKey(self.last_link);
        // The accepting end may still believe in an older link; it learns of both in either order.
        let before = self.rng.percent(50);
        if before {
            old.into_iter().for_each(|old| self.close_end(old, 0));
            // What it reads then may be rotten: the node is dead, and dials when it is back.
            if !self.nodes[a].is_up() {
                return;
            }
        }
        self.pairs[pair].current = Some(link);
        self.links.insert(link, Link { pair, open: [true, true], busy_until: BTreeMap::new() });
        for (here, there) in [(a, b), (b, a)] {
            self.link_up(link, here, there);
        }
        if let Some(old) = old.filter(|_| !before) {
            let ms = self.rng.range(0, 1_000);
            self.after(ms, What::CloseEnd { link: old, side: 0 });
        }
    }

    fn link_up(&mut self, link: LinkKey, here: NodeNo, there: NodeNo) {
        if !self.nodes[here].is_up() {
            return;
        }
        self.nodes[here].links.insert(link, there);
        self.note(Step::LinkUp { node: here, peer: there, link });
        let (peer, kind) = (self.nodes[there].id.clone(), self.nodes[there].kind);
        self.handle(here, Event::LinkUp { link, peer: peer.clone(), kind });
        self.transmit(here, link, Frame::Time(self.clock(here)));
        self.send_kept_proofs(here, there);
        self.offer_bundles(here, link);
        self.tell_office(here, OwnEvent::LinkUp { peer });
        if self.nodes[here].roster().version() > self.nodes[there].roster().version() {
            let roster = self.nodes[here].roster().signed().clone();
            self.transmit(here, link, Frame::Roster(roster));
        }
    }

    /// A clock has jumped, and a minute has passed: its node and its peers have told each other the time.
    pub(super) fn tell_times(&mut self, node: NodeNo) {
        let links: Vec<(LinkKey, NodeNo)> = self.nodes[node].links.iter().map(|(link, peer)| (*link, *peer)).collect();
        for (link, peer) in links {
            self.transmit(node, link, Frame::Time(self.clock(node)));
            self.transmit(peer, link, Frame::Time(self.clock(peer)));
        }
    }

    /// One end gives the link up; the other one notices later.
    pub(super) fn close_end(&mut self, link: LinkKey, side: usize) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if !std::mem::take(&mut state.open[side]) {
            return;
        }
        let (pair, other_open) = (state.pair, state.open[1 - side]);
        if other_open {
            let ms = self.notice_ms(pair);
            self.after(ms, What::CloseEnd { link, side: 1 - side });
        } else {
            self.links.remove(&link);
        }
        if side == 1 {
            self.after(REDIAL_MS, What::Dial { pair });
        }
        let node = self.pairs[pair].ends[side];
        if let Some(peer) = self.nodes[node].links.remove(&link) {
            self.note(Step::LinkDown { node, link });
            self.handle(node, Event::LinkDown { link });
            let peer = self.nodes[peer].id.clone();
            self.tell_office(node, OwnEvent::LinkDown { peer, reason: "gone".into() });
        }
    }

    /// How long it takes one end to notice that the other one has gone.
    fn notice_ms(&mut self, pair: usize) -> u64 {
        let blocked = self.pairs[pair].blocked_until.iter().any(|until| *until > self.now_ms);
        if blocked || self.rng.percent(20) {
            return self.rng.range(SILENCE_MS, 2 * SILENCE_MS);
        }
        self.rng.range(0, self.plan.pace.delay_ms_max + 1)
    }

    /// The node of this number has stopped: nobody says so on its links.
    pub(super) fn lose_links(&mut self, node: NodeNo) {
        let links: Vec<LinkKey> = self.links.keys().copied().collect();
        for link in links {
            if let Some(side) = self.side(link, node) {
                self.close_end(link, side);
            }
        }
    }

    /// A pair's link carries nothing in these directions until then. Ends that hear nothing give it up.
    pub(super) fn block(&mut self, pair: usize, sides: &[usize], until_ms: u64) {
        for side in sides {
            let blocked = &mut self.pairs[pair].blocked_until[*side];
            *blocked = (*blocked).max(until_ms);
        }
        let Some(link) = self.pairs[pair].current else { return };
        for side in sides {
            let silent_ms = self.rng.range(SILENCE_MS, 2 * SILENCE_MS);
            if self.now_ms + silent_ms < until_ms {
                self.after(silent_ms, What::CloseEnd { link, side: 1 - side });
            }
        }
    }

    /// Both ends lose the pair's link now.
    pub(super) fn drop_link(&mut self, pair: usize) {
        if let Some(link) = self.pairs[pair].current {
            self.close_end(link, 0);
            self.close_end(link, 1);
        }
    }

    /// Links that a new roster does not allow end at once.
    pub(super) fn drop_strangers(&mut self, node: NodeNo) {
        let links: Vec<(LinkKey, NodeNo)> = self.nodes[node].links.iter().map(|(link, peer)| (*link, *peer)).collect();
        for (link, peer) in links {
            if !self.may_link([node, peer])
                && let Some(side) = self.side(link, node)
            {
                self.close_end(link, side);
            }
        }
    }

    pub(super) fn transmit(&mut self, from: NodeNo, link: LinkKey, frame: Frame) {
        let Some(side) = self.side(link, from) else { return };
        let Some(frame) = self.falsify(from, link, frame) else { return };
        let held_ms = match frame {
            Frame::Transfer { .. } if self.plays(from, Trick::Hold) => self.rng.range(0, 6 * 3_600_000),
            _ => 0,
        };
        let delay_ms = self.rng.range(0, self.plan.pace.delay_ms_max);
        let now_ms = self.now_ms;
        let (broken_until, [lost, repeated, overtaken]) = self.frames;
        let Some(state) = self.links.get_mut(&link).filter(|state| state.open[side]) else { return };
        let blocked = self.pairs[state.pair].blocked_until[side];
        let busy = state.busy_until.entry((side, frame.stream())).or_default();
        let mut at = (now_ms.max(blocked) + delay_ms + held_ms).max(*busy);
        self.frame_faults.held += u64::from(blocked > now_ms || held_ms > 0);
        // What is said once is not said again on the same link, as QUIC loses none.
        if now_ms < broken_until && !matches!(frame, Frame::Bundle(_) | Frame::Presence(_) | Frame::Time(_)) {
            if self.rng.range(0, 1000) < lost {
                self.frame_faults.lost += 1;
                return;
            }
            if self.rng.range(0, 1000) < overtaken {
                self.frame_faults.overtaken += 1;
                at += self.rng.range(0, 5_000);
            } else {
                *busy = at;
            }
            if self.rng.range(0, 1000) < repeated {
                self.frame_faults.repeated += 1;
                let again = at + self.rng.range(0, 5_000);
                self.at(again, What::Frame { link, to: 1 - side, frame: frame.clone() });
            }
        } else {
            *busy = at;
        }
        self.at(at, What::Frame { link, to: 1 - side, frame });
    }

    pub(super) fn arrive(&mut self, link: LinkKey, to: usize, frame: Frame) {
        let Some(state) = self.links.get(&link).filter(|state| state.open[to]) else { return };
        let ends = self.pairs[state.pair].ends;
        let (node, from) = (ends[to], ends[1 - to]);
        if !self.nodes[node].is_up() {
            return;
        }
        match frame {
            Frame::Acks { rank, acks, receipt } => self.acked(node, link, rank, acks, receipt),
            Frame::Answer(answer) => {
                if !self.office_heard(node, from, &answer) {
                    self.told_where(node, from, &answer);
                    self.handle(node, Event::InquiryAnswered { link, answer });
                }
            }
            Frame::Bundle(bundle) => self.bundle_came(node, &bundle),
            Frame::Comparison(frame) => self.comparison(node, link, frame),
            Frame::Custody(proofs) => self.custody_came(node, proofs),
            Frame::Inquiry(inquiry) => {
                let seen = self.nodes[node].disk().remembered(&DedupeKey { id: inquiry.id, index: inquiry.index });
                self.handle(node, Event::Inquired { link, inquiry, seen });
            }
            Frame::Presence(presence) => self.handle(node, Event::Presence { link, presence }),
            Frame::Reach(relays) => self.handle(node, Event::Reach { link, relays }),
            Frame::Roster(roster) => self.offered(node, &roster),
            Frame::Time(theirs) => self.handle(node, Event::ClockTold { link, theirs }),
            Frame::Transfer { rank, transfer } => self.receive(node, from, link, rank, transfer),
        }
    }
}

fn admits(roster: &Roster, peer: &super::node::SimNode) -> bool {
    match (peer.kind, roster.role(&peer.id)) {
        (NodeKind::Relay, Some(Role::Relay)) => true,
        (NodeKind::Daemon, Some(Role::Agency)) => {
            roster.agency(&peer.id.to_agency()).is_some_and(|agency| agency.status == AgencyStatus::Active)
        }
        _ => false,
    }
}
