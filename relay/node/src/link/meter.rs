//! One link's counters.

use liaison_protocol::NodeId;

use crate::metric;

/// Counts a link's bytes, and that it went up and down. Dropping it says that the link is down. The gauges of links
/// follow from the node's status.
pub(super) struct LinkMeter {
    peer: NodeId,
    seen: (u64, u64),
}

impl LinkMeter {
    pub(super) fn up(peer: NodeId) -> Self {
        metric::link_transition(&peer);
        Self { peer, seen: (0, 0) }
    }

    /// Adds what has moved since the last look, in UDP datagrams.
    pub(super) fn observe(&mut self, stats: &quinn::ConnectionStats) {
        let (received, sent) = (stats.udp_rx.bytes, stats.udp_tx.bytes);
        metric::link_received(&self.peer, received.saturating_sub(self.seen.0));
        metric::link_sent(&self.peer, sent.saturating_sub(self.seen.1));
        self.seen = (received, sent);
    }
}

impl Drop for LinkMeter {
    fn drop(&mut self) {
        metric::link_transition(&self.peer);
    }
}
