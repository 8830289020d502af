//! Damages journals of the store in every way, and says what was seen: `cargo run --release -p liaison-tests --bin journals --
//! --histories 100`, or `--minutes 10`; each with `--from SEED`.

#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use liaison_tests::journals::{Figures, History};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (bound, from) = match arguments.as_slice() {
        [kind, bound] => ((*kind, bound.parse::<u64>()), Ok(0)),
        [kind, bound, "--from", from] => ((*kind, bound.parse()), from.parse::<u64>()),
        _ => return usage(),
    };
    match (bound, from) {
        (("--histories", Ok(histories)), Ok(from)) => search(from, from.saturating_add(histories), None),
        (("--minutes", Ok(minutes)), Ok(from)) => search(from, u64::MAX, Some(Duration::from_secs(minutes * 60))),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    println!("usage: journals --histories N | --minutes N [--from SEED]");
    ExitCode::from(2)
}

/// On all processors, up to the first that is judged wrongly.
fn search(from: u64, to: u64, within: Option<Duration>) -> ExitCode {
    let (figures, next, began) = (Mutex::new(Figures::default()), AtomicU64::new(from), Instant::now());
    let broken = AtomicBool::new(false);
    let worker = || {
        while within.is_none_or(|within| began.elapsed() < within) && !broken.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= to {
                return;
            }
            match History::write(seed).check(seed) {
                Ok(seen) => figures.lock().unwrap_or_else(PoisonError::into_inner).add(&seen),
                Err(wrong) => {
                    println!("history {seed}: {wrong}\n  again: journals --histories 1 --from {seed}");
                    broken.store(true, Ordering::Relaxed);
                }
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(worker))));
    print!("{}", figures.into_inner().unwrap_or_else(PoisonError::into_inner).table(began.elapsed()));
    if broken.into_inner() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
