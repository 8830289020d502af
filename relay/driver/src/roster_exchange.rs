//! How rosters come from peers and go to them: offers, questions, and one check at a time.
//!
//! ```text
//!  hello, offer ─► claim ─► question ─► answer ─► check (a worker, one at a time) ─► decision
//! ```

use std::collections::VecDeque;

use bytes::Bytes;
use liaison_core::LinkKey;
use liaison_core::roster_claims::RosterClaims;
use liaison_core::roster_state::{Announcement, Decision};
use liaison_protocol::frame::{CloseCode, ControlFrame, RosterFrame, RosterOffer, RosterRequest};
use liaison_protocol::roster::{Roster, RosterVersion};
use liaison_protocol::{Hash, NodeId};

use crate::answers::OwedAnswer;
use crate::links::Link;
use crate::work::roster::{RosterCheck, RosterChecked};
use crate::work::{Kind, Work};
use crate::{Driver, Fault, Output};

/// Rosters that were refused, by the hash of all their bytes: the same ones are not checked again.
const REFUSED_MAX: usize = 64;

/// Rosters on their way from and to peers.
#[derive(Default)]
pub(crate) struct RosterExchange {
    pub(crate) claims: RosterClaims,
    /// Answers that wait for their check: two at most, as no more questions are open.
    received: VecDeque<(NodeId, Bytes)>,
    /// A worker judges one.
    checking: bool,
    refused: VecDeque<Hash>,
    /// The frame with the roster that is followed: all links share its bytes.
    frame: Option<(Hash, Bytes)>,
    /// True if it was said that a newer roster does not come.
    frozen: bool,
}

impl RosterExchange {
    fn is_idle(&self) -> bool {
        self.received.is_empty() && !self.checking
    }
}

impl Driver {
    /// A peer says in its hello, or later, which roster it follows. Whoever is behind asks.
    pub(crate) fn hear_of_roster(&mut self, link: LinkKey, version: RosterVersion, hash: Hash) {
        let Some((peer, kind)) = self.links.get(&link).map(|link| (link.peer.clone(), link.kind)) else { return };
        match self.rosters.compare(version, hash) {
            Announcement::Newer | Announcement::Other => {
                let now = self.now();
                self.news.claims.said((peer, kind, link), version, hash, now);
            }
            Announcement::Older | Announcement::Same => self.news.claims.retracted(&peer),
        }
        self.ask_for_rosters();
    }

    /// Asks those who say that they follow a newer roster, unless an answer is being judged.
    // [FRAME-6]
    pub(crate) fn ask_for_rosters(&mut self) {
        if !self.news.is_idle() || self.adopting.is_some() {
            return;
        }
        let now = self.now();
        for (link, after) in self.news.claims.ask(self.roster.version(), now) {
            self.control(link, ControlFrame::RosterRequest(RosterRequest { after: after.0 }));
        }
    }

    /// A roster that was asked for over this link.
    pub(crate) fn handle_roster(&mut self, link: LinkKey, frame: RosterFrame) {
        // Too late otherwise: another peer was asked.
        let Some(peer) = self.news.claims.answered(link) else { return };
        if frame.bytes.is_empty() {
            tracing::warn!(%peer, "a peer claims to follow another roster, and has none to show");
            let now = self.now();
            self.news.claims.disproved(&peer, now);
        } else {
            self.news.received.push_back((peer, frame.bytes));
            self.check_next_roster();
        }
        self.ask_for_rosters();
    }

    /// On a worker: a long roster takes a second, and its signatures are costly.
    fn check_next_roster(&mut self) {
        if self.news.checking {
            return;
        }
        let Some((peer, bytes)) = self.news.received.pop_front() else { return };
        let (state, refused) = (self.rosters.clone(), self.news.refused.clone());
        self.news.checking = true;
        self.say(Output::Work(Work(Kind::Roster(Box::new(RosterCheck { peer, bytes, state, refused })))));
    }

    pub(crate) fn handle_roster_checked(&mut self, checked: RosterChecked) {
        self.news.checking = false;
        let RosterChecked { peer, bytes, hash, decision, against } = checked;
        let now = self.now();
        match decision {
            // Another roster is followed since: judged anew.
            Some(_) if against != self.rosters.trusted().hash() || self.adopting.is_some() => {
                self.news.received.push_front((peer, bytes));
            }
            Some(decision) => self.decide(&peer, hash, decision),
            None => self.news.claims.failed(&peer, now),
        }
        if self.adopting.is_none() {
            self.check_next_roster();
        }
        self.ask_for_rosters();
    }

