//! What an endpoint needs to know. Defaults are the protocol's; tests shorten them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use liaison_protocol::{NodeId, Role, Roster};
use tokio::sync::watch;

use super::identity::LinkIdentity;

/// Everything that [`super::Endpoint::bind`] takes, but for the channel of events.
pub struct EndpointConfig<P = Roster> {
    /// UDP address to be dialed at; `None` for a node that only dials.
    pub listen: Option<SocketAddr>,
    /// Our certificate and key.
    pub identity: LinkIdentity,
    /// Our name in the roster.
    pub me: NodeId,
    /// Our role in the roster.
    pub role: Role,
    /// The roster of the moment. A change closes the links of nodes that it no longer names within a second.
    pub roster: watch::Receiver<Arc<P>>,
    /// Features of our hello.
    pub features: Vec<u16>,
    /// Bounds.
    pub limits: LinkLimits,
    /// Deadlines and intervals.
    pub timing: LinkTiming,
    /// A number in `0.0..1.0` for each call: spreads nodes out in time.
    pub jitter: Jitter,
}

impl<P> EndpointConfig<P> {
    /// A node that only dials, with the defaults of the protocol.
    #[must_use]
    pub fn new(identity: LinkIdentity, me: NodeId, role: Role, roster: watch::Receiver<Arc<P>>) -> Self {
        Self {
            listen: None,
            identity,
            me,
            role,
            roster,
            features: Vec::new(),
            limits: LinkLimits::default(),
            timing: LinkTiming::default(),
            jitter: system_jitter(),
        }
    }
}

/// Where the endpoint's jitter comes from.
pub type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Jitter from the system's random source.
#[must_use]
pub fn system_jitter() -> Jitter {
    // A system without randomness fails in every handshake; here the middle will do.
    Arc::new(|| getrandom::u32().map_or(0.5, |number| f64::from(number) / (f64::from(u32::MAX) + 1.0)))
}

/// Bounds of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLimits {
    /// Links up at a time; one more is closed with `overload`. Default 4,096.
    pub links_max: usize,
    /// Handshakes under way at a time; one more is not answered. Default 512.
    pub handshakes_max: usize,
    /// Handshakes under way with one address (IPv6: one /64); one more is refused. Default 64.
    pub handshakes_per_address_max: usize,
    /// Handshakes a second from which on addresses must prove that they are real first. Default 100.
    pub handshake_rate: u32,
    /// Bytes of received envelopes between the links and whoever takes the events, over all links; at the bound
    /// links are not read. Default 64 MiB, at least one frame.
    pub received_bytes_max: usize,
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            links_max: 4096,
            handshakes_max: 512,
            handshakes_per_address_max: 64,
            handshake_rate: 100,
            received_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// Deadlines and intervals of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkTiming {
    /// A packet at least this often. Default 5 s.
    pub keep_alive: Duration,
    /// A link is dead after this silence: three lost keep-alives ([LINK-5]). Default 15 s.
    pub idle: Duration,
    /// From the first packet to the peer's hello. Default 10 s.
    pub handshake: Duration,
    /// How long a frame may stand still, in either direction, while nothing else moves on its link. Default 15 s.
    pub stall: Duration,
    /// A peer's address is probed this often while it does not answer. Default 1 s.
    pub probe: Duration,
    /// A probe is given up after this; probes overlap, so that paths slower than `probe` work. Default 3 s.
    pub attempt: Duration,
    /// A link to a relay that has not answered for this long, and four times its round trip, is doubted: if we dial that
    /// relay, it is dialed anew beside it. Default 1 s.
    pub doubt: Duration,
    /// Wait after a peer's first refusal, doubled with each further one, with full jitter. Default 250 ms.
    pub backoff_min: Duration,
    /// Longest wait between refusals. Default 60 s.
    pub backoff_max: Duration,
    /// What is queued for a peer may take this long to reach it when we close in peace. Default 1 s.
    pub drain: Duration,
}

impl Default for LinkTiming {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(5),
            idle: Duration::from_secs(15),
            handshake: Duration::from_secs(10),
            stall: Duration::from_secs(15),
            probe: Duration::from_secs(1),
            attempt: Duration::from_secs(3),
            doubt: Duration::from_secs(1),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(60),
            drain: Duration::from_secs(1),
        }
    }
}
