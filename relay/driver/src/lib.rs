//! Every decision of a running node beside the queues': which roster is followed, which prekeys count, what receipts say,
//! how proofs travel, what peers are told and asked, and what an operator sees.
//!
//! ```text
//!                       ┌────────────────────────── driver ──┐
//!  links, workers ────► │ Input ─► Driver ─► Event ─► Node    │ ──► Output: frames, a commit, answers, work, dialling
//!  agency, operator ──► │             ▲ └─────◄ Action ──┘    │
//!  time ──────────────► │        Reads (the store)            │
//!                       └─────────────────────────────────────┘
//! ```
//!
//! Pure: inputs, a read view and the time go in, outputs come out. There is no socket, clock, file, task or thread here.
//! The host that ships (`liaison-node`) and the simulator run the same driver.

pub mod agency;
mod alarms;
pub mod answers;
pub mod audit;
mod bundle_exchange;
pub mod bundles;
mod clocks;
mod conserve;
mod control;
mod custody;
pub mod input;
mod links;
mod notices;
mod operate;
pub mod operator;
pub mod output;
mod peers;
mod perform;
mod prekeys;
pub mod query;
mod receipts;
mod recent;
mod refusals;
mod requests;
mod roster_exchange;
mod rosters;
mod signed;
pub mod status;
pub mod store_error;
pub mod time;
mod times;
pub mod view;
pub mod work;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use liaison_core::durable::Durable;
use liaison_core::event::{CommitResult, Disk};
use liaison_core::forget::Forgetting;
use liaison_core::op::{Op, Table};
use liaison_core::roster_state::RosterState;
use liaison_core::{Action, Config, Event, LinkKey, Node, NodeKind, Restored, RestoredQueue, Ticket};
use liaison_protocol::receipt::UnsignedReceipt;
use liaison_protocol::roster::Roster;
use liaison_protocol::sign::{SignError, Signer};
use liaison_protocol::{MessageId, NodeId, Timestamp};
use rand_core::CryptoRng;

use agency::{LocalAgency, OwnEvent};
use answers::Answers;
use bundle_exchange::BundleExchange;
use conserve::Conservation;
use custody::Origins;
pub use input::Input;
use links::{Link, PeerRecord};
use output::Metric;
pub use output::Output;
use peers::{Dialing, Peer};
use prekeys::Prekeys;
use receipts::{Receipts, Signed};
use recent::Recent;
use refusals::Refusals;
use requests::Waiter;
use roster_exchange::RosterExchange;
pub use rosters::{LoadError, load as load_roster, record as roster_record};
use signed::SignedReceipts;
use store_error::StoreError;
pub use time::Time;
use times::CommitTimes;
use view::{Links, Reads};
use work::{Done, WorkDone};

/// The interval between looks at the disk, and at late answers of peers.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// The parts of a driver, beside its store and roster.
pub struct Options {
    /// Names, routes and caps.
    pub core: Config,
    /// Signs receipts and notices.
    pub signer: Arc<dyn Signer>,
    /// Addresses of relays, `host:port` each, in place of the roster's.
    pub addresses: BTreeMap<NodeId, Vec<String>>,
    /// New custody is refused while less is free.
    pub low_water_bytes: u64,
    /// Receipts up to this number were set aside before: none of them is signed again ([RCPT-8]).
    pub receipts_reserved: u64,
    /// Keys of notices come from here.
    pub random: Box<dyn CryptoRng + Send>,
}

/// The reason why a driver cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The agency cannot read its own records.
    #[error("{0}")]
    Agency(String),
    /// The disk failed, or holds what it should not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// See the crate's documentation.
pub struct Driver {
    core: Node,
    me: NodeId,
    kind: NodeKind,
    store: Arc<dyn Reads>,
    link_view: Arc<dyn Links + Send + Sync>,
    outputs: Vec<Output>,
    time: Time,
    housekeeping_at: Duration,
    receipts: Receipts,
    signer: Arc<dyn Signer>,
    random: Box<dyn CryptoRng + Send>,
    agency: Option<Arc<dyn LocalAgency>>,
    roster: Arc<Roster>,
    rosters: RosterState,
    /// Rosters on their way from and to peers.
    news: RosterExchange,
    /// Prekey bundles on their way from and to peers.
    bundles: BundleExchange,
    /// Questions of peers that wait for their answers.
    answers: Answers,
    links: BTreeMap<LinkKey, Link>,
    events: VecDeque<Event>,
    waiters: BTreeMap<Ticket, Waiter>,
    last_ticket: u64,
    recent: Recent,
    /// Peers about whose refused mail the log has a line.
    refusals: Refusals,
    conservation: Conservation,
    origins: Origins,
    signed_receipts: SignedReceipts,
    /// Records of the receipt chain that the next commit carries.
    records: Vec<Op>,
    /// The receipt for the commit under way.
    unsigned: Option<UnsignedReceipt>,
    /// At a daemon: transfers that the agency has seen and the core has not yet settled.
    offered: BTreeMap<(LinkKey, u8, u64), MessageId>,
    prekeys: Prekeys,
    /// A roster whose commit is under way.
    adopting: Option<Arc<Roster>>,
    dialing: Dialing,
    /// Relays that this node dials now.
    dialed: Vec<Peer>,
    /// Records of peers, linked or not.
    peers: BTreeMap<NodeId, PeerRecord>,
    /// Nodes whose link key two programs use: when that was seen last, and where they are.
    rivals: BTreeMap<NodeId, links::Rivals>,
    commit_times: CommitTimes,
    forgetting: Forgetting,
    /// Relays that acknowledge without a receipt.
    unproven: BTreeMap<NodeId, custody::Unproven>,
    clock_talk: clocks::ClockTalk,
    started: Timestamp,
    low_water_bytes: u64,
    /// As the log has said last.
    disk_is_low: bool,
    fault: Option<Fault>,
}

