//! The run loop: one task that owns the core, and does what it says.
//!
//! ```text
//!   links ──► verify (workers) ──► ┌──────┐ ──► commit thread ──► store
//!   local requests ──────────────► │ core │ ──► links
//!   clock ───────────────────────► └──────┘ ──► local agency
//! ```
//!
//! The loop reads the store itself, in the same turn in which the core decides on what was read; it runs on a thread of
//! its own, which may wait for a disk. It never waits for a peer.

mod answers;
mod bundle_exchange;
mod clocks;
mod commits;
mod conserve;
mod control;
mod custody;
mod inbound;
mod links;
mod notices;
mod operate;
mod peers;
mod perform;
mod prekeys;
mod receipts;
mod recent;
mod requests;
mod roster_exchange;
mod rosters;
mod signed;
#[cfg(test)]
mod tests;
mod times;

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use liaison_core::event::{CommitResult, Disk};
use liaison_core::forget::Forgetting;
use liaison_core::op::{Op, RANKS, Table};
use liaison_core::roster_state::RosterState;
use liaison_core::{Action, Config, Event, LinkKey, Node, NodeKind, Restored, RestoredQueue, Ticket};
use liaison_protocol::receipt::UnsignedReceipt;
use liaison_protocol::roster::{Role, Roster};
use liaison_protocol::sign::{SignError, Signer};
use liaison_protocol::{MessageId, NodeId, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::link::{BindError, Endpoint, EndpointConfig, LinkEvent, LinkIdentity, Rivals, system_jitter};
use crate::local::{LocalAgency, OwnEvent, Requests};
use crate::metric;
use crate::operator::OperatorRequests;
use crate::store::{Lease, Store, StoreError, Writer};
use answers::Answers;
use bundle_exchange::BundleExchange;
use commits::{Commits, Committed};
use conserve::Conservation;
use custody::Origins;
use inbound::Inbound;
use links::Link;
use operate::PeerRecord;
use peers::{Dialing, Peer};
use prekeys::Prekeys;
use receipts::{Receipts, Signed};
use recent::Recent;
use requests::Waiter;
use roster_exchange::RosterExchange;
pub use rosters::{LoadError, load as load_roster};
use signed::SignedReceipts;
use times::CommitTimes;

/// Events from links that wait for the loop. Full: links are not read.
const LINK_EVENTS_MAX: usize = 1024;
/// How often the disk is looked at, and a part of the dedupe memory for what may be forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// How long a stopping node waits for its last commit.
const DRAIN: Duration = Duration::from_secs(10);

/// What a node is made of, beside its store and roster.
pub struct NodeOptions {
    /// Names, routes and caps.
    pub core: Config,
    /// The UDP address for links; `None` for a node that only dials.
    pub listen: Option<SocketAddr>,
    /// Certificate and key of links.
    pub identity: LinkIdentity,
    /// Signs receipts and notices.
    pub signer: Arc<dyn Signer>,
    /// Addresses of relays, `host:port` each, in place of the roster's. A node follows the roster to the others.
    pub addresses: BTreeMap<NodeId, Vec<String>>,
    /// New custody is refused while less is free.
    pub low_water_bytes: u64,
    /// Numbers of receipts that are set aside: beside the store, never in its copies.
    pub lease: Lease,
}

/// Why a node stopped, other than because it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address cannot be listened at.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The agency cannot read its own records.
    #[error("{0}")]
    Local(String),
    /// The disk failed, or holds what it should not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread could not be started, or ended by itself.
    #[error("a thread of the node ended: {0}")]
    Thread(String),
}

/// A node that is ready to run: its address is bound, its store read.
pub struct Runner {
    turn: Turn,
    endpoint: Endpoint,
    events: mpsc::Receiver<LinkEvent>,
    requests: Requests,
    operator: OperatorRequests,
    inbound: Inbound,
    writer: Writer,
}

