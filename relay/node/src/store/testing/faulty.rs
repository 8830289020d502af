//! A store that fails when it is told to.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use liaison_core::op::{DedupeKey, Entry, Op, Position, Remembered, Table};
use liaison_protocol::{AgencyId, MessageId, Timestamp};

use crate::store::{Durable, Expiring, Fault, IdPrefix, QueueTotals, Reads, Record, Store, StoreError, Usage};

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The write fails, and the batch is not in the store. A fault: nothing works from then on.
    BeforeSync,
    /// The sync fails after the batch was written: it is in the store, and was never acknowledged. A fault as well.
    AfterWrite,
    /// The disk is full: nothing is written, and the store goes on.
    Full,
    /// The commit panics, which no store should: nothing is written.
    Panic,
}

/// Another store, whose commits and reads fail where a test wants it. After a fault it answers nothing but the fault; the
/// inner store is what a restart would find.
pub struct FaultyStore<S> {
    inner: S,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of any kind.
    calls: u64,
    commits: u64,
    failures: BTreeMap<u64, Failure>,
    failing_call: Option<u64>,
    failing_name: Option<&'static str>,
    failed: Option<&'static str>,
    fault: Option<Fault>,
    commits_after_fault: u64,
}

impl<S: Store> FaultyStore<S> {
    /// Fails nothing yet.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// The `nth` commit from now fails, once; 1 is the next.
    pub fn fail_commit(&self, nth: u64, failure: Failure) {
        let mut state = self.state();
        let at = state.commits + nth;
        state.failures.insert(at, failure);
    }

    /// The `nth` call from now on fails, whatever it is, as on a disk that does not answer: a fault. 1 is the next.
    pub fn fail_call(&self, nth: u64) {
        let mut state = self.state();
        state.failing_call = Some(state.calls + nth);
    }

    /// The next call of this name fails, as with [`FaultyStore::fail_call`].
    pub fn fail_next(&self, name: &'static str) {
        self.state().failing_name = Some(name);
    }

    /// The call that failed last, by its name.
    #[must_use]
    pub fn failed(&self) -> Option<&'static str> {
        self.state().failed
    }

    /// Commits that were tried after a fault: a node that stops makes none.
    #[must_use]
    pub fn commits_after_fault(&self) -> u64 {
        self.state().commits_after_fault
    }

    /// The store behind, which counts and fails nothing.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// What a restart finds.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_commit(&self) {
        let mut state = self.state();
        state.commits_after_fault += u64::from(state.fault.is_some());
    }

    /// The inner store, for one call, unless there was a fault or it is this call's turn to be one.
    fn working(&self, call: &'static str) -> Result<&S, StoreError> {
        let mut state = self.state();
        if let Some(fault) = &state.fault {
            return Err(fault.clone().into());
        }
        state.calls += 1;
        if state.failing_call == Some(state.calls) || state.failing_name == Some(call) {
            return Err(state.fail(call, "input or output error").into());
        }
        Ok(&self.inner)
    }
}

impl State {
    fn fail(&mut self, call: &'static str, cause: &str) -> Fault {
        let fault = Fault::Io { doing: call, cause: cause.into() };
        self.failed = Some(call);
        self.fault = Some(fault.clone());
        fault
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn commit(&self, ops: &[Op]) -> Result<Durable, StoreError> {
        self.note_commit();
        let inner = self.working("commit")?;
        let mut state = self.state();
        state.commits += 1;
        let commit = state.commits;
        let failure = state.failures.remove(&commit);
        if failure.is_some() {
            state.failed = Some("commit");
        }
        let part = match failure {
            None => return inner.commit(ops),
            Some(Failure::Full) => return Err(StoreError::Full { free_bytes: 0, needed_bytes: 1 }),
            #[expect(clippy::panic, reason = "a test asked for it")]
            Some(Failure::Panic) => panic!("commit {commit} panics"),
            Some(Failure::BeforeSync) => "write",
            Some(Failure::AfterWrite) => {
                let _never_acknowledged = inner.commit(ops)?;
                "sync"
            }
        };
        Err(state.fail("commit", &format!("the {part} of commit {commit} failed")).into())
    }
}

impl<S: Store> Reads for FaultyStore<S> {
    fn head(&self, queue: &AgencyId, rank: u8, after_seq: u64, limit: usize) -> Result<Vec<(u64, Entry)>, StoreError> {
        self.working("head")?.head(queue, rank, after_seq, limit)
    }

