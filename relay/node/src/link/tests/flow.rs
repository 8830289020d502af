//! Envelopes and acknowledgements: order, priority, back pressure, nothing lost.

use std::collections::VecDeque;

use liaison_protocol::frame::{Ack, Acks, ControlFrame, FrameError, LANES, RosterRequest};

use super::super::room::AGENCY_LANE_MAX;
use super::*;

fn ack(seq: u64) -> Acks {
    Acks { acks: vec![Ack { seq, taken: vec![0], duplicate: vec![], refused: vec![], proof: None }], receipt: None }
}

#[tokio::test]
async fn every_lane_carries_transfers_and_acknowledgements_in_order() {
    const EACH: u64 = 40;
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let ((mut relay, back), (mut agency, out)) = linked(&federation).await;
    for seq in 1..=EACH {
        for rank in 0..LANES {
            out.transfer(rank, transfer(seq, 2000)).unwrap();
        }
    }
    let mut received = [0; LANES as usize];
    for _ in 0..EACH * u64::from(LANES) {
        let (rank, transfer, _room) = relay.transfer().await;
        received[usize::from(rank)] += 1;
        assert_eq!(transfer.seq, received[usize::from(rank)]);
        assert_eq!(transfer.envelope, vec![transfer.seq as u8; 2000]);
        back.acks(rank, ack(transfer.seq)).unwrap();
    }
    let mut acknowledged = [0; LANES as usize];
    for _ in 0..EACH * u64::from(LANES) {
        match agency.event().await {
            LinkEvent::Acks { rank, acks, link } => {
                acknowledged[usize::from(rank)] += 1;
                assert_eq!((acks.acks[0].seq, link), (acknowledged[usize::from(rank)], out.id()));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn both_directions_and_the_control_stream_work_at_once() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let ((mut relay, back), (mut agency, out)) = linked(&federation).await;
    let request = ControlFrame::RosterRequest(RosterRequest { after: 3 });
    out.control(&request).unwrap();
    back.control(&request).unwrap();
    out.transfer(0, transfer(1, 10)).unwrap();
    back.transfer(0, transfer(1, 10)).unwrap();
    for node in [&mut relay, &mut agency] {
        let mut seen = (false, false);
        for _ in 0..2 {
            match node.event().await {
                LinkEvent::Control { frame, .. } => seen.0 = frame == request,
                LinkEvent::Transfer { transfer, .. } => seen.1 = transfer.seq == 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seen, (true, true));
    }
}

/// Fills the bulk lane until no more is taken; how many it took.
fn fill(handle: &LinkHandle, rank: u8, bytes: usize) -> u64 {
    let mut seq = 0;
    loop {
        match handle.transfer(rank, transfer(seq + 1, bytes)) {
            Ok(()) => seq += 1,
            Err(SendError::Full) => return seq,
            Err(error) => panic!("{error}"),
        }
    }
}

// [LANE-3]
#[tokio::test]
// [LANE-3]
async fn a_flash_envelope_overtakes_bulk_that_waits() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let mut relay = Node::with_channel(federation.config("eu-1"), 2);
    let mut agency = federation.node("ncb.ee");
    agency.dial(&relay);
    let (_, out) = (relay.up().await, agency.up().await);
    // The relay is slow: bulk fills its window, then QUIC's, then our queue.
    let mut bulk = fill(&out, 4, 200_000);
    tokio::time::sleep(Duration::from_millis(300)).await;
    for seq in bulk + 1.. {
        match out.transfer(4, transfer(seq, 200_000)) {
            Ok(()) => bulk = seq,
            Err(_) => break,
        }
    }
    out.transfer(0, transfer(1, 2000)).unwrap();
    let mut before = 0;
    while relay.transfer().await.0 == 4 {
        before += 1;
    }
    assert!(before < bulk / 2, "{before} of {bulk} came before the flash envelope");
    for _ in before..bulk {
        assert_eq!(relay.transfer().await.0, 4);
    }
}

#[tokio::test]
async fn a_slow_receiver_stops_the_sender_and_loses_nothing() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let mut config = federation.config("eu-1");
    // Room for one frame.
    config.limits.received_bytes_max = 0;
    config.timing.stall = Duration::from_millis(300);
    let mut relay = Node::with_channel(config, 1);
    let mut agency = federation.node("ncb.ee");
    agency.dial(&relay);
    let (_, out) = (relay.up().await, agency.up().await);
    let mut sent = fill(&out, 3, 500_000);
    // Longer than the relay's patience with a frame: it must not blame the sender for its own slowness.
    tokio::time::sleep(Duration::from_secs(1)).await;
    sent += (sent + 1..).map_while(|seq| out.transfer(3, transfer(seq, 500_000)).ok()).count() as u64;
    assert!(sent < 30, "{sent} of half a megabyte each are under way, although nobody takes them");
    for seq in 1..=sent {
        assert_eq!(relay.transfer().await.1.seq, seq);
    }
    out.transfer(3, transfer(sent + 1, 10)).unwrap();
    assert_eq!(relay.transfer().await.1.seq, sent + 1);
}

#[tokio::test]
async fn a_flood_on_one_lane_gets_its_share_and_another_lane_passes_it() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let mut relay = Node::with_channel(federation.config("eu-1"), 1024);
    let mut agency = federation.node("ncb.ee");
    agency.dial(&relay);
    let (_, out) = (relay.up().await, agency.up().await);
    for seq in 1..=500 {
        out.transfer(3, transfer(seq, 100)).unwrap();
    }
    let mut waiting = VecDeque::new();
    for seq in 1..=AGENCY_LANE_MAX as u64 {
        let (rank, transfer, room) = relay.transfer().await;
        assert_eq!((rank, transfer.seq), (3, seq));
        waiting.push_back(room);
    }
    relay.silent_for(Duration::from_millis(300)).await;
    out.transfer(0, transfer(1, 100)).unwrap();
    assert_eq!(relay.transfer().await.0, 0, "flash comes although nothing of the flood is stored yet");
    drop(waiting.pop_front());
    assert_eq!(relay.transfer().await.1.seq, AGENCY_LANE_MAX as u64 + 1, "one for one");
}

#[tokio::test]
async fn frames_that_no_peer_would_take_are_not_sent() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let ((mut relay, back), (_agency, out)) = linked(&federation).await;
    assert!(matches!(out.transfer(0, transfer(1, 3 << 20)), Err(SendError::Frame(FrameError::TooLarge { .. }))));
    assert!(matches!(out.transfer(0, transfer(0, 10)), Err(SendError::Frame(FrameError::Malformed(_)))));
    assert_eq!(out.transfer(LANES, transfer(1, 10)), Err(SendError::NoLane { rank: LANES }));
    assert_eq!(back.acks(0, ack(1)), Err(SendError::NoLane { rank: 0 }));
    out.transfer(0, transfer(1, 10)).unwrap();
    assert_eq!(relay.transfer().await.1.seq, 1);
}

#[tokio::test]
async fn acknowledgements_that_are_queued_arrive_before_a_peaceful_end() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let ((mut relay, back), (mut agency, out)) = linked(&federation).await;
    for seq in 1..=100 {
        out.transfer(0, transfer(seq, 10)).unwrap();
    }
    for seq in 1..=100 {
        assert_eq!(relay.transfer().await.1.seq, seq);
        back.acks(0, ack(seq)).unwrap();
    }
    back.close(CloseCode::Draining);
    for seq in 1..=100 {
        match agency.event().await {
            LinkEvent::Acks { acks, .. } => assert_eq!(acks.acks[0].seq, seq),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(agency.down().await, "draining (by the peer)");
    assert_eq!(relay.down().await, "draining");
    assert_eq!(out.transfer(0, transfer(101, 10)), Err(SendError::Closed));
}
