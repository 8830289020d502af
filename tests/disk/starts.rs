//! Power cuts in start after start: what one start repaired in part, the next one finds.

use std::thread::sleep;
use std::time::{Duration, Instant};

use liaison_tests::draw::Draw;

use crate::shared::{Site, setting};

/// Starts of one node, each of them cut off, before it may come up.
const ROW: u64 = 8;
/// How many changes of the disk a start may make before its power is cut: most are cut in their first steps, some only
/// when the node is up and takes what has waited for it.
const STEPS: [u64; 4] = [6, 12, 24, 60];
/// A start that lives longer is cut where it stands.
const LIFE_MAX: Duration = Duration::from_millis(400);
const LOOK: Duration = Duration::from_millis(2);

/// Every node in turn. Mail is sent before each row, so that there is something in the others' queues, and in its own.
// [CUST-1] [CUST-2]
#[test]
fn a_node_whose_power_is_cut_in_start_after_start_has_all_that_it_acknowledged() {
    let (cuts, seed) = (setting("LIAISON_START_CUTS", 32), setting("LIAISON_POWER_SEED", 3));
    let mut draw = Draw::new(seed);
    let mut site = Site::start();
    let nodes = site.fed.nodes();
    let (mut before_up, mut writes) = (0, 0);
    for row in 0..cuts.div_ceil(ROW) {
        for (from, to) in [("ncb.sg", "ncb.ee"), ("ncb.ee", "ncb.sg")] {
            site.send(from, to, &format!("{from}/{row}"));
        }
        let node = &nodes[usize::try_from(row).unwrap() % nodes.len()];
        site.cut(node, Some(draw.next()));
        for _ in 0..ROW {
            let bound = STEPS[usize::try_from(draw.below(STEPS.len() as u64)).unwrap()];
            let step = 1 + draw.below(bound);
            site.plan(node, &format!("any@{step}=CUT"));
            site.fed.launch(node);
            before_up += u64::from(ends_within(&site, node, LIFE_MAX));
            // Every other time nothing survives that was not synced; else some of it does, torn.
            let torn = draw.permille(500).then(|| draw.next());
            writes += site.cut(node, torn).writes;
        }
        site.plan(node, "");
        site.fed.start_node(node);
    }
    eprintln!(
        "LIAISON_POWER_SEED={seed}: {} power cuts in starts, {before_up} of them at a chosen change of the disk, \
         {writes} writes lost, {} messages",
        cuts.div_ceil(ROW) * (ROW + 1),
        site.sent_count()
    );
    assert!(before_up > 0 && writes > 0, "no start was cut off in a change: does the library bite?");
    site.check();
}

fn ends_within(site: &Site, node: &str, patience: Duration) -> bool {
    let began = Instant::now();
    while site.fed.runs(node) {
        if began.elapsed() > patience {
            return false;
        }
        sleep(LOOK);
    }
    true
}
