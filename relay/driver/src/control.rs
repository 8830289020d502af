//! Frames of the control stream, each to where it belongs; inquiries.

use liaison_core::op::DedupeKey;
use liaison_core::{Event, LinkKey, NodeKind};
use liaison_protocol::frame::{ControlFrame, Inquiry, InquiryAnswer, Reach, RosterOffer};
use liaison_protocol::roster::RosterVersion;

use crate::agency::OwnEvent;
use crate::{Driver, Output};

impl Driver {
    pub(crate) fn handle_control(&mut self, link: LinkKey, frame: ControlFrame) {
        match frame {
            ControlFrame::Bundle(bundle) => self.check_bundle(link, bundle),
            ControlFrame::BundleOffer(offer) => self.handle_offer(link, &offer),
            ControlFrame::BundleRequest(request) => self.owe_bundles(link, request),
            ControlFrame::Comparison(comparison) => self.handle_comparison(link, comparison),
            ControlFrame::Custody(custody) => self.handle_custody(custody),
            ControlFrame::Inquiry(inquiry) => self.handle_inquiry(link, inquiry),
            ControlFrame::InquiryAnswer(answer) => self.handle_answer(link, answer),
            ControlFrame::Presence(presence) => self.apply(Event::Presence { link, presence }),
            ControlFrame::Reach(reach) => self.handle_reach(link, reach),
            ControlFrame::Roster(roster) => self.handle_roster(link, roster),
            ControlFrame::RosterOffer(RosterOffer { version, hash }) => {
                self.hear_of_roster(link, RosterVersion(version), hash);
            }
            ControlFrame::RosterRequest(request) => self.owe_roster(link, request),
            ControlFrame::Time(time) => self.handle_time(link, time),
        }
    }

    pub(crate) fn control(&mut self, link: LinkKey, frame: ControlFrame) {
        if self.links.contains_key(&link) {
            self.say(Output::Control { link, frame });
        }
    }

    /// The same frame to every peer.
    pub(crate) fn control_all(&mut self, frame: &ControlFrame) {
        let links: Vec<LinkKey> = self.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.control(link, frame.clone()));
    }

    /// Of relays that the roster does not name, nothing is kept.
    // [FRAME-9]
    fn handle_reach(&mut self, link: LinkKey, reach: Reach) {
        let mut relays = reach.relays;
        relays.retain(|entry| self.roster.relay(&entry.relay).is_some());
        self.apply(Event::Reach { link, relays });
    }

    fn handle_inquiry(&mut self, link: LinkKey, inquiry: Inquiry) {
        match self.store.remembered(&DedupeKey { id: inquiry.id, index: inquiry.index }) {
            Ok(seen) => self.apply(Event::Inquired { link, inquiry, seen }),
            Err(error) => self.fail(error),
        }
    }

    /// A relay passes it on to whoever asked; at a daemon it is about a message of its agency's.
    fn handle_answer(&mut self, link: LinkKey, answer: InquiryAnswer) {
        if self.kind == NodeKind::Relay {
            return self.apply(Event::InquiryAnswered { link, answer });
        }
        let Some(via) = self.links.get(&link).map(|link| link.peer.clone()) else { return };
        let InquiryAnswer { id, index, by, state } = answer;
        self.progress(OwnEvent::Answer { id, index, by, via, state });
    }
}
