//! Passing custody on: which entry goes by which link, and what its acknowledgement means.

use liaison_protocol::frame::{Ack, CustodyProof, ReachEntry};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{AgencyId, Hour, NodeId, Timestamp};

use super::hold::without_receipt;
use super::{LaneKey, Node, QueueKey};
use crate::action::{Action, CloseReason, Measure, Passed, SendTransfer};
use crate::admit;
use crate::batch::{dequeue, remember_until};
use crate::lane::Flight;
use crate::link::{LinkKey, NodeKind};
use crate::op::{DedupeKey, Entry, Held, Op, Position, RANKS, Remembered};
use crate::proofs::VerifiedReceipt;
use crate::queue::WINDOW;

/// By which link an entry goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// By this one, now.
    By(LinkKey),
    /// Every peer that leads on has refused it for now. The first of those refusals ends then.
    Later(Timestamp),
    /// No peer leads on that it has not been to: it waits for another route, as a loop or one hop too many would only
    /// bring it back with a refusal.
    Nowhere,
}

impl Node {
    pub(super) fn handle_link_up(&mut self, link: LinkKey, peer: NodeId, kind: NodeKind, actions: &mut Vec<Action>) {
        self.routes.handle_up(link, peer.clone(), kind);
        self.holds.handle_up(&peer);
        self.peers.insert(link, (peer.clone(), kind));
        self.advertise(actions);
        self.announce(&peer, kind, actions);
        self.reroute(actions);
    }

    pub(super) fn handle_link_down(&mut self, link: LinkKey, actions: &mut Vec<Action>) {
        let Some((peer, kind)) = self.peers.remove(&link) else { return };
        self.routes.handle_down(link, &peer);
        if self.routes.link_to(&peer).is_none() {
            self.clocks.forget(&peer);
        }
        self.advertised.remove(&link);
        self.told.remove(&link);
        self.conserve.handle_down(link, &peer);
        let unanswered = self.inquiries.handle_down(link);
        self.end_inquiries(unanswered, actions);
        for rank in 0..RANKS {
            let Some(lane) = self.lanes.remove(&(link, rank)) else { continue };
            for flight in lane.into_flights() {
                self.put_back(flight);
            }
        }
        self.advertise(actions);
        if kind == NodeKind::Daemon {
            self.announce(&peer, kind, actions);
        }
        self.reroute(actions);
    }

    /// The peer may have taken it, and may not: it is sent again, and whoever has it says so.
    fn put_back(&mut self, flight: Flight) {
        for (_, position) in flight.entries {
            if planted(Mutant::DeleteOnLinkDown) {
                self.lose(&position, Timestamp::ZERO, &mut Vec::new());
            }
            self.put_back_entry(flight.id, position);
        }
    }

    pub(super) fn put_back_entry(&mut self, id: liaison_protocol::MessageId, position: Position) {
        if let Some(window) = self.windows.get_mut(&(position.queue.clone(), position.rank)) {
            if planted(Mutant::PutBackForgotten) {
                return;
            }
            window.put_back(position.seq);
            self.waiting.entry(id).or_default().insert(position);
        }
    }

    pub(super) fn handle_reach(&mut self, link: LinkKey, relays: Vec<ReachEntry>, actions: &mut Vec<Action>) {
        let Some((peer, _)) = self.peers.get(&link).cloned() else { return };
        self.routes.handle_reach(&peer, relays);
        self.advertise(actions);
        self.reroute(actions);
    }

    /// Tells each peer what it has not been told yet. An answer to every answer would never end.
    fn advertise(&mut self, actions: &mut Vec<Action>) {
        for (link, relays) in self.routes.advertisements() {
            if self.advertised.get(&link) != Some(&relays) {
                self.advertised.insert(link, relays.clone());
                actions.push(Action::Reach { link, relays });
            }
        }
    }

    /// Routes have changed: every queue looks anew for a lane.
    pub(super) fn reroute(&mut self, actions: &mut Vec<Action>) {
        self.ready.clear();
        self.stalled.clear();
        let keys: Vec<QueueKey> = self.windows.keys().cloned().collect();
        for key in keys {
            self.look_anew(&key, actions);
        }
    }

    /// What a queue has set aside waits for a lane again.
    pub(super) fn look_anew(&mut self, key: &QueueKey, actions: &mut Vec<Action>) {
        if let Some(window) = self.windows.get_mut(key) {
            for (id, seq) in window.look_anew() {
                let position = Position { queue: key.0.clone(), rank: key.1, seq };
                self.waiting.entry(id).or_default().insert(position);
            }
        }
        self.wake(key, actions);
    }

