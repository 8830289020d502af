//! Runs an office's loops and its application's calls in one thread: one poll at a time, always in the same order.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Whoever is polled, and to what end.
pub(super) struct Errands<K, T> {
    running: BTreeMap<u64, Errand<K, T>>,
    last: u64,
}

struct Errand<K, T> {
    kind: K,
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    called: Arc<Called>,
}

/// Whether it has been woken since its last poll.
struct Called(AtomicBool);

impl Wake for Called {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<K: Copy, T> Errands<K, T> {
    pub(super) const fn new() -> Self {
        Self { running: BTreeMap::new(), last: 0 }
    }

    pub(super) fn start(&mut self, kind: K, future: impl Future<Output = T> + Send + 'static) {
        self.last += 1;
        let called = Arc::new(Called(AtomicBool::new(true)));
        self.running.insert(self.last, Errand { kind, future: Box::pin(future), called });
    }

    /// Polls the first one that was woken. `None`: all wait.
    pub(super) fn turn(&mut self) -> Option<(K, Poll<T>)> {
        let woken = |(_, errand): &(&u64, &mut Errand<K, T>)| errand.called.0.swap(false, Ordering::Relaxed);
        let (number, errand) = self.running.iter_mut().find(woken)?;
        let (number, kind) = (*number, errand.kind);
        let waker = Waker::from(Arc::clone(&errand.called));
        let polled = errand.future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.running.remove(&number);
        }
        Some((kind, polled))
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = K> {
        self.running.values().map(|errand| errand.kind)
    }
}
