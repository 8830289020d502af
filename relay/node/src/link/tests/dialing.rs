//! Links that come up, stay up, come back, and are the only ones of their peer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::*;

/// How soon a link is back once it can be (docs/reliability.md).
const BACK_WITHIN: Duration = Duration::from_secs(1);

/// A wire between two nodes that can be cut, and whose far end can move.
pub(super) struct Wire {
    near: Arc<UdpSocket>,
    far: watch::Sender<Arc<UdpSocket>>,
    client: watch::Sender<Option<SocketAddr>>,
    is_cut: Arc<AtomicBool>,
    carriers: JoinSet<()>,
}

impl Wire {
    pub(super) async fn to(server: SocketAddr) -> Self {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let mut wire = Self {
            near,
            far: watch::Sender::new(far.clone()),
            client: watch::Sender::new(None),
            is_cut: Arc::default(),
            carriers: JoinSet::new(),
        };
        wire.carriers.spawn({
            let (near, far, is_cut) = (wire.near.clone(), wire.far.subscribe(), wire.is_cut.clone());
            let client = wire.client.clone();
            async move {
                let mut buffer = vec![0; 65536];
                while let Ok((length, from)) = near.recv_from(&mut buffer).await {
                    client.send_replace(Some(from));
                    let far = far.borrow().clone();
                    if !is_cut.load(Ordering::Relaxed) {
                        let _ = far.send_to(&buffer[..length], server).await;
                    }
                }
            }
        });
        wire.carry_back(far);
        wire
    }

    fn carry_back(&mut self, far: Arc<UdpSocket>) {
        let (near, client, is_cut) = (self.near.clone(), self.client.subscribe(), self.is_cut.clone());
        self.carriers.spawn(async move {
            let mut buffer = vec![0; 65536];
            while let Ok((length, _)) = far.recv_from(&mut buffer).await {
                let client = *client.borrow();
                if let Some(client) = client.filter(|_| !is_cut.load(Ordering::Relaxed)) {
                    let _ = near.send_to(&buffer[..length], client).await;
                }
            }
        });
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.near.local_addr().unwrap()
    }

    pub(super) fn cut(&self, cut: bool) {
        self.is_cut.store(cut, Ordering::Relaxed);
    }

    /// From now on the client seems to come from another port.
    pub(super) async fn move_away(&mut self) {
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        self.carry_back(far.clone());
        self.far.send_replace(far);
    }
}

async fn through_a_wire(federation: &Federation, timing: LinkTiming) -> (Node, (Node, LinkHandle), Wire) {
    let mut relay = Node::start(EndpointConfig { timing, ..federation.config("eu-1") });
    let mut agency = Node::start(EndpointConfig { timing, ..federation.config("ncb.ee") });
    let wire = Wire::to(relay.address()).await;
    agency.dial_at("eu-1", wire.address());
    let (_, handle) = (relay.up().await, agency.up().await);
    (relay, (agency, handle), wire)
}

/// How long until the next `Up`, whatever else happens.
async fn time_until_up(node: &mut Node) -> Duration {
    let start = Instant::now();
    while !matches!(node.event().await, LinkEvent::Up { .. }) {}
    start.elapsed()
}

