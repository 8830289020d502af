//! What seeds have found, as plans that go straight for it.

use super::journal::What;
use super::plan::{Draw, Fault, Traffic, Weather};
use super::*;

/// A link that does not answer is doubted after a second, and a look.
const DOUBTED: Duration = Duration::from_millis(1750);

/// Two nodes, quick and quiet.
fn pair(seed: u64, nodes: [&'static str; 2]) -> Plan {
    Plan {
        seed,
        nodes: nodes.to_vec(),
        dials: vec![(1, 0)],
        latency_max: Duration::from_millis(20),
        traffic: Traffic { burst_max: 3, envelope_bytes_max: 5000, store: Duration::from_millis(20) },
        received_bytes_max: 8 << 20,
        events_max: 64,
        drowsy: false,
        calm: Duration::from_secs(1),
        faults: Vec::new(),
    }
}

fn at(millis: u64, fault: Fault) -> (Duration, Fault) {
    (Duration::from_millis(millis), fault)
}

fn keeps_all_promises(plan: &Plan) {
    let (_, wrong) = judge(plan);
    assert!(wrong.is_empty(), "{plan:?}: {:?}", &wrong[..wrong.len().min(5)]);
}

/// Each gave up its own attempt for the other's link, and so both links were lost, time and again.
// [LINK-6]
#[test]
fn two_relays_that_dial_each_other_at_once_keep_one_link() {
    for seed in 0..8 {
        let mut plan = pair(seed, ["ap-1", "eu-1"]);
        plan.dials.push((0, 1));
        plan.latency_max = Duration::from_millis([2, 20][seed as usize % 2]);
        let twice = |millis| [at(millis, Fault::Remove { node: 0 }), at(millis + 700, Fault::Restore { node: 0 })];
        plan.faults = [500, 2500].into_iter().flat_map(twice).collect();
        keeps_all_promises(&plan);
    }
}

#[test]
fn what_was_cut_moves_again_in_time_however_long_it_was_cut() {
    for (seed, millis) in [1500, 4000, 7000, 11_000, 14_500, 40_000].into_iter().enumerate() {
        let mut plan = pair(seed as u64, ["eu-1", "ncb.ee"]);
        plan.faults = vec![at(500, Fault::Cut { a: 1, b: 0 }), at(500 + millis, Fault::Mend { a: 1, b: 0 })];
        keeps_all_promises(&plan);
    }
}

/// Its lane's first frame had to come within 15 s, while higher ranks took all that the link carried.
#[test]
fn bulk_that_waits_behind_all_else_does_not_end_its_link() {
    for seed in 0..3 {
        let mut plan = pair(seed, ["ap-1", "ncb.ee"]);
        plan.latency_max = Duration::from_millis(150);
        plan.traffic = Traffic { burst_max: 12, envelope_bytes_max: 60_000, store: Duration::ZERO };
        plan.calm = Duration::from_secs(20);
        keeps_all_promises(&plan);
    }
}

/// What had arrived was thrown away when the close was seen first; and a peer could hear of a stream that was dropped
/// before it heard of the close.
#[test]
fn what_is_said_before_a_peaceful_end_arrives_also_at_a_node_that_is_behind() {
    for seed in 0..8 {
        let mut draw = Draw::new(seed);
        let mut plan = pair(seed, ["eu-1", "ncb.ee"]);
        plan.latency_max = Duration::from_millis(draw.pick(&[5, 50]));
        plan.traffic.burst_max = 12;
        (plan.events_max, plan.drowsy) = (1, true);
        plan.faults = vec![at(1000, Fault::CloseLinks { node: 0 }), at(2000, Fault::CloseLinks { node: 1 })];
        keeps_all_promises(&plan);
    }
}

/// The peer repeated its last acknowledgements with what it sent, and that passed for answers.
#[test]
fn a_peer_that_is_heard_and_does_not_hear_is_dialed_anew() {
    for (seed, millis) in [4000, 9000, 12_500, 13_500].into_iter().enumerate() {
        let mut plan = pair(seed as u64, ["ap-1", "ncb.ee"]);
        plan.latency_max = Duration::from_millis(5);
        plan.traffic = Traffic { burst_max: 12, envelope_bytes_max: 300, store: Duration::from_millis(20) };
        let cut = Fault::CutOneWay { from: 1, to: 0 };
        plan.faults = vec![at(500, cut), at(500 + millis, Fault::Mend { a: 1, b: 0 })];
        keeps_all_promises(&plan);
    }
}

/// All lanes shared a window that two of them could use up, with bytes that had not even been sent; then the control
/// stream, and flash, waited until the peer had read them.
// [LANE-4]
#[test]
fn what_waits_on_lanes_never_keeps_the_control_stream_waiting() {
    for (seed, nodes) in (0..).zip([["ap-1", "ncb.ee"], ["ap-1", "eu-1"]]) {
        let mut plan = pair(seed, nodes);
        // Datagrams overtake each other all the time, which QUIC takes for loss: the link is slow.
        plan.latency_max = Duration::from_millis(150);
        plan.traffic = Traffic { burst_max: 12, envelope_bytes_max: 400_000, store: Duration::ZERO };
        plan.faults = vec![at(20_000, Fault::Weather(Weather::FAIR))];
        keeps_all_promises(&plan);
    }
}

/// The handshake's packets had waited until the wire was back. How long an answer may take was four times what quinn
/// made of that, and a link that went deaf soon afterwards was trusted for a quarter of a minute.
#[test]
fn a_link_that_came_up_late_is_doubted_as_soon_as_any() {
    for seed in 0..4 {
        let mut plan = pair(seed, ["ap-1", "eu-1"]);
        plan.latency_max = Duration::from_millis(5);
        let (deaf, late) = (at(3700, Fault::Cut { a: 1, b: 0 }), at(9700, Fault::Mend { a: 1, b: 0 }));
        plan.faults = vec![
            at(500, Fault::Stop { node: 0 }),
            at(900, Fault::Hold { a: 1, b: 0 }),
            at(1300, Fault::Start { node: 0 }),
            at(3500, Fault::Release { a: 1, b: 0 }),
            deaf,
            late,
        ];
        let notes = world::run(&plan).unwrap();
        assert_eq!(oracle::check(&plan, &notes).1, Vec::<String>::new());
        let cut = notes.iter().find(|note| note.what == What::Fault(deaf.1)).unwrap().at;
        let dialed_anew = notes.iter().find(|note| note.at > cut && matches!(note.what, What::DialFailed { .. }));
        let waited = dialed_anew.expect("a try that fails").at - cut;
        assert!(waited < DOUBTED + LinkTiming::default().attempt, "{waited:?}");
    }
}
