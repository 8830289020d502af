//! How prekey bundles come from peers and go to them: offers, questions, and checks on one worker.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use liaison_core::budget::Bucket;
use liaison_core::bundle_fetch::{ASKED_MAX, BundleFetch, TURNS};
use liaison_core::{LinkKey, NodeKind};
use liaison_protocol::frame::{Bundle, BundleOffer, BundleRequest, BundleVersion, ControlFrame};
use liaison_protocol::prekey::BundlePosition;
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, NodeId, Timestamp, limits};

use crate::bundles::{self, Claim};
use crate::links::Link;
use crate::store_error::StoreError;
use crate::view::Reads;
use crate::work::bundles::{Arrived, BundleChecked, BundleChecks};
use crate::work::{Kind, Work};
use crate::{Driver, Output};

/// Bundles that are checked in one go.
const TOGETHER: usize = 16;
/// New bundles are offered on together, at most this often.
const OFFERS_EVERY: Duration = Duration::from_secs(1);

/// Prekey bundles on their way from and to peers.
pub(crate) struct BundleExchange {
    fetch: BundleFetch,
    /// Claims of stored bundles: an offer of thousands is answered without reading the store.
    stored: BTreeMap<AgencyId, Claim>,
    /// Came, and wait for their check: as many as may be asked for at a time.
    arrived: VecDeque<Arrived>,
    /// A worker checks some: one job at a time.
    checking: bool,
    /// The number of bundles each peer has pushed that nobody had asked for.
    pushed: BTreeMap<NodeId, Bucket>,
    /// New here, and not yet offered on; with the link that they came by.
    fresh: BTreeMap<AgencyId, Option<LinkKey>>,
    /// The earliest time for the next offer of new bundles, since the start.
    offer_at: Duration,
}

impl BundleExchange {
    /// With what the store holds.
    pub(crate) fn restore(store: &dyn Reads) -> Result<Self, StoreError> {
        let (fetch, arrived, pushed, fresh) = Default::default();
        let stored = bundles::claims(store)?.into_iter().map(|claim| (claim.agency.clone(), claim)).collect();
        Ok(Self { fetch, stored, arrived, checking: false, pushed, fresh, offer_at: Duration::ZERO })
    }

    /// The number of are in the store.
    pub(crate) fn known(&self) -> u64 {
        self.stored.len() as u64
    }

    /// The time of the next [`Driver::offer_fresh`], since the start.
    pub(crate) fn next(&self) -> Option<Duration> {
        (!self.fresh.is_empty()).then_some(self.offer_at)
    }

    pub(crate) fn handle_down(&mut self, link: LinkKey) {
        self.fetch.handle_down(link);
    }

    /// Another roster is in force.
    pub(crate) fn retain(&mut self, roster: &Roster) {
        self.fetch.retain(|agency| roster.agency(agency).is_some());
    }

    /// True if this peer may push one more bundle that nobody asked for.
    fn may_push(&mut self, peer: &NodeId, now: Timestamp) -> bool {
        let now = now.since(Timestamp::ZERO);
        self.pushed.retain(|_, bucket| !bucket.is_full(now));
        self.pushed.entry(peer.clone()).or_default().try_take(TURNS, now)
    }
}

impl Driver {
    /// The place of the bundle in the store, if that bundle counts.
    pub(crate) fn bundle_place(&self, agency: &AgencyId) -> Option<BundlePosition> {
        let stored = self.bundles.stored.get(agency)?;
        stored.counts(&self.roster, self.now()).then_some(stored.position)
    }

    /// Offers all bundles to a new peer.
    pub(crate) fn greet(&mut self, link: LinkKey) {
        let now = self.now();
        let known = self.bundles.stored.values().filter(|claim| claim.counts(&self.roster, now));
        let bundles = known.take(limits::AGENCIES_MAX).map(|claim| version(&claim.agency, claim.position)).collect();
        self.control(link, ControlFrame::BundleOffer(BundleOffer { bundles }));
    }

    /// Wants bundles that are newer than the stored ones, of agencies in the roster. A daemon also wants a bundle that stands where its
    /// own bundle does: another daemon with its identity may have published it.
    pub(crate) fn handle_offer(&mut self, link: LinkKey, offer: &BundleOffer) {
        for BundleVersion { agency, epoch, seq } in &offer.bundles {
            let offered = BundlePosition { epoch: *epoch, seq: *seq };
            let own = self.is_own(agency);
            let wanted = |known: BundlePosition| known < offered || (known == offered && own);
            if self.roster.agency(agency).is_some() && self.bundle_place(agency).is_none_or(wanted) {
                self.bundles.fetch.offered(agency, offered, link);
            }
        }
        self.ask_for_bundles();
    }

    /// Asks for bundles of agencies whose bundle counts no more, or could not be verified. Every peer is asked, the agency
    /// itself first.
    pub(crate) fn want_bundles(&mut self, agencies: &BTreeSet<AgencyId>) {
        for agency in agencies {
            let node = NodeId::from(agency);
            for (link, Link { peer, kind, .. }) in &self.links {
                if *peer == node || *kind == NodeKind::Relay {
                    let place = BundlePosition { epoch: 0, seq: u64::from(*peer == node) };
                    self.bundles.fetch.offered(agency, place, *link);
                }
            }
        }
        self.ask_for_bundles();
    }