#[tokio::test]
// [ROSTER-12]
async fn a_removed_node_loses_its_link_within_a_second_and_is_refused_afterwards() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let ((mut relay, _), (mut agency, _)) = linked(&federation).await;
    let start = Instant::now();
    federation.remove("ncb.ee");
    assert_eq!(relay.down().await, "roster-removed: roster version 2 no longer names this key");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(agency.down().await.starts_with("roster-removed (by the peer)"));
    let reason = agency.dial_failed().await;
    assert!(reason.contains("not-in-roster"), "{reason}");
    relay.silent_for(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_roster_that_keeps_the_peer_keeps_the_link() {
    let federation = Federation::of(&["eu-1", "ncb.ee", "ncb.fr"]);
    let ((mut relay, _), (mut agency, _)) = linked(&federation).await;
    federation.remove("ncb.fr");
    relay.silent_for(Duration::from_millis(200)).await;
    agency.silent_for(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn a_link_is_back_within_a_second_after_the_peer_restarts_on_its_port() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let ((relay, _), (mut agency, _)) = linked(&federation).await;
    let address = relay.address();
    relay.endpoint.close(CloseCode::Shutdown).await;
    drop(relay);
    assert_eq!(agency.down().await, "shutdown (by the peer)");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let _relay = Node::start(EndpointConfig { listen: Some(address), ..federation.config("eu-1") });
    assert!(time_until_up(&mut agency).await < BACK_WITHIN);
}

#[tokio::test]
async fn a_link_is_back_within_a_second_after_the_peer_was_killed() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let (relay, (mut agency, handle), wire) = through_a_wire(&federation, LinkTiming::default()).await;
    let address = relay.address();
    // Nothing that a dying process says gets out.
    wire.cut(true);
    let _ = timeout(Duration::from_millis(100), relay.endpoint.close(CloseCode::Shutdown)).await;
    drop(relay);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut relay = Node::start(EndpointConfig { listen: Some(address), ..federation.config("eu-1") });
    wire.cut(false);
    // Idle, the agency would notice with its next keep-alive; it has something to send.
    let start = Instant::now();
    handle.transfer(0, transfer(1, 100)).unwrap();
    while !matches!(relay.event().await, LinkEvent::Up { .. }) {}
    assert!(start.elapsed() < BACK_WITHIN, "{:?}", start.elapsed());
    let reason = agency.down().await;
    assert!(reason.starts_with("reset"), "{reason}");
    agency.up().await;
}

#[tokio::test]
async fn a_link_is_back_within_a_second_after_a_long_outage() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let timing = LinkTiming {
        keep_alive: Duration::from_millis(200),
        idle: Duration::from_millis(800),
        ..LinkTiming::default()
    };
    let (mut relay, (mut agency, _), wire) = through_a_wire(&federation, timing).await;
    wire.cut(true);
    assert!(agency.down().await.starts_with("timeout"));
    assert!(relay.down().await.starts_with("timeout"));
    // Long enough for quinn's own repetitions to be seconds apart.
    tokio::time::sleep(Duration::from_millis(6300)).await;
    wire.cut(false);
    assert!(time_until_up(&mut agency).await < BACK_WITHIN);
    relay.up().await;
}

#[tokio::test]
async fn a_link_that_outlives_an_outage_moves_again_within_a_second() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let (mut relay, (_agency, handle), wire) = through_a_wire(&federation, LinkTiming::default()).await;
    wire.cut(true);
    handle.transfer(0, transfer(1, 100)).unwrap();
    // The old link's repetitions are seconds apart by now, and its idle timeout is far.
    tokio::time::sleep(Duration::from_millis(5200)).await;
    wire.cut(false);
    let start = Instant::now();
    relay.event().await;
    assert!(start.elapsed() < BACK_WITHIN, "{:?}", start.elapsed());
}

#[tokio::test]
async fn who_was_dialed_notices_that_nothing_comes_and_dials_in_turn() {
    let federation = Federation::of(&["ap-1", "eu-1"]);
    let ms = Duration::from_millis;
    let timing = LinkTiming {
        keep_alive: ms(20_000),
        idle: ms(60_000),
        probe: ms(300),
        doubt: ms(300),
        ..LinkTiming::default()
    };
    let [mut dialing, mut dialed] =
        ["eu-1", "ap-1"].map(|name| Node::start(EndpointConfig { timing, ..federation.config(name) }));
    let wire = Wire::to(dialed.address()).await;
    dialing.dial_at("ap-1", wire.address());
    let _links = (dialing.up().await, dialed.up().await);
    // It has a link, and its dialer sleeps.
    dialed.dial(&dialing);
    // Nobody has anything to say, nothing waits for an answer, and whoever dialed looks where nobody is.
    tokio::time::sleep(ms(700)).await;
    wire.cut(true);
    let waited = time_until_up(&mut dialed).await;
    assert!(waited < ms(3000), "{waited:?}");
}

#[tokio::test]
async fn when_a_link_ends_that_the_peer_dialed_its_earlier_refusals_count_no_more() {
    let federation = Federation::of(&["ap-1", "eu-1"]);
    let everybody = federation.roster.borrow().clone();
    let mut without = TestPeers::clone(&everybody);
    without.nodes.retain(|_, (node, _)| *node != id("ap-1"));
    let elsewhere = watch::Sender::new(Arc::new(without));
    let mut config = federation.config("ap-1");
    config.timing.backoff_min = Duration::from_secs(60);
    let mut refused = Node::start(config);
    let mut other = Node::start(EndpointConfig { roster: elsewhere.subscribe(), ..federation.config("eu-1") });
    refused.dial(&other);
    assert!(refused.dial_failed().await.contains("not-in-roster"));
    // Only there: here nothing has changed.
    elsewhere.send_replace(everybody);
    other.dial(&refused);
    let (_, handle) = (refused.up().await, other.up().await);
    other.endpoint.undial(&id("ap-1"));
    handle.close(CloseCode::Draining);
    assert!(refused.down().await.starts_with("draining"));
    assert!(time_until_up(&mut refused).await < BACK_WITHIN);
}

