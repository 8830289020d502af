//! Peers that are not who they say they are.

use std::sync::Arc;

use certs_dev::{Kdf, Options, link_certificate, make};
use liaison_tests::fed::Federation;
use serde_json::Value;

use crate::hostile::Hostile;
use crate::shared::victims;

fn link(fed: &Federation, relay: &str, peer: &str) -> Option<Value> {
    let links = fed.relay(relay, &["--json", "links"]).success().objects();
    links.into_iter().find(|link| link["peer"] == peer && link["up"] == true)
}

#[test]
fn whoever_is_not_in_the_roster_gets_no_link_and_learns_why() {
    let fed = victims();
    let certificate = link_certificate("ncb.nl").unwrap();
    let mut stranger = Hostile::stranger(fed.files(), &certificate, "ncb.in");
    stranger.dial(fed.files(), "eu-1");
    for _ in 0..2 {
        let reason = stranger.refusal();
        assert!(reason.contains("not-in-roster (by the peer)"), "{reason}");
    }
    assert_eq!(link(&fed, "eu-1", "ncb.in"), None);
}

#[test]
fn an_agency_that_says_to_be_another_is_closed_as_wrong_identity() {
    let fed: Arc<Federation> = victims();
    let mut liar = Hostile::claiming(fed.files(), "ncb.in", "ncb.sg");
    liar.dial(fed.files(), "ap-1");
    let reason = liar.refusal();
    assert!(reason.contains("wrong-identity"), "{reason}");
    // Nor a relay.
    let mut liar = Hostile::claiming(fed.files(), "ncb.in", "ap-1");
    liar.dial(fed.files(), "eu-1");
    let reason = liar.refusal();
    assert!(reason.contains("wrong-identity"), "{reason}");
}

#[test]
fn a_node_of_another_federation_gets_no_link() {
    let fed = victims();
    let folder = tempfile::tempdir().unwrap();
    let options = Options { kdf: Kdf::Fast, ..Options::new(folder.path().join("other")) };
    let other = make(&options).unwrap();
    // The same name, another key, another roster: and it believes what answers.
    let (certificate, key) = liaison_tests::keys::link_pems(&other, "ncb.sg");
    let certificate = certs_dev::LinkCertificate {
        cert_pem: String::from_utf8(certificate).unwrap(),
        key_pem: String::from_utf8(key).unwrap().into(),
        tls_key: [0; 32],
    };
    let mut foreign = Hostile::stranger(fed.files(), &certificate, "ncb.in");
    foreign.dial(fed.files(), "ap-1");
    let reason = foreign.refusal();
    assert!(reason.contains("not-in-roster (by the peer)"), "{reason}");
}