/// What one turn of the loop works with.
pub(crate) struct Turn {
    core: Node,
    me: NodeId,
    kind: NodeKind,
    store: Arc<dyn Store>,
    commits: Commits,
    receipts: Receipts,
    signer: Arc<dyn Signer>,
    agency: Option<Arc<dyn LocalAgency>>,
    roster: Arc<Roster>,
    rosters: RosterState,
    /// Rosters on their way from and to peers.
    news: RosterExchange,
    /// Prekey bundles on their way from and to peers.
    bundles: BundleExchange,
    /// What peers have asked for.
    answers: Answers,
    roster_in_force: watch::Sender<Arc<Roster>>,
    links: BTreeMap<LinkKey, Link>,
    events: VecDeque<Event>,
    waiters: BTreeMap<Ticket, Waiter>,
    last_ticket: u64,
    recent: Recent,
    conservation: Conservation,
    origins: Origins,
    signed_receipts: SignedReceipts,
    /// Records of the receipt chain that the next commit carries.
    records: Vec<Op>,
    /// The receipt for the commit under way.
    unsigned: Option<UnsignedReceipt>,
    /// The receipt for the commit that has just ended: its acknowledgements share it.
    signed: Option<Signed>,
    /// At a daemon: transfers that the agency has seen and the core has not yet settled.
    offered: BTreeMap<(LinkKey, u8, u64), MessageId>,
    prekeys: Prekeys,
    /// A roster whose commit is under way.
    adopting: Option<Arc<Roster>>,
    dialing: Dialing,
    /// Relays that this node dials now.
    dialed: Vec<Peer>,
    /// Relays that are new among them, have other addresses, or have left.
    moved: Vec<NodeId>,
    /// Whom to dial anew, without waiting for the next try.
    redial: Vec<NodeId>,
    /// What is known of peers, up or down.
    peers: BTreeMap<NodeId, PeerRecord>,
    /// Nodes whose link key two programs use: when that was seen last, and where they are.
    rivals: BTreeMap<NodeId, (Timestamp, Rivals)>,
    commit_times: CommitTimes,
    forgetting: Forgetting,
    /// Relays that acknowledge without a receipt.
    unproven: BTreeMap<NodeId, custody::Unproven>,
    clock_talk: clocks::ClockTalk,
    started: Timestamp,
    low_water_bytes: u64,
    fault: Option<RunError>,
}

