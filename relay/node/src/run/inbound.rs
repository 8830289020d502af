//! Verification of what comes in: costly and pure, so on workers; in order within a rank, so that lanes stay in order.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesOrdered, Stream};
use liaison_core::LinkKey;
use liaison_core::op::RANKS;
use liaison_protocol::envelope::{EnvelopeError, VerifiedEnvelope, verify_bytes};
use liaison_protocol::frame::Transfer;
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, Timestamp};
use tokio::sync::Semaphore;

use crate::link::Room;
use crate::local::{LocalAgency, Received};

/// Transfers under verification for one rank: enough to keep the workers busy, few enough that flash does not wait.
const PENDING_MAX: usize = 64;

/// A transfer as its link gave it, with the room that it takes until it is stored or refused.
pub(super) struct Arrived {
    pub(super) link: LinkKey,
    pub(super) rank: u8,
    pub(super) transfer: Transfer,
    pub(super) room: Room,
}

/// A transfer that has been checked.
pub(super) struct Checked {
    pub(super) arrived: Arrived,
    pub(super) outcome: Outcome,
}

/// What the check gave.
pub(super) enum Outcome {
    /// Not what its sender signed.
    Rejected(EnvelopeError),
    /// Signed; and what the agency makes of it, where this is its recipient.
    Verified { envelope: Box<VerifiedEnvelope>, local: Option<Received> },
    /// A worker died.
    WorkerGone,
}

type Check = Pin<Box<dyn Future<Output = Checked> + Send>>;

/// See the module.
pub(super) struct Inbound {
    ranks: Vec<FuturesOrdered<Check>>,
    workers: Arc<Semaphore>,
    local: Option<Local>,
}

#[derive(Clone)]
struct Local {
    agency: Arc<dyn LocalAgency>,
    me: AgencyId,
}

impl Inbound {
    /// `agency` opens what is addressed to `me`.
    pub(super) fn new(agency: Option<(Arc<dyn LocalAgency>, AgencyId)>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            ranks: (0..RANKS).map(|_| FuturesOrdered::new()).collect(),
            workers: Arc::new(Semaphore::new(cores)),
            local: agency.map(|(agency, me)| Local { agency, me }),
        }
    }

    /// Whether every rank can take one more.
    pub(super) fn has_room(&self) -> bool {
        self.ranks.iter().all(|rank| rank.len() < PENDING_MAX)
    }

    /// Starts checking a transfer.
    pub(super) fn check(&mut self, arrived: Arrived, roster: Arc<Roster>, now: Timestamp) {
        let rank = arrived.rank;
        let (workers, local) = (Arc::clone(&self.workers), self.local.clone());
        let check = async move {
            let encoded = arrived.transfer.envelope.clone();
            let branch = arrived.transfer.branch.clone();
            let _permit = workers.acquire_owned().await;
            let work = move || check(encoded, &branch, &roster, local.as_ref(), now);
            let outcome = tokio::task::spawn_blocking(work).await.unwrap_or(Outcome::WorkerGone);
            Checked { arrived, outcome }
        };
        if let Some(queue) = self.ranks.get_mut(usize::from(rank)) {
            queue.push_back(Box::pin(check));
        }
    }

    /// The next transfer that has been checked, the most urgent first. Pending while there is none.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Checked> {
        for rank in &mut self.ranks {
            if let Poll::Ready(Some(checked)) = Pin::new(rank).poll_next(context) {
                return Poll::Ready(checked);
            }
        }
        Poll::Pending
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
