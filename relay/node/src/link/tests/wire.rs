//! What breaks a link that is up (docs/security.md, attacks 54 and 55).

use bytes::Bytes;
use liaison_protocol::frame::{ControlFrame, Frame, RosterFrame};

use super::raw::{Offer, RawPeer};
use super::*;

fn relay() -> (Federation, Node) {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let mut config = federation.config("eu-1");
    config.timing.stall = Duration::from_millis(300);
    let relay = Node::start(config);
    (federation, relay)
}

fn transfer_frame(seq: u64) -> Vec<u8> {
    Frame::Transfer(transfer(seq, 100)).encode().unwrap()
}

#[tokio::test]
// [FRAME-1]
async fn a_frame_that_claims_two_gibibytes_closes_the_link() {
    for on_lane in [true, false] {
        let (federation, mut relay) = relay();
        let (mut peer, _) = RawPeer::greet(&mut relay, &federation).await;
        // A transfer on a lane; a roster on the control stream.
        let lane = if on_lane {
            Some(peer.lane(0, &[33, 0x80, 0, 0, 0]).await)
        } else {
            peer.send.write_all(&[3, 0x80, 0, 0, 0]).await.unwrap();
            None
        };
        assert_eq!(peer.closed().await.0, CloseCode::FrameTooLarge);
        assert!(relay.down().await.starts_with("frame-too-large: "));
        drop(lane);
    }
}

// [LANE-1]
#[tokio::test]
// [LANE-1]
async fn lanes_keep_their_rules_or_the_link_closes() {
    let gap = [transfer_frame(1), transfer_frame(3)].concat();
    let breaks: [(&[u8], &str); 3] =
        [(&gap, "transfer 3 came where 2 was due"), (&[34, 0, 0, 0, 0], "a acks frame"), (&[99], "unknown frame type")];
    for (bytes, expected) in breaks {
        let (federation, mut relay) = relay();
        let (peer, _) = RawPeer::greet(&mut relay, &federation).await;
        let _lane = peer.lane(2, bytes).await;
        let (code, text) = peer.closed().await;
        assert_eq!(code, CloseCode::ProtocolViolation);
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn a_lane_is_opened_once_and_a_stream_is_a_lane() {
    let (federation, mut relay) = relay();
    let (peer, _) = RawPeer::greet(&mut relay, &federation).await;
    let _first = peer.lane(1, &[]).await;
    let _second = peer.lane(1, &[]).await;
    let (code, text) = peer.closed().await;
    assert_eq!(code, CloseCode::ProtocolViolation);
    assert!(text.contains("opened again"), "{text}");
    assert!(relay.down().await.contains("opened again"));

    let (peer, _) = RawPeer::greet(&mut relay, &federation).await;
    let (mut empty, _answers) = peer.connection.open_bi().await.unwrap();
    empty.finish().unwrap();
    assert_eq!(peer.closed().await.0, CloseCode::ProtocolViolation);
}

#[tokio::test]
async fn a_stream_that_ends_within_a_frame_closes_the_link() {
    let (federation, mut relay) = relay();
    let (peer, _) = RawPeer::greet(&mut relay, &federation).await;
    let mut lane = peer.lane(0, &transfer_frame(1)[..50]).await;
    lane.finish().unwrap();
    let (code, text) = peer.closed().await;
    assert_eq!(code, CloseCode::ProtocolViolation);
    assert!(text.contains("within a frame"), "{text}");
}

// [LINK-5]
#[tokio::test]
// [LINK-5]
async fn a_peer_that_sends_a_byte_now_and_then_is_closed_in_time() {
    let (federation, mut relay) = relay();
    let (peer, _) = RawPeer::greet(&mut relay, &federation).await;
    let mut lane = peer.lane(0, &[]).await;
    let frame = transfer_frame(1);
    let trickle = async {
        for byte in &frame {
            if lane.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (closed, ()) = tokio::join!(within("the close", Duration::from_secs(3), peer.closed()), trickle);
    assert_eq!(closed.0, CloseCode::Timeout);
    assert!(relay.down().await.starts_with("timeout: a frame stood still"));
}

#[tokio::test]
// [LINK-5]
async fn a_peer_that_does_not_read_is_closed_in_time() {
    let (federation, mut relay) = relay();
    let offer = Offer { stream_window: 2000, ..Offer::of(&federation.certificates[&id("ncb.ee")]) };
    let (peer, handle) = RawPeer::greet_as(&mut relay, &offer).await;
    let roster = ControlFrame::Roster(RosterFrame { bytes: Bytes::from(vec![1; 100_000]) });
    handle.control(&roster).unwrap();
    let (code, _) = within("the close", Duration::from_secs(3), peer.closed()).await;
    assert_eq!(code, CloseCode::Timeout);
    drop(peer.recv);
    assert!(relay.down().await.starts_with("timeout: "));
}

#[tokio::test]
// [LINK-5]
async fn a_link_that_is_silent_for_too_long_is_down() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let mut config = federation.config("eu-1");
    config.timing.keep_alive = Duration::from_millis(100);
    config.timing.idle = Duration::from_millis(500);
    let mut relay = Node::start(config);
    let wire = dialing::Wire::to(relay.address()).await;
    let mut agency = federation.node("ncb.ee");
    agency.dial_at("eu-1", wire.address());
    let _ = (agency.up().await, relay.up().await);
    relay.silent_for(Duration::from_secs(1)).await;
    wire.cut(true);
    let reason = within("down", Duration::from_secs(2), relay.down()).await;
    assert!(reason.starts_with("timeout"), "{reason}");
}

#[tokio::test]
async fn a_peer_that_grants_no_lane_is_closed_in_time() {
    let (federation, mut relay) = relay();
    let offer = Offer { streams: 0, ..Offer::of(&federation.certificates[&id("ncb.ee")]) };
    let (peer, handle) = RawPeer::greet_as(&mut relay, &offer).await;
    handle.transfer(0, transfer(1, 10)).unwrap();
    assert_eq!(within("the close", Duration::from_secs(3), peer.closed()).await.0, CloseCode::Timeout);
}

// [LINK-7]
#[tokio::test]
async fn an_agency_may_move_to_another_address_and_a_relay_may_not() {
    let federation = Federation::of(&["eu-1", "ap-1", "ncb.ee"]);
    for (name, may_move) in [("ncb.ee", true), ("ap-1", false)] {
        let (mut relay, mut peer) = (federation.node("eu-1"), federation.node(name));
        let mut wire = dialing::Wire::to(relay.address()).await;
        peer.dial_at("eu-1", wire.address());
        let (_, handle) = (relay.up().await, peer.up().await);
        wire.move_away().await;
        handle.transfer(0, transfer(1, 10)).unwrap();
        assert_eq!(relay.transfer().await.1.seq, 1);
        if may_move {
            relay.silent_for(Duration::from_millis(1500)).await;
        } else {
            let reason = within("down", Duration::from_secs(3), relay.down()).await;
            assert!(reason.starts_with("protocol-violation: a relay's link moved"), "{reason}");
        }
    }
}
