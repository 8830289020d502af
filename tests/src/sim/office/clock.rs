//! A node's clock, as its office reads it, and whoever waits for it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use liaison_client::clock::{Clock, Wait};
use liaison_protocol::Timestamp;

/// After something has changed, whoever looks round now and then does so after its own time, and after this once more:
/// the daemon goes through its open messages once a minute.
const ONCE_MORE_MS: u64 = 61_000;

/// Set by the world; idle looks round cost nothing while nothing changes.
#[derive(Clone)]
pub(super) struct SimClock(Arc<Mutex<State>>);

struct State {
    shown: Timestamp,
    true_ms: u64,
    stirred_ms: u64,
    last: u64,
    waits: BTreeMap<u64, Waiting>,
}

struct Waiting {
    /// `None`: nothing has changed that it would look at.
    due_ms: Option<u64>,
    /// When it looks, once something changes, at the earliest.
    from_ms: u64,
    waker: Option<Waker>,
}

impl SimClock {
    pub(super) fn new(shown: Timestamp, true_ms: u64) -> Self {
        let state = State { shown, true_ms, stirred_ms: true_ms, last: 0, waits: BTreeMap::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// It is so late now; whoever has waited long enough is woken.
    pub(super) fn set(&self, shown: Timestamp, true_ms: u64) {
        let mut state = self.lock();
        (state.shown, state.true_ms) = (shown, true_ms);
        let over = state.waits.values_mut().filter(|wait| wait.due_ms.is_some_and(|due_ms| due_ms <= true_ms));
        over.filter_map(|wait| wait.waker.take()).for_each(Waker::wake);
    }

    /// Something has changed.
    pub(super) fn stir(&self) {
        let mut state = self.lock();
        state.stirred_ms = state.true_ms;
        for wait in state.waits.values_mut() {
            wait.due_ms.get_or_insert(wait.from_ms);
        }
    }

    /// When somebody is to be woken next.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.lock().waits.values().filter_map(|wait| wait.due_ms).min()
    }

    fn wait(&self, span: Duration, idle: bool) -> Wait {
        let mut state = self.lock();
        let from_ms = state.true_ms + u64::try_from(span.as_millis()).expect("a span fits");
        let once_more_ms = state.stirred_ms + ONCE_MORE_MS;
        let due_ms = if !idle || span.is_zero() {
            Some(from_ms)
        } else {
            (state.true_ms < once_more_ms).then(|| from_ms.max(once_more_ms))
        };
        state.last += 1;
        let number = state.last;
        state.waits.insert(number, Waiting { due_ms, from_ms, waker: None });
        Box::pin(Until { clock: self.clone(), number })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.lock().shown
    }

    fn sleep(&self, span: Duration) -> Wait {
        self.wait(span, false)
    }

    fn idle(&self, span: Duration) -> Wait {
        self.wait(span, true)
    }
}

struct Until {
    clock: SimClock,
    number: u64,
}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.lock();
        let true_ms = state.true_ms;
        let wait = state.waits.get_mut(&self.number).expect("it waits until it is dropped");
        if wait.due_ms.is_some_and(|due_ms| due_ms <= true_ms) {
            return Poll::Ready(());
        }
        wait.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        self.clock.lock().waits.remove(&self.number);
    }
}
