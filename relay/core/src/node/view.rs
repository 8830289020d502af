//! What an operator sees of a node's queues.

use liaison_protocol::{AgencyId, Hour, NodeId, Timestamp};

use super::Node;
use crate::clock::PeerClocks;
use crate::ledger::Tally;
use crate::link::LinkKey;

/// One queue and rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Whose.
    pub queue: AgencyId,
    /// Its rank.
    pub rank: u8,
    /// Entries in custody.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest was accepted.
    pub oldest: Option<Timestamp>,
    /// To whom it drains now; `None`: held until a link comes up.
    pub next_hop: Option<NodeId>,
    /// When it is tried again, if every peer that leads on has refused something of it for now.
    pub next_try: Option<Timestamp>,
    /// What a peer said last, with the peer's name.
    pub last_error: Option<String>,
    /// Entries that have passed every peer which leads on: they wait for other routes.
    pub parked: usize,
}

impl Node {
    /// Every queue that holds something, by name and rank.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueView> {
        let held = self.windows.iter().filter(|(_, window)| window.entries() > 0);
        let view = |((queue, rank), window): (&super::QueueKey, &super::Window)| QueueView {
            queue: queue.clone(),
            rank: *rank,
            entries: window.entries(),
            bytes: window.bytes(),
            oldest: window.oldest(),
            next_hop: self.next_hop_of(queue),
            next_try: self.stalled.get(&(queue.clone(), *rank)).copied(),
            last_error: window.last_error().map(Into::into),
            parked: window.parked(),
        };
        held.map(view).collect()
    }

    /// To whom this queue drains now.
    #[must_use]
    pub fn next_hop_of(&self, queue: &AgencyId) -> Option<NodeId> {
        let links = self.routes.candidates(queue, &self.roster);
        let peers: Vec<&NodeId> = links.iter().filter_map(|link| self.peers.get(link)).map(|(peer, _)| peer).collect();
        let open = peers.iter().find(|peer| self.holds.whole_until(peer, self.now).is_none());
        open.or_else(|| peers.first()).map(|peer| (*peer).clone())
    }

    /// Transfers sent by a link and not yet acknowledged.
    #[must_use]
    pub fn in_flight(&self, link: LinkKey) -> usize {
        self.lanes.iter().filter(|((other, _), _)| *other == link).map(|(_, lane)| lane.in_flight()).sum()
    }

    /// What was released to and accepted from each relay: by peer, way and hour.
    pub fn tallies(&self) -> impl Iterator<Item = (&NodeId, crate::ledger::Way, Hour, &Tally)> {
        self.ledger.all()
    }

    /// Whether what was released to `peer` in this hour has been compared since it last grew.
    #[must_use]
    pub fn is_compared(&self, peer: &NodeId, hour: Hour) -> bool {
        !self.ledger.has_changed(peer, hour)
    }

    /// Whether a comparison is under way.
    #[must_use]
    pub fn is_comparing(&self) -> bool {
        !self.conserve.is_idle()
    }

    /// Whether nothing is held, gathered or under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.flying.is_none() && self.windows.values().all(|window| window.entries() == 0)
    }

    /// This clock against the peers'.
    #[must_use]
    pub const fn clocks(&self) -> &PeerClocks {
        &self.clocks
    }

    /// Whether new custody is refused because an operator drains the node.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain == crate::event::Drain::On
    }
}
