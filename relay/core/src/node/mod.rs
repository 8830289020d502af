//! A node's custody, whole: ties admission, queues, lanes, routes and group commit together.
//!
//! ```text
//!  Received ─► admit ─► open batch ─► Commit ─► Committed ─► Acknowledge, queue
//!                                                              │
//!  Acked ─► release ─► open batch …          Send ◄── forward ◄┘
//!                                             │
//!  expiry, refusal, cancel ─► End ─► Ended ─► open batch …
//! ```
//!
//! Invariants, each by construction:
//! - an acknowledgement leaves only from a batch whose commit has ended well ([`Node::handle`] on `Committed`);
//! - an entry is removed only for a next holder's acknowledgement or in the same commit as what tells its sender;
//! - a duplicate of what is not yet durable waits for the first copy's commit;
//! - what is in flight does not expire.

mod commit;
mod conserve;
mod end;
mod forward;
mod hold;
mod inquire;
mod presence;
mod receive;
#[cfg(test)]
mod relay_tests;
mod removed;
#[cfg(test)]
mod tests;
mod view;
#[cfg(test)]
pub(crate) use tests::entry_of;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, MessageId, NodeId, Timestamp};

use crate::action::Action;
use crate::batch::Batch;
use crate::clock::PeerClocks;
use crate::conserve::Conserve;
use crate::event::{Disk, Drain, Event};
use crate::holds::Holds;
use crate::inquiry::Inquiries;
use crate::lane::Lane;
use crate::ledger::Ledger;
use crate::link::{LinkKey, NodeKind};
use crate::op::{DedupeKey, Position};
use crate::queue::Window;
use crate::quota::{Rate, Shares};
use crate::retry::Jitter;
use crate::route::Routes;

pub use receive::CHAIN_INDEX;
pub use view::QueueView;

/// What does not change while a node runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// Which program.
    pub kind: NodeKind,
    /// A daemon's home relays, the preferred one first; empty: those that the roster names. Empty at a relay.
    pub home: Vec<NodeId>,
    /// Costs of links, by peer, where they differ from the default of 10.
    pub costs: BTreeMap<NodeId, u32>,
    /// Bytes that one agency's queues hold before custody for it is refused.
    pub agency_bytes_max: u64,
    /// Share of that which only flash may use, in percent.
    pub flash_reserve_percent: u8,
    /// Envelopes a second that one agency may submit; `None` for no limit.
    pub agency_rate: Option<u32>,
    /// Seeds the jitter of retries.
    pub seed: u64,
}

/// What the store held when the node started.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The highest sequence ever enqueued.
    pub last_seq: u64,
    /// Totals by queue and rank.
    pub queues: Vec<RestoredQueue>,
    /// When the first entry expires.
    pub next_expiry: Option<Timestamp>,
    /// Records of [`crate::op::Table::Ledger`].
    pub ledger: Vec<crate::conserve::Record>,
    /// Records of [`crate::op::Table::Shares`].
    pub shares: Vec<crate::conserve::Record>,
}

/// Totals of one queue and rank.
#[derive(Clone, Debug)]
pub struct RestoredQueue {
    /// The queue.
    pub queue: AgencyId,
    /// Its rank.
    pub rank: u8,
    /// Entries in it.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest was accepted.
    pub oldest: Timestamp,
}

/// So long after an hour's end what grew in it is compared: most of it has moved on by then.
const COMPARE_AFTER: std::time::Duration = std::time::Duration::from_secs(300);

type QueueKey = (AgencyId, u8);
type LaneKey = (LinkKey, u8);

