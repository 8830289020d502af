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
    /// How much fits into a minute, where the command wants a number and not a time. Measured, on two cores.
    per_minute: u64,
    /// The command, after its environment. `{minutes}` is its time, `{number}` is what fits into it, `{seed}` another
    /// number every night, with a hundred million before the next.
    line: &'static str,
    /// Lines of its output that have one of these go into the table.
    tells: &'static [&'static str],
}

/// Faults and mutants first. Add a step here, and its share.
const STEPS: [Step; 14] = [
    Step {
        name: "mutants",
        percent: 0,
        per_minute: 0,
        line: "cargo run -q --release -p liaison-tests --features mutants --bin mutants -- --seeds 3000",
        tells: &["SURVIVES", "mutants,"],
    },
    Step {
        name: "models",
        percent: 0,
        per_minute: 0,
        line: "cargo test -q --release -p liaison-models -- --nocapture",
        tells: &["states", "test result: F"],
    },
    Step {
        name: "store",
        percent: 0,
        per_minute: 0,
        line: "cargo test -q --release -p liaison-node --lib store",
        tells: &["test result"],
    },
    Step {
        name: "simulator",
        percent: 40,
        per_minute: 0,
        line: "cargo run -q --release -p liaison-tests --bin sim -- --minutes {minutes} --from {seed}",
        tells: &["seed", "simulated time", "real time", "faults", "deliveries"],
    },
    Step {
        name: "journals",
        percent: 10,
        per_minute: 0,
        line: "cargo run -q --release -p liaison-tests --bin journals -- --minutes {minutes} --from {seed}",
        tells: &["history", "histories", "faults", "starts refused"],
    },
    Step {
        name: "power cuts",
        percent: 8,
        per_minute: 10,
        line: "LIAISON_POWER_CUTS={number} LIAISON_POWER_SEED={seed} cargo test -q -p liaison-tests --test disk cuts -- --nocapture",
        tells: &["power cuts", "test result"],
    },
    Step {
        name: "cut starts",
        percent: 8,
        per_minute: 150,
        line: "LIAISON_START_CUTS={number} LIAISON_POWER_SEED={seed} cargo test -q -p liaison-tests --test disk starts -- --nocapture",
        tells: &["power cuts", "test result"],
    },
    Step {
        name: "killed starts",
        percent: 6,
        per_minute: 350,
        line: "LIAISON_RESTART_KILLS={number} cargo test -q -p liaison-tests --test net relays::mail_through -- --nocapture",
        tells: &["kills", "test result"],
    },
    Step {
        name: "kill -9",
        percent: 8,
        per_minute: 250,
        line: "LIAISON_E2E_MESSAGES={number} LIAISON_E2E_SEED={seed} cargo test -q -p liaison-tests --test e2e chaos -- --nocapture",
        tells: &["kills", "test result"],
    },
    Step {
        name: "kills at each step",
        percent: 0,
        per_minute: 0,
        line: "LIAISON_KILL_EVERY=1 cargo test -q -p liaison-tests --test disk kills:: -- --nocapture",
        tells: &["kills", "test result"],
    },
    Step {
        name: "soak",
        percent: 8,
        per_minute: 30_000,
        line: "cargo run -q --release -p liaison-tests --bin soak -- --messages {number}",
        tells: &["accepted", "MiB"],
    },
    Step {
        name: "overload",
        percent: 0,
        per_minute: 0,
        line: "cargo run -q --release -p liaison-tests --bin overload",
        tells: &["median", "99th", "idle"],
    },
    Step {
        name: "attachment",
        percent: 0,
        per_minute: 0,
        line: "LIAISON_E2E_ATTACHMENT_MIB=1024 cargo test -q -p liaison-tests --test e2e endurance",
        tells: &["test result"],
    },
    Step {
        name: "fuzzing",
        percent: 12,
        per_minute: 2,
        line: "tests/fuzz/run --seconds {number}",
        tells: &["in all", "FOUND"],
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
    let mut table = String::new();
    let mut sound = true;
    for step in &STEPS {
        let minutes = (time.as_secs() * step.percent / 100 / 60).max(1);
        let log = folder.join(format!("{}.txt", step.name.replace(' ', "-")));
        println!("{}: {}", step.name, log.display());
        let (ended_well, took) = run(step, minutes, &log)?;
        sound &= ended_well;
        let result = if ended_well { "sound" } else { "BROKEN" };
        table.push_str(&format!("{:<17} {result:<7} {:>7} s\n", step.name, took.as_secs()));
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
    let line = step.command(minutes, std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() / 86_400));
    // The shell of our own words, none of which comes from outside.
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    Ok((shell.status()?.success(), began.elapsed()))
}

impl Step {
    fn command(&self, minutes: u64, night: u64) -> String {
        let values = [("{minutes}", minutes), ("{number}", minutes * self.per_minute), ("{seed}", night * 100_000_000)];
        values.iter().fold(self.line.to_owned(), |line, (name, value)| line.replace(name, &value.to_string()))
    }
}
