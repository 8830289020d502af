//! The thread that commits: disk work stays off the threads that serve links.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use liaison_core::op::Op;
use liaison_protocol::mutant::{Mutant, planted};
use tokio::sync::{mpsc, oneshot};

use super::engine::panic_text;
use super::{Durable, Fault, Store, StoreError};

/// A commit that takes longer has met a disk that hangs, or an engine that waits for a thread of its own which is gone.
/// Nobody would be told otherwise. A busy disk takes milliseconds, a sick one seconds.
const COMMIT_MAX: Duration = Duration::from_secs(60);

/// Owns the thread. Its handles go to whoever commits.
#[derive(Debug)]
pub struct Writer {
    jobs: mpsc::Sender<Commit>,
    ended: oneshot::Receiver<Result<(), Fault>>,
}

/// Hands batches to the writer's thread, in order. The channel is bounded: when it is full, callers wait.
#[derive(Clone, Debug)]
pub struct Committer {
    jobs: mpsc::Sender<Commit>,
}

/// A batch on its way to the disk. Dropping it drops the answer, not the batch.
#[derive(Debug)]
#[must_use = "the answer says whether the batch is durable"]
pub struct Pending {
    answer: oneshot::Receiver<Result<Durable, StoreError>>,
}

#[derive(Debug)]
struct Commit {
    ops: Vec<Op>,
    answer: oneshot::Sender<Result<Durable, StoreError>>,
}

impl Writer {
    /// Starts the thread; at most `waiting_max` batches wait for it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn spawn(store: Arc<dyn Store>, waiting_max: usize) -> Result<Self, Fault> {
        let (jobs, queue) = mpsc::channel(waiting_max.max(1));
        let (end, ended) = oneshot::channel();
        let work = move || {
            // Nobody may wait any more: then there is nobody to tell.
            let _ = end.send(run(store.as_ref(), queue));
        };
        let spawned = thread::Builder::new().name("store-writer".into()).spawn(work);
        spawned.map_err(|error| Fault::Io { doing: "starting the writer", cause: error.to_string().into() })?;
        Ok(Self { jobs, ended })
    }

    /// For whoever commits.
    #[must_use]
    pub fn committer(&self) -> Committer {
        Committer { jobs: self.jobs.clone() }
    }

    /// Resolves when the thread has ended: after a fault, at once; otherwise when every [`Committer`] is gone and all
    /// that they handed over is answered. To be awaited beside the work, so that a fault stops the node.
    ///
    /// # Errors
    /// The fault that ended it.
    pub async fn ended(self) -> Result<(), Fault> {
        let Self { jobs, ended } = self;
        drop(jobs);
        ended.await.unwrap_or_else(|_| Err(gone("its thread is gone")))
    }
}

impl Committer {
    /// Hands over a batch, and waits only for room in the channel.
    ///
    /// # Errors
    /// [`Fault::WriterGone`].
    pub async fn submit(&self, ops: Vec<Op>) -> Result<Pending, StoreError> {
        let (answer, pending) = oneshot::channel();
        self.jobs.send(Commit { ops, answer }).await.map_err(|_| gone("it stopped after a fault"))?;
        Ok(Pending { answer: pending })
    }

    /// Hands over a batch and waits until it is durable.
    ///
    /// # Errors
    /// As [`Store::commit`], and [`Fault::WriterGone`].
    pub async fn commit(&self, ops: Vec<Op>) -> Result<Durable, StoreError> {
        self.submit(ops).await?.durable().await
    }
}

impl Pending {
    /// Waits until the batch is durable, at most a minute.
    ///
    /// # Errors
    /// As [`Store::commit`], and [`Fault::WriterGone`].
    pub async fn durable(self) -> Result<Durable, StoreError> {
        match tokio::time::timeout(COMMIT_MAX, self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(gone("it stopped after a fault").into()),
            Err(_) => Err(gone("the disk has not answered for a minute").into()),
        }
    }
}