/// See the module.
#[derive(Debug)]
pub struct Node {
    config: Config,
    roster: Arc<Roster>,
    routes: Routes,
    /// What each peer was told of the routes.
    advertised: BTreeMap<LinkKey, Vec<liaison_protocol::frame::ReachEntry>>,
    /// Agencies that each linked relay was told are linked here.
    told: BTreeMap<LinkKey, BTreeSet<AgencyId>>,
    peers: BTreeMap<LinkKey, (NodeId, NodeKind)>,
    windows: BTreeMap<QueueKey, Window>,
    lanes: BTreeMap<LaneKey, Lane>,
    /// Queues with something to send, by the lane that leads on, each at most once a lane.
    ready: BTreeMap<LaneKey, VecDeque<AgencyId>>,
    /// Where the entries of an envelope wait, so that one transfer carries it for all recipients behind a hop.
    waiting: BTreeMap<MessageId, BTreeSet<Position>>,
    open: Batch,
    flying: Option<Batch>,
    /// Envelopes taken in a batch that is not yet durable, by id.
    undurable: BTreeMap<MessageId, VerifiedEnvelope>,
    /// Entries that something is being made for, or whose end is not yet committed.
    ending: BTreeMap<Position, end::EndingEntry>,
    /// When to try again to make what ends them.
    end_retries: BTreeSet<(Timestamp, Position)>,
    /// Refusals for now, by the peer that refused.
    holds: Holds,
    /// Queues with something that every peer has refused for now, and when to look again.
    stalled: BTreeMap<QueueKey, Timestamp>,
    /// When the event that is being handled happened.
    now: Timestamp,
    /// Entries released in a batch that is not yet durable.
    releasing: BTreeMap<Position, DedupeKey>,
    rates: BTreeMap<NodeId, Rate>,
    shares: Shares,
    clocks: PeerClocks,
    inquiries: Inquiries,
    ledger: Ledger,
    conserve: Conserve,
    /// Queues of agencies that the roster no longer names: what they hold ends.
    removed: BTreeSet<QueueKey>,
    /// Whether they are still to be found, by a roster that is new.
    look_for_removed: bool,
    /// When what has grown is compared next; `None` while nothing has.
    compare_at: Option<Timestamp>,
    last_seq: u64,
    next_expiry: Option<Timestamp>,
    loading_expired: bool,
    retry_commit_at: Option<Timestamp>,
    disk: Disk,
    drain: Drain,
    jitter: Jitter,
}

impl Node {
    /// A node as its store left it, without links.
    #[must_use]
    pub fn new(config: Config, roster: Arc<Roster>, restored: Restored) -> Self {
        let routes = Routes::new(config.me.clone(), config.kind, config.home.clone(), config.costs.clone());
        let window = |queue: &RestoredQueue| Window::restored(queue.entries, queue.bytes, queue.oldest);
        let restored =
            if planted(Mutant::SequenceStartsAnew) { Restored { last_seq: 0, ..restored } } else { restored };
        let totals = restored.queues.iter().map(|queue| (&queue.queue, queue.bytes));
        let windows = restored.queues.iter().map(|queue| ((queue.queue.clone(), queue.rank), window(queue))).collect();
        Self {
            jitter: Jitter::new(config.seed),
            config,
            roster,
            routes,
            advertised: BTreeMap::new(),
            told: BTreeMap::new(),
            peers: BTreeMap::new(),
            windows,
            lanes: BTreeMap::new(),
            ready: BTreeMap::new(),
            waiting: BTreeMap::new(),
            open: Batch::default(),
            flying: None,
            undurable: BTreeMap::new(),
            ending: BTreeMap::new(),
            end_retries: BTreeSet::new(),
            holds: Holds::default(),
            stalled: BTreeMap::new(),
            now: Timestamp::ZERO,
            releasing: BTreeMap::new(),
            rates: BTreeMap::new(),
            shares: Shares::restored(restored.shares, totals),
            clocks: PeerClocks::default(),
            inquiries: Inquiries::default(),
            ledger: Ledger::restored(restored.ledger),
            conserve: Conserve::default(),
            removed: BTreeSet::new(),
            look_for_removed: true,
            compare_at: None,
            last_seq: restored.last_seq,
            next_expiry: restored.next_expiry.filter(|_| !planted(Mutant::ExpiryNotReplayed)),
            loading_expired: false,
            retry_commit_at: None,
            disk: Disk::Ok,
            drain: Drain::Off,
        }
    }

    /// Applies one event at `now`. Never blocks, reads no clock.
    pub fn handle(&mut self, event: Event, now: Timestamp, actions: &mut Vec<Action>) {
        self.handle_together([event], now, actions);
    }

    /// Applies events that came at once, in their order: what they take goes into one commit.
    pub fn handle_together(
        &mut self,
        events: impl IntoIterator<Item = Event>,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        self.now = now;
        for event in events {
            self.apply(event, now, actions);
        }
        self.find_removed(actions);
        self.forward(now, actions);
        self.start_commit(now, actions);
    }