    /// A queue may have something to send: puts it on its lane's list, and loads more of it.
    pub(super) fn wake(&mut self, key: &QueueKey, actions: &mut Vec<Action>) {
        let removed = self.is_removed(&key.0);
        let Some(window) = self.windows.get_mut(key) else { return };
        if window.entries() == 0 {
            return;
        }
        if removed {
            self.removed.insert(key.clone());
            return self.end_removed(key, actions);
        }
        let candidates = self.routes.candidates(&key.0, &self.roster);
        let is_open = |link: &&LinkKey| {
            let peer = self.peers.get(*link);
            peer.is_some_and(|(peer, _)| self.holds.whole_until(peer, self.now).is_none())
        };
        let Some(link) = candidates.iter().find(is_open).or_else(|| candidates.first()).copied() else { return };
        if let Some(after) = window.wants_load() {
            actions.push(Action::Load { queue: key.0.clone(), rank: key.1, after, limit: WINDOW / 2 });
        }
        if window.has_waiting() && window.held_until(Timestamp::ZERO).is_none() {
            self.make_ready((link, key.1), key.0.clone());
        }
    }

    fn make_ready(&mut self, lane: LaneKey, queue: AgencyId) {
        let list = self.ready.entry(lane).or_default();
        if !list.contains(&queue) {
            list.push_back(queue);
        }
    }

    pub(super) fn handle_loaded(
        &mut self,
        queue: &AgencyId,
        rank: u8,
        entries: Vec<(u64, Entry)>,
        end: bool,
        actions: &mut Vec<Action>,
    ) {
        let key = (queue.clone(), rank);
        let position = |seq| Position { queue: queue.clone(), rank, seq };
        let Some(window) = self.windows.get_mut(&key) else { return };
        let (ending, releasing) = (&self.ending, &self.releasing);
        let gone = |seq| ending.contains_key(&position(seq)) || releasing.contains_key(&position(seq));
        let gone = |seq| gone(seq) && !planted(Mutant::LoadSendsTheRemoved);
        let added = window.handle_loaded(entries, end, gone);
        let ids: Vec<_> = added.iter().filter_map(|seq| window.entry(*seq).map(|entry| (entry.id, *seq))).collect();
        for (id, seq) in ids {
            self.waiting.entry(id).or_default().insert(position(seq));
        }
        self.wake(&key, actions);
    }

    /// An entry is durable: it joins its queue.
    pub(super) fn queue_added(&mut self, position: Position, entry: Entry, actions: &mut Vec<Action>) {
        self.next_expiry = Some(self.next_expiry.map_or(entry.expires, |next| next.min(entry.expires)));
        let key = (position.queue.clone(), position.rank);
        let id = entry.id;
        if self.windows.entry(key.clone()).or_default().add(position.seq, entry) {
            self.waiting.entry(id).or_default().insert(position);
        }
        self.wake(&key, actions);
    }

    /// Fills every lane that has room, the most urgent rank first, the queues of a lane in turn.
    pub(super) fn forward(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        // A queue that goes on by another lane may come to one that has had its turn. Each time round, a queue's next
        // entry has found its lane or is sent, so that this ends.
        while self.fill_lanes(now, actions) {}
    }

    /// Whether a queue has been given to another lane.
    fn fill_lanes(&mut self, now: Timestamp, actions: &mut Vec<Action>) -> bool {
        let mut lanes: Vec<LaneKey> = self.ready.keys().copied().collect();
        lanes.sort_unstable_by_key(|(link, rank)| (*rank, *link));
        let mut moved = false;
        for lane in lanes {
            let held = |((_, rank), until): (&QueueKey, &Timestamp)| *rank == lane.1 && *until > now;
            let stopped = planted(Mutant::HoldStopsTheLane) && self.stalled.iter().any(held);
            if stopped || self.gives_way(lane, now) {
                continue;
            }
            moved |= self.fill(lane, now, actions);
            if self.ready.get(&lane).is_some_and(std::collections::VecDeque::is_empty) {
                self.ready.remove(&lane);
            }
        }
        moved
    }

    /// Whether a more urgent lane of the same link has something in flight, and this one has not waited long.
    fn gives_way(&mut self, lane: LaneKey, now: Timestamp) -> bool {
        let more_urgent = (lane.0, 0)..lane;
        let busy = self.lanes.range(more_urgent).any(|(_, lane)| !lane.is_empty());
        self.lanes.entry(lane).or_default().gives_way(busy, now)
    }