/// Commits what comes until nobody can send, or until a fault.
fn run(store: &dyn Store, mut queue: mpsc::Receiver<Commit>) -> Result<(), Fault> {
    while let Some(Commit { ops, answer }) = queue.blocking_recv() {
        let work = std::panic::AssertUnwindSafe(|| store.commit(&ops));
        let result = std::panic::catch_unwind(work)
            .unwrap_or_else(|panic| Err(gone(&format!("it panicked: {}", panic_text(panic.as_ref()))).into()));
        let fault = match &result {
            Err(StoreError::Fault(fault)) => Some(fault.clone()),
            Ok(_) | Err(StoreError::Full { .. } | StoreError::Misuse(_)) => None,
        };
        if fault.is_some() && planted(Mutant::FaultTriedAgain) {
            drop(store.commit(&ops));
        }
        // Whoever asked may have left: the batch is committed all the same.
        let _ = answer.send(result);
        if let Some(fault) = fault {
            return Err(fault);
        }
    }
    Ok(())
}

fn gone(cause: &str) -> Fault {
    Fault::WriterGone { cause: cause.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Reads as _;
    use crate::store::testing::{Failure, FaultyStore, MemoryStore};
    use bytes::Bytes;
    use liaison_core::op::Table;

    fn put(key: u8) -> Vec<Op> {
        vec![Op::Put { table: Table::Meta, key: vec![key], value: Bytes::new() }]
    }

    fn faulty() -> Arc<FaultyStore<MemoryStore>> {
        Arc::new(FaultyStore::new(MemoryStore::default()))
    }

    #[tokio::test]
    async fn batches_are_committed_in_the_order_in_which_they_were_submitted() {
        let store = faulty();
        let writer = Writer::spawn(store.clone(), 2).unwrap();
        let committer = writer.committer();
        let mut pending = Vec::new();
        for key in 1..=20 {
            pending.push(committer.submit(put(key)).await.unwrap());
        }
        for (commit, pending) in (1..).zip(pending) {
            assert_eq!(pending.durable().await.unwrap().commit(), commit);
        }
    }

    #[tokio::test]
    async fn what_was_submitted_is_committed_before_the_writer_ends() {
        let store = faulty();
        let writer = Writer::spawn(store.clone(), 64).unwrap();
        let committer = writer.committer();
        for key in 1..=50 {
            // Nobody waits for the answer.
            drop(committer.submit(put(key)).await.unwrap());
        }
        drop(committer);
        assert_eq!(writer.ended().await, Ok(()));
        assert!(store.get(Table::Meta, &[50]).unwrap().is_some());
    }

    #[tokio::test]
    async fn a_full_disk_is_an_answer_and_the_writer_goes_on() {
        let store = faulty();
        store.fail_commit(1, Failure::Full);
        let writer = Writer::spawn(store, 1).unwrap();
        let committer = writer.committer();
        assert!(matches!(committer.commit(put(1)).await, Err(StoreError::Full { .. })));
        assert!(committer.commit(put(2)).await.is_ok());
    }

    #[tokio::test]
    async fn a_fault_ends_the_writer_and_reaches_its_owner_and_all_who_wait() {
        for failure in [Failure::BeforeSync, Failure::AfterWrite, Failure::Panic] {
            let store = faulty();
            store.fail_commit(1, failure);
            let writer = Writer::spawn(store.clone(), 8).unwrap();
            let committer = writer.committer();
            let first = committer.submit(put(1)).await.unwrap();
            let second = committer.submit(put(2)).await;
            let Err(StoreError::Fault(fault)) = first.durable().await else { panic!("{failure:?} is no fault") };
            assert_eq!(writer.ended().await, Err(fault));
            let second = match second {
                Ok(pending) => pending.durable().await,
                Err(gone) => Err(gone),
            };
            assert!(matches!(second, Err(StoreError::Fault(Fault::WriterGone { .. }))), "{second:?}");
            assert!(matches!(committer.commit(put(3)).await, Err(StoreError::Fault(Fault::WriterGone { .. }))));
            // [ERR-2]
            assert_eq!(store.commits_after_fault(), 0, "{failure:?} is tried again");
        }
    }
}