    // [FRAME-7] [FRAME-8]
    pub(crate) fn ask_for_bundles(&mut self) {
        let now = self.now();
        for (link, agencies) in self.bundles.fetch.ask(now) {
            self.control(link, ControlFrame::BundleRequest(BundleRequest { agencies }));
        }
    }

    /// Asks others for what did not come.
    pub(crate) fn look_after_bundles(&mut self) {
        let now = self.now();
        self.bundles.fetch.give_up_late(now);
        self.ask_for_bundles();
    }

    /// This agency has a new bundle in the store.
    pub(crate) fn publish_bundle(&mut self, agency: &AgencyId) {
        match self.known_bundle(agency) {
            Ok(Some(known)) => {
                self.bundles.stored.extend(Claim::of(known.frame()).map(|claim| (agency.clone(), claim)));
                self.bundles.fresh.insert(agency.clone(), None);
                self.offer_fresh();
            }
            Ok(None) => {}
            Err(error) => self.fail(error),
        }
    }

    /// Tells every peer which bundles here are new, but for those that it has brought.
    pub(crate) fn offer_fresh(&mut self) {
        let fresh = std::mem::take(&mut self.bundles.fresh);
        self.bundles.offer_at = self.time.elapsed + OFFERS_EVERY;
        let places = fresh.into_iter().filter_map(|(agency, from)| Some((self.bundle_place(&agency)?, agency, from)));
        let places: Vec<_> = places.collect();
        let mut offers = Vec::new();
        for key in self.links.keys() {
            let news = places.iter().filter(|(_, _, from)| from.as_ref() != Some(key));
            let bundles: Vec<_> = news.map(|(place, agency, _)| version(agency, *place)).collect();
            if !bundles.is_empty() {
                offers.push((*key, ControlFrame::BundleOffer(BundleOffer { bundles })));
            }
        }
        offers.into_iter().for_each(|(link, offer)| self.control(link, offer));
    }

    /// Checks bundles that were asked for, and a few of the others.
    // [FRAME-7]
    pub(crate) fn check_bundle(&mut self, link: LinkKey, frame: Bundle) {
        let (Some(Claim { agency, .. }), Some(peer)) = (Claim::of(&frame), self.links.get(&link)) else { return };
        let (peer, now) = (peer.peer.clone(), self.now());
        let asked = self.bundles.fetch.arrived(&agency, link);
        let has_room = self.bundles.arrived.len() < ASKED_MAX && self.bundles.fetch.has_turn(&agency, now);
        if asked || (has_room && self.bundles.may_push(&peer, now)) {
            self.bundles.arrived.push_back(Arrived { link, agency, asked, frame });
            self.check_next_bundles();
        } else {
            tracing::debug!(%peer, %agency, "a prekey bundle came that was not asked for");
        }
    }

    fn check_next_bundles(&mut self) {
        let together = self.bundles.arrived.len().min(TOGETHER);
        if together == 0 || self.bundles.checking {
            return;
        }
        let batch: Vec<_> = self.bundles.arrived.drain(..together).collect();
        self.bundles.checking = true;
        let checks = BundleChecks { batch, roster: Arc::clone(&self.roster) };
        self.say(Output::Work(Work(Kind::Bundles(checks))));
    }

    pub(crate) fn handle_bundles_checked(&mut self, checked: Vec<BundleChecked>) {
        self.bundles.checking = false;
        for BundleChecked { arrived, outcome } in checked {
            let Arrived { link, agency, asked, frame } = arrived;
            // What is written is finished once it is durable.
            if !self.handle_bundle_checked(link, &frame, outcome) && asked {
                self.bundles.fetch.finished(&agency);
            }
        }
        self.check_next_bundles();
        self.ask_for_bundles();
    }

    /// A peer's bundle is in the store; or the disk was full.
    pub(crate) fn bundle_stored(&mut self, agency: &AgencyId, place: BundlePosition, link: LinkKey, is_stored: bool) {
        self.bundles.fetch.finished(agency);
        if is_stored {
            match self.store_claim(agency) {
                Ok(()) => {}
                Err(error) => return self.fail(error),
            }
            let now = self.now();
            self.bundles.fetch.taken(agency, place, now);
            self.bundles.fresh.insert(agency.clone(), Some(link));
        }
        self.ask_for_bundles();
    }

    fn store_claim(&mut self, agency: &AgencyId) -> Result<(), StoreError> {
        let claim = self.known_bundle(agency)?.as_ref().and_then(|known| Claim::of(known.frame()));
        self.bundles.stored.extend(claim.map(|claim| (agency.clone(), claim)));
        Ok(())
    }

    /// These were deleted from the store.
    pub(crate) fn forget_bundles(&mut self, agencies: &[AgencyId]) {
        for agency in agencies {
            self.bundles.stored.remove(agency);
            self.bundles.fresh.remove(agency);
        }
    }
}

fn version(agency: &AgencyId, BundlePosition { epoch, seq }: BundlePosition) -> BundleVersion {
    BundleVersion { agency: agency.clone(), epoch, seq }
}