impl Driver {
    /// Reads the store, and says whom to dial. Outputs wait for [`Driver::take_outputs`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn start(
        options: Options,
        (store, link_view): (Arc<dyn Reads>, Arc<dyn Links + Send + Sync>),
        roster: Arc<Roster>,
        agency: Option<Arc<dyn LocalAgency>>,
        time: Time,
    ) -> Result<Self, StoreError> {
        let (me, kind) = (options.core.me.clone(), options.core.kind);
        let signing = (me.clone(), Arc::clone(&options.signer));
        let (receipts, mut opening) =
            Receipts::open(kind, signing, options.receipts_reserved, (&*store, &roster), time.now)?;
        // So that peers can be sent it, and a restart without its file's update does not fall back.
        opening.push(rosters::record(&roster));
        let (rosters, restored) = (rosters::restore(&*store, Arc::clone(&roster))?, restored(&*store)?);
        let (prekeys, bundles) = (Prekeys::restore(&*store)?, BundleExchange::restore(&*store)?);
        let (conservation, old) = Conservation::restore(&restored.ledger, time.now);
        let dialing = Dialing::new(&options.core, options.addresses);
        let dialed = dialing.peers(&roster);
        let mut driver = Self {
            core: Node::new(options.core, Arc::clone(&roster), restored),
            me,
            kind,
            store,
            link_view,
            outputs: dialed.iter().map(Peer::dial).collect(),
            time,
            housekeeping_at: time.elapsed,
            receipts,
            signer: options.signer,
            random: options.random,
            agency,
            rosters,
            news: RosterExchange::default(),
            bundles,
            answers: Answers::default(),
            roster,
            links: BTreeMap::new(),
            events: VecDeque::new(),
            waiters: BTreeMap::new(),
            last_ticket: 0,
            recent: Recent::default(),
            refusals: Refusals::default(),
            conservation,
            origins: Origins::default(),
            signed_receipts: SignedReceipts::default(),
            records: Vec::new(),
            unsigned: None,
            offered: BTreeMap::new(),
            prekeys,
            adopting: None,
            dialing,
            dialed,
            peers: BTreeMap::new(),
            rivals: BTreeMap::new(),
            commit_times: CommitTimes::default(),
            forgetting: Forgetting::default(),
            unproven: BTreeMap::new(),
            clock_talk: clocks::ClockTalk::default(),
            started: time.now,
            low_water_bytes: options.low_water_bytes,
            disk_is_low: false,
            fault: None,
        };
        driver.commit_records([opening, old].concat());
        Ok(driver)
    }

    /// One turn: applies an input, and does all that follows from it.
    pub fn handle(&mut self, input: Input, time: Time) {
        self.time = time;
        match input {
            Input::Checked(checked) => self.handle_checked(checked),
            Input::Committed { result, took, envelopes } => self.handle_committed(result, took, envelopes),
            Input::Link(input) => self.handle_link(input),
            Input::Operator(id, request) => self.operate(id, request),
            Input::Request(id, request) => self.handle_request(id, request),
            Input::Timer => self.handle_timer(),
            Input::Work(WorkDone(done)) => match done {
                Done::Bundles(checked) => self.handle_bundles_checked(checked),
                Done::Released(rows) => self.handle_released(rows),
                Done::Roster(checked) => self.handle_roster_checked(*checked),
            },
        }
        if let Err(error) = self.forget() {
            self.fail(error);
        }
    }

    /// Takes the outputs, in the order in which they are to be done. There are none until the next turn.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// The next deadlines of [`Input::Timer`]: by the calendar, and by the time since the start. The first one counts.
    #[must_use]
    pub fn next_deadlines(&self) -> (Option<Timestamp>, Duration) {
        let elapsed = self.bundles.next().map_or(self.housekeeping_at, |offers| offers.min(self.housekeeping_at));
        (self.core.next_deadline(), elapsed)
    }

    /// True if what comes in on a lane of this rank may join the next commit.
    #[must_use]
    pub fn has_room(&self, rank: u8) -> bool {
        self.core.has_room(rank)
    }

    /// The roster in force.
    #[must_use]
    pub const fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// The reason why the driver cannot go on, if there is one. The host stops serving.
    pub const fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// True if [`Driver::take_fault`] has something to give.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.fault.is_some()
    }
}

