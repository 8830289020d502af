//! What the others had to wait, and what the relays took up, under overload.

use std::fmt;
use std::time::Duration;

use super::crowd::Seen;
use super::flood::Flooded;
use super::{Plan, RELAYS};
use crate::check::Check;
use crate::gauge::Gauge;

const MIB: u64 = 1 << 20;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Flash at the median, as a multiple of flash without load; or `flash_min`, if that is more.
    pub median_times: u32,
    /// The same at the 99th percentile.
    pub slowest_times: u32,
    /// Less is never too much: a few milliseconds are within what a busy machine does by itself.
    pub flash_min: Duration,
    /// Resident bytes of a relay.
    pub resident_max: u64,
    /// Descriptors of a relay.
    pub descriptors_max: u64,
}

/// Flash of one phase.
pub(super) struct Flash {
    pub(super) messages: usize,
    pub(super) median: Duration,
    pub(super) slowest: Duration,
}

impl Flash {
    /// From submission to the recipient's disk, the shortest first.
    pub(super) fn of(spans: Vec<Duration>) -> Self {
        let at = |percent: usize| spans.get(spans.len() * percent / 100).copied().unwrap_or_default();
        Self { messages: spans.len(), median: at(50), slowest: at(99) }
    }
}

/// What came of it.
pub struct Report {
    plan: Plan,
    sustained: u32,
    flooded: Flooded,
    crowd: Seen,
    checks: Vec<Check>,
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "everything that was measured, once")]
    pub(super) fn new(
        plan: &Plan,
        bounds: Bounds,
        sustained: u32,
        [quiet, loaded]: [Flash; 2],
        most: [Gauge; RELAYS.len()],
        flooded: Flooded,
        crowd: Seen,
        mut checks: Vec<Check>,
    ) -> Self {
        let ms = |span: Duration| span.as_secs_f64() * 1_000.0;
        for (what, quiet, loaded, times) in [
            ("flash, median", quiet.median, loaded.median, bounds.median_times),
            ("flash, 99th percentile", quiet.slowest, loaded.slowest, bounds.slowest_times),
        ] {
            let ratio = loaded.as_secs_f64() / quiet.as_secs_f64();
            let detail = format!("{:.1} ms alone, {:.1} ms under load: {ratio:.1} times", ms(quiet), ms(loaded));
            let bound = (quiet * times).max(bounds.flash_min);
            checks.push(Check { what: what.into(), holds: loaded <= bound, detail });
        }
        for (relay, Gauge { resident, descriptors, threads }) in RELAYS.iter().zip(most) {
            let holds = resident <= bounds.resident_max && descriptors <= bounds.descriptors_max;
            let detail = format!("{} MiB resident, {descriptors} descriptors, {threads} threads", resident / MIB);
            checks.push(Check { what: format!("{relay}, at most"), holds, detail });
        }
        let flash = format!("{} alone, {} under load, all arrived", quiet.messages, loaded.messages);
        checks.push(Check { what: "flash messages".into(), holds: loaded.messages > 0, detail: flash });
        let detail = format!("{} up, {} lost on the way", crowd.idle, crowd.lost);
        checks.push(Check { what: "idle links".into(), holds: crowd.idle == plan.idle && crowd.lost == 0, detail });
        Self { plan: plan.clone(), sustained, flooded, crowd, checks }
    }

    /// Whether everything holds.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flooded { offered, sent, refused, taken } = &self.flooded;
        let seconds = self.plan.run.as_secs();
        writeln!(f, "sustained without load: {} messages a second", self.sustained)?;
        let precedences: Vec<_> = self.plan.flood.iter().map(ToString::to_string).collect();
        writeln!(
            f,
            "flood ({}) for {seconds} s: {offered} offered, {sent} let through, {refused} refused, {} taken",
            precedences.join(", "),
            taken.len()
        )?;
        let (slow, Seen { slow: begun, ended, .. }) = (self.plan.slow, self.crowd);
        writeln!(f, "slow connections: {slow} at a time, {begun} begun, {ended} seen ended by the relay\n")?;
        self.checks.iter().try_for_each(|check| writeln!(f, "{check}"))
    }
}
