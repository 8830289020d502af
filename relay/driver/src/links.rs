//! What links tell: who is there, what came, and what each peer was last seen to do.

use std::time::Duration;

use liaison_core::{Event, LinkKey, NodeKind};
use liaison_protocol::roster::RosterVersion;
use liaison_protocol::{Hash, NodeId, Timestamp};

use crate::Driver;
use crate::agency::OwnEvent;
use crate::input::LinkInput;

/// Two programs with one link key are an alarm for so long after they were last seen to meet.
const RIVALS_ALARM_FOR: Duration = Duration::from_secs(3_600);

/// A link that is up.
pub(crate) struct Link {
    pub(crate) peer: NodeId,
    pub(crate) kind: NodeKind,
}

/// The record of a peer, linked or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerRecord {
    pub(crate) since: Option<Timestamp>,
    pub(crate) last_receive: Option<Timestamp>,
    pub(crate) failure_since: Option<Timestamp>,
    pub(crate) last_error: Option<String>,
}

/// Two programs that use one link key, and when they were last seen to meet.
pub(crate) struct Rivals {
    at: Timestamp,
    older: String,
    newer: String,
}

impl Driver {
    pub(crate) fn handle_link(&mut self, input: LinkInput) {
        match input {
            LinkInput::Acks { link, rank, acks } => {
                self.note_received(link);
                self.handle_acks(link, rank, acks);
            }
            LinkInput::Control { link, frame } => {
                self.note_received(link);
                self.handle_control(link, frame);
            }
            LinkInput::DialFailed { peer, reason } => {
                tracing::debug!(%peer, reason, "no link");
                self.note_failure(peer, reason);
            }
            LinkInput::Down { link, peer, reason } => self.handle_down(link, peer, reason),
            LinkInput::Rivals { peer, older, newer } => self.note_rivals(peer, older, newer),
            LinkInput::TransferCame { link } => self.note_received(link),
            LinkInput::Up { link, peer, kind, roster } => self.handle_up(link, peer, kind, roster),
        }
    }

    fn handle_up(&mut self, link: LinkKey, peer: NodeId, kind: NodeKind, (version, hash): (RosterVersion, Hash)) {
        self.peers.insert(peer.clone(), PeerRecord { since: Some(self.now()), ..PeerRecord::default() });
        self.links.insert(link, Link { peer: peer.clone(), kind });
        self.apply(Event::LinkUp { link, peer: peer.clone(), kind });
        self.tell_time(link);
        self.greet(link);
        self.hear_of_roster(link, version, hash);
        self.send_kept_proofs(&peer);
        self.close_unused();
        self.progress(OwnEvent::LinkUp { peer });
    }

    fn handle_down(&mut self, link: LinkKey, peer: NodeId, reason: String) {
        tracing::debug!(%peer, reason, "link down");
        self.links.remove(&link);
        self.note_down(&peer, &reason);
        self.news.claims.handle_down(link);
        self.bundles.handle_down(link);
        self.answers.handle_down(link);
        self.apply(Event::LinkDown { link });
        self.progress(OwnEvent::LinkDown { peer, reason });
    }
}

impl Driver {
    fn note_received(&mut self, link: LinkKey) {
        let now = self.now();
        let Some(link) = self.links.get(&link) else { return };
        if let Some(record) = self.peers.get_mut(&link.peer) {
            record.last_receive = Some(now);
        }
    }

    fn note_rivals(&mut self, peer: NodeId, older: String, newer: String) {
        tracing::error!(%peer, %older, %newer, "two programs use the link key of one node");
        let now = self.now();
        self.rivals.retain(|_, rivals| now.since(rivals.at) < RIVALS_ALARM_FOR);
        self.rivals.insert(peer, Rivals { at: now, older, newer });
    }

    /// Of the last hour.
    pub(crate) fn rival_alarms(&self) -> Vec<String> {
        let now = self.now();
        let recent = self.rivals.iter().filter(|(_, rivals)| now.since(rivals.at) < RIVALS_ALARM_FOR);
        let alarm = |(peer, Rivals { older, newer, .. }): (&NodeId, &Rivals)| {
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
            let now = self.now();
            let record = self.peers.entry(peer.clone()).or_default();
            record.since = Some(now);
            record.last_error = Some(reason.into());
        }
    }

    fn note_failure(&mut self, peer: NodeId, reason: String) {
        if self.roster.role(&peer).is_none() {
            return; // a dialer that is about to end
        }
        let now = self.now();
        let record = self.peers.entry(peer).or_default();
        record.failure_since.get_or_insert(now);
        record.last_error = Some(reason);
    }
}