#[tokio::test]
async fn the_second_address_works_when_the_first_is_dead() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let (mut relay, mut agency) = (federation.node("eu-1"), federation.node("ncb.ee"));
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![dead.local_addr().unwrap().to_string(), relay.address().to_string()];
    agency.endpoint.dial(id("eu-1"), addresses);
    assert!(time_until_up(&mut agency).await < Duration::from_secs(2));
    relay.up().await;
}

// [LINK-10]
#[tokio::test]
async fn a_peer_that_has_moved_is_followed_while_its_old_address_still_answers() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let (mut relay, mut agency) = (federation.node("eu-1"), federation.node("ncb.ee"));
    let [old, new] = [Wire::to(relay.address()).await, Wire::to(relay.address()).await];
    agency.dial_at("eu-1", old.address());
    let (_, first) = (relay.up().await, agency.up().await);
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    agency.dial_at("eu-1", dead.local_addr().unwrap());
    assert!(agency.dial_failed().await.contains("timeout"), "nobody is there yet");
    // The old link is kept until the new one is up.
    first.transfer(0, transfer(1, 10)).unwrap();
    assert_eq!(relay.transfer().await.1.seq, 1);
    agency.dial_at("eu-1", new.address());
    assert!(agency.down().await.starts_with("duplicate-link"));
    let second = agency.up().await;
    assert_eq!(second.remote_address().port(), new.address().port());
    relay.down().await;
    relay.up().await;
    agency.silent_for(Duration::from_millis(1500)).await;
}

#[tokio::test]
async fn addresses_that_change_without_the_one_in_use_leave_the_link_alone() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let ((relay, _), (mut agency, _)) = linked(&federation).await;
    let also = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    agency.endpoint.dial(id("eu-1"), vec![also.local_addr().unwrap().to_string(), relay.address().to_string()]);
    agency.silent_for(Duration::from_millis(1500)).await;
}

#[tokio::test]
async fn silence_is_reported_once() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let mut config = federation.config("ncb.ee");
    (config.timing.probe, config.timing.attempt) = (Duration::from_millis(50), Duration::from_millis(100));
    let mut agency = Node::start(config);
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    agency.dial_at("eu-1", dead.local_addr().unwrap());
    let reason = agency.dial_failed().await;
    assert!(reason.ends_with("timeout: no answer"), "{reason}");
    agency.silent_for(Duration::from_millis(500)).await;
}

// [LINK-6]
#[tokio::test]
// [LINK-6]
async fn of_two_links_of_one_identity_the_newest_wins() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let ((mut relay, first), (mut agency, _)) = linked(&federation).await;
    // A second process with the same key: the agency's next self, or a thief's.
    let mut second = federation.node("ncb.ee");
    agency.endpoint.undial(&id("eu-1"));
    second.dial(&relay);
    let reason = relay.down().await;
    assert!(reason.starts_with("duplicate-link"), "{reason}");
    let newest = relay.up().await;
    assert_ne!(first.id(), newest.id());
    second.up().await;
    assert!(agency.down().await.starts_with("duplicate-link (by the peer)"));
    relay.silent_for(Duration::from_millis(200)).await;
}

// [LINK-6]
#[tokio::test]
// [LINK-6]
async fn two_relays_that_dial_each_other_settle_on_one_link() {
    for _ in 0..5 {
        let federation = Federation::of(&["eu-1", "ap-1"]);
        let mut nodes = [federation.node("eu-1"), federation.node("ap-1")];
        nodes[0].dial(&nodes[1]);
        nodes[1].dial(&nodes[0]);
        tokio::time::sleep(Duration::from_millis(500)).await;
        for node in &mut nodes {
            let mut up = 0;
            while let Ok(event) = node.events.try_recv() {
                match event {
                    LinkEvent::Up { .. } => up += 1,
                    LinkEvent::Down { .. } => up -= 1,
                    LinkEvent::DialFailed { .. } => {}
                    other => panic!("{other:?}"),
                }
                assert!((0..=1).contains(&up), "never two links at a time");
            }
            assert_eq!(up, 1);
        }
        for node in &mut nodes {
            node.silent_for(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn closing_an_endpoint_ends_every_task_and_tells_the_peers() {
    let federation = Federation::of(&["eu-1", "ncb.ee"]);
    let ((mut relay, _), (mut agency, _)) = linked(&federation).await;
    within("close", Duration::from_secs(3), relay.endpoint.close(CloseCode::Draining)).await;
    assert_eq!(relay.down().await, "draining");
    assert_eq!(agency.down().await, "draining (by the peer)");
    drop(relay.endpoint);
    assert!(within("the channel's end", PATIENCE, relay.events.recv()).await.is_none());
}
