//! Budgets for control frames: what a peer may say, and how much of it (docs/security.md, attack 54).

use bytes::Bytes;
use liaison_protocol::frame::{ControlFrame, Frame, FrameType, RosterFrame, RosterOffer, RosterRequest};
use tokio::time::Instant;

use super::raw::{Offer, RawPeer};
use super::*;

fn relay() -> (Federation, Node) {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let relay = federation.node("eu-1");
    (federation, relay)
}

/// Type and length, and not a byte more.
fn head(frame: FrameType, bytes: usize) -> Vec<u8> {
    [&[frame.code()][..], &(bytes as u32).to_be_bytes()].concat()
}

// [FRAME-4]
#[tokio::test]
async fn what_only_relays_say_closes_an_agencys_link_by_its_head() {
    for frame in [FrameType::Reach, FrameType::Custody, FrameType::Tallies, FrameType::Roll, FrameType::RollAnswer] {
        let (federation, mut relay) = relay();
        let (mut peer, _) = RawPeer::greet(&mut relay, &federation).await;
        peer.send.write_all(&head(frame, 10_000)).await.unwrap();
        let (code, text) = peer.closed().await;
        assert_eq!(code, CloseCode::ProtocolViolation);
        assert!(text.contains(&format!("a {} frame from a node that is agency", frame.as_str())), "{text}");
    }
}

// [FRAME-6]
#[tokio::test]
async fn a_roster_is_taken_once_for_each_question_and_otherwise_closes_the_link_by_its_head() {
    let (federation, mut relay) = relay();
    let (mut peer, handle) = RawPeer::greet(&mut relay, &federation).await;
    let roster = ControlFrame::Roster(RosterFrame { bytes: Bytes::from(vec![1; 100_000]) });
    for _ in 0..3 {
        handle.control(&ControlFrame::RosterRequest(RosterRequest { after: 1 })).unwrap();
        peer.say(&Frame::Control(roster.clone())).await;
        assert!(matches!(relay.event().await, LinkEvent::Control { frame, .. } if frame == roster));
    }
    peer.send.write_all(&head(FrameType::Roster, 12_000_000)).await.unwrap();
    let (code, text) = peer.closed().await;
    assert_eq!((code, text.as_str()), (CloseCode::ProtocolViolation, "a roster that was not asked for"));
}

// [FRAME-5]
#[tokio::test]
async fn over_budget_the_control_stream_waits_and_dialing_anew_refills_nothing() {
    let (federation, mut relay) = relay();
    let budget = FrameType::RosterOffer.budget(Role::Agency).unwrap();
    let offer = Frame::Control(ControlFrame::RosterOffer(RosterOffer { version: 9, hash: Hash::ZERO }));
    let flood = offer.encode().unwrap().repeat(2 * budget.frames as usize);
    let (begin, mut seen) = (Instant::now(), 0);
    for _ in 0..2 {
        let (mut peer, _) = RawPeer::greet(&mut relay, &federation).await;
        peer.send.write_all(&flood).await.unwrap();
        // What it sends on lanes does not wait for that.
        let _lane = peer.lane(0, &Frame::Transfer(transfer(1, 100)).encode().unwrap()).await;
        let mut transfers = 0;
        while let Ok(Some(event)) = timeout(Duration::from_millis(500), relay.events.recv()).await {
            match event {
                LinkEvent::Control { .. } => seen += 1,
                LinkEvent::Transfer { .. } => transfers += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(transfers, 1);
        peer.connection.close(0u32.into(), b"");
        relay.down().await;
    }
    // A machine that takes long gives some of it back meanwhile.
    let returned = begin.elapsed().as_secs() * u64::from(budget.frames_per_minute) / 60 + 1;
    let most = u64::from(budget.frames) + returned;
    assert!((u64::from(budget.frames)..=most).contains(&seen), "{seen} of at most {most}");
}

// [LINK-8]
#[tokio::test]
async fn two_programs_with_one_key_are_named_and_the_standing_link_is_kept() {
    let (federation, mut relay) = relay();
    let offer = Offer::of(&federation.certificates[&id("ncb.ee")]);
    let sockets = [raw::socket(), raw::socket()];
    let mut named = None;
    let mut kept = 0;
    for turn in 0..8 {
        let mut peer = RawPeer::connect_by(sockets[turn % 2].clone(), relay.address(), &offer).await;
        peer.say(&Frame::Hello(raw::hello("ncb.ee"))).await;
        let until = Instant::now() + PATIENCE;
        // It is up, or closed at once for the one that stands.
        loop {
            tokio::select! {
                (code, text) = peer.closed() => {
                    assert_eq!((code, text.as_str()), (CloseCode::DuplicateLink, "another program has a link with this key"));
                    kept += 1;
                    break;
                }
                event = relay.event() => match event {
                    LinkEvent::Up { .. } => break,
                    LinkEvent::Rivals { rivals, .. } => named = Some(rivals),
                    LinkEvent::Down { .. } => {}
                    other => panic!("{other:?}"),
                },
            }
            assert!(Instant::now() < until);
        }
        std::mem::forget(peer);
        // Longer than a link is kept after the first return, and shorter than after the third.
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let rivals = named.expect("an alarm");
    let mut ports = sockets.map(|socket| socket.local_addr().unwrap().port());
    let mut told = [rivals.older.port(), rivals.newer.port()];
    ports.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, ports);
    assert!(kept > 0);
}