    fn decide(&mut self, peer: &NodeId, hash: Hash, decision: Decision) {
        let adopted = matches!(decision, Decision::Adopt(_));
        if matches!(decision, Decision::Refuse(_)) {
            if self.news.refused.len() == REFUSED_MAX {
                self.news.refused.pop_front();
            }
            self.news.refused.push_back(hash);
        }
        if let Err(error) = self.apply_decision(decision) {
            tracing::warn!(%peer, error, "a peer's roster was not taken");
        }
        if !adopted {
            let now = self.now();
            self.news.claims.failed(peer, now);
        }
    }

    /// A roster's commit has ended: what waited for it goes on.
    pub(crate) fn go_on_with_rosters(&mut self) {
        self.adopting = None;
        self.check_next_roster();
        self.ask_for_rosters();
    }

    /// Tells every peer which roster is followed now.
    pub(crate) fn offer_followed_roster(&mut self) {
        let (version, hash) = (self.roster.version(), self.roster.hash());
        let roster = self.roster.clone();
        self.news.claims.follow(version, hash, |node| roster.role(node).is_some());
        self.news.refused.clear();
        self.news.frame = None;
        let offer = ControlFrame::RosterOffer(RosterOffer { version: version.0, hash });
        self.control_all(&offer);
    }

    /// The frame that answers a [`RosterRequest`].
    pub(crate) fn roster_answer(&mut self, after: u32) -> Result<OwedAnswer, Fault> {
        let stored = crate::rosters::first_after(&*self.store, RosterVersion(after))?;
        let (frame, shared) = match stored {
            Some((version, _)) if version == self.roster.version() => (self.followed_frame(), true),
            Some((_, bytes)) => (encoded(bytes), false),
            None => (encoded(Bytes::new()), false),
        };
        Ok(OwedAnswer { frame, shared })
    }

    fn followed_frame(&mut self) -> Bytes {
        let roster: &Roster = &self.roster;
        match &self.news.frame {
            Some((hash, frame)) if *hash == roster.hash() => frame.clone(),
            _ => {
                let frame = encoded(roster.signed().clone());
                self.news.frame = Some((roster.hash(), frame.clone()));
                frame
            }
        }
    }

    /// Closes links on which a roster was asked for and does not come, asks anew, and says once that a newer roster does
    /// not come.
    pub(crate) fn look_after_rosters(&mut self) {
        let now = self.now();
        for link in self.news.claims.overdue(now) {
            if let Some(Link { peer, .. }) = self.links.get(&link) {
                tracing::warn!(%peer, "a roster that was asked for does not come");
                self.say(Output::Close { link, code: CloseCode::Timeout });
            }
        }
        self.ask_for_rosters();
        let frozen = self.news.claims.frozen(self.roster.version(), self.now()).next();
        if let Some(by) = frozen.as_ref().filter(|_| !self.news.frozen) {
            tracing::error!(
                peer = %by.peer,
                announced = by.version.0,
                followed = self.roster.version().0,
                "a relay has spoken of a newer roster for a day, and none could be taken"
            );
        }
        self.news.frozen = frozen.is_some();
    }

    pub(crate) fn freeze_alarms(&self) -> Vec<String> {
        let followed = self.roster.version();
        let alarm = |by: liaison_core::roster_claims::Frozen| {
            let (peer, version) = (by.peer, by.version);
            format!(
                "{peer} has claimed for a day to follow roster version {version}, and gave none that is newer than \
                 {followed}: compare with the publisher's"
            )
        };
        self.news.claims.frozen(followed, self.now()).map(alarm).collect()
    }
}

/// Never fails for what the store holds: it came in such a frame, or an operator brought it within its bound.
fn encoded(bytes: Bytes) -> Bytes {
    let frame = ControlFrame::Roster(RosterFrame { bytes }).encode();
    frame.map_or_else(|_| Bytes::from_static(EMPTY_ROSTER), Bytes::from)
}

/// A roster frame with no roster.
const EMPTY_ROSTER: &[u8] = &[3, 0, 0, 0, 1, 0];
