//! What links tell: who is there, what came, and what each peer was last seen to do.

use std::sync::Arc;
use std::time::Duration;

use liaison_core::{Event, LinkKey, NodeKind};
use liaison_protocol::roster::{Role, RosterVersion};
use liaison_protocol::{NodeId, Timestamp};

use super::Turn;
use super::inbound::{Arrived, Inbound};
use super::operate::PeerRecord;
use crate::clock;
use crate::link::{LinkEvent, LinkId, Rivals};
use crate::local::OwnEvent;

/// Two programs with one link key are an alarm for so long after they were last seen to meet.
const RIVALS_ALARM_FOR: Duration = Duration::from_secs(3_600);

/// A link that is up.
pub(super) struct Link {
    pub(super) peer: NodeId,
    pub(super) kind: NodeKind,
    pub(super) handle: crate::link::LinkHandle,
}

impl Turn {
    pub(super) fn handle_link(&mut self, event: LinkEvent, inbound: &mut Inbound) {
        self.note_received(&event);
        match event {
            LinkEvent::Up { link, peer, role, hello, handle, .. } => {
                let kind = match role {
                    Role::Agency => NodeKind::Daemon,
                    Role::Relay => NodeKind::Relay,
                };
                let link = key(link);
                self.peers.insert(peer.clone(), PeerRecord { since: Some(clock::now()), ..PeerRecord::default() });
                self.links.insert(link, Link { peer: peer.clone(), kind, handle });
                self.handle(Event::LinkUp { link, peer: peer.clone(), kind });
                self.tell_time(link);
                self.greet(link);
                self.hear_of_roster(link, RosterVersion(hello.roster_version), hello.roster_hash);
                self.send_kept_proofs(&peer);
                self.close_unused();
                self.progress(OwnEvent::LinkUp { peer });
            }
            LinkEvent::Down { link, peer, reason } => {
                tracing::debug!(%peer, reason, "link down");
                self.links.remove(&key(link));
                self.note_down(&peer, &reason);
                self.news.claims.handle_down(key(link));
                self.bundles.handle_down(key(link));
                self.answers.handle_down(key(link));
                self.handle(Event::LinkDown { link: key(link) });
                self.progress(OwnEvent::LinkDown { peer, reason });
            }
            LinkEvent::DialFailed { peer, reason } => {
                tracing::debug!(%peer, reason, "no link");
                self.note_failure(peer, reason);
            }
            LinkEvent::Rivals { peer, rivals } => self.note_rivals(peer, rivals),
            LinkEvent::Control { link, frame } => self.handle_control(key(link), frame),
            LinkEvent::Transfer { link, rank, transfer, room } => {
                inbound.check(
                    Arrived { link: key(link), rank, transfer, room },
                    Arc::clone(&self.roster),
                    clock::now(),
                );
            }
            LinkEvent::Acks { link, rank, acks } => self.handle_acks(key(link), rank, acks),
        }
    }
}

impl Turn {
    fn note_received(&mut self, event: &LinkEvent) {
        let (LinkEvent::Acks { link, .. } | LinkEvent::Control { link, .. } | LinkEvent::Transfer { link, .. }) = event
        else {
            return;
        };
        let Some(link) = self.links.get(&key(*link)) else { return };
        if let Some(record) = self.peers.get_mut(&link.peer) {
            record.last_receive = Some(clock::now());
        }
    }

    fn note_rivals(&mut self, peer: NodeId, rivals: Rivals) {
        let Rivals { older, newer } = rivals;
        tracing::error!(%peer, %older, %newer, "two programs use the link key of one node");
        let now = clock::now();
        self.rivals.retain(|_, (at, _)| now.since(*at) < RIVALS_ALARM_FOR);
        self.rivals.insert(peer, (now, rivals));
    }

    /// Of the last hour.
    pub(super) fn rival_alarms(&self) -> Vec<String> {
        let now = clock::now();
        let recent = self.rivals.iter().filter(|(_, (at, _))| now.since(*at) < RIVALS_ALARM_FOR);
        let alarm = |(peer, (_, Rivals { older, newer })): (&NodeId, &(Timestamp, Rivals))| {
            format!(
                "two programs use the link key of {peer}, at {older} and {newer}: stop one, or replace the key if one of them \
                 is a stranger's"
            )
        };
        recent.map(alarm).collect()
    }

    fn note_down(&mut self, peer: &NodeId, reason: &str) {
        // An older link to a peer that has a newer one says nothing about it.
        if self.roster.role(peer).is_some() && !self.links.values().any(|link| link.peer == *peer) {
            let record = self.peers.entry(peer.clone()).or_default();
            record.since = Some(clock::now());
            record.last_error = Some(reason.into());
        }
    }

    fn note_failure(&mut self, peer: NodeId, reason: String) {
        if self.roster.role(&peer).is_none() {
            return; // a dialer that is about to end
        }
        let record = self.peers.entry(peer).or_default();
        record.failure_since.get_or_insert_with(clock::now);
        record.last_error = Some(reason);
    }
}

const fn key(link: LinkId) -> LinkKey {
    LinkKey(link.get())
}