impl Driver {
    const fn now(&self) -> Timestamp {
        self.time.now
    }

    fn say(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// Applies one event, does all that follows from it, and what follows from that.
    fn apply(&mut self, event: Event) {
        self.apply_together(vec![event], None);
    }

    /// The same for events that came at once. `signed`: the receipt of the commit that one of them says has ended.
    fn apply_together(&mut self, events: Vec<Event>, signed: Option<&Signed>) {
        let mut actions: Vec<Action> = Vec::new();
        let mut next = events;
        while !next.is_empty() {
            let now = self.now();
            self.core.handle_together(next, now, &mut actions);
            for action in actions.drain(..) {
                self.perform(action, signed);
            }
            next = self.events.pop_front().into_iter().collect();
        }
        self.flush_proofs();
    }

    fn handle_committed(&mut self, result: Result<Durable, StoreError>, took: Duration, envelopes: u64) {
        self.commit_times.note(took);
        let unsigned = self.unsigned.take();
        match result {
            Ok(durable) => {
                self.measure(Metric::Commit { took, envelopes });
                self.recent.settle();
                // [RCPT-1]
                let signed = unsigned.and_then(|receipt| self.receipts.sign(receipt).map_err(warn_unsigned).ok());
                self.apply_together(vec![Event::Committed(CommitResult::Durable(durable))], signed.as_ref());
            }
            Err(StoreError::Full { .. }) => {
                self.measure(Metric::DiskFull);
                tracing::error!("the disk is full: no new custody until there is room");
                self.apply(Event::Committed(CommitResult::Full));
            }
            // [ERR-2]
            Err(error) => {
                self.measure(Metric::StoreError { operation: "commit" });
                self.fault.get_or_insert(Fault::Store(error));
            }
        }
    }

    fn handle_timer(&mut self) {
        if self.core.next_deadline().is_some_and(|due| due <= self.now()) {
            self.apply(Event::Timer);
        }
        if self.bundles.next().is_some_and(|due| due <= self.time.elapsed) {
            self.offer_fresh();
        }
        if self.housekeeping_at <= self.time.elapsed {
            self.housekeeping_at = self.time.elapsed + HOUSEKEEPING;
            self.housekeep();
        }
    }

    fn housekeep(&mut self) {
        let usage = match self.store.usage() {
            Ok(usage) => usage,
            Err(error) => return self.fail(error),
        };
        let low = usage.free_bytes < self.low_water_bytes;
        if low != self.disk_is_low {
            self.disk_is_low = low;
            let (free_bytes, low_water_bytes) = (usage.free_bytes, self.low_water_bytes);
            if low {
                tracing::error!(free_bytes, low_water_bytes, "the disk is below its low-water mark: no new custody");
            } else {
                tracing::info!(free_bytes, low_water_bytes, "the disk has room again: custody is taken");
            }
        }
        self.apply(Event::Disk(if low { Disk::Low } else { Disk::Ok }));
        self.look_after_rosters();
        self.look_after_bundles();
        self.look_after_answers();
        self.tell_time_to_all();
        self.look_at_clock();
        self.forgetting.tick();
    }

    /// Looks for ids that nobody can send again, and commits that they are forgotten.
    // [CUST-20]
    fn forget(&mut self) -> Result<(), StoreError> {
        let mut ops = Vec::new();
        while let Some(rows) = self.forgetting.next_step() {
            let due = self.store.forgettable(self.now(), rows)?;
            self.forgetting.handle_found(due.len());
            ops.extend(due.into_iter().map(|key| Op::Forget { key }));
        }
        if !ops.is_empty() {
            self.forgetting.begin_commit();
            let ticket = self.ticket(Waiter::Forgotten);
            self.apply(Event::Records { ticket, ops });
        }
        Ok(())
    }

    /// Tells the agency, and commits what it says.
    fn progress(&mut self, event: OwnEvent) {
        let Some(agency) = self.agency.clone() else { return };
        let ops = agency.progress(event, self.now());
        self.commit_records(ops);
    }

    fn commit_records(&mut self, ops: Vec<Op>) {
        if !ops.is_empty() {
            let ticket = self.ticket(Waiter::Nobody);
            self.apply(Event::Records { ticket, ops });
        }
    }

    fn ticket(&mut self, waiter: Waiter) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.waiters.insert(ticket, waiter);
        ticket
    }

    fn measure(&mut self, metric: Metric) {
        self.say(Output::Measure(metric));
    }

    fn fail(&mut self, fault: impl Into<Fault>) {
        let fault = fault.into();
        if matches!(fault, Fault::Store(_)) {
            self.measure(Metric::StoreError { operation: "read" });
        }
        self.fault.get_or_insert(fault);
    }
}

/// A signer that fails costs the proof, not the message: the peer keeps its copy, and hands it over again.
fn warn_unsigned(error: SignError) {
    tracing::error!(%error, "a custody receipt could not be signed");
}

fn restored(store: &dyn Reads) -> Result<Restored, StoreError> {
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
