//! Many messages through three relays that are killed and stopped every few seconds, and what that leaves behind: each
//! message once, and nothing that grows.
//!
//! ```text
//!  ncb.sg ══ ap-1 ══ af-1 ══ eu-1 ══ ncb.ee      both ways; the link between ap-1 and eu-1 is cut
//!  in this process   real relays   in this process
//! ```
//!
//! A quarter of the messages is sent, and drained; then the rest. What is compared: the most that any quarter of the run
//! took of memory, descriptors and threads, and the disks after both drains.

mod report;
mod restarts;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::agency::{Agency, Way};
use crate::fed::{self, Cable, Federation};
use crate::gauge::disk_bytes;
pub use report::Report;
use report::{Quarters, Rest};
use restarts::Restarts;

/// The relays on the way, in its order.
pub const RELAYS: [&str; 3] = ["ap-1", "af-1", "eu-1"];
const AGENCIES: [&str; 2] = ["ncb.sg", "ncb.ee"];
/// Accepted and not yet arrived, each way, at most: what a relay's death finds on its disk.
const UNDER_WAY_MAX: usize = 1_000;
/// How long it may take until everything has left, and until a way is found.
const PATIENCE: Duration = Duration::from_secs(120);
/// From the drain to the look at the disks: what is in the background then is done.
const SETTLE: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Messages, both ways together.
    pub messages: usize,
    /// Of the restarts.
    pub seed: u64,
    /// Bytes of text in each.
    pub text_bytes: usize,
}

/// Runs a plan to its end.
///
/// # Errors
/// It cannot be run, or mail stands still. What else is wrong stands in the report.
///
/// # Panics
/// A relay does not start or stop.
pub fn run(plan: &Plan) -> Result<Report> {
    let fed = Federation::make(&fed::Plan { regions: RELAYS.len(), agencies: 6, ..fed::Plan::default() });
    let _cut = [("ap-1", "eu-1"), ("eu-1", "ap-1")].map(|(from, to)| cut_cable(&fed, from, to));
    RELAYS.iter().for_each(|relay| fed.start_node(relay));
    let runtime = tokio::runtime::Runtime::new()?;
    let agencies = runtime.block_on(async {
        let [one, other] = AGENCIES.map(|name| Agency::start(fed.files(), name));
        let (one, other) = (one?, other?);
        let first = [one.await_way(&other, PATIENCE).await?, other.await_way(&one, PATIENCE).await?];
        anyhow::Ok(([one, other], first))
    });
    let ([one, other], first) = agencies?;
    let [there, back] = [Way::new(&one, &other, plan.text_bytes), Way::new(&other, &one, plan.text_bytes)];

    let (delivered, quarters) = (AtomicUsize::new(0), Quarters::new(plan.messages));
    let (began, mut restarts) = (Instant::now(), Restarts::new(plan.seed));
    let mut rests = Vec::new();
    for messages in [plan.messages / 4, plan.messages - plan.messages / 4] {
        restarts = std::thread::scope(|scope| {
            let restarting = restarts.spawn(scope, &fed);
            let watching = quarters.spawn(scope, &fed, &delivered);
            let half = messages / 2;
            let sent = runtime.block_on(async {
                tokio::try_join!(
                    there.send(half, UNDER_WAY_MAX, &delivered),
                    back.send(messages - half, UNDER_WAY_MAX, &delivered)
                )
            });
            watching.end();
            let restarts = restarting.end();
            sent.with_context(|| stuck(&fed)).map(|_| restarts)
        })?;
        rests.push(drained(&fed, &[&one, &other])?);
    }
    let took = began.elapsed();
    ensure!(delivered.load(Ordering::SeqCst) == plan.messages, "more arrived than was sent");
    let mut checks = vec![there.check(&first[..1])?, back.check(&first[1..])?];
    checks.extend(quarters.checks());
    checks.extend(report::disks(plan, &rests));
    runtime.block_on(async { tokio::try_join!(one.stop(), other.stop()) })?;
    Ok(Report { plan: *plan, took, restarts: restarts.counts(), checks })
}

fn cut_cable(fed: &Federation, from: &str, to: &str) -> Cable {
    let cable = fed.lay_cable(from, to);
    cable.cut();
    cable
}

/// What the relays say of themselves when nothing moves.
fn stuck(fed: &Federation) -> String {
    let status = |relay: &str| fed.relay(relay, &["status"]).stdout;
    RELAYS.map(|relay| format!("{relay}:\n{}\n{}", status(relay), fed.log_tail(relay, 10))).join("\n")
}

/// Waits until no node holds anything, and a little longer; then looks at the relays' disks and memory.
fn drained(fed: &Federation, agencies: &[&Agency]) -> Result<Rest> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut held = 0;
        for agency in agencies {
            held += agency.handle().store().queues()?.len();
        }
        held +=
            RELAYS.iter().map(|relay| fed.relay(relay, &["--json", "queues"]).success().objects().len()).sum::<usize>();
        if held == 0 {
            break;
        }
        ensure!(Instant::now() < deadline, "{held} queues are not empty after {PATIENCE:?}: {}", stuck(fed));
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(SETTLE);
    Ok(Rest { disks: RELAYS.map(|relay| disk_bytes(&fed.store_folder(relay))) })
}
