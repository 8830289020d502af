//! What peers have asked for and are still to get: rosters and prekey bundles, as their links take them.
//!
//! A question costs a few bytes, its answer may be megabytes. So an answer is made when the host finds room for it on
//! its link ([`Driver::next_answer`]). What is owed is remembered as names and versions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use liaison_core::LinkKey;
use liaison_core::budget::{Bucket, Pace};
use liaison_protocol::frame::{BundleRequest, CloseCode, ControlFrame, RosterRequest};
use liaison_protocol::{AgencyId, NodeId};

use crate::{Driver, Fault, Output, Time};

/// Questions for rosters that one link may have open. A peer that asks on is closed with `overload`.
const ROSTERS_MAX: usize = 64;
/// Bundles that one peer is sent at once and a minute, at least: twice all there are, and all there are in ten minutes.
const BUNDLES_MIN: u64 = 128;

/// Answers that peers are owed, by link.
#[derive(Default)]
pub(crate) struct Answers {
    owed: BTreeMap<LinkKey, Owed>,
    /// The number of bundles each peer was sent.
    served: BTreeMap<NodeId, Bucket>,
}

/// To one peer.
#[derive(Default)]
struct Owed {
    rosters: VecDeque<u32>,
    bundles: BTreeSet<AgencyId>,
}

impl Owed {
    fn is_nothing(&self) -> bool {
        self.rosters.is_empty() && self.bundles.is_empty()
    }
}

/// One answer, encoded as a control frame.
#[derive(Clone, Debug)]
pub struct OwedAnswer {
    /// The frame.
    pub frame: Bytes,
    /// All links share these octets.
    pub shared: bool,
}

impl Answers {
    pub(crate) fn handle_down(&mut self, link: LinkKey) {
        self.owed.remove(&link);
    }

    /// True if the peer may be sent one more bundle now.
    fn may_have_bundle(&mut self, peer: &NodeId, known: u64, time: Time) -> bool {
        let pace = Pace { at_once: (2 * known).max(BUNDLES_MIN), per_minute: (known / 10).max(BUNDLES_MIN) };
        self.served.entry(peer.clone()).or_default().try_take(pace, time.elapsed)
    }
}

impl Driver {
    /// Links with a peer that is owed an answer.
    #[must_use]
    pub fn owing(&self) -> Vec<LinkKey> {
        self.answers.owed.keys().copied().collect()
    }

    /// The next answer for a link that has room. `None`: nothing is owed, or the peer has had as many bundles as it may
    /// have for now. The same one is given until [`Driver::answered`] says that it was sent.
    pub fn next_answer(&mut self, link: LinkKey, time: Time) -> Option<OwedAnswer> {
        self.time = time;
        loop {
            let owed = self.answers.owed.get(&link)?;
            let answer = match (owed.rosters.front().copied(), owed.bundles.first().cloned()) {
                (Some(after), _) => self.roster_answer(after).map(Some),
                (None, Some(agency)) => self.bundle_answer(link, agency)?,
                (None, None) => return None,
            };
            match answer {
                Ok(Some(answer)) => return Some(answer),
                // The bundle counts no more.
                Ok(None) => self.answered(link),
                Err(fault) => {
                    self.fail(fault);
                    return None;
                }
            }
        }
    }

    /// The answer that [`Driver::next_answer`] gave for this link is on its way.
    pub fn answered(&mut self, link: LinkKey) {
        let Some(owed) = self.answers.owed.get_mut(&link) else { return };
        if owed.rosters.pop_front().is_none() {
            owed.bundles.pop_first();
        }
        if owed.is_nothing() {
            self.answers.owed.remove(&link);
        }
    }

    /// `None`: the peer has had enough for now.
    fn bundle_answer(&mut self, link: LinkKey, agency: AgencyId) -> Option<Result<Option<OwedAnswer>, Fault>> {
        let peer = self.links.get(&link)?.peer.clone();
        if !self.answers.may_have_bundle(&peer, self.bundles.known(), self.time) {
            return None;
        }
        let encoded = self.known_bundle(&agency).map(|known| {
            let frame = ControlFrame::Bundle(known?.frame().clone()).encode().ok()?;
            Some(OwedAnswer { frame: frame.into(), shared: false })
        });
        Some(encoded.map_err(Fault::from))
    }

    /// Each question for a roster gets one answer ([FRAME-6]).
    pub(crate) fn owe_roster(&mut self, link: LinkKey, request: RosterRequest) {
        let owed = self.answers.owed.entry(link).or_default();
        if owed.rosters.len() == ROSTERS_MAX {
            return self.say(Output::Close { link, code: CloseCode::Overload });
        }
        owed.rosters.push_back(request.after);
    }

    /// A bundle that is asked for again before it was sent is sent once.
    pub(crate) fn owe_bundles(&mut self, link: LinkKey, request: BundleRequest) {
        let known = request.agencies.into_iter().filter(|agency| self.bundle_place(agency).is_some());
        let known: Vec<AgencyId> = known.collect();
        if !known.is_empty() {
            self.answers.owed.entry(link).or_default().bundles.extend(known);
        }
    }

    /// Forgets how much peers were sent that have had nothing for a while.
    pub(crate) fn look_after_answers(&mut self) {
        let now = self.time.elapsed;
        self.answers.served.retain(|_, bucket| !bucket.is_full(now));
    }
}
