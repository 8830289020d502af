//! What the log says of mail that is refused for its amount: once when it begins, and once when it is over.

use std::collections::BTreeMap;
use std::time::Duration;

use liaison_core::LinkKey;
use liaison_protocol::frame::Ack;
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{NodeId, Timestamp};

use crate::Driver;

/// Between two lines about one peer.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Peers some of whose mail was refused, and when the log said so. One entry for each peer of the roster.
#[derive(Default)]
pub(crate) struct Refusals(BTreeMap<NodeId, Timestamp>);

impl Driver {
    /// Says that a peer's mail is refused because a quota is used up or too much comes in a second; and that it is taken
    /// again.
    pub(crate) fn note_refusals(&mut self, link: LinkKey, ack: &Ack) {
        let Some(peer) = self.links.get(&link).map(|link| link.peer.clone()) else { return };
        let [quota, rate] = [RefusalReason::Quota, RefusalReason::Rate].map(RefusalReason::code);
        let refused = ack.refused.iter().find(|refused| refused.reason == quota || refused.reason == rate);
        let (now, said) = (self.now(), self.refusals.0.get(&peer).copied());
        match refused {
            Some(refused) if said.is_none_or(|said| now.since(said) >= SAY_EVERY) => {
                tracing::warn!(%peer, detail = refused.detail, "mail is refused for its amount; the peer keeps that mail");
                self.refusals.0.insert(peer, now);
            }
            None if said.is_some() && !ack.taken.is_empty() => {
                tracing::info!(%peer, "mail is taken again");
                self.refusals.0.remove(&peer);
            }
            _ => {}
        }
    }

    /// Another roster is in force.
    pub(crate) fn forget_refusals(&mut self) {
        let roster = &self.roster;
        self.refusals.0.retain(|peer, _| roster.role(peer).is_some());
    }
}
