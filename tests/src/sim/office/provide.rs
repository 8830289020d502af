//! Prekeys: what daemons have made and exchanged before a run begins, and how new ones travel.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use liaison_core::op::{Op, Table};
use liaison_core::{Event, LinkKey};
use liaison_node::bundles::{self, KnownBundle};
use liaison_node::local::{Answer, Asked, ForeignBundle, OwnEvent, Request};
use liaison_node::store::Reads;
use liaison_protocol::codec::Fixed;
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::frame::Bundle as FrameBundle;
use liaison_protocol::limits::CLOCK_AHEAD_MAX;
use liaison_protocol::prekey::{PrekeyBundle, PrekeyEntry, PrekeyPublic, sign_bundle};
use liaison_protocol::roster::Roster;
use liaison_protocol::{Hash, PrekeyId, Timestamp};

use super::Desk;
use super::store::{SimSlots, SimStore};
use crate::sim::fixture::{Federation, NODES_MAX, START};
use crate::sim::network::Frame;
use crate::sim::node::{Request as Waits, SimNode};
use crate::sim::plan::{Change, Fault, FaultKind};
use crate::sim::trace::{NodeNo, Step};
use crate::sim::world::World;

/// Every agency's prekeys, as far as each node knows them. What daemons know is on their disks; relays, which are told
/// by any peer, do not forget it with theirs.
#[derive(Default)]
pub(in crate::sim) struct Keys {
    known: Vec<BTreeMap<NodeNo, Arc<KnownBundle>>>,
    /// Bundles that hold under a roster: whether one does depends on nothing else, but for the time.
    good: HashSet<(u32, Bytes)>,
    /// Which of an agency's signing keys have vouched for each prekey.
    signers: BTreeMap<PrekeyId, BTreeSet<u8>>,
}

impl Keys {
    /// Every daemon has its own prekeys, and knows the others'.
    pub(in crate::sim) fn exchange(nodes: &[SimNode], federation: &Federation, seed: u64) -> Self {
        let daemons: Vec<NodeNo> = (0..nodes.len()).filter(|node| !federation.is_relay(*node)).collect();
        let mut known = BTreeMap::new();
        for node in daemons.iter().copied() {
            make(&nodes[node], node, federation, seed);
            let bundle = stored(&nodes[node], node, federation, nodes[node].clock(0)).expect("it was just made");
            known.insert(node, Arc::new(bundle));
        }
        let put =
            |(node, bundle): (&NodeNo, &Arc<KnownBundle>)| bundles::put(&federation.agency(*node), bundle.frame());
        let all: Vec<Op> = known.iter().map(put).collect();
        daemons.iter().for_each(|node| nodes[*node].disk_mut().apply(all.clone()));
        let mut keys = Self { known: vec![known.clone(); nodes.len()], ..Self::default() };
        known.iter().for_each(|(node, bundle)| keys.vouch(*node, bundle, federation));
        keys
    }

    /// What `node` seals to at `created`, and the latest expiry under it.
    pub(in crate::sim) fn select(
        &self,
        node: NodeNo,
        to: NodeNo,
        created: Timestamp,
    ) -> Option<(PrekeyPublic, Timestamp)> {
        self.known.get(node)?.get(&to)?.select(created)
    }

    /// What `node` knows better than `peer`.
    fn news(&self, node: NodeNo, peer: NodeNo) -> Vec<Arc<KnownBundle>> {
        let (Some(known), Some(there)) = (self.known.get(node), self.known.get(peer)) else { return Vec::new() };
        let newer = |(of, bundle): &(&NodeNo, &Arc<KnownBundle>)| {
            there.get(of).is_none_or(|there| there.position() < bundle.position())
        };
        known.iter().filter(newer).map(|(_, bundle)| Arc::clone(bundle)).collect()
    }

    /// Those whose signer the roster has ended go. Gives whose they were.
    fn drop_ended(&mut self, node: NodeNo, roster: &Roster, now: Timestamp) -> Vec<NodeNo> {
        let Some(known) = self.known.get_mut(node) else { return Vec::new() };
        let ended = known.iter().filter(|(of, bundle)| **of != node && !bundle.counts(roster, now));
        let ended: Vec<NodeNo> = ended.map(|(of, _)| *of).collect();
        known.retain(|of, _| !ended.contains(of));
        ended
    }

    /// An agency, or who has its key, has signed these prekeys.
    fn vouch(&mut self, of: NodeNo, bundle: &KnownBundle, federation: &Federation) {
        let generation = federation.generation(of, bundle.signer());
        for key in &bundle.bundle().keys {
            self.signers.entry(key.prekey_id()).or_default().insert(generation);
        }
    }

    fn learn(&mut self, node: NodeNo, of: NodeNo, bundle: &Arc<KnownBundle>) {
        self.known[node].insert(of, Arc::clone(bundle));
    }

