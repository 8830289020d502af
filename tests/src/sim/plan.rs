//! What one seed does to its federation. Swarm testing (Groce et al. 2012): each seed draws its own mix, so that some
//! runs have faults that others leave out.

use super::rng::SimRng;

/// Sizes and faults of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything else follows from it.
    pub seed: u64,
    /// Regions, one relay each, and one more where `spare_relay` is set.
    pub regions: usize,
    /// The first region has a second relay, which is home to its agencies too.
    pub spare_relay: bool,
    /// Agencies of each region.
    pub agencies: usize,
    /// Messages submitted.
    pub messages: usize,
    /// Longest lifetime, in seconds.
    pub lifetime_s: u64,
    /// How long faults go on, in milliseconds.
    pub trouble_ms: u64,
    /// Crashes in that time.
    pub crashes: usize,
    /// Cut links in that time.
    pub cuts: usize,
    /// Whether all relays are linked with each other, or only neighbours.
    pub meshed: bool,
    /// Longest delay of a frame, in milliseconds.
    pub delay_ms_max: u64,
    /// Longest commit, in milliseconds.
    pub commit_ms_max: u64,
    /// Chance of a full disk, in percent of the commits.
    pub full_percent: u64,
}

impl Plan {
    /// Draws a plan.
    pub fn draw(seed: u64) -> Self {
        let mut rng = SimRng::new(seed);
        let mut sometimes = |percent, from, to| if rng.percent(percent) { rng.range(from, to) } else { 0 };
        let (crashes, cuts, full) = (sometimes(70, 1, 12), sometimes(70, 1, 16), sometimes(20, 1, 20));
        let short = sometimes(30, 5, 60);
        Self {
            seed,
            regions: to_usize(rng.range(1, 5)),
            spare_relay: rng.percent(40),
            agencies: to_usize(rng.range(1, 4)),
            messages: to_usize(rng.range(5, 40)),
            lifetime_s: if short > 0 { short } else { 7 * 86_400 },
            trouble_ms: rng.range(1_000, 120_000),
            crashes: to_usize(crashes),
            cuts: to_usize(cuts),
            meshed: rng.percent(60),
            delay_ms_max: rng.range(1, 400),
            commit_ms_max: rng.range(1, 60),
            full_percent: full,
        }
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("a small number")
}
