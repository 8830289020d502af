//! Plants each deliberate bug in turn, and says which layer of tests finds it, and after how much work.
//!
//! ```text
//!  Mutant ─► simulator: plans written by hand, then seed after seed, until the checker objects
//!         └► unit tests of the crate it is in, named one by one
//! ```

mod killers;
mod units;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use liaison_protocol::mutant::{Mutant, plant};

use crate::sim::{Plan, check, found, run};
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
    /// Seeds that were run.
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

/// Looks for what finds `mutant`: the plan or the seed that is known to, other seeds, its unit test.
///
/// # Errors
/// The unit tests cannot be run.
pub fn hunt(mutant: Mutant, limits: Limits, units: &UnitTests) -> Result<Hunt, UnitsError> {
    let began = Instant::now();
    let known = killers::known(mutant);
    let first = known.seed.filter(|_| limits.known_first);
    if let (Some(test), true) = (known.unit, is_for_units(mutant, limits)) {
        // What the simulator is known not to find is not looked for there when time is short.
        let killer = units.fails(test, mutant)?.then_some(Killer::Unit { test });
        return Ok(Hunt { mutant, killer, seeds: 0, took: began.elapsed() });
    }
    let mut run_seeds = 0;
    let mut killer = None;
    plant(Some(mutant));
    let wanted = |plan: &str| match known.plan {
        Some(known) => known == plan,
        None => first.is_none() && known.unit.is_none(),
    };
    for (plan, scenario) in found::scenarios().into_iter().filter(|(plan, _)| wanted(plan)) {
        if let Some(invariant) = broken_by(&scenario) {
            plant(None);
            let killer = Some(Killer::Plan { plan, invariant });
            return Ok(Hunt { mutant, killer, seeds: 0, took: began.elapsed() });
        }
    }
    for seed in first.into_iter().chain(0..limits.seeds) {
        run_seeds += 1;
        if let Some(invariant) = broken_by(&Plan::draw(seed)) {
            killer = Some(Killer::Sim { seed, invariant });
            break;
        }
    }
    plant(None);
    if let (None, Some(test)) = (&killer, known.unit) {
        killer = units.fails(test, mutant)?.then_some(Killer::Unit { test });
    }
    Ok(Hunt { mutant, killer, seeds: run_seeds, took: began.elapsed() })
}

/// The first invariant that this plan breaks, with the bug that is planted.
fn broken_by(plan: &Plan) -> Option<String> {
    let violations = catch_unwind(AssertUnwindSafe(|| check(&run(plan))));
    match violations {
        Ok(violations) => violations.first().map(|violation| violation.invariant.to_owned()),
        Err(_) => Some("panic".into()),
    }
}
