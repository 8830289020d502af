//! What may be said first (docs/security.md, attacks 49, 52 and 55), and by whom for how long.

use liaison_protocol::frame::{ControlFrame, Frame, RosterRequest};

use super::raw::{Offer, RawPeer, hello};
use super::*;

fn federation() -> (Federation, Node) {
    let federation = Federation::of(&["eu-1", "ncb.ee", "ncb.fr"]);
    let relay = federation.node("eu-1");
    (federation, relay)
}

async fn answer_to(first: &[u8]) -> (CloseCode, String) {
    let (federation, mut relay) = federation();
    let mut peer = RawPeer::connect(&relay, &Offer::of(&federation.certificates[&id("ncb.ee")])).await;
    peer.send.write_all(first).await.unwrap();
    let closed = peer.closed().await;
    relay.silent_for(Duration::from_millis(50)).await;
    closed
}

// [LINK-4]
#[tokio::test]
// [LINK-4]
async fn a_link_is_up_after_the_hello_and_both_sides_know_each_other() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let (mut relay, mut agency) = (federation.node("eu-1"), federation.node("ncb.ee"));
    agency.dial(&relay);
    match relay.event().await {
        LinkEvent::Up { peer, role, hello, agreed, dialed, handle, .. } => {
            assert_eq!((peer, role, dialed), (id("ncb.ee"), Role::Agency, false));
            assert_eq!((hello.roster_version, agreed.version), (1, 1));
            assert!(handle.rtt() < Duration::from_secs(1));
        }
        other => panic!("{other:?}"),
    }
    match agency.event().await {
        LinkEvent::Up { peer, role, dialed, .. } => {
            assert_eq!((peer, role, dialed), (id("eu-1"), Role::Relay, true));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
// [HELLO-1]
async fn a_hello_in_another_nodes_name_is_closed_as_wrong_identity() {
    let stolen = Frame::Hello(hello("ncb.fr")).encode().unwrap();
    let (code, text) = answer_to(&stolen).await;
    assert_eq!(code, CloseCode::WrongIdentity);
    assert!(text.contains("ncb.fr") && text.contains("ncb.ee"), "{text}");
}

#[tokio::test]
// [HELLO-3]
async fn no_common_version_is_closed_with_both_ranges() {
    let mut newer = hello("ncb.ee");
    (newer.version_min, newer.version_max) = (7, 9);
    let (code, text) = answer_to(&Frame::Hello(newer).encode().unwrap()).await;
    assert_eq!(code, CloseCode::Version);
    assert!(text.contains("1 to 1") && text.contains("7 to 9"), "{text}");
}

#[tokio::test]
// [HELLO-2]
async fn another_federation_is_closed_as_such() {
    let mut foreign = hello("ncb.ee");
    foreign.federation = FederationId([8; 16]);
    let (code, _) = answer_to(&Frame::Hello(foreign).encode().unwrap()).await;
    assert_eq!(code, CloseCode::Federation);
}

#[tokio::test]
// [LINK-4] [FRAME-1]
async fn a_frame_before_the_hello_and_an_unknown_one_close_the_link() {
    let early = Frame::Control(ControlFrame::RosterRequest(RosterRequest { after: 0 })).encode().unwrap();
    assert_eq!(answer_to(&early).await.0, CloseCode::ProtocolViolation);
    assert_eq!(answer_to(&[99]).await.0, CloseCode::ProtocolViolation);
}

#[tokio::test]
async fn a_hello_that_claims_two_gibibytes_is_too_large() {
    assert_eq!(answer_to(&[1, 0x80, 0, 0, 0]).await.0, CloseCode::FrameTooLarge);
}

// [LINK-5]
#[tokio::test]
// [LINK-5]
async fn a_peer_that_says_no_hello_or_half_of_one_is_closed_in_time() {
    let (federation, _) = federation();
    let mut config = federation.config("eu-1");
    config.timing.handshake = Duration::from_millis(300);
    let mut relay = Node::start(config);
    for said in [&b""[..], b"\x01\x00\x00"] {
        let mut peer = RawPeer::connect(&relay, &Offer::of(&federation.certificates[&id("ncb.ee")])).await;
        peer.send.write_all(said).await.unwrap();
        let (code, _) = within("the close", Duration::from_secs(2), peer.closed()).await;
        assert_eq!(code, CloseCode::Timeout);
    }
    relay.silent_for(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_second_hello_closes_the_link() {
    let (federation, mut relay) = federation();
    let (mut peer, _) = RawPeer::greet(&mut relay, &federation).await;
    peer.say(&Frame::Hello(hello("ncb.ee"))).await;
    assert_eq!(peer.closed().await.0, CloseCode::ProtocolViolation);
    let reason = relay.down().await;
    assert!(reason.starts_with("protocol-violation: a hello frame"), "{reason}");
}

#[tokio::test]
async fn one_link_too_many_is_closed_as_overload() {
    let (federation, _) = federation();
    let mut config = federation.config("eu-1");
    config.limits.links_max = 1;
    let mut relay = Node::start(config);
    let (mut first, mut second) = (federation.node("ncb.ee"), federation.node("ncb.fr"));
    first.dial(&relay);
    let _ = (first.up().await, relay.up().await);
    second.dial(&relay);
    // The second side may see the hello before the close.
    let reason = match second.event().await {
        LinkEvent::Up { .. } => second.down().await,
        LinkEvent::DialFailed { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason.contains("overload (by the peer)"), "{reason}");
    relay.silent_for(Duration::from_millis(50)).await;
}
