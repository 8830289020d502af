//! Comparing with other relays what was released to them, and answering theirs.

use liaison_protocol::frame::{
    Comparison, CustodyState, HourTally, InquiryAnswer, Roll, RollAnswer, Tallies, TalliesAnswer,
};
use liaison_protocol::{Hour, NodeId, Timestamp};

use super::Node;
use crate::action::Action;
use crate::conserve::{ReleasedItem, Step};
use crate::event::Received;
use crate::ledger::{Count, Ledger, Way};
use crate::link::{LinkKey, NodeKind};
use crate::op::{DedupeKey, Entry, Remembered};

impl Node {
    /// A relay is linked: whatever it lost while it was away is to be found at once.
    pub(super) fn compare_with(&mut self, peer: &NodeId, kind: NodeKind) {
        if self.is_relay() && kind == NodeKind::Relay {
            self.ledger.compare_again(peer);
            self.conserve.want(peer.clone());
        }
    }

    /// An operator wants to know now.
    pub(super) fn handle_compare(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let relays = self.peers.values().filter(|(_, kind)| *kind == NodeKind::Relay);
        let relays: Vec<NodeId> = relays.map(|(peer, _)| peer.clone()).collect();
        for peer in relays {
            self.compare_with(&peer, NodeKind::Relay);
        }
        self.compare_next(now, actions);
    }

    const fn is_relay(&self) -> bool {
        matches!(self.config.kind, NodeKind::Relay)
    }

    /// Begins the next comparison, if none is under way.
    pub(super) fn compare_next(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        while let Some(peer) = self.conserve.take_waiting() {
            let Some(link) = self.routes.link_to(&peer) else { continue };
            let mut hours = self.ledger.changed(&peer, Hour(u32::MAX));
            hours.truncate(liaison_protocol::frame::TALLY_HOURS_MAX);
            if hours.is_empty() {
                continue;
            }
            self.conserve.begin(peer, link, &hours, now);
            actions.push(Action::Compare { link, frame: Comparison::Tallies(Tallies { hours }) });
        }
    }

    /// Once an hour, what has grown is compared: after the hour's end, when most of it no longer moves.
    pub(super) fn compare_hourly(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.compare_at.is_some_and(|at| at <= now) {
            self.compare_at = None;
            let relays = self.peers.values().filter(|(_, kind)| *kind == NodeKind::Relay && self.is_relay());
            let relays: Vec<NodeId> = relays.map(|(peer, _)| peer.clone()).collect();
            relays.into_iter().for_each(|peer| self.conserve.want(peer));
        }
        self.conserve.give_up_late(now);
        self.compare_next(now, actions);
    }

    /// An item was released: the hour's comparison is due some minutes after its end.
    pub(super) fn schedule_compare(&mut self, now: Timestamp) {
        if self.compare_at.is_none() && self.is_relay() {
            let next = Hour(Hour::of(now).0.saturating_add(1)).start();
            self.compare_at = Some(next.after(super::COMPARE_AFTER));
        }
    }

    /// A frame of a comparison. `known` says of a roll, item by item, whether the store remembers it.
    // [CONS-1]
    pub(super) fn handle_comparison(
        &mut self,
        link: LinkKey,
        frame: &Comparison,
        known: &[bool],
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        if !self.is_relay() || self.peers.get(&link).is_none_or(|(_, kind)| *kind != NodeKind::Relay) {
            return;
        }
        match frame {
            Comparison::Tallies(theirs) => self.handle_tallies(link, theirs, actions),
            Comparison::TalliesAnswer(theirs) => self.handle_tallies_answer(link, theirs, now, actions),
            Comparison::Roll(roll) => self.handle_roll(link, roll, known, actions),
            Comparison::RollAnswer(answer) => self.handle_roll_answer(link, answer, now, actions),
        }
        self.compare_next(now, actions);
    }

    /// A peer says what it released to this node.
    fn handle_tallies(&self, link: LinkKey, theirs: &Tallies, actions: &mut Vec<Action>) {
        let Some((peer, _)) = self.peers.get(&link) else { return };
        let differs = |hour: &HourTally| {
            let tally = self.ledger.tally(peer, Way::Accepted, hour.hour);
            (tally != hour.tally).then_some(HourTally { hour: hour.hour, tally })
        };
        let hours = theirs.hours.iter().filter_map(differs).collect();
        actions.push(Action::Compare { link, frame: Comparison::TalliesAnswer(TalliesAnswer { hours }) });
    }