    /// Whether `node` takes it, by the product's rules.
    fn admits(&mut self, (node, of): (NodeNo, NodeNo), bundle: &KnownBundle, roster: &Roster, now: Timestamp) -> bool {
        let known = self.known[node].get(&of);
        if known.is_some_and(|known| known.position() >= bundle.position()) {
            return false;
        }
        let key = (roster.version().0, bundle.frame().bundle.clone());
        if self.good.contains(&key) {
            return bundle.bundle().issued <= now.after(CLOCK_AHEAD_MAX);
        }
        let good = bundles::admit(bundle.frame(), known.map(|known| &**known), roster, now).is_ok();
        if good {
            self.good.insert(key);
        }
        good
    }
}

fn stored(node: &SimNode, number: NodeNo, federation: &Federation, now: Timestamp) -> Option<KnownBundle> {
    let store = SimStore { disk: Arc::clone(&node.stored), low: Arc::default() };
    bundles::get(&store as &dyn Reads, &federation.agency(number), node.roster(), now).expect("it reads")
}

/// The office makes its keys, over a disk that does all at once.
fn make(node: &SimNode, number: NodeNo, federation: &Federation, seed: u64) {
    let mut desk = Desk::open(node, number, federation, seed ^ number as u64, 0);
    loop {
        assert!(desk.errands.turn().is_some(), "its keys are made before all else waits");
        while let Ok(Asked { request, reply }) = desk.requests.try_recv() {
            match request {
                Request::Commit { ops } => {
                    let of_keys = |op: &Op| matches!(op, Op::Put { table: Table::Meta | Table::Bundles, .. });
                    assert!(ops.iter().all(of_keys), "nothing else is to be done yet");
                    node.disk_mut().apply(ops);
                    drop(reply.map(|reply| reply.send(Ok(Answer::Done))));
                }
                Request::PublishBundle => return,
                _ => {}
            }
        }
    }
}

