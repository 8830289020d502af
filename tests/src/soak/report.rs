//! What a soak took, quarter by quarter, and whether that is flat.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use super::restarts::Counts;
use super::{Plan, RELAYS};
use crate::check::Check;
use crate::fed::Federation;
use crate::gauge::Gauge;

/// From look to look.
const LOOK: Duration = Duration::from_millis(200);
const QUARTERS: usize = 4;
/// Who is looked at: the relays, and this process, which is both agencies.
const WATCHED: usize = RELAYS.len() + 1;
const MIB: u64 = 1 << 20;
/// What memory may differ by without growing: what the store's memory tables and cache take once they are full.
const RESIDENT_SLACK: u64 = 64 * MIB;
/// The same for descriptors: files that the store is about to merge.
const DESCRIPTORS_SLACK: u64 = 32;
/// The same for threads: workers that have not been idle for long enough to end.
const THREADS_SLACK: u64 = 16;
/// What a relay keeps of a message that has left, until a day after its expiry: its id, from whom, to whom.
const KEPT_BYTES_MAX: u64 = 256;
/// What a disk may differ by: journals and tables that are about to be merged.
const DISK_SLACK: u64 = 64 * MIB;

/// A moment when everything has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// Bytes of each relay's store.
    pub(super) disks: [u64; RELAYS.len()],
}

/// The most that was seen in each quarter of the run.
pub(super) struct Quarters {
    messages: usize,
    most: Mutex<[[Gauge; WATCHED]; QUARTERS]>,
}

/// Looks until it is told to end.
pub(super) struct Watching<'scope> {
    over: Arc<AtomicBool>,
    thread: ScopedJoinHandle<'scope, ()>,
}

impl Quarters {
    pub(super) fn new(messages: usize) -> Self {
        Self { messages, most: Mutex::default() }
    }

    pub(super) fn spawn<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        fed: &'scope Federation,
        delivered: &'scope AtomicUsize,
    ) -> Watching<'scope> {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let thread = scope.spawn(move || {
            while !told.load(Ordering::SeqCst) {
                self.look(fed, delivered.load(Ordering::SeqCst));
                std::thread::sleep(LOOK);
            }
        });
        Watching { over, thread }
    }

    fn look(&self, fed: &Federation, delivered: usize) {
        let quarter = (delivered * QUARTERS / self.messages.max(1)).min(QUARTERS - 1);
        let processes = RELAYS.map(|relay| fed.process_id(relay));
        let mut most = self.most.lock().unwrap_or_else(PoisonError::into_inner);
        for (most, process) in most[quarter].iter_mut().zip(processes.into_iter().chain([Some(std::process::id())])) {
            // One that has just been killed is looked at the next time.
            *most = most.max(process.and_then(|id| Gauge::of(id).ok()).unwrap_or_default());
        }
    }

    fn of(&self, watched: usize, figure: fn(&Gauge) -> u64) -> [u64; QUARTERS] {
        self.most.lock().unwrap_or_else(PoisonError::into_inner).map(|quarter| figure(&quarter[watched]))
    }

    /// The last quarter took no more than the first.
    pub(super) fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for watched in 0..WATCHED {
            let name = RELAYS.get(watched).copied().unwrap_or("agencies");
            let mut check = |what: &str, quarters: [u64; QUARTERS], slack: u64, unit: u64| {
                let [first, .., last] = quarters;
                let figures = quarters.map(|figure| format!("{:>6}", figure / unit)).concat();
                let holds = last <= first + first / 4 + slack;
                checks.push(Check { what: format!("{name}, {what}"), holds, detail: figures });
            };
            // The agencies' process keeps the ids of all messages, to compare them.
            if watched < RELAYS.len() {
                check("MiB resident", self.of(watched, |gauge| gauge.resident), RESIDENT_SLACK, MIB);
            }
            check("descriptors", self.of(watched, |gauge| gauge.descriptors), DESCRIPTORS_SLACK, 1);
            check("threads", self.of(watched, |gauge| gauge.threads), THREADS_SLACK, 1);
        }
        checks
    }
}

impl Watching<'_> {
    pub(super) fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        // Its panic has been printed where it happened.
        let _ = self.thread.join();
    }
}

/// From the first drain to the last, disks grew by what is remembered of each message, and no more.
pub(super) fn disks(plan: &Plan, rests: &[Rest]) -> Vec<Check> {
    let [Rest { disks: first }, .., Rest { disks: last }] = rests else { return Vec::new() };
    let between = (plan.messages - plan.messages / 4) as u64;
    let check = |((relay, first), last): ((&&str, &u64), &u64)| {
        let grown = last.saturating_sub(*first);
        let holds = grown <= DISK_SLACK + between * KEPT_BYTES_MAX;
        let detail = format!("{:>6}{:>18}   {} bytes a message", first / MIB, last / MIB, grown / between.max(1));
        Check { what: format!("{relay}, MiB on disk, drained"), holds, detail }
    };
    RELAYS.iter().zip(first).zip(last).map(check).collect()
}

/// What came of a soak.
pub struct Report {
    pub(super) plan: Plan,
    pub(super) took: Duration,
    pub(super) restarts: Counts,
    pub(super) checks: Vec<Check>,
}

impl Report {
    /// Whether everything holds.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { messages, seed, text_bytes } = self.plan;
        let Counts { kills, stops } = self.restarts;
        writeln!(f, "{messages} messages of {text_bytes} bytes through {}, seed {seed}", RELAYS.join(", "))?;
        let seconds = self.took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let rate = messages as f64 / seconds;
        writeln!(f, "{seconds:.0} s, {rate:.0} a second; {kills} kills and {stops} stops of relays\n")?;
        writeln!(f, "{:<30}          most in each quarter", "")?;
        self.checks.iter().try_for_each(|check| writeln!(f, "{check}"))
    }
}
