//! Home relays of one agency tell each other where it is linked: what waits at one of them goes on to the one that has it.
// [CUST-16]

use std::collections::BTreeSet;

use liaison_protocol::frame::Presence;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, NodeId};

use super::Node;
use crate::action::Action;
use crate::link::{LinkKey, NodeKind};
use crate::op::RANKS;

impl Node {
    /// A relay's word: queues of the agencies that it names look for a way anew.
    pub(super) fn handle_presence(&mut self, link: LinkKey, presence: &Presence, actions: &mut Vec<Action>) {
        let Some((peer, _)) = self.peers.get(&link).cloned() else { return };
        // What an older link still brings is older than what the newer one has said.
        if self.routes.link_to(&peer) != Some(link) || planted(Mutant::PresenceIgnored) {
            return;
        }
        self.routes.handle_presence(&peer, &presence.left, &presence.linked);
        for agency in presence.left.iter().chain(&presence.linked) {
            for rank in 0..RANKS {
                self.look_anew(&(agency.clone(), rank), actions);
            }
        }
    }

    /// A link has come up or gone: its agency's other home relays hear of it, or the relay hears which agencies are here.
    pub(super) fn announce(&mut self, peer: &NodeId, kind: NodeKind, actions: &mut Vec<Action>) {
        if self.config.kind == NodeKind::Daemon {
            return;
        }
        if kind == NodeKind::Relay {
            return self.announce_to(peer, actions);
        }
        let agency = peer.to_agency();
        let linked = self.routes.link_to(peer).is_some();
        let siblings: Vec<NodeId> = siblings(&self.roster, &agency, &self.config.me).cloned().collect();
        for link in siblings.iter().filter_map(|relay| self.routes.link_to(relay)) {
            let told = self.told.entry(link).or_default();
            let changed = if linked { told.insert(agency.clone()) } else { told.remove(&agency) };
            if changed {
                let names = |say: bool| if say { vec![agency.clone()] } else { Vec::new() };
                let presence = Presence { left: names(!linked), linked: names(linked) };
                actions.push(Action::Presence { link, presence });
            }
        }
    }

    /// The roster has changed: who is home relay of whom may have, too.
    pub(super) fn announce_all(&mut self, actions: &mut Vec<Action>) {
        if self.config.kind == NodeKind::Daemon {
            return;
        }
        let relays = self.peers.values().filter(|(_, kind)| *kind == NodeKind::Relay);
        let relays: BTreeSet<NodeId> = relays.map(|(peer, _)| peer.clone()).collect();
        relays.iter().for_each(|relay| self.announce_to(relay, actions));
    }

    fn announce_to(&mut self, relay: &NodeId, actions: &mut Vec<Action>) {
        let Some(link) = self.routes.link_to(relay) else { return };
        let linked = self.peers.values().filter(|(_, kind)| *kind == NodeKind::Daemon);
        let linked = linked.map(|(peer, _)| peer.to_agency());
        let shared = |agency: &AgencyId| siblings(&self.roster, agency, &self.config.me).any(|home| home == relay);
        let now: BTreeSet<AgencyId> = linked.filter(shared).collect();
        let told = self.told.get(&link).cloned().unwrap_or_default();
        let presence = Presence {
            left: told.difference(&now).cloned().collect(),
            linked: now.difference(&told).cloned().collect(),
        };
        self.told.insert(link, now);
        if presence != Presence::default() {
            actions.push(Action::Presence { link, presence });
        }
    }
}

/// The other home relays of an agency, if `me` is one.
fn siblings<'a>(roster: &'a Roster, agency: &AgencyId, me: &'a NodeId) -> impl Iterator<Item = &'a NodeId> {
    let home = roster.agency(agency).map_or(&[][..], |entry| &entry.home);
    let shared = home.contains(me);
    home.iter().filter(move |relay| shared && *relay != me)
}
