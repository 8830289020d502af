//! The thread that commits: one batch at a time, away from everything that must not wait for a disk.

use std::sync::Arc;
use std::sync::mpsc as threads;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use liaison_core::op::Op;
use tokio::sync::mpsc;

use crate::store::{Store, StoreError};

/// What became of a batch, and how long it took.
pub(super) struct Committed {
    pub(super) result: Result<(), StoreError>,
    pub(super) took: Duration,
    /// How many envelopes were stored.
    pub(super) envelopes: u64,
}

/// See the module. Dropped, it waits for the commit that is under way.
pub(super) struct Commits {
    batches: Option<threads::SyncSender<Vec<Op>>>,
    thread: Option<JoinHandle<()>>,
}

impl Commits {
    /// Starts the thread; results come in order.
    pub(super) fn start(store: Arc<dyn Store>) -> std::io::Result<(Self, mpsc::Receiver<Committed>)> {
        let (batches, work) = threads::sync_channel::<Vec<Op>>(1);
        let (results, committed) = mpsc::channel(2);
        let thread = std::thread::Builder::new().name("commit".into()).spawn(move || {
            while let Ok(ops) = work.recv() {
                let started = Instant::now();
                let envelopes = ops.iter().filter(|op| matches!(op, Op::PutEnvelope { .. })).count() as u64;
                let result = store.commit(&ops).map(drop);
                let done = Committed { result, took: started.elapsed(), envelopes };
                if results.blocking_send(done).is_err() {
                    return;
                }
            }
        })?;
        Ok((Self { batches: Some(batches), thread: Some(thread) }, committed))
    }

    /// Hands over a batch. False if the thread is gone.
    pub(super) fn commit(&self, ops: Vec<Op>) -> bool {
        self.batches.as_ref().is_some_and(|batches| batches.try_send(ops).is_ok())
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        drop(self.batches.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has sent no result: the run loop has seen its channel close.
            drop(thread.join());
        }
    }
}
