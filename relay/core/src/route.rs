//! Where an envelope goes next.
//!
//! A home relay of the recipient sends to the recipient itself, or to another home relay that has the recipient's link.
//! Any other relay sends to the first home relay that is linked, else through the relay that reaches one at least cost.
//! An envelope's path says where it has been: no relay but a home relay of the recipient sees it twice.

use std::collections::{BTreeMap, BTreeSet};

use liaison_protocol::frame::ReachEntry;
use liaison_protocol::limits::{AGENCIES_MAX, HOPS_MAX};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::roster::{Agency, Roster};
use liaison_protocol::{AgencyId, NodeId};

use crate::link::{LinkKey, NodeKind};

/// Cost of one link where none is configured.
const LINK_COST: u32 = 10;

/// Live links, and what their peers reach.
#[derive(Debug)]
pub struct Routes {
    me: NodeId,
    kind: NodeKind,
    /// A daemon's home relays, the preferred one first; empty: the roster's. Unused by relays.
    home: Vec<NodeId>,
    links: BTreeMap<NodeId, LinkKey>,
    relays: BTreeSet<NodeId>,
    reach: BTreeMap<NodeId, Vec<ReachEntry>>,
    /// Agencies linked to each linked relay, as it says: at most [`AGENCIES_MAX`] for each.
    present: BTreeMap<NodeId, BTreeSet<AgencyId>>,
    costs: BTreeMap<NodeId, u32>,
}

impl Routes {
    /// No link yet. `costs` are the configured ones, by peer.
    #[must_use]
    pub const fn new(me: NodeId, kind: NodeKind, home: Vec<NodeId>, costs: BTreeMap<NodeId, u32>) -> Self {
        Self {
            me,
            kind,
            home,
            links: BTreeMap::new(),
            relays: BTreeSet::new(),
            reach: BTreeMap::new(),
            present: BTreeMap::new(),
            costs,
        }
    }

    /// A link is up. The newest link to a peer is the one in use.
    pub fn handle_up(&mut self, link: LinkKey, peer: NodeId, kind: NodeKind) {
        if kind == NodeKind::Relay {
            self.relays.insert(peer.clone());
        }
        // Its first word on the new link says all anew.
        self.present.remove(&peer);
        self.links.insert(peer, link);
    }

    /// A link is gone. Another one to the same peer stays.
    pub fn handle_down(&mut self, link: LinkKey, peer: &NodeId) {
        if self.links.get(peer) == Some(&link) || planted(Mutant::OldLinkHidesTheNew) {
            self.links.remove(peer);
            self.relays.remove(peer);
            self.reach.remove(peer);
            self.present.remove(peer);
        }
    }

    /// What a relay says that it reaches. An agency's word on that is ignored.
    pub fn handle_reach(&mut self, peer: &NodeId, relays: Vec<ReachEntry>) {
        if self.relays.contains(peer) {
            self.reach.insert(peer.clone(), relays);
        }
    }

    /// A relay's word on which agencies are linked to it. What does not fit is not remembered, and its mail waits here.
    pub fn handle_presence(&mut self, peer: &NodeId, left: &[AgencyId], linked: &[AgencyId]) {
        if !self.relays.contains(peer) {
            return;
        }
        let present = self.present.entry(peer.clone()).or_default();
        present.retain(|agency| left.binary_search(agency).is_err());
        let room = AGENCIES_MAX.saturating_sub(present.len());
        present.extend(linked.iter().take(room).cloned());
    }

    /// The link to a peer.
    #[must_use]
    pub fn link_to(&self, peer: &NodeId) -> Option<LinkKey> {
        self.links.get(peer).copied()
    }

    /// Next holders for `agency`, the best first. Empty: hold it here.
    #[must_use]
    pub fn candidates(&self, agency: &AgencyId, roster: &Roster) -> Vec<LinkKey> {
        if self.kind == NodeKind::Daemon {
            let entry = if self.home.is_empty() { roster.agency(&self.me.to_agency()) } else { None };
            let home = entry.map_or(&self.home, |entry| &entry.home);
            return home.iter().filter_map(|relay| self.links.get(relay)).copied().collect();
        }
        let Some(entry) = roster.agency(agency) else { return Vec::new() };
        if entry.home.contains(&self.me) {
            let own = self.links.get(&NodeId::from(agency)).copied();
            return own.map_or_else(|| self.siblings(entry), |link| vec![link]);
        }
        let mut found: Vec<LinkKey> = entry.home.iter().filter_map(|relay| self.links.get(relay)).copied().collect();
        for link in self.through(&entry.home) {
            if !found.contains(&link) {
                found.push(link);
            }
        }
        found
    }

    /// Other home relays of this agency that have its link, the preferred one first.
    // [CUST-16]
    fn siblings(&self, agency: &Agency) -> Vec<LinkKey> {
        let has = |relay: &&NodeId| self.present.get(*relay).is_some_and(|present| present.contains(&agency.id));
        agency.home.iter().filter(has).filter_map(|relay| self.links.get(relay)).copied().collect()
    }

    /// Peers that reach one of `homes`, by cost.
    fn through(&self, homes: &[NodeId]) -> Vec<LinkKey> {
        let mut paths: Vec<(u32, &NodeId, LinkKey)> = Vec::new();
        for (peer, entries) in &self.reach {
            let reached = entries.iter().filter(|entry| {
                homes.contains(&entry.relay) && usize::from(entry.hops) < HOPS_MAX && entry.relay != self.me
            });
            let Some(link) = self.links.get(peer) else { continue };
            paths.extend(reached.map(|entry| (entry.cost.saturating_add(self.cost(peer)), peer, *link)));
        }
        paths.sort_unstable();
        paths.into_iter().map(|(_, _, link)| link).collect()
    }

    fn cost(&self, peer: &NodeId) -> u32 {
        self.costs.get(peer).copied().unwrap_or(LINK_COST)
    }

    /// What to tell each linked relay: whom we reach, without what we reach only through itself (split horizon).
    #[must_use]
    pub fn advertisements(&self) -> Vec<(LinkKey, Vec<ReachEntry>)> {
        if self.kind == NodeKind::Daemon {
            return Vec::new();
        }
        let mut all = Vec::new();
        for peer in &self.relays {
            if let Some(link) = self.links.get(peer) {
                all.push((*link, self.advertise_to(peer)));
            }
        }
        all
    }

    fn advertise_to(&self, to: &NodeId) -> Vec<ReachEntry> {
        let mut best: BTreeMap<NodeId, ReachEntry> = BTreeMap::new();
        let mut offer = |relay: &NodeId, cost: u32, hops: u8| {
            if relay == to || *relay == self.me || usize::from(hops) > HOPS_MAX - 1 {
                return;
            }
            let entry = ReachEntry { relay: relay.clone(), cost, hops };
            match best.get(relay) {
                Some(known) if (known.cost, known.hops) <= (cost, hops) => {}
                _ => {
                    best.insert(relay.clone(), entry);
                }
            }
        };
        for peer in self.relays.iter().filter(|peer| *peer != to) {
            offer(peer, self.cost(peer), 1);
            for entry in self.reach.get(peer).into_iter().flatten() {
                offer(&entry.relay, entry.cost.saturating_add(self.cost(peer)), entry.hops.saturating_add(1));
            }
        }
        best.into_values().collect()
    }
}
