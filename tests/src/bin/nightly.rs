//! Everything that is worth hours: `cargo run --release -p liaison-tests --bin nightly -- --hours 8`.
//!
//! Each step is a command with a share of the time. Their output goes to `target/nightly/`; a table says what each did,
//! as soon as it ends, and what the night comes to beside the marks that are set for one. Exit 1 if a step failed.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

use std::fs::File;
use std::path::Path;
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

/// What a night is to reach: a sum over what steps print.
struct Mark {
    name: &'static str,
    /// As much as eight hours on two cores are to bring.
    goal: f64,
    /// A step, and the word beside which its numbers stand.
    of: &'static [(&'static str, &'static str)],
}

const MARKS: [Mark; 3] = [
    Mark { name: "simulated years", goal: 10_000.0, of: &[("simulator", "years")] },
    Mark {
        name: "discrete faults",
        goal: 1_000_000_000.0,
        of: &[
            ("simulator", "faults"),
            ("simulator", "lost"),
            ("simulator", "repeated"),
            ("simulator", "overtaken"),
            ("simulator", "held"),
            ("journals", "faults"),
        ],
    },
    Mark {
        name: "kills and power cuts",
        goal: 10_000.0,
        of: &[
            ("power cuts", "power"),
            ("cut starts", "power"),
            ("killed starts", "kills"),
            ("kill -9", "kills"),
            ("kills at each step", "kills"),
            ("soak", "kills"),
        ],
    },
];

/// Faults and mutants first. Add a step here, and its share.
const STEPS: [Step; 15] = [
    Step {
        name: "build",
        percent: 0,
        per_minute: 0,
        line: "cargo build -q --release -p liaison-tests --bins && cargo test -q --no-run --workspace",
        tells: &[],
    },
    Step {
        name: "mutants",
        percent: 5,
        per_minute: 24,
        line: "cargo run -q --release -p liaison-tests --features mutants --bin mutants -- --seeds {number}",
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
        percent: 43,
        per_minute: 0,
        line: "cargo run -q --release -p liaison-tests --bin sim -- --minutes {minutes} --from {seed}",
        tells: &["seed", "simulated time", "real time", "faults", "held up", "deliveries"],
    },
    Step {
        name: "journals",
        percent: 5,
        per_minute: 0,
        line: "cargo run -q --release -p liaison-tests --bin journals -- --minutes {minutes} --from {seed}",
        tells: &["history", "histories", "faults", "starts refused"],
    },
    Step {
        name: "power cuts",
        percent: 5,
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
    let (mut table, mut reached) = (String::new(), [0.0; MARKS.len()]);
    let mut sound = true;
    for step in &STEPS {
        let minutes = (time.as_secs() * step.percent / 100 / 60).max(1);
        let log = folder.join(format!("{}.txt", step.name.replace(' ', "-")));
        let (ended_well, took) = run(step, minutes, &log)?;
        sound &= ended_well;
        let output = std::fs::read_to_string(&log)?;
        for (mark, reached) in MARKS.iter().zip(&mut reached) {
            *reached +=
                mark.of.iter().filter(|(of, _)| *of == step.name).map(|(_, word)| beside(word, &output)).sum::<f64>();
        }
        let row = step.row(ended_well, took, &output);
        print!("{row}");
        table.push_str(&row);
        // What has been run counts, whatever ends the night.
        std::fs::write(folder.join("table.txt"), format!("{table}\n{}", summary(&reached)))?;
    }
    print!("\n{}", summary(&reached));
    Ok(sound)
}

fn summary(reached: &[f64]) -> String {
    let line = |(mark, reached): (&Mark, &f64)| format!("{:<22} {reached:>14.0} of {:.0}\n", mark.name, mark.goal);
    MARKS.iter().zip(reached).map(line).collect()
}

/// The sum of the numbers in `output` that stand just before this word, or just behind it where it begins a line.
fn beside(word: &str, output: &str) -> f64 {
    let bare = |text: &str| text.trim_matches(|edge: char| !edge.is_ascii_alphanumeric()).to_owned();
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<f64>().ok());
    let mut sum = 0.0;
    for line in output.lines() {
        let words: Vec<String> = line.split_whitespace().map(bare).collect();
        for (place, _) in words.iter().enumerate().filter(|(_, found)| *found == word) {
            let before = place.checked_sub(1).and_then(|before| number(words.get(before)));
            sum += before.or_else(|| number(words.get(1)).filter(|_| place == 0)).unwrap_or(0.0);
        }
    }
    sum
}

fn run(step: &Step, minutes: u64, log: &Path) -> std::io::Result<(bool, Duration)> {
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

    /// What the table says about this step.
    fn row(&self, ended_well: bool, took: Duration, output: &str) -> String {
        let result = if ended_well { "sound" } else { "BROKEN" };
        let told = |line: &&str| self.tells.iter().any(|told| line.contains(told));
        let mut row = format!("{:<18} {result:<7} {:>7} s\n", self.name, took.as_secs());
        output.lines().filter(told).for_each(|line| row.push_str(&format!("  {line}\n")));
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_beside_their_word_alone() {
        let output =
            "faults            216763\n  of them         12 lost, 3 repeated\nsimulated time    9 days (24.7 years)\n";
        assert_eq!(
            (beside("faults", output), beside("lost", output), beside("repeated", output)),
            (216_763.0, 12.0, 3.0)
        );
        assert_eq!((beside("years", output), beside("days", output), beside("kills", output)), (24.7, 9.0, 0.0));
        let output = "a submission: 29 kills\na hand-over: 25 kills\ntest kills::each ... ok\n";
        assert_eq!(beside("kills", output), 54.0);
        assert_eq!(beside("power", "seed=3: 360 power cuts in starts, 12 of them at a change of the disk"), 360.0);
    }

    #[test]
    fn every_mark_is_counted_in_a_step_that_there_is() {
        for (of, _) in MARKS.iter().flat_map(|mark| mark.of) {
            assert!(STEPS.iter().any(|step| step.name == *of), "{of}");
        }
    }
}
