//! Flash beside a flood of ten times what can be sustained, 1,000 idle links and 100 slow connections.
//!
//! `cargo run --release -p liaison-tests --bin overload -- [--idle 1000] [--slow 100] [--seconds 30] [--flash]`; with
//! `--flash` the flood is flash, too. Exit 1 if something does not hold.

#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use liaison_protocol::Precedence;
use liaison_tests::overload::{Bounds, Plan, run};

const BOUNDS: Bounds = Bounds {
    median_times: 20,
    slowest_times: 40,
    flash_min: Duration::from_millis(50),
    resident_max: 256 << 20,
    descriptors_max: 128,
};

fn main() -> Result<ExitCode> {
    let report = run(&plan()?, BOUNDS)?;
    print!("{report}");
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan() -> Result<Plan> {
    let flood = vec![Precedence::Immediate, Precedence::Priority, Precedence::Routine];
    let mut plan = Plan { idle: 1_000, slow: 100, run: Duration::from_secs(30), flood, queue_mib: 16 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || -> Result<usize> { Ok(arguments.next().context("a number is missing")?.parse()?) };
        match name.as_str() {
            "--idle" => plan.idle = number()?,
            "--slow" => plan.slow = number()?,
            "--seconds" => plan.run = Duration::from_secs(number()? as u64),
            "--flash" => plan.flood = vec![Precedence::Flash],
            _ => bail!("usage: overload [--idle N] [--slow N] [--seconds N] [--flash]"),
        }
    }
    Ok(plan)
}
