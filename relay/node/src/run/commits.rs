//! The commit under way: one at a time, on the store's own thread.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use liaison_core::durable::Durable;
use liaison_core::op::Op;
use liaison_protocol::mutant::{Mutant, planted};

use crate::store::{Committer, StoreError, Writer};

/// What became of a batch, and how long it took.
pub(super) struct Committed {
    pub(super) result: Result<Durable, StoreError>,
    pub(super) took: Duration,
    /// How many envelopes it stored.
    pub(super) envelopes: u64,
}

/// See the module.
pub(super) struct Commits {
    committer: Committer,
    flying: Option<Flying>,
}

struct Flying {
    started: Instant,
    envelopes: u64,
    commit: Pin<Box<dyn Future<Output = Result<Durable, StoreError>> + Send>>,
}

impl Commits {
    pub(super) fn new(writer: &Writer) -> Self {
        Self { committer: writer.committer(), flying: None }
    }

    /// Starts a commit. The core starts the next one only when it has heard of this one.
    pub(super) fn start(&mut self, ops: Vec<Op>) {
        debug_assert!(self.flying.is_none(), "one commit at a time");
        let envelopes = ops.iter().filter(|op| matches!(op, Op::PutEnvelope { .. })).count() as u64;
        let committer = self.committer.clone();
        let commit = Box::pin(async move {
            if planted(Mutant::HandedOverIsDurable) {
                return committer.submit(ops).await.map(|_| Durable::assertion(0));
            }
            committer.commit(ops).await
        });
        self.flying = Some(Flying { started: Instant::now(), envelopes, commit });
    }

    pub(super) const fn is_flying(&self) -> bool {
        self.flying.is_some()
    }

    /// Waits for the commit under way; for ever, if there is none. Dropped before it ends, it loses nothing.
    pub(super) async fn ended(&mut self) -> Committed {
        let Some(flying) = &mut self.flying else { return std::future::pending().await };
        let result = flying.commit.as_mut().await;
        let (took, envelopes) = (flying.started.elapsed(), flying.envelopes);
        self.flying = None;
        Committed { result, took, envelopes }
    }
}
