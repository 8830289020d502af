//! Doing what the driver says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use liaison_core::LinkKey;
use liaison_core::op::Op;
use liaison_driver::agency::{Request, RequestId};
use liaison_driver::operator::{OperatorAnswer, OperatorError};
use liaison_driver::output::Metric;
use liaison_driver::view::{Links, Reads};
use liaison_driver::work::{Work, WorkDone};
use liaison_driver::{Driver, Output, Time};
use liaison_protocol::frame::{CloseCode, Transfer};
use liaison_protocol::roster::Roster;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::RunError;
use super::answers::Answers;
use super::commits::Commits;
use crate::link::{Endpoint, LinkHandle};
use crate::local::{Asked, Reply};
use crate::operator::OperatorAsked;
use crate::store::{Lease, Numbers};
use crate::{clock, metric};

/// Links that are up. The driver asks it for round trips.
#[derive(Default)]
pub(super) struct LinkTable(Mutex<BTreeMap<LinkKey, LinkHandle>>);

impl LinkTable {
    pub(super) fn insert(&self, link: LinkKey, handle: LinkHandle) {
        self.lock().insert(link, handle);
    }

    pub(super) fn remove(&self, link: LinkKey) {
        self.lock().remove(&link);
    }

    /// `None`: the link is gone.
    pub(super) fn with<T>(&self, link: LinkKey, act: impl FnOnce(&LinkHandle) -> T) -> Option<T> {
        self.lock().get(&link).map(act)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<LinkKey, LinkHandle>> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links for LinkTable {
    fn rtt(&self, link: LinkKey) -> Option<Duration> {
        self.with(link, LinkHandle::rtt)
    }
}

/// Sockets, disk, clock and workers of one driver.
pub(super) struct Host {
    pub(super) endpoint: Endpoint,
    pub(super) links: Arc<LinkTable>,
    pub(super) commits: Commits,
    pub(super) answers: Answers,
    lease: Lease,
    store: Arc<dyn Reads>,
    roster: watch::Sender<Arc<Roster>>,
    /// Under way on workers.
    pub(super) work: JoinSet<WorkDone>,
    last_request: u64,
    asked: BTreeMap<RequestId, Reply>,
    operators: BTreeMap<RequestId, oneshot::Sender<Result<OperatorAnswer, OperatorError>>>,
    started: Instant,
}

impl Host {
    pub(super) fn new(
        endpoint: Endpoint,
        links: Arc<LinkTable>,
        commits: Commits,
        (store, lease): (Arc<dyn Reads>, Lease),
        roster: watch::Sender<Arc<Roster>>,
    ) -> Self {
        Self {
            endpoint,
            links,
            commits,
            answers: Answers::default(),
            lease,
            store,
            roster,
            work: JoinSet::new(),
            last_request: 0,
            asked: BTreeMap::new(),
            operators: BTreeMap::new(),
            started: Instant::now(),
        }
    }

    pub(super) fn time(&self) -> Time {
        Time { now: clock::now(), elapsed: self.started.elapsed() }
    }

    /// When so much time has passed since the start.
    pub(super) fn instant(&self, elapsed: Duration) -> Instant {
        self.started + elapsed
    }

    pub(super) fn number(&mut self, asked: Asked) -> (RequestId, Request) {
        let id = self.next_request();
        self.asked.extend(asked.reply.map(|reply| (id, reply)));
        (id, asked.request)
    }

    pub(super) fn number_operator(&mut self, asked: OperatorAsked) -> (RequestId, crate::operator::OperatorRequest) {
        let id = self.next_request();
        self.operators.insert(id, asked.reply);
        (id, asked.request)
    }

    fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    /// Does all that the driver has asked for.
    ///
    /// # Errors
    /// The lease file cannot be written: nothing that needs it was committed ([ERR-2]).
    pub(super) fn perform(&mut self, driver: &mut Driver) -> Result<(), RunError> {
        for output in driver.take_outputs() {
            match output {
                Output::Acks { link, rank, acks } => drop(self.links.with(link, |link| link.acks(rank, acks))),
                // Nobody may wait any more.
                Output::Answer(id, answer) => drop(self.asked.remove(&id).map(|reply| reply.send(answer))),
                Output::Close { link, code } => drop(self.links.with(link, |link| link.close(code))),
                Output::Commit { ops, receipts } => self.commit(ops, receipts)?,
                Output::Control { link, frame } => drop(self.links.with(link, |link| link.control(&frame))),
                Output::Dial { peer, addresses } => self.endpoint.dial(peer, addresses),
                Output::Measure(metric) => measure(&metric),
                Output::Operator(id, answer) => drop(self.operators.remove(&id).map(|reply| reply.send(answer))),
                Output::Roster(roster) => drop(self.roster.send_replace(roster)),
                Output::Transfer { link, rank, transfer } => {
                    self.links.with(link, |link| send(link, rank, transfer));
                }
                Output::Undial { peer } => self.endpoint.undial(&peer),
                Output::Work(work) => self.start(work),
            }
        }
        self.answers.serve(driver, &self.links, self.time());
        Ok(())
    }

    /// [RCPT-8] Receipts' numbers are set aside before the commit whose receipt has them.
    fn commit(&mut self, ops: Vec<Op>, receipts: u64) -> Result<(), RunError> {
        self.lease.reserve(Numbers::Receipts, receipts).map_err(|fault| RunError::Store(fault.into()))?;
        self.commits.start(ops);
        Ok(())
    }

    fn start(&mut self, work: Work) {
        let store = Arc::clone(&self.store);
        self.work.spawn_blocking(move || work.run(&*store, clock::now()));
    }
}

fn send(link: &LinkHandle, rank: u8, transfer: Transfer) {
    if let Err(error) = link.transfer(rank, transfer) {
        // What is in flight comes back to its queues when the link is down.
        tracing::warn!(peer = %link.peer(), %error, "a transfer was not queued");
        link.close(CloseCode::Overload);
    }
}

fn measure(metric: &Metric) {
    match metric {
        Metric::Commit { took, envelopes } => metric::commit(*took, *envelopes),
        Metric::Custody(measure) => metric::measure(measure),
        Metric::DiskFull => metric::disk_full(),
        Metric::HourCompared { peer, missing } => metric::hour_compared(peer, *missing),
        Metric::PrekeyEquivocation => metric::prekey_equivocation(),
        Metric::StoreError { operation } => metric::store_error(operation),
        Metric::Unproven { peer } => metric::unproven(peer),
    }
}
