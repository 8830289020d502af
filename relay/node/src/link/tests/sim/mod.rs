//! The real link code over simulated hosts, wires and time (docs/reliability.md, "Links under simulation").
//!
//! ```text
//!   seed ─► plan ─► world: turmoil's hosts, runtimes, clocks and wires
//!                     │ each host: app ── Endpoint (real) ── quinn, rustls (real) ── SimSocket
//!                     └─► journal ─► oracle
//! ```

mod app;
mod found;
mod hostile;
mod journal;
mod net;
mod oracle;
mod plan;
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, Once};

use super::*;
use oracle::Figures;
use plan::{Fault, Plan};

/// Names the seeds: `N` for 0 to N - 1, or `A..B`.
const VARIABLE: &str = "LIAISON_GLUE_SEEDS";
/// Set, every seed's plan and journal are printed.
const TRACE: &str = "LIAISON_GLUE_TRACE";
/// Seeds where nothing else is asked for.
const SEEDS: u64 = 24;
/// A step of simulated time; packets arrive at its beginning.
const TICK: Duration = Duration::from_millis(5);
/// Where relays listen.
const PORT: u16 = 4433;
/// A link to a silent peer is down after this: the protocol's 15 s, and one look.
const SILENCE_NOTICED: Duration = Duration::from_secs(16);
/// Nodes say something on the control stream this often.
const BEAT: Duration = Duration::from_millis(100);

/// Everybody's certificates: the same for all runs of a process, so that handshakes are equally long.
static CAST: LazyLock<Federation> = LazyLock::new(|| Federation::of(&["ap-1", "eu-1", "us-1", "ncb.ee", "ncb.fr"]));

fn role(name: &str) -> Role {
    if name.contains('.') { Role::Agency } else { Role::Relay }
}

impl Plan {
    /// From the end of all faults until control frames move both ways between any two nodes that should be linked.
    fn back_within(&self) -> Duration {
        Duration::from_millis(1500) + 4 * self.rtt_max()
    }
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var(VARIABLE) else { return 0..SEEDS };
    let (from, to) = text.split_once("..").unwrap_or(("0", &text));
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{VARIABLE}={text}: N or A..B"));
    number(from)..number(to)
}

thread_local! {
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Counts panics of this thread: one in a task is nobody's error otherwise.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            hook(info);
        }));
    });
}

/// What is wrong with this run.
fn judge(plan: &Plan) -> (Figures, Vec<String>) {
    count_panics();
    let panics = PANICS.get();
    let notes = match catch_unwind(AssertUnwindSafe(|| world::run(plan))) {
        Ok(Ok(notes)) => notes,
        Ok(Err(error)) => return (Figures::default(), vec![error]),
        Err(_) => return (Figures::default(), vec!["a panic".into()]),
    };
    if std::env::var_os(TRACE).is_some() {
        println!("{plan:#?}");
        notes.iter().filter(|note| !note.is_stock()).for_each(|note| println!("{note:?}"));
    }
    let (figures, mut wrong) = oracle::check(plan, &notes);
    if PANICS.get() > panics {
        wrong.push("a task panicked".into());
    }
    (figures, wrong)
}

#[test]
fn links_keep_their_promises_through_whatever_a_seed_does() {
    let (seeds, began) = (seeds(), std::time::Instant::now());
    let (mut sum, mut failed) = (Figures::default(), Vec::new());
    for seed in seeds.clone() {
        let (figures, wrong) = judge(&Plan::draw(seed));
        sum.add(figures);
        if !wrong.is_empty() {
            eprintln!("seed {seed}: {} wrong\n  {}", wrong.len(), wrong[..wrong.len().min(5)].join("\n  "));
            eprintln!("  again: {VARIABLE}={seed}..{} cargo test -p liaison-node --lib link::tests::sim", seed + 1);
            failed.push(seed);
        }
    }
    let count = seeds.count();
    let rate = count as f64 / began.elapsed().as_secs_f64();
    println!("{count} seeds, {rate:.1} a second: {sum:?}");
    assert!(failed.is_empty(), "seeds {failed:?}");
}

/// Not where the roster changes: tokio wakes those who watch it in an order of its own.
#[test]
fn the_same_seed_goes_the_same_way() {
    let fixed = |plan: &Plan| !plan.faults.iter().any(|(_, fault)| matches!(fault, Fault::Remove { .. }));
    for plan in (0..).map(Plan::draw).filter(fixed).take(3) {
        let [one, two] = [(); 2].map(|()| world::run(&plan).unwrap());
        let differs = one.iter().zip(&two).find(|(one, two)| one != two);
        assert!(one == two, "seed {}: {differs:?}", plan.seed);
    }
}
