//! Makes a plan that breaks a promise smaller: delta debugging (Zeller, Hildebrandt 2002) over its faults, its mail and
//! its nodes.

use super::checker::check;
use super::plan::Plan;
use super::world::run;

/// The smallest plan found that still breaks `invariant`, and how many runs that took, at most `runs_max`.
#[must_use]
pub fn shrink(plan: &Plan, invariant: &str, runs_max: usize) -> (Plan, usize) {
    let mut runs = 0;
    let mut breaks = |candidate: &Plan| {
        runs += 1;
        runs <= runs_max && check(&run(candidate)).iter().any(|violation| violation.invariant == invariant)
    };
    let mut smallest = plan.clone();
    loop {
        let before = size(&smallest);
        reduce(&mut smallest, |plan| &mut plan.faults, &mut breaks);
        reduce(&mut smallest, |plan| &mut plan.mail, &mut breaks);
        reduce_recipients(&mut smallest, &mut breaks);
        reduce_reading(&mut smallest, &mut breaks);
        reduce_shape(&mut smallest, &mut breaks);
        if size(&smallest) == before {
            return (smallest, runs.min(runs_max));
        }
    }
}

fn size(plan: &Plan) -> usize {
    let recipients: usize = plan.mail.iter().map(|mail| mail.to.len()).sum();
    let read = plan.mail.iter().filter(|mail| mail.read_after_ms.is_some()).count();
    let files: usize = plan.mail.iter().map(|mail| mail.attached.len()).sum();
    plan.faults.len() + plan.mail.len() + recipients + read + files + plan.shape.agencies + plan.shape.relays()
}

/// Leaves out halves, then quarters, and so on, as long as it still breaks.
fn reduce<T: Clone>(plan: &mut Plan, list: fn(&mut Plan) -> &mut Vec<T>, breaks: &mut impl FnMut(&Plan) -> bool) {
    let mut part = list(plan).len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        while at < list(plan).len() {
            let mut candidate = plan.clone();
            let items = list(&mut candidate);
            let end = (at + part).min(items.len());
            items.drain(at..end);
            if breaks(&candidate) {
                *plan = candidate;
            } else {
                at += part;
            }
        }
        part = if part == 1 { 0 } else { part.div_ceil(2) };
    }
}

fn reduce_recipients(plan: &mut Plan, breaks: &mut impl FnMut(&Plan) -> bool) {
    for mail in 0..plan.mail.len() {
        let mut at = 0;
        while at < plan.mail[mail].to.len() && plan.mail[mail].to.len() > 1 {
            let mut candidate = plan.clone();
            candidate.mail[mail].to.remove(at);
            if breaks(&candidate) {
                *plan = candidate;
            } else {
                at += 1;
            }
        }
    }
}

fn reduce_reading(plan: &mut Plan, breaks: &mut impl FnMut(&Plan) -> bool) {
    for mail in 0..plan.mail.len() {
        let mut candidate = plan.clone();
        if candidate.mail[mail].read_after_ms.take().is_some() && breaks(&candidate) {
            *plan = candidate;
        }
        let mut candidate = plan.clone();
        if candidate.mail[mail].attached.pop().is_some() && breaks(&candidate) {
            *plan = candidate;
        }
    }
}

/// The last agency, the last region, the last second relay, the ring and the special rules.
fn reduce_shape(plan: &mut Plan, breaks: &mut impl FnMut(&Plan) -> bool) {
    let steps: [fn(&mut Plan) -> bool; 7] = [
        |plan| {
            plan.shape.agencies -= 1;
            let agencies = plan.shape.agencies;
            agencies > 0 && plan.mail.iter().all(|mail| mail.from < agencies && mail.to.iter().all(|to| *to < agencies))
        },
        |plan| {
            plan.shape.regions -= 1;
            plan.shape.regions > 0 && plan.shape.second >> plan.shape.regions == 0
        },
        |plan| {
            let last = u8::BITS - plan.shape.second.leading_zeros();
            let bit = last.checked_sub(1).map_or(0, |last| 1 << last);
            plan.shape.second ^= bit;
            bit != 0
        },
        |plan| !std::mem::take(&mut plan.shape.homes).is_empty(),
        |plan| !std::mem::replace(&mut plan.shape.meshed, true),
        |plan| plan.shape.quota_bytes.take().is_some(),
        |plan| plan.shape.rate.take().is_some(),
    ];
    for step in steps {
        loop {
            let mut candidate = plan.clone();
            if !step(&mut candidate) || !breaks(&candidate) {
                break;
            }
            *plan = candidate;
        }
    }
}
