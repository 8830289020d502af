//! Metrics of links (ux: "Metrics"). Labels come from the roster and from bounded sets, never from a stranger.

use std::time::{SystemTime, UNIX_EPOCH};

use liaison_protocol::{NodeId, Role};
use metrics::{Counter, Gauge, counter, gauge};

/// A handshake or hello that failed, on either side.
pub(super) fn handshake_failed(peer_role: Option<Role>, reason: &'static str) {
    let peer_role = peer_role.map_or("unknown", Role::as_str);
    counter!("liaison_link_handshake_failures_total", "peer_role" => peer_role, "reason" => reason).increment(1);
}

/// One link's meters. Dropping it says that the link is down.
pub(super) struct LinkMeter {
    received: Counter,
    sent: Counter,
    transitions: Counter,
    up: Gauge,
    rtt: Gauge,
    last_receive: Gauge,
    seen: (u64, u64),
}

impl LinkMeter {
    pub(super) fn up(peer: &NodeId, role: Role) -> Self {
        let peer = || peer.as_str().to_owned();
        let role = role.as_str();
        let meter = Self {
            received: counter!("liaison_link_received_bytes_total", "peer" => peer()),
            sent: counter!("liaison_link_sent_bytes_total", "peer" => peer()),
            transitions: counter!("liaison_link_transitions_total", "peer" => peer()),
            up: gauge!("liaison_link_up", "peer" => peer(), "role" => role),
            rtt: gauge!("liaison_link_rtt_seconds", "peer" => peer(), "role" => role),
            last_receive: gauge!("liaison_link_last_receive_timestamp_seconds", "peer" => peer(), "role" => role),
            seen: (0, 0),
        };
        meter.transitions.increment(1);
        meter.up.set(1.0);
        meter
    }

    /// Adds what has moved since the last look.
    pub(super) fn observe(&mut self, stats: &quinn::ConnectionStats) {
        let (received, sent) = (stats.udp_rx.bytes, stats.udp_tx.bytes);
        self.received.increment(received.saturating_sub(self.seen.0));
        self.sent.increment(sent.saturating_sub(self.seen.1));
        if received > self.seen.0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.last_receive.set(now.as_secs_f64());
        }
        self.rtt.set(stats.path.rtt.as_secs_f64());
        self.seen = (received, sent);
    }
}

impl Drop for LinkMeter {
    fn drop(&mut self) {
        self.transitions.increment(1);
        self.up.set(0.0);
    }
}
