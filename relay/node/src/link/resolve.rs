//! From `host:port` to an address, without ever waiting for a name server that was asked before.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A name is looked up again after this, beside its use.
const FRESH: Duration = Duration::from_secs(30);

/// One `host:port`. At most one look-up is under way, however often it is asked.
pub(super) struct Resolver {
    text: String,
    literal: Option<SocketAddr>,
    known: Mutex<Vec<SocketAddr>>,
    /// When the last look-up ended; locked while one is under way.
    looked_up: Arc<AsyncMutex<Option<Instant>>>,
}

impl Resolver {
    pub(super) fn new(text: &str) -> Arc<Self> {
        Arc::new(Self {
            text: text.to_owned(),
            literal: text.parse().ok(),
            known: Mutex::default(),
            looked_up: Arc::default(),
        })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// An address for attempt number `attempt`: a name's addresses take turns. `None` if the name has none.
    pub(super) async fn resolve(
        self: &Arc<Self>,
        attempt: usize,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) -> Option<SocketAddr> {
        if self.literal.is_some() {
            return self.literal;
        }
        if let Ok(mut looked_up) = self.looked_up.clone().try_lock_owned()
            && looked_up.is_none_or(|at| at.elapsed() >= FRESH || self.pick(attempt).is_none())
        {
            let (resolver, stop) = (self.clone(), stop.clone());
            tracker.spawn(async move {
                let found = stop.run_until_cancelled(lookup_host(&resolver.text)).await;
                if let Some(Ok(found)) = found {
                    *resolver.known.lock().unwrap_or_else(PoisonError::into_inner) = found.collect();
                }
                *looked_up = Some(Instant::now());
            });
        }
        if self.pick(attempt).is_none() {
            // Until the look-up that is under way has ended.
            drop(self.looked_up.lock().await);
        }
        self.pick(attempt)
    }

    fn pick(&self, attempt: usize) -> Option<SocketAddr> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(attempt.checked_rem(known.len())?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literals_need_no_name_server_and_names_are_remembered() {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let literal = Resolver::new("192.0.2.1:4433").resolve(0, &tracker, &stop).await;
        assert_eq!(literal, Some(SocketAddr::from(([192, 0, 2, 1], 4433))));
        let name = Resolver::new("localhost:4433");
        let first = name.resolve(0, &tracker, &stop).await.expect("every system knows localhost");
        assert!(first.ip().is_loopback());
        assert!(name.pick(7).is_some());
        assert_eq!(Resolver::new("no port").resolve(0, &tracker, &stop).await, None);
    }
}
