//! The run loop: one task that hosts the driver, with all that the driver has not: sockets, disk, clock and workers.
//!
//! ```text
//!   links ──► verify (workers) ──► ┌────────┐ ──► commit thread ──► store
//!   local requests ──────────────► │ driver │ ──► links
//!   clock ───────────────────────► └────────┘ ──► workers
//! ```
//!
//! The driver reads the store itself, in the same turn in which it decides on what was read; it runs on a thread of its
//! own, which may wait for a disk. It never waits for a peer.

mod answers;
mod commits;
mod host;
mod inbound;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use liaison_core::op::RANKS;
use liaison_core::{Config, LinkKey, NodeKind};
use liaison_driver::input::{Checked, LinkInput};
use liaison_driver::work::WorkDone;
use liaison_driver::{Driver, Fault, Input, Options};
pub use liaison_driver::{LoadError, load_roster};
use liaison_protocol::frame::CloseCode;
use liaison_protocol::roster::{Role, Roster, RosterVersion};
use liaison_protocol::sign::Signer;
use liaison_protocol::{NodeId, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::link::{BindError, Endpoint, EndpointConfig, LinkEvent, LinkId, LinkIdentity, system_jitter};
use crate::local::{LocalAgency, Requests};
use crate::operator::OperatorRequests;
use crate::store::{Lease, Numbers, Store, StoreError, Writer};
use commits::{Commits, Committed};
use host::{Host, LinkTable};
use inbound::{Arrived, Inbound};

/// Events from links that wait for the loop. Full: links are not read.
const LINK_EVENTS_MAX: usize = 1024;
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
    driver: Driver,
    host: Host,
    events: mpsc::Receiver<LinkEvent>,
    requests: Requests,
    operator: OperatorRequests,
    inbound: Inbound,
    writer: Writer,
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
        let endpoint = Endpoint::bind(endpoint_config(&options, roster.subscribe()), sender)?;
        let writer = Writer::spawn(Arc::clone(&store), 1).map_err(StoreError::from)?;
        let followed = Arc::clone(&roster.borrow());
        let links = Arc::new(LinkTable::default());
        let inbound = Inbound::new(agency.clone().map(|agency| (agency, options.core.me.to_agency())));
        let reads: Arc<dyn liaison_driver::view::Reads> = store;
        let NodeOptions { core, signer, addresses, low_water_bytes, lease, .. } = options;
        let options = Options {
            core,
            signer,
            addresses,
            low_water_bytes,
            receipts_reserved: lease.used(Numbers::Receipts, 0),
            random: Box::new(rand_core::UnwrapErr(getrandom::SysRng)),
        };
        let commits = Commits::new(&writer);
        let mut host = Host::new(endpoint, Arc::clone(&links), commits, (Arc::clone(&reads), lease), roster);
        let mut driver = Driver::start(options, (reads, links), followed, agency, host.time())?;
        host.perform(&mut driver)?;
        Ok(Self { driver, host, events, requests, operator, inbound, writer })
    }

    /// The address that links come in by.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.host.endpoint.local_addr().ok()
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
        let Self { driver, host, writer, .. } = self;
        drop((driver, host));
        let ended = writer.ended().await.map_err(|fault| RunError::Store(fault.into()));
        served.and(ended)
    }

    async fn serve(&mut self, stop: CancellationToken) -> Result<(), RunError> {
        let (mut requests_open, mut operator_open) = (true, true);
        self.turn(Input::Timer)?;
        loop {
            // While a commit's worth waits, flash alone may join it.
            let ranks = (0..RANKS).take_while(|rank| self.driver.has_room(*rank)).count();
            let room = ranks == usize::from(RANKS);
            let (wall, elapsed) = self.driver.next_deadlines();
            let (elapsed, answers) = (self.host.instant(elapsed), self.host.answers.next());
            // Order is priority: stopping, finished commits, time, what is verified, new work.
            let input = tokio::select! {
                biased;
                () = stop.cancelled() => break self.drain().await,
                committed = self.host.commits.ended() => ended(committed),
                () = sleep_until(wall) => Input::Timer,
                checked = poll_fn(|context| self.inbound.poll_next(ranks, context)), if ranks > 0 => {
                    let checked = checked.map_err(|_| RunError::Thread("a worker".into()))?;
                    // Their room is free again once they are in the driver.
                    let (checked, _room): (Vec<Checked>, Vec<_>) = checked.into_iter().unzip();
                    Input::Checked(checked)
                }
                done = worked(&mut self.host.work) => Input::Work(done.map_err(|_| RunError::Thread("a worker".into()))?),
                () = tokio::time::sleep_until(elapsed) => Input::Timer,
                () = at(answers) => {
                    self.host.perform(&mut self.driver)?;
                    continue;
                }
                request = self.operator.recv(), if operator_open => match request {
                    Some(request) => {
                        let (id, request) = self.host.number_operator(request);
                        Input::Operator(id, request)
                    }
                    None => {
                        operator_open = false;
                        continue;
                    }
                },
                request = self.requests.recv(), if room && requests_open => match request {
                    Some(request) => {
                        let (id, request) = self.host.number(request);
                        Input::Request(id, request)
                    }
                    None => {
                        requests_open = false;
                        continue;
                    }
                },
                event = self.events.recv(), if self.inbound.has_room() => match event {
                    Some(event) => Input::Link(self.linked(event)),
                    None => return Err(RunError::Thread("links".into())),
                },
            };
            if let Err(fault) = self.turn(input) {
                self.host.endpoint.close(CloseCode::Shutdown).await;
                return Err(fault);
            }
        }
    }

    fn turn(&mut self, input: Input) -> Result<(), RunError> {
        self.driver.handle(input, self.host.time());
        self.host.perform(&mut self.driver)?;
        self.driver.take_fault().map_or(Ok(()), |fault| Err(fault.into()))
    }

    /// Keeps the link's handle, and gives a transfer to the workers.
    fn linked(&mut self, event: LinkEvent) -> LinkInput {
        match event {
            LinkEvent::Acks { link, rank, acks } => LinkInput::Acks { link: key(link), rank, acks },
            LinkEvent::Control { link, frame } => LinkInput::Control { link: key(link), frame },
            LinkEvent::DialFailed { peer, reason } => LinkInput::DialFailed { peer, reason },
            LinkEvent::Down { link, peer, reason } => {
                self.host.links.remove(key(link));
                LinkInput::Down { link: key(link), peer, reason }
            }
            LinkEvent::Rivals { peer, rivals } => {
                let (older, newer) = (rivals.older.to_string(), rivals.newer.to_string());
                LinkInput::Rivals { peer, older, newer }
            }
            LinkEvent::Transfer { link, rank, transfer, room } => {
                let arrived = Arrived { link: key(link), rank, transfer, room };
                self.inbound.check(arrived, Arc::clone(self.driver.roster()), clock::now());
                LinkInput::TransferCame { link: key(link) }
            }
            LinkEvent::Up { link, peer, role, hello, handle, .. } => {
                self.host.links.insert(key(link), handle);
                let kind = match role {
                    Role::Agency => NodeKind::Daemon,
                    Role::Relay => NodeKind::Relay,
                };
                let roster = (RosterVersion(hello.roster_version), hello.roster_hash);
                LinkInput::Up { link: key(link), peer, kind, roster }
            }
        }
    }

    /// Finishes the commits under way, so that their acknowledgements leave, and closes the links.
    async fn drain(&mut self) -> Result<(), RunError> {
        let deadline = Instant::now() + DRAIN;
        let mut drained = Ok(());
        while self.host.commits.is_flying() && drained.is_ok() {
            tokio::select! {
                committed = self.host.commits.ended() => drained = self.turn(ended(committed)),
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        self.host.endpoint.close(CloseCode::Shutdown).await;
        drained
    }
}

impl From<Fault> for RunError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Agency(detail) => Self::Local(detail),
            Fault::Store(error) => Self::Store(error),
        }
    }
}

fn ended(committed: Committed) -> Input {
    let Committed { result, took, envelopes } = committed;
    Input::Committed { result, took, envelopes }
}

const fn key(link: LinkId) -> LinkKey {
    LinkKey(link.get())
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

/// Waits for work that ends; for ever, if there is none.
async fn worked(work: &mut JoinSet<WorkDone>) -> Result<WorkDone, JoinError> {
    match work.join_next().await {
        Some(done) => done,
        None => std::future::pending().await,
    }
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
