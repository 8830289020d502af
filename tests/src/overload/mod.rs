//! One agency floods its home relay, a crowd holds idle and slow connections to it, and the others send flash.
//!
//! ```text
//!  ncb.sg ─ flash ─┐                        ┌─ flash ─► ncb.ee
//!                  ap-1 ═══════════════ eu-1
//!  ncb.jp ─ flood ─┤                        └─ flood ─► ncb.fr
//!   crowd ─────────┘
//! ```
//!
//! The relays are real; the agencies' nodes, the flood and the crowd are this process, on the same processors: what they
//! use up, the relays do not have. What counts is the ratio to flash without all that, in the same run.

mod crowd;
mod flood;
mod frames;
mod report;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use liaison_protocol::Precedence;

use crate::agency::{Agency, Way};
use crate::fed::{self, Federation};
use crate::gauge::Gauge;
use crowd::Crowd;
use flood::Flood;
pub use frames::{FramePlan, FrameReport, Row, run_frames};
pub use report::{Bounds, Report};

/// The flooded one, and the one behind it.
const RELAYS: [&str; 2] = ["ap-1", "eu-1"];
/// Named agencies that take part; the crowd are the others.
const NAMED: usize = 6;
const TEXT_BYTES: usize = 1024;
/// What the sustainable rate is found with: messages, and how many of them are under way at a time.
const SUSTAINED: usize = 1_000;
const TOGETHER: usize = 64;
/// The flood is so many times what can be sustained.
const TIMES: u32 = 10;
/// Flash messages a second.
const FLASH_PER_SECOND: u32 = 10;
/// How long a way, the crowd and the end of the flood may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// From look to look at the relays' memory.
const LOOK: Duration = Duration::from_millis(200);

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Links that are up and silent.
    pub idle: usize,
    /// Connections that stand in a handshake, say nothing, or send a byte now and then.
    pub slow: usize,
    /// For how long flash is measured under load; half of it without.
    pub run: Duration,
    /// At which precedences the flood comes.
    pub flood: Vec<Precedence>,
    /// MiB that a recipient's queue may hold at a relay: the flood meets this bound, too.
    pub queue_mib: u32,
}

/// Runs a plan to its end.
///
/// # Errors
/// It cannot be run, or mail stands still. What is beyond bounds stands in the report.
///
/// # Panics
/// The relays do not start.
pub fn run(plan: &Plan, bounds: Bounds) -> Result<Report> {
    let agencies = NAMED + plan.idle + plan.slow;
    let fed = Arc::new(Federation::make(&fed::Plan { agencies, ..fed::Plan::default() }));
    for relay in RELAYS {
        fed.configure(relay, &format!("\n[limits]\nper_agency_bytes = \"{}MiB\"\n", plan.queue_mib));
        fed.start_node(relay);
    }
    tokio::runtime::Runtime::new()?.block_on(measure(plan, bounds, &fed))
}

async fn measure(plan: &Plan, bounds: Bounds, fed: &Arc<Federation>) -> Result<Report> {
    let [sender, recipient, victim] = ["ncb.sg", "ncb.ee", "ncb.fr"].map(|name| Agency::start(fed.files(), name));
    let (sender, recipient, victim) = (sender?, recipient?, victim?);
    let first = [sender.await_way(&recipient, PATIENCE).await?, sender.await_way(&victim, PATIENCE).await?];
    let way = Way::new(&sender, &recipient, TEXT_BYTES);
    let quiet = way.flash(FLASH_PER_SECOND, plan.run / 2).await?;
    let sustained = sustained(&way).await?;

    let names = fed.agencies().split_off(NAMED);
    let (idle, slow) = names.split_at(plan.idle);
    let crowd = Crowd::gather(fed, RELAYS[0], idle, slow).await.context("the crowd")?;
    let flood = Flood::begin(fed.files(), RELAYS[0], "ncb.jp", &victim, &plan.flood, sustained * TIMES).await?;
    let (loaded, most) = tokio::join!(way.flash(FLASH_PER_SECOND, plan.run), watch(fed, plan.run));
    let loaded = loaded?;
    let flooded = flood.end(PATIENCE).await.context("the flood")?;
    let crowd = crowd.disperse().await;

    flooded.await_arrival(&victim, PATIENCE).await?;
    let checks = vec![way.check(&first[..1])?, flooded.check(&victim, &first[1..])?];
    for agency in [sender, recipient, victim] {
        agency.stop().await?;
    }
    let flash = [quiet, loaded].map(report::Flash::of);
    Ok(Report::new(plan, bounds, sustained, flash, most, flooded, crowd, checks))
}

/// Messages a second that the way takes without the crowd, every one of them arriving.
async fn sustained(way: &Way<'_>) -> Result<u32> {
    let began = Instant::now();
    way.send(SUSTAINED, TOGETHER, &AtomicUsize::new(0)).await?;
    let millis = u64::try_from(began.elapsed().as_millis())?.max(1);
    Ok(u32::try_from(SUSTAINED as u64 * 1_000 / millis)?.max(1))
}

/// The most that each relay takes up in this time.
async fn watch(fed: &Federation, run: Duration) -> [Gauge; RELAYS.len()] {
    let (begin, mut most) = (Instant::now(), [Gauge::default(); RELAYS.len()]);
    while begin.elapsed() < run {
        for (most, relay) in most.iter_mut().zip(RELAYS) {
            *most = most.max(fed.process_id(relay).and_then(|id| Gauge::of(id).ok()).unwrap_or_default());
        }
        tokio::time::sleep(LOOK).await;
    }
    most
}
