//! Everything that is worth hours: `cargo run --release -p liaison-tests --bin nightly -- --hours 8`.
//!
//! Each step is a command with a share of the time. Their output goes to `target/nightly/`; at the end one table says
//! what each did. Exit 1 if one failed.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// One thing to do.
struct Step {
    name: &'static str,
    /// Its part of the time, in percent; 0 for what takes as long as it takes.
    percent: u64,
    /// Arguments of cargo, for so many minutes.
    cargo: fn(u64) -> Vec<String>,
    /// Lines of its output that begin so go into the table.
    tells: &'static [&'static str],
}

/// Add a step here, and its share.
const STEPS: [Step; 3] = [
    Step {
        name: "mutants",
        percent: 0,
        cargo: |_| words("run -q --release -p liaison-tests --features mutants --bin mutants -- --seeds 3000"),
        tells: &["SURVIVES", "mutants,"],
    },
    Step {
        name: "power cuts",
        percent: 0,
        cargo: |_| words("test -q --release -p liaison-node --lib store"),
        tells: &["test result"],
    },
    Step {
        name: "simulator",
        percent: 100,
        cargo: |minutes| {
            let seconds = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
            // Other seeds every night.
            let from = seconds / 86_400 * 100_000_000;
            words(&format!("run -q --release -p liaison-tests --bin sim -- --minutes {minutes} --from {from}"))
        },
        tells: &["seed", "simulated time", "real time", "faults", "deliveries"],
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let hours = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Some(8.0),
        ["--hours", hours] => hours.parse::<f64>().ok().filter(|hours| (0.01..=1_000.0).contains(hours)),
        _ => None,
    };
    let Some(hours) = hours else {
        println!("usage: nightly [--hours N]");
        return ExitCode::from(2);
    };
    match nightly(Duration::from_secs_f64(hours * 3_600.0)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("nightly: {error}");
            ExitCode::FAILURE
        }
    }
}

fn nightly(time: Duration) -> std::io::Result<bool> {
    let folder = Path::new("target/nightly");
    std::fs::create_dir_all(folder)?;
    let began = Instant::now();
    let mut table = String::new();
    let mut sound = true;
    for step in &STEPS {
        let left = time.saturating_sub(began.elapsed());
        let minutes = (left.as_secs() * step.percent / 100 / 60).max(1);
        let log = folder.join(format!("{}.txt", step.name.replace(' ', "-")));
        println!("{}: {}", step.name, log.display());
        let (ended_well, took) = run(step, minutes, &log)?;
        sound &= ended_well;
        let result = if ended_well { "sound" } else { "BROKEN" };
        table.push_str(&format!("{:<12} {result:<7} {:>7} s\n", step.name, took.as_secs()));
        for line in std::fs::read_to_string(&log)?.lines() {
            if step.tells.iter().any(|told| line.contains(told)) {
                table.push_str(&format!("  {line}\n"));
            }
        }
    }
    std::fs::write(folder.join("table.txt"), &table)?;
    print!("\n{table}");
    Ok(sound)
}

fn run(step: &Step, minutes: u64, log: &PathBuf) -> std::io::Result<(bool, Duration)> {
    let began = Instant::now();
    let output = File::create(log)?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args((step.cargo)(minutes)).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    Ok((cargo.status()?.success(), began.elapsed()))
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(Into::into).collect()
}