    fn envelope(&self, id: &MessageId) -> Result<Option<Bytes>, StoreError> {
        self.working("envelope")?.envelope(id)
    }

    fn positions_of(&self, id: &MessageId) -> Result<Vec<(Position, Entry)>, StoreError> {
        self.working("positions_of")?.positions_of(id)
    }

    fn ids_with_prefix(&self, prefix: &IdPrefix, limit: usize) -> Result<Vec<MessageId>, StoreError> {
        self.working("ids_with_prefix")?.ids_with_prefix(prefix, limit)
    }

    fn remembered(&self, key: &DedupeKey) -> Result<Option<Remembered>, StoreError> {
        self.working("remembered")?.remembered(key)
    }

    fn remembered_after(
        &self,
        after: Option<&DedupeKey>,
        limit: usize,
    ) -> Result<Vec<(DedupeKey, Remembered)>, StoreError> {
        self.working("remembered_after")?.remembered_after(after, limit)
    }

    fn forgettable(&self, now: Timestamp, rows_max: usize) -> Result<Vec<DedupeKey>, StoreError> {
        self.working("forgettable")?.forgettable(now, rows_max)
    }

    fn expiring(&self, until: Timestamp, limit: usize) -> Result<Expiring, StoreError> {
        self.working("expiring")?.expiring(until, limit)
    }

    fn queues(&self) -> Result<Vec<QueueTotals>, StoreError> {
        self.working("queues")?.queues()
    }

    fn last_seq(&self) -> Result<u64, StoreError> {
        self.working("last_seq")?.last_seq()
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.working("get")?.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.working("scan")?.scan(table, prefix, after, limit)
    }

    fn scan_back(
        &self,
        table: Table,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.working("scan_back")?.scan_back(table, prefix, before, limit)
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        self.working("usage")?.usage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::MemoryStore;

    fn put(key: u8) -> [Op; 1] {
        [Op::Put { table: Table::Meta, key: vec![key], value: Bytes::new() }]
    }

    // [ERR-2]
    #[test]
    fn after_a_failed_sync_nothing_is_answered_and_the_batch_may_be_there() {
        for (failure, there) in [(Failure::BeforeSync, false), (Failure::AfterWrite, true)] {
            let store = FaultyStore::new(MemoryStore::default());
            store.fail_commit(2, failure);
            let _durable = store.commit(&put(1)).unwrap();
            let Err(StoreError::Fault(fault)) = store.commit(&put(2)) else { panic!("{failure:?} is no fault") };
            assert_eq!(store.commit(&put(3)).unwrap_err(), fault.clone().into());
            assert_eq!(store.get(Table::Meta, &[1]), Err(fault.into()));
            let inner = store.into_inner();
            assert!(inner.get(Table::Meta, &[1]).unwrap().is_some());
            assert_eq!(inner.get(Table::Meta, &[2]).unwrap().is_some(), there);
        }
    }

    #[test]
    fn a_full_disk_passes() {
        let store = FaultyStore::new(MemoryStore::default());
        store.fail_commit(1, Failure::Full);
        assert!(matches!(store.commit(&put(1)), Err(StoreError::Full { .. })));
        let _durable = store.commit(&put(2)).unwrap();
        assert_eq!(store.get(Table::Meta, &[1]).unwrap(), None);
    }
}
