//! Plants each deliberate bug in turn, and says which layer of tests finds it, and after how much work.
//!
//! ```text
//!  Mutant ─► simulator: plans written by hand, then seed after seed, until the checker objects
//!         └► unit tests of the crate it is in, named one by one
//! ```

mod killers;
mod units;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use liaison_protocol::mutant::{Mutant, plant};

use crate::sim::{Plan, check, found, run};
use killers::Known;
pub use units::{UnitTests, UnitsError};

/// What found a bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Killer {
    /// A plan of the simulator that was written by hand, and the invariant that it breaks.
    Plan {
        /// Which.
        plan: &'static str,
        /// As below.
        invariant: String,
    },
    /// A seed of the simulator, and the invariant that it breaks.
    Sim {
        /// The seed.
        seed: u64,
        /// As the checker names it; `panic` where an assertion of the core was first.
        invariant: String,
    },
    /// A unit test.
    Unit {
        /// Its name, or a part of it.
        test: &'static str,
    },
}

/// One mutant's end.
pub struct Hunt {
    /// Which.
    pub mutant: Mutant,
    /// `None`: it survived.
    pub killer: Option<Killer>,
    /// Seeds that it took, or that were run in vain.
    pub seeds: u64,
    /// How long it took.
    pub took: Duration,
}

/// How far to look.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Seeds for each mutant, from 0 on.
    pub seeds: u64,
    /// Whether the seed that is known to kill is tried first.
    pub known_first: bool,
}

/// Whether a unit test alone is asked: nothing is planted in this process, so that others can be hunted beside it.
#[must_use]
pub fn is_for_units(mutant: Mutant, limits: Limits) -> bool {
    let known = killers::known(mutant);
    limits.known_first && known.plan.is_none() && known.seed.is_none() && known.unit.is_some()
}

/// Looks for what finds `mutant`: a plan, seeds, the unit test that is named for it.
///
/// # Errors
/// The unit tests cannot be run.
pub fn hunt(mutant: Mutant, limits: Limits, units: &UnitTests) -> Result<Hunt, UnitsError> {
    let began = Instant::now();
    let known = killers::known(mutant);
    // What the simulator is known not to find is not looked for there when time is short.
    let (mut killer, mut seeds) = (None, 0);
    if !is_for_units(mutant, limits) {
        plant(Some(mutant));
        (killer, seeds) = simulated(&known, limits);
        plant(None);
    }
    if let (None, Some(test)) = (&killer, known.unit) {
        killer = units.fails(test, mutant)?.then_some(Killer::Unit { test });
    }
    Ok(Hunt { mutant, killer, seeds, took: began.elapsed() })
}

/// What in the simulator finds the bug that is planted, and after how many seeds.
fn simulated(known: &Known, limits: Limits) -> (Option<Killer>, u64) {
    let first = known.seed.filter(|_| limits.known_first);
    let wanted = |plan: &str| match known.plan {
        Some(known) => known == plan,
        None => known.seed.is_none() && known.unit.is_none(),
    };
    for (plan, scenario) in found::scenarios().into_iter().filter(|(plan, _)| wanted(plan)) {
        if let Some(invariant) = broken_by(&scenario) {
            return (Some(Killer::Plan { plan, invariant }), 0);
        }
    }
    let by = |seed: u64| broken_by(&Plan::draw(seed)).map(|invariant| Killer::Sim { seed, invariant });
    if let Some(killer) = first.and_then(by) {
        return (Some(killer), 1);
    }
    match lowest(limits.seeds, by) {
        Some((seed, killer)) => (Some(killer), seed + 1),
        // One in millions, which a night's run once met.
        None => (known.seed.and_then(by), limits.seeds + 1),
    }
}

/// The lowest of the first `seeds` seeds that finds the bug, on all processors.
fn lowest(seeds: u64, by: impl Fn(u64) -> Option<Killer> + Sync) -> Option<(u64, Killer)> {
    let (next, found) = (AtomicU64::new(0), Mutex::new(None::<(u64, Killer)>));
    let lock = || found.lock().unwrap_or_else(PoisonError::into_inner);
    let worker = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        // What is lower than a seed that finds it is being run by another, or was.
        if seed >= seeds || lock().is_some() {
            return;
        }
        if let Some(killer) = by(seed) {
            let mut found = lock();
            if found.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                *found = Some((seed, killer));
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(worker))));
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The first invariant that this plan breaks, with the bug that is planted.
fn broken_by(plan: &Plan) -> Option<String> {
    let violations = catch_unwind(AssertUnwindSafe(|| check(&run(plan))));
    match violations {
        Ok(violations) => violations.first().map(|violation| violation.invariant.to_owned()),
        Err(_) => Some("panic".into()),
    }
}
