//! Replays one seed of the simulator with its trace, or runs a range of them and says what was seen.
//!
//! `cargo run -p liaison-tests --bin sim -- --seed 68` · `cargo run --release -p liaison-tests --bin sim -- --seeds 0..10000`

#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::collections::BTreeMap;
use std::process::ExitCode;

use liaison_tests::sim::{Plan, check, run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--seed", seed] => seed.parse().map_or_else(|_| usage(), replay),
        ["--seeds", range] => match range.split_once("..").map(|(from, to)| (from.parse(), to.parse())) {
            Some((Ok(from), Ok(to))) => search(from, to),
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    println!("usage: sim --seed N | sim --seeds FROM..TO");
    ExitCode::from(2)
}

fn replay(seed: u64) -> ExitCode {
    let plan = Plan::draw(seed);
    let report = run(&plan);
    println!("{plan:#?}");
    report.lines.iter().for_each(|line| println!("{line}"));
    println!("{:?}", report.counts);
    let violations = check(&report);
    violations.iter().for_each(|violation| println!("{}", violation.0));
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn search(from: u64, to: u64) -> ExitCode {
    let (mut counts, mut simulated_ms, mut broken) = (BTreeMap::<&str, u64>::new(), 0, 0u64);
    for seed in from..to {
        let report = run(&Plan::draw(seed));
        simulated_ms += report.simulated_ms;
        report.counts.iter().for_each(|(kind, count)| *counts.entry(kind).or_default() += count);
        let violations = check(&report);
        if !violations.is_empty() {
            broken += 1;
            println!("seed {seed}: {} violations; replay: sim --seed {seed}", violations.len());
        }
    }
    println!("{} seeds, {} simulated hours, {broken} broken", to.saturating_sub(from), simulated_ms / 3_600_000);
    println!("{counts:?}");
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
