//! Prekey bundles at a relay, from an agency that says what it likes.

use std::sync::Arc;
use std::time::Duration;

use liaison_core::op::Table;
use liaison_protocol::Role;
use liaison_protocol::frame::{Bundle, BundleRequest, ControlFrame};
use liaison_protocol::sign::SigningKey;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::fed::Fed;
use super::{Disk, PATIENCE, Relay, alone};
use crate::link::{Endpoint, EndpointConfig, LinkEvent, LinkHandle};
use crate::operator::OperatorHandle;
use crate::store::Reads as _;

/// The sender's end of its link.
struct Agency {
    _endpoint: Endpoint,
    events: mpsc::Receiver<LinkEvent>,
    link: LinkHandle,
}

impl Agency {
    async fn connect(fed: &Fed, relay: &Relay) -> Self {
        let (sender, mut events) = mpsc::channel(256);
        let (_, roster) = watch::channel(Arc::clone(&fed.roster));
        let config = EndpointConfig::new(fed.link_identity(&fed.sender), fed.sender.clone(), Role::Agency, roster);
        let endpoint = Endpoint::bind(config, sender).unwrap();
        endpoint.dial(fed.relay.clone(), vec![relay.address.clone()]);
        loop {
            if let LinkEvent::Up { handle, .. } = timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
                return Self { _endpoint: endpoint, events, link: handle };
            }
        }
    }

    fn push(&self, bundle: &Bundle) {
        self.link.control(&ControlFrame::Bundle(bundle.clone())).unwrap();
    }

    fn ask(&self, fed: &Fed) {
        let request = BundleRequest { agencies: vec![fed.sender.to_agency()] };
        self.link.control(&ControlFrame::BundleRequest(request)).unwrap();
    }

    async fn next(&mut self) -> ControlFrame {
        loop {
            if let LinkEvent::Control { frame, .. } = timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap() {
                return frame;
            }
        }
    }
}

async fn alarms(operator: &OperatorHandle) -> Vec<String> {
    operator.status().await.unwrap().alarms
}

async fn until_alarmed(operator: &OperatorHandle) {
    for _ in 0..1000 {
        if alarms(operator).await.iter().any(|alarm| alarm.contains("two prekey bundles")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no alarm");
}

// Attack 29, [PREKEY-2].
#[tokio::test]
async fn two_bundles_of_one_number_are_an_alarm_and_both_are_kept_as_proof() {
    let fed = Fed::new();
    let disk = Disk::new(&fed);
    let mut store = Arc::new(disk.open());
    let (relay, operator) = Relay::start_with_operator(&fed, &disk, Arc::clone(&store) as _).unwrap();
    assert!(alarms(&operator).await.is_empty());
    let agency = Agency::connect(&fed, &relay).await;
    for max_ttl_s in [7200, 7201, 7202] {
        agency.push(&fed.bundle(&fed.sender_key, 1, max_ttl_s));
    }
    until_alarmed(&operator).await;
    relay.stop.cancel();
    relay.ended.await.unwrap().unwrap();
    drop((operator, agency));
    store = Arc::new(alone(store).await);
    assert_eq!(store.scan(Table::Meta, b"prekey-proof/", None, 10).unwrap().len(), 1);
    // Also after a restart.
    let (relay, operator) = Relay::start_with_operator(&fed, &disk, store).unwrap();
    until_alarmed(&operator).await;
    relay.stop.cancel();
    relay.ended.await.unwrap().unwrap();
}

// [PREKEY-7]
#[tokio::test]
async fn when_the_roster_replaces_a_key_its_bundle_goes_and_the_one_that_came_too_early_is_asked_for() {
    let fed = Fed::new();
    let disk = Disk::new(&fed);
    let (relay, operator) = Relay::start_with_operator(&fed, &disk, Arc::new(disk.open())).unwrap();
    let mut agency = Agency::connect(&fed, &relay).await;
    let owner = SigningKey::from_seed(&Zeroizing::new([7; 32]));
    let new = fed.bundle(&owner, 1, 3600);
    // The roster does not name its signer yet. What is known stays.
    agency.push(&new);
    agency.ask(&fed);
    loop {
        match agency.next().await {
            ControlFrame::Bundle(bundle) => break assert_ne!(bundle, new),
            _ => continue,
        }
    }
    let replaced = fed.replace_sender_key(&owner);
    operator.reload_roster(replaced.signed().clone()).await.unwrap();
    loop {
        match agency.next().await {
            ControlFrame::BundleRequest(request) => break assert_eq!(request.agencies, [fed.sender.to_agency()]),
            ControlFrame::Bundle(bundle) => panic!("{bundle:?}"),
            _ => continue,
        }
    }
    agency.ask(&fed);
    agency.push(&new);
    // Nobody offers a bundle to the peer that has brought it. What the roster has ended is never sent.
    let answer = loop {
        match timeout(Duration::from_millis(100), agency.next()).await {
            Ok(ControlFrame::Bundle(bundle)) => break bundle,
            Ok(_) => {}
            Err(_) => agency.ask(&fed),
        }
    };
    assert_eq!(answer, new);
    relay.stop.cancel();
    relay.ended.await.unwrap().unwrap();
}
