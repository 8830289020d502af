//! Handshakes that must fail (docs/security.md, attacks 48 to 50).

use rcgen::PKCS_ECDSA_P256_SHA256;
use rustls::crypto::aws_lc_rs::kx_group;

use super::raw::{Offer, RawPeer, refusal};
use super::*;
use crate::link::end::End;

/// The word under which a refusal is known at the refused side.
async fn word(relay: &Node, offer: &Offer) -> &'static str {
    End::from(refusal(relay, offer).await).label
}

// [LINK-1] [LINK-2]
#[tokio::test]
// [LINK-1] [LINK-2]
async fn every_bad_handshake_is_refused_under_its_own_name() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let mut relay = federation.node("eu-1");
    let good = || Offer::of(&federation.certificates[&id("ncb.ee")]);
    let stranger = certified(&PKCS_ED25519, &["ncb.ee".into()]);
    let ecdsa = certified(&PKCS_ECDSA_P256_SHA256, &["ncb.ee".into()]);
    let names: Vec<String> = (0..200).map(|n| format!("a-name-of-many-{n}.example")).collect();
    let oversize = certified(&PKCS_ED25519, &names);
    assert!(oversize.certificate.len() > CERTIFICATE_BYTES_MAX);
    let two = vec![good().chain[0].clone(), stranger.certificate.clone()];

    let offers = [
        (Offer { kx: vec![kx_group::X25519], ..good() }, "no-common-key-exchange"),
        (Offer { kx: vec![kx_group::SECP256R1], ..good() }, "no-common-key-exchange"),
        (Offer { alpn: b"h3", ..good() }, "wrong-protocol"),
        (Offer { chain: vec![], ..good() }, "no-certificate"),
        (Offer { chain: two, ..good() }, "extra-certificates"),
        // rustls keeps an ECDSA key to itself where only Ed25519 is asked for.
        (Offer::of(&ecdsa), "no-certificate"),
        (Offer { chain: vec![ecdsa.certificate.clone()], ..good() }, "not-ed25519"),
        // A certificate is public; its key is not.
        (Offer { chain: good().chain, ..Offer::of(&stranger) }, "bad-signature"),
        (Offer::of(&oversize), "certificate-too-large"),
        (Offer::of(&stranger), "not-in-roster"),
    ];
    for (offer, expected) in offers {
        assert_eq!(word(&relay, &offer).await, expected);
    }
    relay.silent_for(Duration::from_millis(100)).await;
}

#[tokio::test]
// [LINK-2]
async fn a_certificate_of_a_mebibyte_is_refused_before_it_is_read() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let mut relay = federation.node("eu-1");
    let mut offer = Offer::of(&federation.certificates[&id("ncb.ee")]);
    offer.chain.extend(std::iter::repeat_n(CertificateDer::from(vec![0; 60_000]), 17));
    // quinn itself ends it: a handshake message may not outgrow its buffer.
    refusal(&relay, &offer).await;
    relay.silent_for(Duration::from_millis(100)).await;
}

#[tokio::test]
// [LINK-2] [LINK-4]
async fn a_client_whose_key_is_not_in_the_roster_is_never_up_and_learns_why() {
    let federation = Federation::of(&["eu-1"]);
    let elsewhere = Federation::of(&["ncb.xx"]);
    let mut relay = federation.node("eu-1");
    let mut config = elsewhere.config("ncb.xx");
    // The stranger knows the relay; the relay does not know the stranger.
    config.roster = federation.roster.subscribe();
    let mut stranger = Node::start(config);
    stranger.dial(&relay);
    for _ in 0..2 {
        let reason = stranger.dial_failed().await;
        assert!(reason.contains("not-in-roster (by the peer)"), "{reason}");
    }
    relay.silent_for(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_dialer_refuses_whoever_is_not_the_node_it_dialed() {
    let federation = Federation::of(&["eu-1", "eu-2", "ncb.ee"]);
    let (mut other, mut agency) = (federation.node("eu-2"), federation.node("ncb.ee"));
    agency.dial_at("eu-1", other.address());
    let reason = agency.dial_failed().await;
    assert!(reason.contains("wrong-identity") && reason.contains("eu-2"), "{reason}");
    federation.remove("eu-2");
    let reason = agency.dial_failed().await;
    assert!(reason.contains("not-in-roster"), "{reason}");
    other.silent_for(Duration::from_millis(100)).await;
}

// [LINK-3]
#[tokio::test]
// [LINK-3]
async fn there_is_no_ticket_and_no_early_data() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let relay = federation.node("eu-1");
    let offer = Offer::of(&federation.certificates[&id("ncb.ee")]);
    let (socket, config) = (raw::socket(), offer.quic());
    for _ in 0..2 {
        let connecting = socket.connect_with(config.clone(), relay.address(), "liaison.invalid").unwrap();
        let Err(connecting) = connecting.into_0rtt() else { panic!("early data with what is no ticket") };
        let connection = within("tls", PATIENCE, connecting).await.unwrap();
        // Time for a ticket to arrive, if one were sent.
        tokio::time::sleep(Duration::from_millis(100)).await;
        connection.close(0u32.into(), b"");
    }
}

#[tokio::test]
async fn identities_that_no_peer_would_take_are_refused_at_once() {
    let good = certified(&PKCS_ED25519, &["ncb.ee".into()]);
    let other = certified(&PKCS_ED25519, &["ncb.ee".into()]);
    let ecdsa = certified(&PKCS_ECDSA_P256_SHA256, &["ncb.ee".into()]);
    let load = |certificate: &Certified, key: &Certified| {
        LinkIdentity::from_der(certificate.certificate.clone(), &PrivatePkcs8KeyDer::from(key.key.as_slice()))
    };
    assert!(load(&good, &good).is_ok());
    assert!(matches!(load(&good, &other), Err(IdentityError::Mismatch)));
    assert!(matches!(load(&good, &ecdsa), Err(IdentityError::Key)));
    assert!(matches!(load(&ecdsa, &ecdsa), Err(IdentityError::Certificate(CertificateRefusal::NotEd25519))));
    let empty = LinkIdentity::from_pem(b"no pem", b"no pem");
    assert!(matches!(empty, Err(IdentityError::CertificateCount { certificates: 0 })));
}

#[tokio::test]
async fn under_a_flood_honest_peers_prove_their_address_and_come_up() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let mut config = federation.config("eu-1");
    config.limits.handshake_rate = 0;
    let (mut relay, mut agency) = (Node::start(config), federation.node("ncb.ee"));
    agency.dial(&relay);
    let _ = (relay.up().await, agency.up().await);
}

#[tokio::test]
async fn handshakes_that_never_end_keep_one_address_out_and_only_for_a_time() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let mut config = federation.config("eu-1");
    config.limits.handshakes_per_address_max = 2;
    config.timing.handshake = Duration::from_millis(500);
    let mut relay = Node::start(config);
    let offer = Offer::of(&federation.certificates[&id("ncb.ee")]);
    let _idle = (RawPeer::connect(&relay, &offer).await, RawPeer::connect(&relay, &offer).await);
    assert_eq!(word(&relay, &offer).await, "overload");
    let mut agency = federation.node("ncb.ee");
    agency.dial(&relay);
    let reason = agency.dial_failed().await;
    assert!(reason.contains("overload (by the peer)"), "{reason}");
    let _ = (relay.up().await, agency.up().await);
}
