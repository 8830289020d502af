//! Relays die and come back, one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle, sleep};
use std::time::{Duration, Instant};

use super::RELAYS;
use crate::draw::Draw;
use crate::fed::Federation;

/// From a relay's return to the next one's end: this, and up to as much again twice over.
const PAUSE_MS: u64 = 1_000;
/// A relay is away up to this long.
const AWAY_MS: u64 = 300;

/// When they happen, and how many did.
pub(super) struct Restarts {
    draw: Draw,
    counts: Counts,
}

/// How many of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// SIGKILL.
    pub(super) kills: usize,
    /// SIGTERM, with exit code 0.
    pub(super) stops: usize,
}

/// They go on until they are told to end.
pub(super) struct Restarting<'scope> {
    over: Arc<AtomicBool>,
    thread: ScopedJoinHandle<'scope, Restarts>,
}

impl Restarts {
    pub(super) fn new(seed: u64) -> Self {
        Self { draw: Draw::new(seed), counts: Counts::default() }
    }

    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn spawn<'scope>(
        mut self,
        scope: &'scope Scope<'scope, '_>,
        fed: &'scope Federation,
    ) -> Restarting<'scope> {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let thread = scope.spawn(move || {
            while rest(PAUSE_MS + self.draw.below(2 * PAUSE_MS), &told) {
                self.restart(fed);
            }
            self
        });
        Restarting { over, thread }
    }

    fn restart(&mut self, fed: &Federation) {
        // The first lives through many restarts of the others: what those leave behind in it adds up.
        let relay = RELAYS[if self.draw.below(12) == 0 { 0 } else { 1 + usize::from(self.draw.below(2) == 0) }];
        if self.draw.below(2) == 0 {
            fed.kill(relay);
            self.counts.kills += 1;
        } else {
            assert_eq!(fed.stop(relay), Some(0), "{relay} did not stop in peace");
            self.counts.stops += 1;
        }
        sleep(Duration::from_millis(self.draw.below(AWAY_MS)));
        fed.start_node(relay);
    }
}

impl Restarting<'_> {
    pub(super) fn end(self) -> Restarts {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().expect("every relay stops and starts")
    }
}

/// Whether to go on, after so long.
fn rest(millis: u64, over: &AtomicBool) -> bool {
    let until = Instant::now() + Duration::from_millis(millis);
    while Instant::now() < until && !over.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(20));
    }
    !over.load(Ordering::SeqCst)
}
