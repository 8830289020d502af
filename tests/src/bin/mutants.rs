//! Shows that every deliberate bug is found: plants each in turn, runs simulator and unit tests, and prints a table.
//!
//! `cargo run -p liaison-tests --features mutants --bin mutants -- [--seeds N] [--only NAME] [--learn FILE]`
//!
//! Without `--seeds`, each is first tried with what is known to find it, which takes about a minute. Exit 1 if one
//! survives.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use liaison_protocol::mutant::Mutant;
use liaison_tests::mutants::{Hunt, Killer, Limits, UnitTests, hunt, is_for_units};

/// Seeds for each bug where what is known does not find it.
const SEEDS_BOUNDED: u64 = 60;

#[derive(Default)]
struct Options {
    seeds: Option<u64>,
    only: Option<String>,
    learn: Option<String>,
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        println!("usage: mutants [--seeds N] [--only NAME] [--learn FILE]");
        return ExitCode::from(2);
    };
    // Cores assert: a panic is a kill, and no news.
    std::panic::set_hook(Box::new(|_| {}));
    match hunt_all(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mutants: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Option<Options> {
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seeds" => options.seeds = Some(arguments.next()?.parse().ok()?),
            "--only" => options.only = Some(arguments.next()?),
            "--learn" => options.learn = Some(arguments.next()?),
            _ => return None,
        }
    }
    Some(options)
}

fn hunt_all(options: &Options) -> anyhow::Result<bool> {
    let began = Instant::now();
    let limits = Limits { seeds: options.seeds.unwrap_or(SEEDS_BOUNDED), known_first: options.seeds.is_none() };
    let units = UnitTests::build()?;
    println!("{:<28} {:<34} {:>6} {:>8}", "mutant", "killed by", "seeds", "ms");
    let wanted = |mutant: &Mutant| options.only.as_ref().is_none_or(|only| *only == format!("{mutant:?}"));
    let mutants = Mutant::ALL.iter().copied().filter(wanted);
    let (for_units, for_all): (Vec<_>, Vec<_>) = mutants.partition(|mutant| is_for_units(*mutant, limits));
    // Unit tests wait more than they work, the simulator only works.
    let hunts = std::thread::scope(|scope| {
        let beside = scope.spawn(|| each(&for_units, limits, &units));
        let mut hunts = each(&for_all, limits, &units)?;
        hunts.extend(beside.join().map_err(|_| anyhow::anyhow!("the hunt with unit tests panicked"))??);
        anyhow::Ok(hunts)
    })?;
    let (mut survivors, mut learnt) = (0, String::new());
    for hunt in &hunts {
        survivors += usize::from(hunt.killer.is_none());
        if let Some(Killer::Sim { seed, .. }) = hunt.killer {
            writeln!(learnt, "{:?} {seed}", hunt.mutant)?;
        }
    }
    if let Some(path) = &options.learn {
        std::fs::write(path, learnt)?;
    }
    println!("{} mutants, {survivors} survived, {} s", hunts.len(), began.elapsed().as_secs());
    Ok(survivors == 0)
}

fn each(mutants: &[Mutant], limits: Limits, units: &UnitTests) -> anyhow::Result<Vec<Hunt>> {
    let mut hunts = Vec::with_capacity(mutants.len());
    for mutant in mutants {
        let hunt = hunt(*mutant, limits, units)?;
        println!("{}", line(&hunt));
        hunts.push(hunt);
    }
    Ok(hunts)
}

fn line(hunt: &Hunt) -> String {
    let by = match &hunt.killer {
        Some(Killer::Plan { plan, invariant }) => format!("simulator, {invariant}, \"{plan}\""),
        Some(Killer::Sim { seed, invariant }) => format!("simulator, {invariant}, seed {seed}"),
        Some(Killer::Unit { test }) => format!("unit test {:.60}", test),
        None => format!("SURVIVES: {}", hunt.mutant.what()),
    };
    let name = format!("{:?}", hunt.mutant);
    format!("{name:<28} {by:<34} {:>6} {:>8}", hunt.seeds, hunt.took.as_millis())
}
