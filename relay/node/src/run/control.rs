//! Frames of the control stream: prekey bundles, routes, inquiries, custody proofs.

use liaison_core::op::DedupeKey;
use liaison_core::{Event, LinkKey, NodeKind};
use liaison_protocol::frame::{
    Bundle, BundleOffer, BundleRequest, BundleVersion, ControlFrame, Inquiry, InquiryAnswer, Reach,
};
use liaison_protocol::{AgencyId, limits};

use super::Turn;
use super::requests::Waiter;
use crate::local::OwnEvent;
use crate::{bundles, clock};

/// A peer's bundle, after its check on a worker.
pub(super) struct BundleChecked {
    frame: Bundle,
    outcome: Result<AgencyId, bundles::AdmitError>,
}

impl Turn {
    /// What a peer hears first: which bundles are here.
    pub(super) fn greet(&mut self, link: LinkKey) {
        match bundles::list(&*self.store, None, limits::AGENCIES_MAX) {
            Ok(known) => {
                let versions = known.iter().map(|known| version(&known.bundle)).collect();
                self.control(link, ControlFrame::BundleOffer(BundleOffer { bundles: versions }));
            }
            Err(error) => self.fail(error),
        }
    }

    pub(super) fn handle_control(&mut self, link: LinkKey, frame: ControlFrame) {
        match frame {
            ControlFrame::Bundle(bundle) => self.check_bundle(bundle),
            ControlFrame::BundleOffer(offer) => self.handle_offer(link, &offer),
            ControlFrame::BundleRequest(request) => self.send_bundles(link, &request),
            ControlFrame::Comparison(comparison) => self.handle_comparison(link, comparison),
            ControlFrame::Custody(custody) => self.handle_custody(custody),
            ControlFrame::Inquiry(inquiry) => self.handle_inquiry(link, inquiry),
            ControlFrame::InquiryAnswer(answer) => self.handle_answer(link, answer),
            ControlFrame::Reach(Reach { relays }) => self.handle(Event::Reach { link, relays }),
            ControlFrame::Roster(roster) => self.handle_roster(&roster),
            ControlFrame::RosterRequest(request) => self.send_rosters(link, request),
        }
    }

    pub(super) fn control(&self, link: LinkKey, frame: ControlFrame) {
        if let Some(link) = self.links.get(&link) {
            drop(link.handle.control(&frame));
        }
    }

    /// Asks for what is newer than what is here, of agencies in the roster.
    fn handle_offer(&mut self, link: LinkKey, offer: &BundleOffer) {
        let mut wanted = Vec::new();
        for offered in &offer.bundles {
            if self.roster.agency(&offered.agency).is_none() {
                continue;
            }
            match bundles::get(&*self.store, &offered.agency) {
                Ok(Some(known)) if (known.bundle.epoch, known.bundle.seq) >= (offered.epoch, offered.seq) => {}
                Ok(_) => wanted.push(offered.agency.clone()),
                Err(error) => return self.fail(error),
            }
        }
        if !wanted.is_empty() {
            self.control(link, ControlFrame::BundleRequest(BundleRequest { agencies: wanted }));
        }
    }

    fn send_bundles(&mut self, link: LinkKey, request: &BundleRequest) {
        for agency in &request.agencies {
            match bundles::get(&*self.store, agency) {
                Ok(Some(known)) => self.control(link, ControlFrame::Bundle(known.frame)),
                Ok(None) => {}
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Tells every peer that this agency's bundle here is new.
    pub(super) fn offer_bundle(&mut self, agency: &AgencyId) {
        match bundles::get(&*self.store, agency) {
            Ok(Some(known)) => {
                let offer = BundleOffer { bundles: vec![version(&known.bundle)] };
                for link in self.links.values() {
                    drop(link.handle.control(&ControlFrame::BundleOffer(offer.clone())));
                }
            }
            Ok(None) => {}
            Err(error) => self.fail(error),
        }
    }

    fn check_bundle(&mut self, frame: Bundle) {
        let (roster, store) = (self.roster.clone(), self.store.clone());
        self.bundle_checks.spawn_blocking(move || {
            let outcome = check(&frame, &*store, &roster);
            BundleChecked { frame, outcome }
        });
    }

    pub(super) fn handle_bundle_checked(&mut self, checked: Result<BundleChecked, tokio::task::JoinError>) {
        let Ok(BundleChecked { frame, outcome }) = checked else {
            return self.fail(super::RunError::Thread("a worker".into()));
        };
        match outcome {
            // This agency makes its own.
            Ok(agency) if self.kind == NodeKind::Daemon && agency == self.me.to_agency() => {}
            Ok(agency) => {
                let ops = vec![bundles::put(&agency, &frame)];
                let ticket = self.ticket(Waiter::Bundle(agency));
                self.handle(Event::Records { ticket, ops });
            }
            Err(bundles::AdmitError::NotNewer { .. }) => {}
            Err(error) => tracing::warn!(%error, "a prekey bundle was refused"),
        }
    }

    fn handle_inquiry(&mut self, link: LinkKey, inquiry: Inquiry) {
        match self.store.remembered(&DedupeKey { id: inquiry.id, index: inquiry.index }) {
            Ok(seen) => self.handle(Event::Inquired { link, inquiry, seen }),
            Err(error) => self.fail(error),
        }
    }

    /// A relay passes it on to whoever asked; at a daemon it is about a message of its agency's.
    fn handle_answer(&mut self, link: LinkKey, answer: InquiryAnswer) {
        if self.kind == NodeKind::Relay {
            return self.handle(Event::InquiryAnswered { link, answer });
        }
        let Some(via) = self.links.get(&link).map(|link| link.peer.clone()) else { return };
        let InquiryAnswer { id, index, by, state } = answer;
        self.progress(OwnEvent::Answer { id, index, by, via, state });
    }
}

fn check(
    frame: &Bundle,
    store: &dyn crate::store::Store,
    roster: &liaison_protocol::Roster,
) -> Result<AgencyId, bundles::AdmitError> {
    let signed = liaison_protocol::prekey::SignedBundle::decode(&frame.bundle)?;
    let claimed: Option<liaison_protocol::prekey::PrekeyBundle> =
        liaison_protocol::codec::decode("prekey bundle", &signed.bundle, limits::BUNDLE_BYTES_MAX).ok();
    // What cannot be read from the store is compared with nothing, and then fails where it is written.
    let known = claimed.and_then(|claimed| bundles::get(store, &claimed.agency).ok().flatten());
    let verified = bundles::admit(frame, known.as_ref(), roster, clock::now())?;
    Ok(verified.bundle().agency.clone())
}

fn version(bundle: &liaison_protocol::prekey::PrekeyBundle) -> BundleVersion {
    BundleVersion { agency: bundle.agency.clone(), epoch: bundle.epoch, seq: bundle.seq }
}