impl Runner {
    /// Binds the address, reads the store, and starts to dial.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn start(
        options: NodeOptions,
        store: Arc<dyn Store>,
        roster: watch::Sender<Arc<Roster>>,
        agency: Option<Arc<dyn LocalAgency>>,
        requests: Requests,
        operator: OperatorRequests,
    ) -> Result<Self, RunError> {
        let (sender, events) = mpsc::channel(LINK_EVENTS_MAX);
        let (me, kind) = (options.core.me.clone(), options.core.kind);
        let endpoint = Endpoint::bind(endpoint_config(&options, roster.subscribe()), sender)?;
        let writer = Writer::spawn(Arc::clone(&store), 1).map_err(StoreError::from)?;
        let now_roster = Arc::clone(&roster.borrow());
        let (signer, lease) = (Arc::clone(&options.signer), options.lease);
        let (receipts, mut opening) = Receipts::open(kind, (me.clone(), signer, lease), &*store, &now_roster)?;
        // So that peers can be sent it, and a restart without its file's update does not fall back.
        opening.push(rosters::record(&now_roster));
        let (rosters, restored) = (rosters::restore(&*store, Arc::clone(&now_roster))?, restored(&*store)?);
        let (prekeys, bundles) = (Prekeys::restore(&*store)?, BundleExchange::restore(&*store)?);
        let (conservation, old) = Conservation::restore(&restored.ledger, clock::now());
        let dialing = Dialing::new(&options.core, options.addresses);
        let dialed = dialing.start(&endpoint, &now_roster);
        let core = Node::new(options.core, Arc::clone(&now_roster), restored);
        let inbound = Inbound::new(agency.clone().map(|agency| (agency, me.to_agency())));
        let mut turn = Turn {
            core,
            me,
            kind,
            store,
            commits: Commits::new(&writer),
            receipts,
            signer: options.signer,
            agency,
            rosters,
            news: RosterExchange::default(),
            bundles,
            answers: Answers::new(),
            roster: now_roster,
            roster_in_force: roster,
            links: BTreeMap::new(),
            events: VecDeque::new(),
            waiters: BTreeMap::new(),
            last_ticket: 0,
            recent: Recent::default(),
            conservation,
            origins: Origins::default(),
            signed_receipts: SignedReceipts::default(),
            records: Vec::new(),
            unsigned: None,
            signed: None,
            offered: BTreeMap::new(),
            prekeys,
            adopting: None,
            dialing,
            dialed,
            moved: Vec::new(),
            redial: Vec::new(),
            peers: BTreeMap::new(),
            rivals: BTreeMap::new(),
            commit_times: CommitTimes::default(),
            forgetting: Forgetting::default(),
            unproven: BTreeMap::new(),
            clock_talk: clocks::ClockTalk::default(),
            started: clock::now(),
            low_water_bytes: options.low_water_bytes,
            fault: None,
        };
        turn.commit_records([opening, old].concat());
        Ok(Self { turn, endpoint, events, requests, operator, inbound, writer })
    }

    /// The address that links come in by.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.endpoint.local_addr().ok()
    }

    /// Runs until `stop` is cancelled, or the store fails. On return every acknowledged message is durable, and links
    /// are closed.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        let runtime = tokio::runtime::Handle::current();
        // A thread of its own: the loop reads the store, and may wait for the disk.
        let thread = tokio::task::spawn_blocking(move || runtime.block_on(self.drive(stop)));
        thread.await.unwrap_or_else(|error| Err(RunError::Thread(error.to_string())))
    }

    /// Serves, and then waits for the store's thread: whoever opens the store next finds it free.
    async fn drive(mut self, stop: CancellationToken) -> Result<(), RunError> {
        let served = self.serve(stop).await;
        let Self { turn, writer, .. } = self;
        drop(turn);
        let ended = writer.ended().await.map_err(|fault| RunError::Store(fault.into()));
        served.and(ended)
    }

    async fn serve(&mut self, stop: CancellationToken) -> Result<(), RunError> {
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        let mut requests_open = true;
        let mut operator_open = true;
        self.turn.housekeep()?;
        while self.turn.fault.is_none() {
            // While a commit's worth waits, flash alone may join it.
            let ranks = (0..RANKS).take_while(|rank| self.turn.core.has_room(*rank)).count();
            let room = ranks == usize::from(RANKS);
            let beat = self.turn.next_beat();
            // Order is priority: stopping, finished commits, time, what is verified, new work.
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.drain().await,
                committed = self.turn.commits.ended() => self.turn.handle_committed(committed),
                () = sleep_until(self.turn.core.next_deadline()) => self.turn.handle(Event::Timer),
                checked = poll_fn(|context| self.inbound.poll_next(ranks, context)), if ranks > 0 => self.turn.handle_checked(checked),
                read = self.turn.conservation.read() => self.turn.handle_released(read),
                checked = self.turn.bundles.checked() => self.turn.handle_bundles_checked(checked),
                checked = self.turn.news.checked() => self.turn.handle_roster_checked(checked),
                () = at(beat) => self.turn.beat(),
                request = self.operator.recv(), if operator_open => match request {
                    Some(request) => self.turn.operate(request),
                    None => operator_open = false,
                },
                request = self.requests.recv(), if room && requests_open => match request {
                    Some(request) => self.turn.handle_request(request),
                    None => requests_open = false,
                },
                event = self.events.recv(), if self.inbound.has_room() => match event {
                    Some(event) => self.turn.handle_link(event, &mut self.inbound),
                    None => return Err(RunError::Thread("links".into())),
                },
                _ = housekeeping.tick() => self.turn.housekeep()?,
            }
            if self.turn.fault.is_none() {
                self.turn.forget()?;
            }
            self.redial();
        }
        self.endpoint.close(liaison_protocol::frame::CloseCode::Shutdown).await;
        self.turn.fault.take().map_or(Ok(()), Err)
    }

    fn redial(&mut self) {
        for peer in std::mem::take(&mut self.turn.redial) {
            self.endpoint.undial(&peer);
            self.turn.moved.push(peer);
        }
        for peer in std::mem::take(&mut self.turn.moved) {
            match self.turn.dialed.iter().find(|dialed| dialed.id == peer) {
                Some(Peer { id, addresses }) => self.endpoint.dial(id.clone(), addresses.clone()),
                None => self.endpoint.undial(&peer),
            }
        }
    }

    /// Finishes the commits under way, so that their acknowledgements leave, and closes the links.
    async fn drain(&mut self) -> Result<(), RunError> {
        let deadline = Instant::now() + DRAIN;
        while self.turn.commits.is_flying() {
            tokio::select! {
                committed = self.turn.commits.ended() => self.turn.handle_committed(committed),
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        self.endpoint.close(liaison_protocol::frame::CloseCode::Shutdown).await;
        self.turn.fault.take().map_or(Ok(()), Err)
    }
}

impl Turn {
    /// Applies one event, does all that follows from it, and what follows from that.
    fn handle(&mut self, event: Event) {
        self.handle_together(vec![event]);
    }

    /// The same for events that came at once.
    fn handle_together(&mut self, events: Vec<Event>) {
        let mut actions: Vec<Action> = Vec::new();
        let mut next = events;
        while !next.is_empty() {
            let now = clock::now();
            self.core.handle_together(next, now, &mut actions);
            for action in actions.drain(..) {
                self.perform(action, now);
            }
            next = self.events.pop_front().into_iter().collect();
        }
        self.flush_proofs();
    }

    fn handle_committed(&mut self, committed: Committed) {
        let Committed { result, took, envelopes } = committed;
        self.commit_times.note(took);
        let unsigned = self.unsigned.take();
        match result {
            Ok(()) => {
                metric::commit(took, envelopes);
                self.recent.settle();
                // [RCPT-1]
                self.signed = unsigned.and_then(|receipt| self.receipts.sign(receipt).map_err(warn_unsigned).ok());
                self.handle(Event::Committed(CommitResult::Durable));
            }
            Err(StoreError::Full { .. }) => {
                metric::store_error("commit");
                tracing::error!("the disk is full: no new custody until there is room");
                self.handle(Event::Committed(CommitResult::Full));
            }
            // [ERR-2]
            Err(error) => {
                metric::store_error("commit");
                self.fault = Some(error.into());
            }
        }
        self.signed = None;
    }

    fn housekeep(&mut self) -> Result<(), RunError> {
        let usage = self.store.usage()?;
        let low = usage.free_bytes < self.low_water_bytes;
        self.handle(Event::Disk(if low { Disk::Low } else { Disk::Ok }));
        self.look_after_rosters();
        self.look_after_bundles();
        self.tell_time_to_all();
        self.look_at_clock();
        self.forgetting.tick();
        Ok(())
    }

    /// Looks for ids that nobody can send again, and commits that they are forgotten.
    // [CUST-20]
    fn forget(&mut self) -> Result<(), StoreError> {
        let mut ops = Vec::new();
        while let Some(rows) = self.forgetting.next_step() {
            let due = self.store.forgettable(clock::now(), rows)?;
            self.forgetting.handle_found(due.len());
            ops.extend(due.into_iter().map(|key| Op::Forget { key }));
        }
        if !ops.is_empty() {
            self.forgetting.begin_commit();
            let ticket = self.ticket(Waiter::Forgotten);
            self.handle(Event::Records { ticket, ops });
        }
        Ok(())
    }

    fn next_beat(&self) -> Option<Instant> {
        [self.answers.next(), self.bundles.next()].into_iter().flatten().min()
    }

    /// Goes on with what waited for room, or for company.
    fn beat(&mut self) {
        let now = Instant::now();
        if self.answers.next().is_some_and(|due| due <= now) {
            self.serve_all();
        }
        if self.bundles.next().is_some_and(|due| due <= now) {
            self.offer_fresh();
        }
    }

    /// Tells the agency, and commits what it says.
    fn progress(&mut self, event: OwnEvent) {
        let Some(agency) = self.agency.clone() else { return };
        let ops = agency.progress(event, clock::now());
        self.commit_records(ops);
    }

    fn commit_records(&mut self, ops: Vec<Op>) {
        if !ops.is_empty() {
            let ticket = self.ticket(Waiter::Nobody);
            self.handle(Event::Records { ticket, ops });
        }
    }

    fn ticket(&mut self, waiter: Waiter) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.waiters.insert(ticket, waiter);
        ticket
    }

    fn fail(&mut self, error: impl Into<RunError>) {
        let error = error.into();
        if matches!(error, RunError::Store(_)) {
            metric::store_error("read");
        }
        if self.fault.is_none() {
            self.fault = Some(error);
        }
    }
}