    fn fill(&mut self, lane: LaneKey, now: Timestamp, actions: &mut Vec<Action>) -> bool {
        let mut moved = false;
        while let Some(queue) = self.ready.get(&lane).and_then(|list| list.front().cloned()) {
            if !self.lane_has_room_for(lane, &queue) {
                break;
            }
            self.ready.get_mut(&lane).map(std::collections::VecDeque::pop_front);
            moved |= self.send_next(lane, &queue, now, actions);
        }
        self.lanes.entry(lane).or_default().end_turn();
        moved
    }

    fn lane_has_room_for(&mut self, lane: LaneKey, queue: &AgencyId) -> bool {
        let next = self.windows.get(&(queue.clone(), lane.1)).and_then(super::Window::next);
        let bytes = next.map_or(0, |(_, entry)| entry.bytes);
        self.lanes.entry(lane).or_default().has_room(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Sends the queue's next entry, and puts the queue at the end of its lane's list.
    fn send_next(&mut self, lane: LaneKey, queue: &AgencyId, now: Timestamp, actions: &mut Vec<Action>) -> bool {
        let key = (queue.clone(), lane.1);
        let Some(window) = self.windows.get(&key) else { return false };
        if window.held_until(now).is_some() {
            return false;
        }
        let Some((seq, entry)) = window.next() else { return false };
        let entry = entry.clone();
        let position = Position { queue: queue.clone(), rank: lane.1, seq };
        match self.next_hop(&position, &entry) {
            Hop::Nowhere => self.park(&position, entry.id),
            Hop::Later(until) => self.stall(&position, entry.id, until),
            Hop::By(link) if link != lane.0 => {
                self.make_ready((link, lane.1), queue.clone());
                return true;
            }
            Hop::By(_) => self.send(lane, &entry, now, actions),
        }
        let goes_on = |window: &super::Window| window.has_waiting() && window.held_until(now).is_none();
        if self.windows.get(&key).is_some_and(goes_on) {
            self.make_ready(lane, queue.clone());
        }
        self.load_more(&key, actions);
        false
    }

    fn load_more(&mut self, key: &QueueKey, actions: &mut Vec<Action>) {
        if let Some(after) = self.windows.get_mut(key).and_then(super::Window::wants_load) {
            actions.push(Action::Load { queue: key.0.clone(), rank: key.1, after, limit: WINDOW / 2 });
        }
    }

    fn park(&mut self, position: &Position, id: liaison_protocol::MessageId) {
        if let Some(window) = self.windows.get_mut(&(position.queue.clone(), position.rank)) {
            window.park(position.seq);
        }
        self.no_longer_waiting(id, position);
    }

    pub(super) fn no_longer_waiting(&mut self, id: liaison_protocol::MessageId, position: &Position) {
        if let Some(positions) = self.waiting.get_mut(&id) {
            positions.remove(position);
            if positions.is_empty() {
                self.waiting.remove(&id);
            }
        }
    }

    /// The best link that this envelope may go by now. A home relay of the recipient may have passed it before: where the
    /// recipient moves between its home relays, or is given others, its mail follows.
    // [CUST-8]
    pub(super) fn next_hop(&self, position: &Position, entry: &Entry) -> Hop {
        let mut path = entry.path.clone();
        path.push(self.config.me.clone());
        let home = self.roster.agency(&position.queue).map_or(&[][..], |agency| &agency.home);
        let been =
            |peer: &NodeId| !planted(Mutant::RouteGoesBack) && (entry.path.contains(peer) || entry.from == *peer);
        let been = |peer: &NodeId| been(peer) && !home.contains(peer);
        let may = |(peer, kind): &(NodeId, NodeKind)| match kind {
            NodeKind::Relay => {
                self.config.kind == NodeKind::Daemon
                    || (admit::may_hop(&path, peer, home) || planted(Mutant::RouteGoesBack)) && !been(peer)
            }
            NodeKind::Daemon => true,
        };
        let (mut later, mut home_refused): (Option<Timestamp>, bool) = (None, false);
        for link in self.candidates(position, entry) {
            let Some(peer) = self.peers.get(&link).filter(|peer| may(peer)) else { continue };
            let is_home = self.config.kind == NodeKind::Relay && home.contains(&peer.0);
            if home_refused && !is_home {
                // Other relays are a way to the home relays, and no room for what these cannot take.
                break;
            }
            home_refused |= is_home;
            match self.holds.until(&peer.0, position, entry, self.now) {
                None => return Hop::By(link),
                Some(until) => later = Some(later.map_or(until, |later| later.min(until))),
            }
        }
        later.map_or(Hop::Nowhere, Hop::Later)
    }

    /// Links that lead on, the best first for this attempt.
    fn candidates(&self, position: &Position, entry: &Entry) -> Vec<LinkKey> {
        let mut candidates = self.routes.candidates(&position.queue, &self.roster);
        if entry.attempt <= 1 || candidates.is_empty() {
            return candidates;
        }
        // Sent again: by another home relay, if there is one, of the sender's and then of the recipient's.
        let turn = usize::from(entry.attempt - 1);
        let name = |link: &LinkKey| self.peers.get(link).map(|(peer, _)| peer);
        if self.config.kind == NodeKind::Daemon {
            let count = candidates.len();
            candidates.rotate_left(turn % count);
            candidates.sort_by_key(|link| name(link).is_some_and(|peer| entry.path.contains(peer)));
        } else if let Some(agency) = self.roster.agency(&position.queue) {
            let is_home = |link: &&LinkKey| name(link).is_some_and(|peer| agency.home.contains(peer));
            let homes = candidates.iter().take_while(is_home).count();
            if let Some(homes) = candidates.get_mut(..homes).filter(|homes| !homes.is_empty()) {
                let count = homes.len();
                homes.rotate_left(turn % count);
            }
        }
        candidates
    }

    /// One transfer for this entry and every other waiting one of the same envelope that goes the same way.
    fn send(&mut self, lane: LaneKey, entry: &Entry, now: Timestamp, actions: &mut Vec<Action>) {
        let positions: Vec<Position> = self.waiting.get(&entry.id).into_iter().flatten().cloned().collect();
        let mut entries: Vec<(u16, Position)> = Vec::new();
        for position in positions {
            let Some(window) = self.windows.get(&(position.queue.clone(), position.rank)) else { continue };
            let Some(other) = window.waiting_entry(position.seq) else { continue };
            let together = other.attempt == entry.attempt && other.path == entry.path && position.rank == lane.1;
            let same_way = || self.next_hop(&position, other) == Hop::By(lane.0) || planted(Mutant::FanOutMixesWays);
            if together && window.held_until(now).is_none() && same_way() {
                entries.push((other.index, position));
            }
        }
        entries.sort_unstable();
        entries.dedup_by_key(|(index, _)| *index);
        let peer = self.peers.get(&lane.0).map(|(peer, _)| peer.clone());
        for (_, position) in &entries {
            if let Some(peer) = &peer {
                self.holds.send(peer, position, &entry.sender, now);
            }
            if let Some(window) = self.windows.get_mut(&(position.queue.clone(), position.rank)) {
                window.send(position.seq);
            }
            self.no_longer_waiting(entry.id, position);
        }
        if planted(Mutant::DeleteOnSend) {
            entries.iter().for_each(|(_, position)| self.lose(position, now, &mut Vec::new()));
        }
        let branch = entries.iter().map(|(index, _)| *index).collect();
        let bytes = usize::try_from(entry.bytes).unwrap_or(usize::MAX);
        let seq = self.lanes.entry(lane).or_default().send(entry.id, entries, bytes, now);
        let path = if self.config.kind == NodeKind::Daemon { Vec::new() } else { entry.path.clone() };
        let (id, attempt, accepted) = (entry.id, entry.attempt, entry.accepted);
        actions.push(Action::Send(SendTransfer {
            link: lane.0,
            rank: lane.1,
            seq,
            id,
            attempt,
            branch,
            path,
            accepted,
        }));
    }

    pub(super) fn handle_acks(
        &mut self,
        lane: LaneKey,
        acks: &[Ack],
        receipt: Option<&VerifiedReceipt>,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let Some(to) = self.peers.get(&lane.0).cloned() else { return };
        for ack in acks {
            let Some(flight) = self.lanes.get_mut(&lane).and_then(|lane| lane.acknowledge(ack.seq)) else {
                return actions.push(Action::Close { link: lane.0, why: CloseReason::Protocol });
            };
            let proof =
                receipt.and_then(|receipt| receipt.proof_of(ack, flight.id, (&self.config.me, &to.0), &self.roster));
            self.handle_ack(&to, (ack, proof), flight, now, actions);
        }
        // The lane has room again: queues that were waiting for it are still on its list.
    }

    /// A relay lets go only to a relay that has signed for it. Agencies sign delivery receipts, for the sender.
    // [CUST-23]
    fn handle_ack(
        &mut self,
        to: &(NodeId, NodeKind),
        (ack, proof): (&Ack, Option<CustodyProof>),
        flight: Flight,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let proven = to.1 == NodeKind::Daemon || proof.is_some() || planted(Mutant::UnsignedLetsGo);
        let (mut from, mut unproven) = (None, false);
        for (index, position) in flight.entries {
            let window = self.windows.get(&(position.queue.clone(), position.rank));
            let merged =
                window.is_some_and(|window| window.is_merged(position.seq)) && !planted(Mutant::MergedReleased);
            let acknowledged = ack.taken.contains(&index) || ack.duplicate.contains(&index);
            if let Some(refused) = ack.refused.iter().find(|refused| refused.index == index) {
                self.handle_refused(&to.0, &position, refused, now, actions);
            } else if merged {
                self.keep(flight.id, position, now, actions);
            } else if acknowledged && proven {
                from = self.release(&position, to, now, actions).or(from);
            } else if acknowledged {
                unproven = true;
                self.handle_refused(&to.0, &position, &without_receipt(index), now, actions);
            } else {
                self.put_back_entry(flight.id, position.clone());
                self.wake(&(position.queue, position.rank), actions);
            }
        }
        if let (Some(from), Some(proof)) = (from, proof) {
            actions.push(Action::Passed(Passed { from, proof }));
        }
        if unproven {
            actions.push(Action::Unproven { peer: to.0.clone() });
        }
    }

    /// The next holder has it, durably. Gives from whom it had come ([CUST-2]).
    fn release(
        &mut self,
        position: &Position,
        to: &(NodeId, NodeKind),
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) -> Option<NodeId> {
        let key = (position.queue.clone(), position.rank);
        let window = self.windows.get_mut(&key)?;
        let entry = window.entry(position.seq)?.clone();
        window.remove(position.seq, entry.bytes);
        let goes_on = self.holds.taken(&to.0, position, &entry.sender);
        self.holds.gone(position);
        self.give_room_back(position, &entry);
        self.releasing.insert(position.clone(), DedupeKey { id: entry.id, index: entry.index });
        self.open.release(dequeue(position, &entry));
        if let Some(op) = released(&entry, Some(to.0.clone()), &self.config.me) {
            self.open.release(op);
        }
        self.count_released(to, &entry, now);
        let precedence = liaison_protocol::Precedence::from_rank(position.rank).unwrap_or_default();
        let held_ms = u64::try_from(now.since(entry.accepted).as_millis()).unwrap_or(u64::MAX);
        actions.push(Action::Measure(Measure::Released { precedence, held_ms }));
        self.load_more(&key, actions);
        if goes_on {
            self.look_at_stalled(actions);
        }
        Some(entry.from)
    }

    /// What planted bugs do: it is gone, and nobody has it.
    pub(super) fn lose(&mut self, position: &Position, now: Timestamp, actions: &mut Vec<Action>) {
        let nobody = (self.config.me.clone(), NodeKind::Daemon);
        self.release(position, &nobody, now, actions);
    }

    /// A peer that keeps its link alive and acknowledges nothing holds up everything behind it.
    pub(super) fn close_silent(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if planted(Mutant::SilentPeerKept) {
            return;
        }
        let late = self.lanes.iter().filter(|(_, lane)| lane.deadline().is_some_and(|deadline| deadline <= now));
        let mut links: Vec<LinkKey> = late.map(|((link, _), _)| *link).collect();
        links.dedup();
        for link in links {
            actions.push(Action::Close { link, why: CloseReason::Timeout });
            self.handle_link_down(link, actions);
        }
    }
}

/// What is remembered once an entry has left; nothing for this node's own.
pub(super) fn released(entry: &Entry, to: Option<NodeId>, me: &NodeId) -> Option<Op> {
    if entry.from == *me || planted(Mutant::ReleasedStillHeld) {
        return None;
    }
    let key = DedupeKey { id: entry.id, index: entry.index };
    let record = Remembered {
        attempt: entry.attempt,
        held: Held::Released,
        until: remember_until(entry.expires),
        hour: Hour::of(entry.accepted),
        from: Some(entry.from.clone()),
        to,
    };
    Some(Op::Remember { key, record })
}
