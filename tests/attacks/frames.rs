//! Frames that no correct peer sends, and peers that send nothing.

use std::net::Ipv4Addr;
use std::time::Duration;

use liaison_protocol::frame::{CloseCode, FrameType};
use liaison_protocol::limits::LANE_FRAME_BYTES_MAX;
use liaison_tests::fed::Federation;
use liaison_tests::keys::signing_key;
use liaison_tests::raw::{Dialer, Raw};
use tokio::time::timeout;

use crate::forge::{self, Draft};
use crate::hostile::{Hostile, Parcel};
use crate::shared::{only_the_good_one_arrives, victims};

const SOON: Duration = Duration::from_secs(10);
/// Fifteen seconds are given, and a loaded machine takes more.
const STALL: Duration = Duration::from_secs(45);

fn header(kind: FrameType, bytes: u32) -> Vec<u8> {
    [&[kind.code()][..], &bytes.to_be_bytes()].concat()
}

async fn connect(fed: &Federation, agency: &str, relay: &str) -> Raw {
    Dialer::new(fed.files(), relay, Ipv4Addr::LOCALHOST).unwrap().dial(fed.files(), agency).await.unwrap()
}

/// The code with which the relay closes the link, within `patience`.
async fn closed(peer: &Raw, patience: Duration) -> CloseCode {
    timeout(patience, peer.closed()).await.expect("a close in time").expect("a close with a code")
}

/// A message of `sender` goes through while others misbehave.
fn honest_mail_passes(fed: &Federation, sender: &str, relay: &str) {
    let mut honest = Hostile::as_node(fed.files(), sender);
    honest.connect(fed.files(), relay);
    let keys = honest.prekeys(&["ncb.ee"]);
    let federation = fed.files().roster().unwrap().federation();
    let good = forge::envelope(federation, sender, &signing_key(fed.files(), sender), &keys, &Draft::now());
    let ack = honest.hand_over(&Parcel::of(&good));
    assert_eq!(ack.taken, [0], "{ack:?}");
    only_the_good_one_arrives(fed, "ncb.ee", &good, &[]);
}

#[tokio::test]
// [FRAME-1] [FRAME-2] [ERR-1]
async fn frames_that_no_correct_peer_sends_close_the_link_under_their_code() {
    let fed = victims();
    let too_large = u32::try_from(LANE_FRAME_BYTES_MAX + 1).unwrap();
    for (bytes, code) in [
        (header(FrameType::Transfer, u32::MAX), CloseCode::FrameTooLarge),
        (header(FrameType::Transfer, too_large), CloseCode::FrameTooLarge),
        (vec![99, 0, 0, 0, 0], CloseCode::ProtocolViolation),
        // A control frame has no place on a lane, and zeros are no transfer.
        (header(FrameType::RosterRequest, 1), CloseCode::ProtocolViolation),
        ([header(FrameType::Transfer, 64), vec![0; 64]].concat(), CloseCode::ProtocolViolation),
    ] {
        let mut peer = connect(&fed, "ncb.nl", "eu-1").await;
        peer.greet().await.unwrap();
        let _lane = peer.lane(3, &bytes).await.unwrap();
        assert_eq!(closed(&peer, SOON).await, code, "{bytes:?}");
    }
    for (bytes, code) in [
        (header(FrameType::Hello, 1 << 31), CloseCode::FrameTooLarge),
        (header(FrameType::RosterRequest, 1), CloseCode::ProtocolViolation),
    ] {
        let mut peer = connect(&fed, "ncb.nl", "eu-1").await;
        peer.say(&bytes).await.unwrap();
        assert_eq!(closed(&peer, SOON).await, code, "before the hello: {bytes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_silent_peers_are_closed_in_time_and_cost_nobody_else_anything() {
    let fed = victims();
    // Nothing above QUIC is said.
    let silent = connect(&fed, "ncb.za", "ap-1").await;
    // A transfer is begun.
    let mut slow = connect(&fed, "ncb.za", "ap-1").await;
    slow.greet().await.unwrap();
    let _lane = slow.lane(3, &[header(FrameType::Transfer, 5_000), vec![0; 100]].concat()).await.unwrap();
    let honest = fed.clone();
    let honest = tokio::task::spawn_blocking(move || honest_mail_passes(&honest, "ncb.us", "ap-1"));
    let (silent, slow, honest) = tokio::join!(closed(&silent, STALL), closed(&slow, STALL), honest);
    assert_eq!((silent, slow), (CloseCode::Timeout, CloseCode::Timeout));
    honest.unwrap();
}
