//! What peers have asked for and are still to get: rosters and prekey bundles, as their links take them.
//!
//! A question costs a few bytes, its answer may be megabytes. So answers are made when there is room for them: a link
//! has a small part of them under way at a time, and all links together a bounded one. What is owed is remembered as
//! names and versions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use liaison_core::LinkKey;
use liaison_core::budget::{Bucket, Pace};
use liaison_protocol::frame::{BundleRequest, CloseCode, ControlFrame, RosterRequest};
use liaison_protocol::{AgencyId, NodeId};
use tokio::time::Instant;

use super::{RunError, Turn};
use crate::link::SendError;

/// Bytes of answers under way on one link, from which on no further answer is made.
const LINK_BYTES_MAX: usize = 128 * 1024;
/// The same over all links, without what they share.
const ALL_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Questions for rosters that one link may have open. A peer that asks on is closed with `overload`.
const ROSTERS_MAX: usize = 64;
/// How often links are looked at that had no room.
pub(super) const BEAT: Duration = Duration::from_millis(20);
/// Bundles that one peer is sent at once and a minute, at least: twice all there are, and all there are in ten minutes.
const BUNDLES_MIN: u64 = 128;

/// See the module.
pub(super) struct Answers {
    owed: BTreeMap<LinkKey, Owed>,
    /// Frames that are queued, or that QUIC still has.
    out: Vec<(LinkKey, Bytes)>,
    /// How many bundles each peer was sent.
    served: BTreeMap<NodeId, Bucket>,
    started: Instant,
    looked: Instant,
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

impl Answers {
    pub(super) fn new() -> Self {
        let (started, looked) = (Instant::now(), Instant::now());
        Self { owed: BTreeMap::new(), out: Vec::new(), served: BTreeMap::new(), started, looked }
    }

    /// When [`Turn::serve_all`] is next of use.
    pub(super) fn next(&self) -> Option<Instant> {
        (!self.owed.is_empty()).then(|| self.looked + BEAT)
    }

    pub(super) fn handle_down(&mut self, link: LinkKey) {
        self.owed.remove(&link);
    }

    fn bytes_out(&mut self, link: LinkKey) -> (usize, usize) {
        self.out.retain(|(_, frame)| !frame.is_unique());
        let on_link = self.out.iter().filter(|(on, _)| *on == link).map(|(_, frame)| frame.len()).sum();
        (on_link, self.out.iter().map(|(_, frame)| frame.len()).sum())
    }

    /// Whether the peer may be sent one more bundle now.
    fn may_have_bundle(&mut self, peer: &NodeId, known: u64) -> bool {
        let pace = Pace { at_once: (2 * known).max(BUNDLES_MIN), per_minute: (known / 10).max(BUNDLES_MIN) };
        let now = self.started.elapsed();
        self.served.entry(peer.clone()).or_default().try_take(pace, now)
    }
}

impl Turn {
    /// Each question for a roster gets one answer ([FRAME-6]).
    pub(super) fn owe_roster(&mut self, link: LinkKey, request: RosterRequest) {
        let owed = self.answers.owed.entry(link).or_default();
        if owed.rosters.len() == ROSTERS_MAX {
            if let Some(link) = self.links.get(&link) {
                link.handle.close(CloseCode::Overload);
            }
            return;
        }
        owed.rosters.push_back(request.after);
        self.serve(link);
    }

    /// A bundle that is asked for again before it was sent is sent once.
    pub(super) fn owe_bundles(&mut self, link: LinkKey, request: BundleRequest) {
        let known = request.agencies.into_iter().filter(|agency| self.bundle_place(agency).is_some());
        let known: Vec<AgencyId> = known.collect();
        self.answers.owed.entry(link).or_default().bundles.extend(known);
        self.serve(link);
    }

    /// Sends on whatever had no room before.
    pub(super) fn serve_all(&mut self) {
        self.answers.looked = Instant::now();
        let now = self.answers.started.elapsed();
        self.answers.served.retain(|_, bucket| !bucket.is_full(now));
        let links: Vec<LinkKey> = self.answers.owed.keys().copied().collect();
        links.into_iter().for_each(|link| self.serve(link));
    }

    fn serve(&mut self, link: LinkKey) {
        let Some(mut owed) = self.answers.owed.remove(&link) else { return };
        while !owed.is_nothing() && self.has_room(link) {
            match self.serve_next(link, &mut owed) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return self.fail(error),
            }
        }
        if !owed.is_nothing() && self.links.contains_key(&link) {
            self.answers.owed.insert(link, owed);
        }
    }

    fn has_room(&mut self, link: LinkKey) -> bool {
        let Some(backlog) = self.links.get(&link).map(|link| link.handle.control_backlog()) else { return false };
        let (on_link, in_all) = self.answers.bytes_out(link);
        backlog.max(on_link) < LINK_BYTES_MAX && in_all < ALL_BYTES_MAX
    }

    /// Sends one answer; whether the link may take another.
    fn serve_next(&mut self, link: LinkKey, owed: &mut Owed) -> Result<bool, RunError> {
        if let Some(after) = owed.rosters.front() {
            let (frame, shared) = self.roster_answer(*after)?;
            let sent = self.send_answer(link, frame, shared);
            owed.rosters.drain(..usize::from(sent));
            return Ok(sent);
        }
        let Some(agency) = owed.bundles.first().cloned() else { return Ok(false) };
        let Some(peer) = self.links.get(&link).map(|link| link.peer.clone()) else { return Ok(false) };
        if !self.answers.may_have_bundle(&peer, self.bundles.known()) {
            return Ok(false);
        }
        let frame = self.known_bundle(&agency)?;
        let frame = frame.and_then(|known| ControlFrame::Bundle(known.frame().clone()).encode().ok());
        let sent = frame.is_none_or(|frame| self.send_answer(link, frame.into(), false));
        if sent {
            owed.bundles.remove(&agency);
        }
        Ok(sent)
    }

    fn send_answer(&mut self, link: LinkKey, frame: Bytes, shared: bool) -> bool {
        let Some(to) = self.links.get(&link) else { return false };
        match to.handle.control_encoded(&frame) {
            Ok(()) if shared => true,
            Ok(()) => {
                self.answers.out.push((link, frame));
                true
            }
            // A link that is gone takes nothing, and its end comes as an event.
            Err(SendError::Closed | SendError::Full | SendError::Frame(_) | SendError::NoLane { .. }) => false,
        }
    }
}
