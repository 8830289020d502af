//! The relays that this node keeps links with: the roster names them, and follows them to new addresses.

use std::collections::BTreeMap;

use liaison_core::{Config, LinkKey, NodeKind};
use liaison_protocol::frame::CloseCode;
use liaison_protocol::roster::Roster;
use liaison_protocol::{NodeId, Role};

use crate::{Driver, Output};

/// A relay to keep a link with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    /// `host:port`, tried in turn.
    pub(crate) addresses: Vec<String>,
}

impl Peer {
    pub(crate) fn dial(&self) -> Output {
        Output::Dial { peer: self.id.clone(), addresses: self.addresses.clone() }
    }
}

/// The rule behind the links of one node.
#[derive(Clone, Debug)]
pub(crate) struct Dialing {
    me: NodeId,
    kind: NodeKind,
    /// A daemon's configured home relays; empty: the roster's.
    home: Vec<NodeId>,
    /// Configured addresses of relays. They replace the roster's.
    addresses: BTreeMap<NodeId, Vec<String>>,
}

impl Dialing {
    pub(crate) fn new(core: &Config, addresses: BTreeMap<NodeId, Vec<String>>) -> Self {
        Self { me: core.me.clone(), kind: core.kind, home: core.home.clone(), addresses }
    }

    /// At a relay every other relay, at a daemon its home relays; as far as the roster names them.
    pub(crate) fn peers(&self, roster: &Roster) -> Vec<Peer> {
        let ids: Vec<NodeId> = match self.kind {
            NodeKind::Daemon if self.home.is_empty() => {
                roster.agency(&self.me.to_agency()).map(|agency| agency.home.clone()).unwrap_or_default()
            }
            NodeKind::Daemon => self.home.clone(),
            NodeKind::Relay => {
                roster.relays().map(|relay| relay.id.clone()).filter(|relay| *relay != self.me).collect()
            }
        };
        let peer = |id: NodeId| {
            let named = &roster.relay(&id)?.addresses;
            let addresses = self.addresses.get(&id).filter(|own| !own.is_empty()).unwrap_or(named).clone();
            Some(Peer { id, addresses })
        };
        ids.into_iter().filter_map(peer).collect()
    }
}

impl Driver {
    /// A new roster: dials relays that are new, follows those that have moved, and lets go of those that have left.
    pub(crate) fn follow_relays(&mut self, roster: &Roster) {
        let next = self.dialing.peers(roster);
        let gone = self.dialed.iter().filter(|old| !next.iter().any(|peer| peer.id == old.id));
        let gone = gone.map(|old| Output::Undial { peer: old.id.clone() });
        let new = next.iter().filter(|peer| !self.dialed.contains(peer)).map(Peer::dial);
        let changes: Vec<Output> = gone.chain(new).collect();
        self.outputs.extend(changes);
        self.dialed = next;
        self.close_unused();
        let known = |peer: &NodeId| roster.role(peer).is_some();
        self.peers.retain(|peer, _| known(peer));
    }

    /// A daemon that has a link to one of its home relays needs none to a relay that no longer is one.
    pub(crate) fn close_unused(&mut self) {
        let dialed = |peer: &NodeId| self.dialed.iter().any(|dialed| dialed.id == *peer);
        if self.kind == NodeKind::Daemon && self.links.values().any(|link| dialed(&link.peer)) {
            let unused = self.links.iter().filter(|(_, link)| !dialed(&link.peer));
            let close = |(link, _): (&LinkKey, _)| Output::Close { link: *link, code: CloseCode::Shutdown };
            let closed: Vec<Output> = unused.map(close).collect();
            self.outputs.extend(closed);
        }
    }

    /// The link with a peer, if it is up.
    pub(crate) fn link_to(&self, peer: &NodeId) -> Option<LinkKey> {
        self.links.iter().find(|(_, link)| link.peer == *peer).map(|(key, _)| *key)
    }

    /// As the roster says; of a peer that it no longer names, as the link's handshake said.
    pub(crate) fn role_of(&self, peer: &NodeId) -> Option<Role> {
        let linked = || self.links.values().find(|link| link.peer == *peer);
        self.roster.role(peer).or_else(|| {
            Some(match linked()?.kind {
                NodeKind::Daemon => Role::Agency,
                NodeKind::Relay => Role::Relay,
            })
        })
    }
}
