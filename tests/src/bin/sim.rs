//! Replays one seed of the simulator with its trace, or runs many of them and says what was seen.
//!
//! `cargo run -p liaison-tests --bin sim -- --seed 68 [--shrink]`, `… --seeds 0..10000`, `… --minutes 60 [--from 0]`;
//! with `--office` before it, every daemon is whole, and not only those of a quarter of the seeds; with `--with WORD`, only
//! seeds are run whose plan has that word in it, such as `Gone` or `Copy`.

#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use liaison_tests::sim::{Figures, Plan, check, found, run, shrink};

/// A plan that needs more runs than this to shrink is small enough.
const SHRINK_RUNS_MAX: usize = 3_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--office", rest @ ..] => perform(rest, &|seed| Plan::draw(seed).with_office()),
        all => perform(all, &Plan::draw),
    }
}

/// From a seed to what is run.
type Draw<'a> = &'a (dyn Fn(u64) -> Plan + Sync);

fn perform(arguments: &[&str], draw: Draw<'_>) -> ExitCode {
    match arguments {
        ["--with", word, "--seeds", range] => match range.split_once("..").map(|(from, to)| (from.parse(), to.parse()))
        {
            Some((Ok(from), Ok(to))) => {
                search((from..to).filter(|seed| format!("{:?}", draw(*seed)).contains(word)), None, draw)
            }
            _ => usage(),
        },
        ["--plan", name] => match found::scenarios().into_iter().find(|(known, _)| known == name) {
            Some((_, plan)) => replay(&plan),
            None => usage(),
        },
        ["--plans"] => plans(),
        ["--seed", seed] => seed.parse().map_or_else(|_| usage(), |seed| replay(&draw(seed))),
        ["--seed", seed, "--shrink"] => seed.parse().map_or_else(|_| usage(), |seed| shrunk(seed, draw)),
        ["--seeds", range] => match range.split_once("..").map(|(from, to)| (from.parse(), to.parse())) {
            Some((Ok(from), Ok(to))) => search(from..to, None, draw),
            _ => usage(),
        },
        ["--minutes", minutes] => timed(minutes, "0", draw),
        ["--minutes", minutes, "--from", from] => timed(minutes, from, draw),
        _ => usage(),
    }
}

/// What each plan that was written by hand breaks.
fn plans() -> ExitCode {
    let mut broken = 0;
    for (name, plan) in found::scenarios() {
        let violations = check(&run(&plan));
        broken += violations.len();
        violations.iter().for_each(|it| println!("{name}: {} at {} ms: {}", it.invariant, it.at_ms, it.detail));
    }
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    println!(
        "usage: sim [--office] --plan NAME | --plans | --seed N [--shrink] | [--with WORD] --seeds FROM..TO | --minutes N [--from SEED]"
    );
    ExitCode::from(2)
}

fn timed(minutes: &str, from: &str, draw: Draw<'_>) -> ExitCode {
    match (minutes.parse::<u64>(), from.parse()) {
        (Ok(minutes), Ok(from)) => search(from.., Some(Duration::from_secs(minutes * 60)), draw),
        _ => usage(),
    }
}

fn replay(plan: &Plan) -> ExitCode {
    println!("{plan:#?}");
    let report = run(plan);
    report.names.iter().enumerate().for_each(|(number, name)| println!("node {number}: {name}"));
    report.trace.lines().for_each(|line| println!("{line}"));
    println!("trace {:016x}, {} steps, {} ms", report.trace.digest(), report.trace.steps.len(), report.simulated_ms);
    let violations = check(&report);
    for violation in &violations {
        println!("{} at {} ms: {}", violation.invariant, violation.at_ms, violation.detail);
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn shrunk(seed: u64, draw: Draw<'_>) -> ExitCode {
    let plan = draw(seed);
    let Some(first) = check(&run(&plan)).into_iter().next() else {
        println!("seed {seed} breaks nothing");
        return ExitCode::SUCCESS;
    };
    let (small, runs) = shrink(&plan, first.invariant, SHRINK_RUNS_MAX);
    let code = replay(&small);
    println!("shrunk in {runs} runs: {} faults, {} messages", small.faults.len(), small.mail.len());
    code
}

/// All these seeds, or those that are reached in time, on all processors.
fn search(seeds: impl Iterator<Item = u64> + Send, within: Option<Duration>, draw: Draw<'_>) -> ExitCode {
    let (figures, seeds, began) = (Mutex::new(Figures::default()), Mutex::new(seeds), Instant::now());
    let next = || seeds.lock().unwrap_or_else(PoisonError::into_inner).next();
    let panics = AtomicU64::new(0);
    let worker = || {
        while within.is_none_or(|within| began.elapsed() < within) {
            let Some(seed) = next() else { return };
            let Ok((report, violations)) = catch_unwind(AssertUnwindSafe(|| {
                let report = run(&draw(seed));
                let violations = check(&report);
                (report, violations)
            })) else {
                // It has said where.
                println!("seed {seed}: a panic");
                panics.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            figures.lock().unwrap_or_else(PoisonError::into_inner).add(&report, &violations);
            if let Some(first) = violations.first() {
                let more = violations.len() - 1;
                println!("seed {seed}: {} at {} ms: {} (and {more} more)", first.invariant, first.at_ms, first.detail);
                let office = if report.plan.office { "--office " } else { "" };
                println!("  replay: cargo run -p liaison-tests --bin sim -- {office}--seed {seed} --shrink");
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(worker))));
    let figures = figures.into_inner().unwrap_or_else(PoisonError::into_inner);
    print!("{}", figures.table(began.elapsed()));
    if figures.broken == 0 && panics.into_inner() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