/// A signer that fails costs the proof, not the message: the peer keeps its copy, and hands it over again.
fn warn_unsigned(error: SignError) {
    tracing::error!(%error, "a custody receipt could not be signed");
}

fn endpoint_config(options: &NodeOptions, roster: watch::Receiver<Arc<Roster>>) -> EndpointConfig {
    EndpointConfig {
        listen: options.listen,
        identity: options.identity.clone(),
        me: options.core.me.clone(),
        role: match options.core.kind {
            NodeKind::Daemon => Role::Agency,
            NodeKind::Relay => Role::Relay,
        },
        roster,
        features: Vec::new(),
        limits: crate::link::LinkLimits::default(),
        timing: crate::link::LinkTiming::default(),
        jitter: system_jitter(),
    }
}

fn restored(store: &dyn Store) -> Result<Restored, StoreError> {
    let queues = store.queues()?.into_iter().map(|totals| RestoredQueue {
        queue: totals.queue,
        rank: totals.rank,
        entries: totals.entries,
        bytes: totals.bytes,
        oldest: totals.oldest,
    });
    let expiring = store.expiring(Timestamp::ZERO, 1)?;
    let ledger = store.scan(Table::Ledger, &[], None, usize::MAX)?;
    let shares = store.scan(Table::Shares, &[], None, usize::MAX)?;
    let last_seq = store.last_seq()?;
    Ok(Restored { last_seq, queues: queues.collect(), next_expiry: expiring.next, ledger, shares })
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Timestamp>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(clock::now())).await,
        None => std::future::pending().await,
    }
}
