//! What is asked locally, and who waits for the answer.

use std::sync::Arc;

use liaison_core::action::Outcome;
use liaison_core::roster_state::{ForkProof, Settled};
use liaison_core::{Event, LinkKey, NodeKind, Ticket};
use liaison_protocol::frame::{ControlFrame, Inquiry};
use liaison_protocol::limits::INQUIRY_HOPS_MAX;
use liaison_protocol::prekey::BundlePosition;
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, MessageId};

use crate::agency::{Answer, Request, RequestError, RequestId};
use crate::{Driver, Output};

/// The party that waits for a commit.
pub(crate) enum Waiter {
    /// A new bundle is in the store: its agency's peers are to hear of it.
    Bundle {
        /// The agency.
        agency: AgencyId,
        /// Its place among the agency's bundles.
        position: BundlePosition,
        /// The link that it came by.
        link: LinkKey,
    },
    /// A cancellation.
    Cancelled(RequestId),
    /// A step of forgetting old ids.
    Forgotten,
    /// The proof of a fork.
    Fork(Box<ForkProof>),
    /// Nobody.
    Nobody,
    /// A roster that takes effect.
    Roster(Arc<Roster>),
    /// An operator's decision about a fork.
    Settled(Arc<Roster>, Settled),
    /// A submission or records.
    Unit(RequestId),
}

impl Driver {
    pub(crate) fn handle_request(&mut self, asked: RequestId, request: Request) {
        match request {
            Request::Cancel { id, index, ops } => match self.store.positions_of(&id) {
                Ok(mut entries) => {
                    entries.retain(|(_, entry)| index.is_none_or(|index| entry.index == index));
                    let ticket = self.ticket(Waiter::Cancelled(asked));
                    self.apply(Event::Cancel { ticket, entries, ops });
                }
                Err(error) => self.fail(error),
            },
            Request::Commit { ops } => {
                let ticket = self.ticket(Waiter::Unit(asked));
                self.apply(Event::Records { ticket, ops });
            }
            Request::Inquire { id, index } => self.inquire(id, index),
            Request::PublishBundle => self.publish_bundle(&self.me.to_agency()),
            Request::Retry { id } => self.retry(asked, id),
            Request::Submit { envelope, attempt, tried, ops } => {
                let stored = match self.stored_branches(&envelope) {
                    Ok(stored) => stored.map(Box::new),
                    Err(error) => return self.fail(error),
                };
                let ticket = self.ticket(Waiter::Unit(asked));
                self.apply(Event::Submitted { ticket, envelope: *envelope, attempt, tried, stored, ops });
            }
        }
    }

    fn retry(&mut self, asked: RequestId, id: Option<MessageId>) {
        let waiting = match id {
            Some(id) => self.store.positions_of(&id).map(|entries| entries.len() as u64),
            None => Ok(self.core.queues().iter().map(|queue| queue.entries).sum()),
        };
        self.apply(Event::Retry);
        match waiting {
            Ok(waiting) => self.say(Output::Answer(asked, Ok(Answer::Going(waiting)))),
            Err(error) => self.fail(error),
        }
    }

    /// Asks every linked relay: each answers for itself and for whom it handed over to.
    fn inquire(&mut self, id: MessageId, index: u16) {
        let inquiry = Inquiry { id, index, hops: INQUIRY_HOPS_MAX };
        let relays = self.links.iter().filter(|(_, link)| link.kind == NodeKind::Relay);
        let links: Vec<LinkKey> = relays.map(|(key, _)| *key).collect();
        links.into_iter().for_each(|link| self.control(link, ControlFrame::Inquiry(inquiry)));
    }

    pub(crate) fn answer(&mut self, ticket: Ticket, outcome: Outcome) {
        let Some(waiter) = self.waiters.remove(&ticket) else { return };
        let result = match outcome {
            Outcome::Done { withdrawn } => Ok(withdrawn),
            Outcome::Full => Err(RequestError::Full),
        };
        match waiter {
            Waiter::Bundle { agency, position, link } => self.bundle_written(agency, position, link, result.is_ok()),
            Waiter::Cancelled(asked) => self.say(Output::Answer(asked, result.map(Answer::Withdrawn))),
            Waiter::Fork(proof) => {
                if result.is_ok() {
                    self.rosters.forked(*proof);
                }
            }
            Waiter::Settled(roster, decision) => {
                if result.is_ok() {
                    self.settled(roster, decision);
                }
            }
            Waiter::Forgotten => self.forgetting.handle_committed(),
            Waiter::Nobody => {}
            Waiter::Roster(roster) => {
                if result.is_ok() {
                    self.adopt(roster);
                }
                self.go_on_with_rosters();
            }
            Waiter::Unit(asked) => self.say(Output::Answer(asked, result.map(|_| Answer::Done))),
        }
    }
}
