//! Flash beside a flood of ten times what can be sustained, 1,000 idle links and 100 slow connections.
//!
//! `cargo run --release -p liaison-tests --bin overload -- [--idle 1000] [--slow 100] [--seconds 30] [--flash]`; with
//! `--flash` the flood is flash, too. Exit 1 if something does not hold.
//!
//! `… --bin overload -- --frames ncb.jp [--agencies 1000] [--seconds 5]`: instead, each type of control frame in turn, for so
//! long, from a peer with the keys of this agency or relay (`af-1`).

#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use liaison_protocol::Precedence;
use liaison_tests::overload::{Bounds, FramePlan, Plan, run, run_frames};

const BOUNDS: Bounds = Bounds {
    median_times: 20,
    slowest_times: 40,
    flash_min: Duration::from_millis(50),
    resident_max: 256 << 20,
    descriptors_max: 128,
};

fn main() -> Result<ExitCode> {
    let is_sound = match plan()? {
        What::Frames(plan) => {
            let report = run_frames(&plan)?;
            print!("{report}");
            report.resident_max() <= BOUNDS.resident_max
        }
        What::Messages(plan) => {
            let report = run(&plan, BOUNDS)?;
            print!("{report}");
            report.is_sound()
        }
    };
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

enum What {
    Frames(FramePlan),
    Messages(Plan),
}

fn plan() -> Result<What> {
    let flood = vec![Precedence::Immediate, Precedence::Priority, Precedence::Routine];
    let mut plan = Plan { idle: 1_000, slow: 100, run: Duration::from_secs(30), flood, queue_mib: 16 };
    let (mut attacker, mut agencies, mut seconds) = (None, 1_000, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--frames" {
            attacker = Some(arguments.next().context("the name of an agency or relay is missing")?);
            continue;
        }
        let mut number = || -> Result<usize> { Ok(arguments.next().context("a number is missing")?.parse()?) };
        match name.as_str() {
            "--idle" => plan.idle = number()?,
            "--slow" => plan.slow = number()?,
            "--agencies" => agencies = number()?,
            "--seconds" => seconds = Some(Duration::from_secs(number()? as u64)),
            "--flash" => plan.flood = vec![Precedence::Flash],
            _ => bail!(
                "usage: overload [--idle N] [--slow N] [--seconds N] [--flash], or --frames NODE [--agencies N] [--seconds N]"
            ),
        }
    }
    if let Some(attacker) = attacker {
        return Ok(What::Frames(FramePlan { agencies, run: seconds.unwrap_or(Duration::from_secs(5)), attacker }));
    }
    plan.run = seconds.unwrap_or(plan.run);
    Ok(What::Messages(plan))
}