impl World<'_> {
    /// What the peer does not know yet goes over this link: when it has come up, and when something new is known.
    pub(in crate::sim) fn offer_bundles(&mut self, node: NodeNo, link: LinkKey) {
        let Some(peer) = self.nodes[node].links.get(&link).copied() else { return };
        for bundle in self.keys.news(node, peer) {
            self.transmit(node, link, Frame::Bundle(bundle));
        }
    }

    /// Anybody's bundle, as this node knows it.
    pub(in crate::sim) fn any_bundle(&mut self, node: NodeNo) -> Option<Arc<KnownBundle>> {
        let known = self.keys.known.get(node).filter(|known| !known.is_empty())?;
        let at = usize::try_from(self.rng.range(0, known.len() as u64)).ok()?;
        known.values().nth(at).cloned()
    }

    fn offer_to_all(&mut self, node: NodeNo) {
        let links: Vec<LinkKey> = self.nodes[node].links.keys().copied().collect();
        links.into_iter().for_each(|link| self.offer_bundles(node, link));
    }

    /// A daemon has made new prekeys, and they are on its disk.
    pub(super) fn publish_bundle(&mut self, node: NodeNo) {
        if let Some(bundle) = stored(&self.nodes[node], node, &self.federation, self.clock(node)) {
            self.keys.vouch(node, &bundle, &self.federation);
            self.keys.learn(node, node, &Arc::new(bundle));
            self.offer_to_all(node);
        }
    }

    /// To whose prekeys an envelope is sealed, in a plan in which that matters.
    pub(in crate::sim) fn note_sealed(&mut self, node: NodeNo, envelope: &VerifiedEnvelope) {
        let matters =
            |fault: &Fault| matches!(fault.kind, FaultKind::Stolen(_) | FaultKind::Roster(Change::Rekeyed(_)));
        if !self.plan.office || !self.plan.faults.iter().any(matters) {
            return;
        }
        let id = envelope.id();
        for recipient in &envelope.header().recipients {
            let Some(signers) = self.keys.signers.get(&recipient.prekey_id) else { continue };
            let (signers, to) = (signers.iter().copied().collect(), (&recipient.id).into());
            let to = self.federation.number(&to).expect("a name of the plan");
            self.note(Step::Sealed { node, id, to, signers });
        }
    }

    /// A thief's bundle, as high as a bundle may stand, comes to the agency's first home relay.
    pub(in crate::sim) fn publish_stolen(&mut self, agency: NodeNo) {
        let Some(home) = self.plan.shape.homes(agency - self.plan.shape.relays()).first().copied() else { return };
        if !self.plan.office || !self.nodes[home].is_up() {
            return;
        }
        let now = START.after(Duration::from_millis(self.now_ms));
        let frame = self.stolen_bundle(agency, now);
        let roster = Arc::clone(self.nodes[home].roster());
        // Once its signer has ended, nobody takes it.
        let Ok(bundle) = bundles::admit(&frame, None, &roster, now) else { return };
        self.keys.vouch(agency, &bundle, &self.federation);
        self.bundle_came(home, &Arc::new(bundle));
    }

    fn stolen_bundle(&self, agency: NodeNo, now: Timestamp) -> FrameBundle {
        // Nobody of this federation has the private half.
        let key = self.federation.prekey(NODES_MAX - 1).public();
        let day = Duration::from_secs(86_400);
        let entry = |number: u32| PrekeyEntry {
            id: key.id(),
            not_before: now.before(day).after(day * number),
            not_after: now.after(day * number),
            once: false,
        };
        let bundle = PrekeyBundle {
            version: PrekeyBundle::VERSION,
            federation: self.nodes[agency].roster().federation(),
            agency: self.federation.agency(agency),
            epoch: u32::try_from(now.after(CLOCK_AHEAD_MAX).as_millis() / 1_000).expect("before 2106"),
            seq: now.as_millis(),
            issued: now,
            max_ttl_s: 7 * 86_400,
            keys: (0..30).map(entry).collect(),
        };
        let keys = bundle.keys.iter().map(|_| Fixed(Box::new(*key.as_bytes()))).collect();
        let signed = sign_bundle(&bundle, self.federation.stolen(agency)).expect("it obeys the rules");
        FrameBundle { bundle: signed.encode().into(), keys }
    }

    pub(in crate::sim) fn bundle_came(&mut self, node: NodeNo, bundle: &Arc<KnownBundle>) {
        let (Some(of), now) = (self.number_of(bundle), self.clock(node)) else { return };
        let roster = Arc::clone(self.nodes[node].roster());
        if of == node {
            return self.met_own(node, bundle);
        }
        if !self.keys.admits((node, of), bundle, &roster, now) {
            return;
        }
        if self.federation.is_relay(node) {
            self.keys.learn(node, of, bundle);
            return self.offer_to_all(node);
        }
        let ops = vec![bundles::put(&bundle.bundle().agency, bundle.frame())];
        let ticket = self.nodes[node].ticket(Waits::Bundle(Arc::clone(bundle)));
        self.handle(node, Event::Records { ticket, ops });
    }

    /// A daemon makes its own bundles: of another's, its office hears.
    fn met_own(&mut self, node: NodeNo, bundle: &KnownBundle) {
        let now = self.clock(node);
        let own = stored(&self.nodes[node], node, &self.federation, now);
        let is_own = own.as_ref().is_some_and(|own| own.frame() == bundle.frame());
        if is_own || !bundle.counts(self.nodes[node].roster(), now) {
            return;
        }
        let met = ForeignBundle {
            position: bundle.position(),
            issued: bundle.bundle().issued,
            signer: bundle.signer(),
            hash: Hash::of(&[&bundle.verified().signed().bundle]),
        };
        self.tell_office(node, OwnEvent::ForeignBundle(met));
        self.stir(node);
    }

    /// It is on this daemon's disk.
    pub(in crate::sim) fn bundle_written(&mut self, node: NodeNo, bundle: &Arc<KnownBundle>) -> Option<Event> {
        let of = self.number_of(bundle)?;
        self.keys.learn(node, of, bundle);
        self.offer_to_all(node);
        self.progress(node, OwnEvent::Bundle { agency: bundle.bundle().agency.clone() })
    }

    /// A roster has taken effect: what its end of a signer ends is dropped, and peers are asked for what stands now.
    pub(in crate::sim) fn follow_signers(&mut self, node: NodeNo) {
        let (roster, now) = (Arc::clone(self.nodes[node].roster()), self.clock(node));
        let ended = self.keys.drop_ended(node, &roster, now);
        if ended.is_empty() {
            return;
        }
        if !self.federation.is_relay(node) {
            let ops = ended.iter().map(|of| bundles::delete(&self.federation.agency(*of))).collect();
            let ticket = self.nodes[node].ticket(Waits::Records);
            self.handle(node, Event::Records { ticket, ops });
        }
        let peers: Vec<NodeNo> = self.nodes[node].links.values().copied().collect();
        for peer in peers {
            let links = self.nodes[peer].links.iter().filter(|(_, to)| **to == node);
            let links: Vec<LinkKey> = links.map(|(link, _)| *link).collect();
            links.into_iter().for_each(|link| self.offer_bundles(peer, link));
        }
    }

    fn number_of(&self, bundle: &KnownBundle) -> Option<NodeNo> {
        self.federation.number(&(&bundle.bundle().agency).into())
    }

    /// Its slot file is gone, as after a restore: no backup has one.
    pub(in crate::sim) fn lose_keys(&mut self, node: NodeNo) {
        self.nodes[node].agency.slots = SimSlots::default();
    }
}