    fn apply(&mut self, event: Event, now: Timestamp, actions: &mut Vec<Action>) {
        match event {
            Event::Acked { link, rank, acks, receipt } => {
                self.handle_acks((link, rank), &acks, receipt.as_ref(), now, actions);
            }
            Event::Cancel { ticket, entries, ops } => self.handle_cancel(ticket, &entries, ops),
            Event::Compare => self.handle_compare(now, actions),
            Event::Compared { link, frame, known } => self.handle_comparison(link, &frame, &known, now, actions),
            Event::ClockTold { link, theirs } => {
                if let Some((peer, kind)) = self.peers.get(&link) {
                    self.clocks.tell(peer.clone(), *kind, theirs, now);
                }
            }
            Event::Committed(result) => self.handle_committed(result, now, actions),
            Event::Disk(disk) => self.disk = disk,
            Event::Drain(drain) => self.drain = drain,
            Event::Ended { position, outcome } => self.handle_ended(&position, outcome, now, actions),
            Event::Expiring { entries, next } => self.handle_expiring(entries, next, now, actions),
            Event::Loaded { queue, rank, entries, end } => self.handle_loaded(&queue, rank, entries, end, actions),
            Event::Inquired { link, inquiry, seen } => {
                self.handle_inquired(link, inquiry, seen.as_ref(), now, actions);
            }
            Event::InquiryAnswered { link, answer } => self.handle_inquiry_answer(link, &answer, actions),
            Event::LinkUp { link, peer, kind } => {
                self.handle_link_up(link, peer.clone(), kind, actions);
                self.compare_with(&peer, kind);
                self.compare_next(now, actions);
            }
            Event::LinkDown { link } => self.handle_link_down(link, actions),
            Event::Presence { link, presence } => self.handle_presence(link, &presence, actions),
            Event::Reach { link, relays } => self.handle_reach(link, relays, actions),
            Event::Received(received) => self.handle_received(*received, now, actions),
            Event::Rejected { link, rank, seq, branch, reason, detail } => {
                self.handle_rejected((link, rank), seq, &branch, reason, &detail, actions);
            }
            Event::ReleasedPage { link, items, next } => self.handle_released_page(link, items, next, now, actions),
            Event::Records { ticket, ops } => self.handle_records(ticket, ops),
            Event::Retry => self.handle_retry(actions),
            Event::Roster(roster) => self.handle_roster(roster, actions),
            Event::Submitted { ticket, envelope, attempt, tried, stored, ops } => {
                ops.into_iter().for_each(|op| self.open.accept(op));
                self.enqueue_own(&envelope, (attempt, tried), stored.as_deref(), now, actions);
                self.open.answers.push((ticket, Vec::new()));
            }
            Event::Timer => self.handle_timer(now, actions),
        }
    }

    /// Whether what comes on this rank can be taken now. If not, the next `Committed` makes room.
    #[must_use]
    pub const fn has_room(&self, rank: u8) -> bool {
        self.open.has_room(rank)
    }

    /// When [`Event::Timer`] is next of use. `None`: an idle node costs nothing.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let expiry = if self.loading_expired { None } else { self.next_expiry };
        let held = self.stalled.values().copied();
        let acks = self.lanes.values().filter_map(Lane::deadline);
        let waiting = self.lanes.iter().filter(|(key, _)| self.ready.contains_key(key));
        let turns = waiting.filter_map(|(_, lane)| lane.waits_until());
        let ends = self.end_retries.first().map(|(at, _)| *at);
        let asked = self.inquiries.next_deadline().into_iter().chain(self.conserve.deadline()).chain(self.compare_at);
        held.chain(asked).chain(acks).chain(turns).chain(expiry).chain(ends).chain(self.retry_commit_at).min()
    }

    fn handle_timer(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.end_stalls(now, actions);
        self.close_silent(now, actions);
        self.load_expired(now, actions);
        self.retry_ends(now, actions);
        let overdue = self.inquiries.overdue(now);
        self.end_inquiries(overdue, actions);
        self.compare_hourly(now, actions);
        self.retry_commit_at = self.retry_commit_at.filter(|at| *at > now);
    }

    fn handle_roster(&mut self, roster: Arc<Roster>, actions: &mut Vec<Action>) {
        if !planted(Mutant::RosterIgnored) {
            self.roster = roster;
        }
        self.look_for_removed = true;
        self.announce_all(actions);
        self.reroute(actions);
    }

    const fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    /// Whether this (message, recipient) is in a batch that is not yet durable.
    fn is_pending(&self, key: &DedupeKey) -> bool {
        if planted(Mutant::PendingNotKnown) {
            return false;
        }
        self.open.keys.contains(key) || self.flying.as_ref().is_some_and(|batch| batch.keys.contains(key))
    }
}
