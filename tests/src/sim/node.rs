//! One simulated node: a real core, a disk, and what a crash takes away.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use liaison_core::op::Op;
use liaison_core::roster_state::RosterState;
use liaison_core::{Config, LinkKey, Node, NodeKind, Ticket};
use liaison_node::bundles::KnownBundle;
use liaison_protocol::frame::Transfer;
use liaison_protocol::receipt::{Issuer, ReceiptChain};
use liaison_protocol::sign::Signer;
use liaison_protocol::{MessageId, NodeId, Roster, Timestamp};

use super::disk::Disk;
use super::fixture::{Federation, START};
use super::office::{Agency, Desk, Receipts};
use super::plan::Trick;
use super::trace::NodeNo;

pub(super) struct SimNode {
    pub(super) id: NodeId,
    pub(super) kind: NodeKind,
    /// `None`: it is down.
    pub(super) core: Option<Node>,
    /// Counts lives: what was under way in an earlier one is void.
    pub(super) life: u64,
    /// Its agency reads it, too.
    pub(super) stored: Arc<RwLock<Disk>>,
    /// The batch that is being synced.
    pub(super) syncing: Option<(u64, Vec<Op>)>,
    pub(super) last_batch: u64,
    /// Whom each open link leads to.
    pub(super) links: BTreeMap<LinkKey, NodeNo>,
    /// When the core's timer is set, in true milliseconds.
    pub(super) timer_ms: Option<u64>,
    /// When the agency's own round, and the store's, are due.
    pub(super) round_ms: Option<u64>,
    /// By how much its clock is ahead.
    pub(super) clock_ms: i64,
    pub(super) rosters: RosterState,
    pub(super) faults: Afflictions,
    pub(super) home: Vec<NodeId>,
    /// What local requests are about.
    pub(super) tickets: BTreeMap<Ticket, Request>,
    pub(super) last_ticket: u64,
    /// Who took over what this agency sent, as far as this life knows.
    pub(super) holders: BTreeMap<(MessageId, u16), NodeNo>,
    /// When somebody last said where a message is. The real daemon remembers it through a crash.
    pub(super) heard: BTreeMap<(MessageId, u16), Timestamp>,
    /// Counts what was received, over all lives.
    pub(super) received: u64,
    /// Which envelope each transfer that arrived carries.
    pub(super) carried: BTreeMap<(LinkKey, u8, u64), MessageId>,
    pub(super) chain: ReceiptChain,
    pub(super) receipts: Receipts,
    /// At a daemon with the real office behind it.
    pub(super) desk: Option<Desk>,
    pub(super) agency: Agency,
    /// What a hostile relay has passed on, to be sent again.
    pub(super) hoard: VecDeque<(u8, Transfer)>,
}

/// What a local request was.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// Another agency's prekeys are to be written down.
    Bundle(Arc<KnownBundle>),
    Cancel(MessageId),
    /// The office's: it knows who waits.
    Office,
    Submit(MessageId),
    /// Nobody waits.
    Records,
}

/// Faults that a node suffers from, each until some true millisecond.
#[derive(Debug, Default)]
pub(super) struct Afflictions {
    pub(super) full: (u64, u64),
    pub(super) slow: (u64, u64),
    pub(super) low_until: u64,
    pub(super) drain_until: u64,
    /// It never starts again.
    pub(super) gone: bool,
    /// The next sync fails; the node then stays down until.
    pub(super) sync_fails: Option<u64>,
    pub(super) rot_down_ms: u64,
    pub(super) tricks: Vec<(Trick, u64, u64)>,
    pub(super) backup: Option<Disk>,
    /// Numbers of transfers that its core knows nothing of.
    pub(super) false_seqs: BTreeSet<(LinkKey, u8, u64)>,
}

