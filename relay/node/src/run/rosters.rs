//! The roster in force: where it comes from, how a newer one takes effect, and how peers hear of it.

use std::sync::Arc;

use bytes::Bytes;
use liaison_core::Event;
use liaison_core::op::{Op, Table};
use liaison_core::roster_state::{Announcement, Decision, Jump};
use liaison_core::{LinkKey, NodeKind};
use liaison_protocol::frame::{ControlFrame, Hello, RosterFrame, RosterRequest};
use liaison_protocol::roster::{Roster, RosterError, RosterVersion, TrustAnchor};

use super::requests::Waiter;
use super::{Peer, Turn};
use crate::clock;
use crate::local::OwnEvent;
use crate::store::{Store, StoreError};

const PREFIX: &[u8] = b"roster/";
const FORK_KEY: &[u8] = b"roster-fork";
/// Rosters sent for one request.
const SENT_MAX: usize = 64;

/// Why there is no roster to start with.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file's roster is not one that the roots signed.
    #[error("the roster file: {0}")]
    File(#[source] RosterError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The newest roster that the roots vouch for: the file's, or a later one that peers brought and the store kept.
///
/// # Errors
/// [`LoadError`].
pub fn load(store: &dyn Store, anchor: &TrustAnchor, file: &[u8]) -> Result<Arc<Roster>, LoadError> {
    let mut newest = Roster::verify_first(file, anchor).map_err(LoadError::File)?;
    for (_, bytes) in store.scan(Table::Meta, PREFIX, None, usize::MAX)? {
        // What does not follow is older, or of roots that the file's have replaced.
        if let Ok(next) = Roster::verify_next(&bytes, &newest) {
            newest = next;
        }
    }
    Ok(Arc::new(newest))
}

pub(super) fn record(roster: &Roster) -> Op {
    let key = [PREFIX, &roster.version().0.to_be_bytes()].concat();
    Op::Put { table: Table::Meta, key, value: roster.signed().clone() }
}

impl Turn {
    /// Whoever is behind asks.
    pub(super) fn compare_rosters(&mut self, link: LinkKey, hello: &Hello) {
        let version = RosterVersion(hello.roster_version);
        let after = match self.rosters.announced(version, hello.roster_hash, clock::now()) {
            Announcement::Newer => self.roster.version().0,
            // Same number, other bytes: the other one is proof of a fork.
            Announcement::Other => version.0.saturating_sub(1),
            Announcement::Older | Announcement::Same => return,
        };
        self.control(link, ControlFrame::RosterRequest(RosterRequest { after }));
    }

    pub(super) fn send_rosters(&mut self, link: LinkKey, request: RosterRequest) {
        let from = [PREFIX, &request.after.to_be_bytes()].concat();
        match self.store.scan(Table::Meta, PREFIX, Some(&from), SENT_MAX) {
            Ok(records) => {
                for (_, bytes) in records {
                    self.control(link, ControlFrame::Roster(RosterFrame { bytes }));
                }
            }
            Err(error) => self.fail(error),
        }
    }

    /// Judges a roster from a peer or an operator. What is adopted takes effect once it is durable.
    /// Gives the version that is, or will then be, in force.
    pub(super) fn offer_roster(&mut self, bytes: &Bytes, jump: Jump) -> Result<RosterVersion, String> {
        match self.rosters.judge(bytes, jump) {
            Decision::Adopt(roster) => {
                let version = roster.version();
                self.adopting = Some(Arc::clone(&roster));
                let ops = vec![record(&roster)];
                let ticket = self.ticket(Waiter::Roster(roster));
                self.handle(Event::Records { ticket, ops });
                Ok(version)
            }
            Decision::Fork(proof) => {
                tracing::error!(version = %proof.version, "two rosters of one version are in circulation");
                let value = [proof.first.as_ref(), b"\n", proof.second.as_ref()].concat().into();
                self.rosters.forked(proof);
                self.commit_records(vec![Op::Put { table: Table::Meta, key: FORK_KEY.into(), value }]);
                Err("another roster of this version is in force: the roots tell two stories".into())
            }
            Decision::Older { offered } => Err(format!(
                "roster version {offered} is older than version {}, which is in force",
                self.roster.version()
            )),
            Decision::Refuse(error) => Err(error.to_string()),
            Decision::Same => Ok(self.roster.version()),
        }
    }

    pub(super) fn handle_roster(&mut self, frame: &RosterFrame) {
        if let Err(error) = self.offer_roster(&frame.bytes, Jump::Limit) {
            tracing::warn!(error, "a peer's roster was not taken");
        }
    }

    /// It is durable: from here on it decides ([ROSTER-10]).
    pub(super) fn adopt(&mut self, roster: Arc<Roster>) {
        if roster.version() <= self.roster.version() {
            return;
        }
        tracing::info!(version = %roster.version(), "roster in force");
        self.adopting = None;
        self.rosters.adopted(Arc::clone(&roster));
        self.roster = Arc::clone(&roster);
        self.roster_in_force.send_replace(Arc::clone(&roster));
        self.follow_relays(&roster);
        let frame = ControlFrame::Roster(RosterFrame { bytes: roster.signed().clone() });
        for link in self.links.values() {
            drop(link.handle.control(&frame));
        }
        self.handle(Event::Roster(roster));
        self.progress(OwnEvent::Roster);
    }

    /// A relay keeps links with every other relay: it dials those that are new, and no longer those that have left.
    fn follow_relays(&mut self, roster: &Roster) {
        if self.kind != NodeKind::Relay {
            return;
        }
        let gone = self.dialed.iter().filter(|peer| roster.relay(&peer.id).is_none()).map(|peer| peer.id.clone());
        self.redial.extend(gone);
        self.dialed.retain(|peer| roster.relay(&peer.id).is_some());
        for relay in roster.relays().filter(|relay| relay.id != self.me) {
            if !self.dialed.iter().any(|peer| peer.id == relay.id) {
                self.dialed.push(Peer { id: relay.id.clone(), addresses: relay.addresses.clone() });
                self.redial.push(relay.id.clone());
            }
        }
    }
}
