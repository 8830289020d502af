//! What must hold of a run, read from its trace alone: no code under test takes part.
//!
//! A [`Model`] of every disk is built from the steps. Each invariant is one function: most look at every step before it
//! is applied, the others at the end. Their numbers are those of docs/reliability.md.

mod admission;
mod chains;
mod custody;
mod end;
mod model;
mod plan;
mod truth;
mod ways;

use super::trace::Step;
use super::world::Report;
use model::Model;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: &'static str,
    /// When it showed.
    pub at_ms: u64,
    /// What happened.
    pub detail: String,
}

/// Violations, gathered.
#[derive(Default)]
pub(super) struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, invariant: &'static str, at_ms: u64, detail: impl Into<String>) {
        self.0.push(Violation { invariant, at_ms, detail: detail.into() });
    }
}

/// Looks at one step, before the model knows it.
type AtStep = fn(&Model<'_>, u64, &Step, &mut Found);
/// Looks at what is left.
type AtEnd = fn(&Model<'_>, &mut Found);

const AT_STEP: [AtStep; 25] = [
    custody::sent_is_held,
    custody::once,
    custody::shown_once,
    custody::whole,
    custody::announced,
    custody::once_an_attempt,
    custody::authentic,
    custody::acknowledged_is_durable,
    custody::removed_only_when_taken_or_told,
    custody::fail_stop,
    custody::dedupe_window,
    custody::one_history,
    custody::no_revoked_keys,
    admission::patience,
    admission::caps,
    admission::shares,
    admission::rates,
    admission::rules,
    admission::rosters,
    admission::links,
    truth::truthful_ends,
    truth::truthful_receipts,
    truth::truthful_reading,
    end::nothing_left,
    truth::accused_for_cause,
];

const AT_END: [AtEnd; 8] = [
    end::custody,
    end::sent_again,
    end::drains,
    end::shown,
    end::read,
    end::isolation,
    truth::refused_for_cause,
    ways::one_way_is_enough,
];

/// Every violation of the run, in order of time; the end's come last.
#[must_use]
pub fn check(report: &Report) -> Vec<Violation> {
    let (mut model, mut found) = (Model::new(report), Found::default());
    for (at_ms, step) in &report.trace.steps {
        model.now_ms = *at_ms;
        let step = model.chains.as_first(step);
        AT_STEP.iter().for_each(|invariant| invariant(&model, *at_ms, &step, &mut found));
        model.apply(*at_ms, &step);
    }
    AT_END.iter().for_each(|invariant| invariant(&model, &mut found));
    found.0
}