    /// A peer asks what of a roll this node does not remember; `known` says, item by item, what the store does.
    fn handle_roll(&self, link: LinkKey, roll: &Roll, known: &[bool], actions: &mut Vec<Action>) {
        let pending = |place: usize| {
            roll.items.get(place).is_some_and(|item| self.is_pending(&DedupeKey { id: item.id, index: item.index }))
        };
        let unknown = known.iter().enumerate().filter(|(place, known)| !**known && !pending(*place));
        let unknown = unknown.filter_map(|(place, _)| u16::try_from(place).ok()).collect();
        actions.push(Action::Compare { link, frame: Comparison::RollAnswer(RollAnswer { unknown }) });
    }

    fn handle_tallies_answer(
        &mut self,
        link: LinkKey,
        theirs: &TalliesAnswer,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let peer = self.conserve.peer_of(link).cloned();
        let steps = self.conserve.answered(link, &theirs.hours, now);
        self.take_steps(peer, link, steps, actions);
    }

    fn handle_roll_answer(&mut self, link: LinkKey, answer: &RollAnswer, now: Timestamp, actions: &mut Vec<Action>) {
        let peer = self.conserve.peer_of(link).cloned();
        let steps = self.conserve.unknown(link, &answer.unknown, now);
        self.take_steps(peer, link, steps, actions);
    }

    pub(super) fn handle_released_page(
        &mut self,
        link: LinkKey,
        items: Vec<ReleasedItem>,
        next: Option<DedupeKey>,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let Some(peer) = self.conserve.peer_of(link).cloned() else { return };
        let steps = self.conserve.loaded(items, next, now);
        self.take_steps(Some(peer), link, steps, actions);
        self.compare_next(now, actions);
    }

    // [CONS-2]
    fn take_steps(&mut self, peer: Option<NodeId>, link: LinkKey, steps: Vec<Step>, actions: &mut Vec<Action>) {
        let Some(peer) = peer else { return };
        for step in steps {
            match step {
                Step::Agreed { hour, tally } => {
                    self.ledger.compared(&peer, hour, &tally);
                    actions.push(Action::Compared { peer: peer.clone(), hour, finding: None });
                }
                Step::Found { hour, finding } => {
                    self.ledger.compared(&peer, hour, &finding.released);
                    self.open.accept(finding.put(&peer, hour));
                    actions.push(Action::Compared { peer: peer.clone(), hour, finding: Some(Box::new(finding)) });
                }
                Step::Load { hours, after } => {
                    actions.push(Action::LoadReleased { link, peer: peer.clone(), hours, after });
                }
                Step::Roll(items) => {
                    actions.push(Action::Compare { link, frame: Comparison::Roll(Roll { items }) });
                }
                Step::Missing(item) => self.tell_missing(&peer, &item, actions),
            }
        }
    }

    /// Whoever handed it over, if it is the sender's daemon, sends it again at once. From a relay the sender hears with
    /// its next inquiry.
    fn tell_missing(&self, peer: &NodeId, item: &ReleasedItem, actions: &mut Vec<Action>) {
        let link = item.from.as_ref().and_then(|from| self.routes.link_to(from));
        let daemon = |link: &LinkKey| self.peers.get(link).is_some_and(|(_, kind)| *kind == NodeKind::Daemon);
        if let Some(link) = link.filter(daemon) {
            let DedupeKey { id, index } = item.key;
            let answer = InquiryAnswer { id, index, by: peer.clone(), state: CustodyState::Unknown };
            actions.push(Action::Tell { link, answer });
        }
    }

    /// Counts what a relay released to this one: once for each attempt, when it is first acknowledged. Its own notices
    /// are not counted, because it does not remember them.
    pub(super) fn count_accepted(
        &mut self,
        (peer, kind): (&NodeId, NodeKind),
        received: &Received,
        index: u16,
        seen: Option<&Remembered>,
        now: Timestamp,
    ) {
        let again = seen.is_some_and(|seen| seen.from.as_ref() == Some(peer) && received.attempt <= seen.attempt);
        let counted = self.is_relay() && kind == NodeKind::Relay && received.envelope.header().sender != *peer;
        let hour = Hour::of(received.accepted);
        if counted && !again && Ledger::covers(hour, now) {
            let key = DedupeKey { id: received.envelope.id(), index };
            self.open.accepted.push(Count::new(peer.clone(), Way::Accepted, hour, &key, received.attempt));
        }
    }

    /// Counts what is released to a relay.
    pub(super) fn count_released(&mut self, to: &(NodeId, NodeKind), entry: &Entry, now: Timestamp) {
        let counted = self.is_relay() && to.1 == NodeKind::Relay && entry.from != self.config.me;
        let hour = Hour::of(entry.accepted);
        if counted && Ledger::covers(hour, now) {
            let key = DedupeKey { id: entry.id, index: entry.index };
            self.open.released.push(Count::new(to.0.clone(), Way::Released, hour, &key, entry.attempt));
            self.schedule_compare(now);
        }
    }
}