impl SimNode {
    pub(super) fn new(number: NodeNo, federation: &Federation) -> Self {
        let relays = federation.names.len() - federation.homes.len();
        let is_relay = federation.is_relay(number);
        let home = if is_relay { &[][..] } else { &federation.homes[number - relays] };
        Self {
            id: federation.names[number].clone(),
            kind: if is_relay { NodeKind::Relay } else { NodeKind::Daemon },
            core: None,
            life: 0,
            stored: Arc::default(),
            syncing: None,
            last_batch: 0,
            links: BTreeMap::new(),
            timer_ms: None,
            round_ms: None,
            clock_ms: 0,
            rosters: RosterState::new(Arc::clone(&federation.rosters[0]), None),
            faults: Afflictions::default(),
            home: home.iter().map(|relay| federation.names[*relay].clone()).collect(),
            tickets: BTreeMap::new(),
            last_ticket: 0,
            holders: BTreeMap::new(),
            heard: BTreeMap::new(),
            received: 0,
            carried: BTreeMap::new(),
            chain: ReceiptChain::default(),
            receipts: Receipts::default(),
            desk: None,
            agency: Agency::default(),
            hoard: VecDeque::new(),
        }
    }

    pub(super) fn roster(&self) -> &Arc<Roster> {
        self.rosters.trusted()
    }

    pub(super) fn disk(&self) -> RwLockReadGuard<'_, Disk> {
        self.stored.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn disk_mut(&self) -> RwLockWriteGuard<'_, Disk> {
        self.stored.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_up(&self) -> bool {
        self.core.is_some()
    }

    /// This node's clock at a true millisecond.
    pub(super) fn clock(&self, now_ms: u64) -> Timestamp {
        Timestamp::from_millis((START.as_millis() + now_ms).saturating_add_signed(self.clock_ms))
    }

    /// The true millisecond at which this node's clock shows `at`.
    pub(super) fn true_ms(&self, at: Timestamp) -> u64 {
        at.as_millis().saturating_add_signed(-self.clock_ms).saturating_sub(START.as_millis())
    }

    /// Starts from what the disk holds.
    pub(super) fn start(&mut self, seed: u64, rate: Option<u32>) {
        let config = Config {
            me: self.id.clone(),
            kind: self.kind,
            home: self.home.clone(),
            costs: BTreeMap::new(),
            agency_bytes_max: 1 << 30,
            flash_reserve_percent: 5,
            agency_rate: rate,
            seed,
        };
        let restored = self.disk().restored();
        self.core = Some(Node::new(config, Arc::clone(self.roster()), restored));
    }

    /// Everything that is not on the disk is gone. `kept`: the batch that was being synced got there nevertheless.
    pub(super) fn stop(&mut self, kept: bool) {
        self.core = None;
        self.life += 1;
        self.links.clear();
        (self.timer_ms, self.round_ms) = (None, None);
        self.tickets.clear();
        self.holders.clear();
        self.heard.clear();
        self.carried.clear();
        (self.receipts, self.desk) = (Receipts::default(), None);
        self.faults.false_seqs.clear();
        if let Some((batch, ops)) = self.syncing.take().filter(|_| kept) {
            self.disk_mut().apply(ops);
            self.disk_mut().batch = batch;
        }
    }

    pub(super) fn ticket(&mut self, request: Request) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.tickets.insert(ticket, request);
        ticket
    }

    /// The next receipts of this node, under the roster that it follows.
    pub(super) fn chain(&mut self, signer: &dyn Signer) -> (Issuer, &mut ReceiptChain) {
        let roster = self.rosters.trusted();
        let issuer = Issuer {
            federation: roster.federation(),
            id: self.id.clone(),
            key: signer.key_id(),
            roster_version: roster.version(),
        };
        (issuer, &mut self.chain)
    }

    /// How often, in percent, it plays this trick now.
    pub(super) fn trick(&self, trick: Trick, now_ms: u64) -> u64 {
        let active = self.faults.tricks.iter().filter(|(other, _, until)| *other == trick && now_ms < *until);
        active.map(|(_, percent, _)| *percent).max().unwrap_or(0)
    }

    pub(super) fn is_hostile(&self, now_ms: u64) -> bool {
        self.faults.tricks.iter().any(|(_, _, until)| now_ms < *until)
    }
}
