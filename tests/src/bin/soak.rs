//! Messages through three relays that are restarted every few seconds: each once, and nothing grows.
//!
//! `cargo run --release -p liaison-tests --bin soak -- [--messages 100000] [--seed 1]`; exit 1 if something does not hold.

#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::process::ExitCode;

use anyhow::{Result, bail};
use liaison_tests::soak::{Plan, run};

fn main() -> Result<ExitCode> {
    let report = run(&plan()?)?;
    print!("{report}");
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan() -> Result<Plan> {
    let mut plan = Plan { messages: 100_000, seed: 1, text_bytes: 256 };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--messages" => plan.messages = value.parse()?,
            [name, value] if name == "--seed" => plan.seed = value.parse()?,
            _ => bail!("usage: soak [--messages N] [--seed N]"),
        }
    }
    Ok(plan)
}
