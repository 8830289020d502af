//! Verification of what comes in: costly and pure, so on workers; in order within a rank, so that lanes stay in order.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesOrdered, Stream};
use liaison_core::LinkKey;
use liaison_core::op::RANKS;
use liaison_driver::input::{Checked, Outcome};
use liaison_protocol::envelope::{VerifiedEnvelope, verify_bytes};
use liaison_protocol::frame::Transfer;
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, Timestamp};
use tokio::task::{JoinError, JoinHandle};

use crate::link::Room;
use crate::local::LocalAgency;

/// Transfers that wait for verification, or are under it, for one rank. Their bytes are bounded by [`Room`]. Far more than
/// a few links may have here: at this bound no event is taken any more, and what is urgent waits with the rest.
const PENDING_MAX: usize = 4096;
/// Transfers that one worker checks in one go: flash waits for no more than these.
const JOB_MAX: usize = 16;

/// A transfer as its link gave it, with the room that it takes until it is stored or refused.
pub(super) struct Arrived {
    pub(super) link: LinkKey,
    pub(super) rank: u8,
    pub(super) transfer: Transfer,
    pub(super) room: Room,
}

/// A transfer that has been checked, and the room that it takes.
pub(super) type WithRoom = (Checked, Room);

/// See the module.
pub(super) struct Inbound {
    ranks: Vec<Rank>,
    /// Jobs that run now, over all ranks.
    running: usize,
    workers: usize,
    local: Option<Local>,
}

/// What came in on one rank.
#[derive(Default)]
struct Rank {
    waiting: VecDeque<Unchecked>,
    jobs: FuturesOrdered<JoinHandle<Vec<WithRoom>>>,
    /// Of both.
    pending: usize,
}

struct Unchecked {
    arrived: Arrived,
    roster: Arc<Roster>,
    now: Timestamp,
}

#[derive(Clone)]
struct Local {
    agency: Arc<dyn LocalAgency>,
    me: AgencyId,
}

impl Inbound {
    /// `agency` opens what is addressed to `me`.
    pub(super) fn new(agency: Option<(Arc<dyn LocalAgency>, AgencyId)>) -> Self {
        Self {
            ranks: (0..RANKS).map(|_| Rank::default()).collect(),
            running: 0,
            workers: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            local: agency.map(|(agency, me)| Local { agency, me }),
        }
    }

    /// Whether every rank can take one more.
    pub(super) fn has_room(&self) -> bool {
        self.ranks.iter().all(|rank| rank.pending < PENDING_MAX)
    }

    /// Takes a transfer, to be checked as soon as a worker is free.
    pub(super) fn check(&mut self, arrived: Arrived, roster: Arc<Roster>, now: Timestamp) {
        if let Some(rank) = self.ranks.get_mut(usize::from(arrived.rank)) {
            rank.pending += 1;
            rank.waiting.push_back(Unchecked { arrived, roster, now });
        }
        self.start_jobs();
    }

    /// The next transfers of the `ranks` most urgent ranks that have been checked, the most urgent first. Pending while
    /// there are none.
    ///
    /// # Errors
    /// A worker panicked: what it had was lost.
    pub(super) fn poll_next(
        &mut self,
        ranks: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<Vec<WithRoom>, JoinError>> {
        for rank in self.ranks.iter_mut().take(ranks) {
            if let Poll::Ready(Some(checked)) = Pin::new(&mut rank.jobs).poll_next(context) {
                rank.pending -= checked.as_ref().map_or(0, Vec::len);
                self.running -= 1;
                self.start_jobs();
                return Poll::Ready(checked);
            }
        }
        Poll::Pending
    }

    /// Gives free workers what waits, the most urgent first: a wake-up costs as much as a check, so that what has
    /// gathered meanwhile goes together.
    fn start_jobs(&mut self) {
        for rank in &mut self.ranks {
            while self.running < self.workers && !rank.waiting.is_empty() {
                let together = rank.waiting.len().min(JOB_MAX);
                let unchecked: Vec<Unchecked> = rank.waiting.drain(..together).collect();
                let local = self.local.clone();
                let work = move || unchecked.into_iter().map(|one| one.check(local.as_ref())).collect();
                rank.jobs.push_back(tokio::task::spawn_blocking(work));
                self.running += 1;
            }
        }
    }
}

impl Unchecked {
    fn check(self, local: Option<&Local>) -> WithRoom {
        let Self { arrived: Arrived { link, rank, transfer, room }, roster, now } = self;
        let outcome = check(transfer.envelope.clone(), &transfer.branch, &roster, local, now);
        (Checked { link, rank, transfer, outcome }, room)
    }
}

fn check(encoded: bytes::Bytes, branch: &[u16], roster: &Roster, local: Option<&Local>, now: Timestamp) -> Outcome {
    let envelope = match verify_bytes(encoded, &roster.federation(), roster) {
        Ok(envelope) => envelope,
        Err(error) => return Outcome::Rejected(error),
    };
    let received = local.and_then(|local| {
        let index = branch.iter().find(|index| is_for(&envelope, **index, &local.me))?;
        Some(local.agency.receive(&envelope, *index, now))
    });
    Outcome::Verified { envelope: Box::new(envelope), local: received }
}

fn is_for(envelope: &VerifiedEnvelope, index: u16, me: &AgencyId) -> bool {
    envelope.header().recipients.get(usize::from(index)).is_some_and(|recipient| recipient.id == *me)
}
