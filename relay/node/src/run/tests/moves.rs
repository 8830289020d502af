//! New rosters: relays that appear, move and leave; agencies that leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use liaison_protocol::roster::{RelayEntry, RosterDocument};
use liaison_protocol::sign::SigningKey;
use liaison_protocol::{NodeId, Role, Timestamp};
use rand_core::UnwrapErr;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::fed::Fed;
use super::{Disk, PATIENCE, options};
use crate::link::{Endpoint, EndpointConfig, LinkEvent};
use crate::local::NodeHandle;
use crate::operator::{self, OperatorHandle};
use crate::run::Runner;
use crate::status::LinkStatus;

/// A relay of the test's federation, its operator, and what ends it.
struct Watched {
    operator: OperatorHandle,
    address: String,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Watched {
    fn start(fed: &Fed, disk: &Disk) -> Self {
        let store = Arc::new(disk.open());
        let (_, requests) = NodeHandle::new(Arc::clone(&store) as _);
        let (operator, operated) = operator::channel();
        let (roster, _) = watch::channel(Arc::clone(&fed.roster));
        let runner = Runner::start(options(fed, disk.lease()), store, roster, None, requests, operated).unwrap();
        let (address, stop) = (runner.local_addr().unwrap().to_string(), CancellationToken::new());
        let stopped = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "the test awaits its end")]
        let running = tokio::spawn(async move { runner.run(stopped).await.unwrap() });
        Self { operator, address, stop, running }
    }

    async fn links(&self) -> Vec<LinkStatus> {
        self.operator.status().await.unwrap().links
    }

    async fn link(&self, peer: &str) -> Option<LinkStatus> {
        self.links().await.into_iter().find(|link| link.peer.as_str() == peer)
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

async fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Waits until the relay dials this socket.
async fn dialed(socket: &UdpSocket) {
    timeout(PATIENCE, socket.recv_from(&mut [0; 2048])).await.expect("the relay dials it").unwrap();
}

fn relay_at(address: SocketAddr) -> RelayEntry {
    let key = || SigningKey::generate(&mut UnwrapErr(getrandom::SysRng)).verifying_key();
    RelayEntry {
        id: "zz-1".parse().unwrap(),
        region: "elsewhere".parse().unwrap(),
        addresses: vec![address.to_string()],
        tls_key: *key().as_bytes(),
        sign_key: key(),
        operator: "somebody".into(),
        not_after: Timestamp::MAX,
    }
}

// [LINK-10]
#[tokio::test]
async fn a_relay_that_the_roster_adds_moves_and_removes_is_followed() {
    let fed = Fed::new();
    let disk = Disk::new(&fed);
    let relay = Watched::start(&fed, &disk);
    let ((old, first), (new, second)) = (socket().await, socket().await);
    let signed = fed.publish(|document| document.relays.push(relay_at(first)));
    relay.operator.reload_roster(signed).await.unwrap();
    dialed(&old).await;
    let moved = |document: &mut RosterDocument| document.relays[1].addresses = vec![second.to_string()];
    relay.operator.reload_roster(fed.publish(moved)).await.unwrap();
    dialed(&new).await;
    assert_eq!(relay.link("zz-1").await.unwrap().role, Role::Relay);
    relay.operator.reload_roster(fed.publish(|document| drop(document.relays.pop()))).await.unwrap();
    // The node loop and its dialers follow once the roster is durable.
    while relay.link("zz-1").await.is_some() {
        tokio::task::yield_now().await;
    }
    relay.end().await;
}

#[tokio::test]
async fn an_agency_that_the_roster_removes_is_no_link_and_no_relay() {
    let fed = Fed::new();
    let disk = Disk::new(&fed);
    let relay = Watched::start(&fed, &disk);
    let gone: NodeId = fed.recipient.clone();
    let (sender, mut events) = mpsc::channel(256);
    let (_, roster) = watch::channel(Arc::clone(&fed.roster));
    let config = EndpointConfig::new(fed.link_identity(&gone), gone.clone(), Role::Agency, roster);
    let endpoint = Endpoint::bind(config, sender).unwrap();
    endpoint.dial(fed.relay.clone(), vec![relay.address.clone()]);
    while !matches!(events.recv().await, Some(LinkEvent::Up { .. })) {}
    while relay.link(gone.as_str()).await.is_none() {
        tokio::task::yield_now().await;
    }
    let signed = fed.publish(|document| document.agencies.retain(|agency| agency.id.as_str() != gone.as_str()));
    relay.operator.reload_roster(signed).await.unwrap();
    while !matches!(events.recv().await, Some(LinkEvent::Down { .. })) {}
    while let Some(link) = relay.link(gone.as_str()).await {
        assert_eq!((link.role, link.up), (Role::Agency, true), "until its link has closed");
        tokio::task::yield_now().await;
    }
    endpoint.undial(&fed.relay);
    relay.end().await;
}

type Change<'a> = &'a dyn Fn(&mut RosterDocument);

#[tokio::test]
async fn what_ends_soon_or_has_left_the_roster_is_an_alarm() {
    let fed = Fed::new();
    let disk = Disk::new(&fed);
    let relay = Watched::start(&fed, &disk);
    let alarms = async || relay.operator.status().await.unwrap().alarms;
    assert_eq!(alarms().await, Vec::<String>::new());
    let in_days = |days: u64| crate::clock::now().after(Duration::from_secs(days * 86_400 + 3_600));
    let changes: [(&str, Change<'_>); 4] = [
        ("roster version 2 ends in 4 days: get the next one", &|document| document.expires = in_days(4)),
        ("this node's signing key ends in 5 days", &|document| {
            document.expires = in_days(60);
            document.relays[0].not_after = in_days(5);
        }),
        ("roster version 4 does not give this node the key that the node signs with", &|document| {
            document.relays[0].not_after = Timestamp::MAX;
            document.relays[0].sign_key = relay_at("127.0.0.1:1".parse().unwrap()).sign_key;
        }),
        ("roster version 5 does not name", &|document| {
            let other: NodeId = "zz-2".parse().unwrap();
            document.agencies.iter_mut().for_each(|agency| agency.home = vec![other.clone()]);
            document.relays[0].id = other;
        }),
    ];
    for (alarm, change) in changes {
        relay.operator.reload_roster(fed.publish(change)).await.unwrap();
        // The roster is in force once it is durable.
        let raised = async {
            while !alarms().await.iter().any(|said| said.starts_with(alarm)) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, raised).await.expect(alarm);
        assert_eq!(alarms().await.len(), 1, "{alarm}");
    }
    relay.end().await;
}
