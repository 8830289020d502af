//! Real sockets on 127.0.0.1, ports chosen by the system, every wait bounded.

mod attacks;
mod budgets;
mod dialing;
mod flow;
mod hellos;
mod raw;
mod sim;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use liaison_protocol::frame::{CloseCode, Transfer};
use liaison_protocol::{FederationId, Hash, NodeId, Role, Timestamp};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::*;

/// No test waits longer for one thing.
const PATIENCE: Duration = Duration::from_secs(10);

async fn within<F: Future>(what: &str, span: Duration, future: F) -> F::Output {
    timeout(span, future).await.unwrap_or_else(|_| panic!("{what}: not within {span:?}"))
}

/// A roster made by hand.
#[derive(Clone)]
struct TestPeers {
    version: u32,
    nodes: BTreeMap<[u8; 32], (NodeId, Role)>,
}

impl Peers for TestPeers {
    fn federation(&self) -> FederationId {
        FederationId([7; 16])
    }

    fn hash(&self) -> Hash {
        Hash::of(&[&self.version.to_be_bytes()])
    }

    fn node_by_tls_key(&self, key: &[u8; 32]) -> Option<(NodeId, Role)> {
        self.nodes.get(key).cloned()
    }

    fn version(&self) -> u32 {
        self.version
    }
}

fn id(name: &str) -> NodeId {
    name.parse().expect("a name in a test")
}

/// A certificate and its key, in DER.
struct Certified {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

fn certified(algorithm: &'static rcgen::SignatureAlgorithm, names: &[String]) -> Certified {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    Certified { certificate: certificate.der().clone(), key: key.serialize_der() }
}

fn identity(certified: &Certified) -> LinkIdentity {
    LinkIdentity::from_der(certified.certificate.clone(), &PrivatePkcs8KeyDer::from(certified.key.as_slice())).unwrap()
}

/// A federation in a test: its roster, and who has which certificate.
struct Federation {
    roster: watch::Sender<Arc<TestPeers>>,
    certificates: BTreeMap<NodeId, Certified>,
}

impl Federation {
    /// Names with a dot are agencies, others relays.
    fn of(names: &[&str]) -> Self {
        let (mut nodes, mut certificates) = (BTreeMap::new(), BTreeMap::new());
        for name in names {
            let certified = certified(&PKCS_ED25519, &[(*name).to_owned()]);
            let role = if name.contains('.') { Role::Agency } else { Role::Relay };
            nodes.insert(*identity(&certified).tls_key(), (id(name), role));
            certificates.insert(id(name), certified);
        }
        Self { roster: watch::Sender::new(Arc::new(TestPeers { version: 1, nodes })), certificates }
    }

    /// A newer roster without this node.
    fn remove(&self, name: &str) {
        self.roster.send_modify(|roster| {
            let mut next = TestPeers::clone(roster);
            next.version += 1;
            next.nodes.retain(|_, (node, _)| *node != id(name));
            *roster = Arc::new(next);
        });
    }

    fn identity(&self, name: &str) -> LinkIdentity {
        identity(&self.certificates[&id(name)])
    }

    /// What a node of this name would be configured with; it listens if it is a relay.
    fn config(&self, name: &str) -> EndpointConfig<TestPeers> {
        let role = if name.contains('.') { Role::Agency } else { Role::Relay };
        EndpointConfig {
            listen: (role == Role::Relay).then(|| SocketAddr::from(([127, 0, 0, 1], 0))),
            identity: self.identity(name),
            me: id(name),
            role,
            roster: self.roster.subscribe(),
            features: vec![],
            limits: LinkLimits::default(),
            timing: LinkTiming::default(),
            jitter: Arc::new(|| 0.5),
        }
    }

    fn node(&self, name: &str) -> Node {
        Node::start(self.config(name))
    }
}

/// One node: an endpoint, and its events.
struct Node {
    name: NodeId,
    endpoint: Endpoint,
    events: mpsc::Receiver<LinkEvent>,
}

impl Node {
    fn start(config: EndpointConfig<TestPeers>) -> Self {
        Self::with_channel(config, 256)
    }

    fn with_channel(config: EndpointConfig<TestPeers>, capacity: usize) -> Self {
        let (sender, events) = mpsc::channel(capacity);
        let name = config.me.clone();
        Self { name, endpoint: Endpoint::bind(config, sender).unwrap(), events }
    }

    fn address(&self) -> SocketAddr {
        self.endpoint.local_addr().unwrap()
    }

    fn dial(&self, peer: &Self) {
        self.dial_at(peer.name.as_str(), peer.address());
    }

    fn dial_at(&self, peer: &str, address: SocketAddr) {
        self.endpoint.dial(id(peer), vec![address.to_string()]);
    }

    async fn event(&mut self) -> LinkEvent {
        let what = format!("an event at {}", self.name);
        within(&what, PATIENCE, self.events.recv()).await.expect("the endpoint lives")
    }

    /// The next link that comes up; failures to dial may come before.
    async fn up(&mut self) -> LinkHandle {
        loop {
            match self.event().await {
                LinkEvent::Up { handle, .. } => return handle,
                LinkEvent::DialFailed { .. } => {}
                other => panic!("{} expected Up, not {other:?}", self.name),
            }
        }
    }

    /// Why the next link goes down.
    async fn down(&mut self) -> String {
        match self.event().await {
            LinkEvent::Down { reason, .. } => reason,
            other => panic!("{} expected Down, not {other:?}", self.name),
        }
    }

    /// Why dialing fails.
    async fn dial_failed(&mut self) -> String {
        match self.event().await {
            LinkEvent::DialFailed { reason, .. } => reason,
            other => panic!("{} expected DialFailed, not {other:?}", self.name),
        }
    }

    async fn transfer(&mut self) -> (u8, Transfer, Room) {
        match self.event().await {
            LinkEvent::Transfer { rank, transfer, room, .. } => (rank, transfer, room),
            other => panic!("{} expected Transfer, not {other:?}", self.name),
        }
    }

    /// That nothing happens for a while.
    async fn silent_for(&mut self, span: Duration) {
        if let Ok(event) = timeout(span, self.events.recv()).await {
            panic!("{} expected nothing, not {event:?}", self.name);
        }
    }
}

/// A relay `eu-1` and an agency `ncb.ee` that has dialed it.
async fn linked(federation: &Federation) -> ((Node, LinkHandle), (Node, LinkHandle)) {
    let (mut relay, mut agency) = (federation.node("eu-1"), federation.node("ncb.ee"));
    agency.dial(&relay);
    let (theirs, ours) = (relay.up().await, agency.up().await);
    ((relay, theirs), (agency, ours))
}

fn transfer(seq: u64, bytes: usize) -> Transfer {
    let accepted = Timestamp::from_millis(1);
    let envelope = Bytes::from(vec![seq as u8; bytes]);
    Transfer { seq, attempt: 1, branch: vec![0], path: vec![], accepted, envelope }
}
