//! Passing custody on: which entry goes by which link, and what its acknowledgement means.

use std::time::Duration;

use liaison_protocol::frame::{Ack, ReachEntry, Refused};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{AgencyId, Hour, NodeId, Timestamp};

use super::end::EndingEntry;
use super::{LaneKey, Node, QueueKey};
use crate::action::{Action, CloseReason, Measure, Passed, Send};
use crate::admit;
use crate::batch::{dequeue, remember_until};
use crate::event::{LinkKey, NodeKind};
use crate::lane::Flight;
use crate::op::{DedupeKey, Entry, Held, Op, Position, RANKS, Remembered};
use crate::queue::WINDOW;
use crate::retry::Backoff;

impl Node {
    pub(super) fn handle_link_up(&mut self, link: LinkKey, peer: NodeId, kind: NodeKind, actions: &mut Vec<Action>) {
        self.routes.handle_up(link, peer.clone(), kind);
        self.peers.insert(link, (peer, kind));
        self.advertise(actions);
        self.reroute(actions);
    }

    pub(super) fn handle_link_down(&mut self, link: LinkKey, actions: &mut Vec<Action>) {
        let Some((peer, _)) = self.peers.remove(&link) else { return };
        self.routes.handle_down(link, &peer);
        self.advertised.remove(&link);
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

    fn put_back_entry(&mut self, id: liaison_protocol::MessageId, position: Position) {
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
        let keys: Vec<QueueKey> = self.windows.keys().cloned().collect();
        for key in keys {
            if let Some(window) = self.windows.get_mut(&key) {
                let parked = window.unpark();
                let ids: Vec<_> = parked.iter().filter_map(|seq| window.entry(*seq).map(|e| (e.id, *seq))).collect();
                for (id, seq) in ids {
                    let position = Position { queue: key.0.clone(), rank: key.1, seq };
                    self.waiting.entry(id).or_default().insert(position);
                }
            }
            self.wake(&key, actions);
        }
    }

    /// A queue may have something to send: puts it on its lane's list, and loads more of it.
    pub(super) fn wake(&mut self, key: &QueueKey, actions: &mut Vec<Action>) {
        let Some(window) = self.windows.get_mut(key) else { return };
        if window.entries() == 0 {
            return;
        }
        let Some(link) = self.routes.candidates(&key.0, &self.roster).first().copied() else { return };
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
            let stopped = planted(Mutant::HoldStopsTheLane) && self.holds.iter().any(held);
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
        match self.next_hop(queue, &entry) {
            None => self.park(&key, seq, entry.id),
            Some(link) if link != lane.0 => {
                self.make_ready((link, lane.1), queue.clone());
                return true;
            }
            Some(_) => self.send(lane, &entry, now, actions),
        }
        if self.windows.get(&key).is_some_and(super::Window::has_waiting) {
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

    fn park(&mut self, key: &QueueKey, seq: u64, id: liaison_protocol::MessageId) {
        if let Some(window) = self.windows.get_mut(key) {
            window.park(seq);
        }
        self.no_longer_waiting(id, &Position { queue: key.0.clone(), rank: key.1, seq });
    }

    pub(super) fn no_longer_waiting(&mut self, id: liaison_protocol::MessageId, position: &Position) {
        if let Some(positions) = self.waiting.get_mut(&id) {
            positions.remove(position);
            if positions.is_empty() {
                self.waiting.remove(&id);
            }
        }
    }

    /// The best link that this envelope may go by. `None`: it waits for another route, as a loop or one hop too many
    /// would only bring it back with a refusal.
    fn next_hop(&self, queue: &AgencyId, entry: &Entry) -> Option<LinkKey> {
        let mut path = entry.path.clone();
        path.push(self.config.me.clone());
        let home = self.roster.agency(queue).map_or(&[][..], |agency| &agency.home);
        let been =
            |peer: &NodeId| !planted(Mutant::RouteGoesBack) && (entry.path.contains(peer) || entry.from == *peer);
        let may = |link: &LinkKey| match self.peers.get(link) {
            Some((peer, NodeKind::Relay)) => {
                self.config.kind == NodeKind::Daemon
                    || (admit::may_hop(&path, peer, home) || planted(Mutant::RouteGoesBack)) && !been(peer)
            }
            Some((_, NodeKind::Daemon)) => true,
            None => false,
        };
        let mut candidates = self.routes.candidates(queue, &self.roster);
        if self.config.kind == NodeKind::Daemon && !candidates.is_empty() {
            // Sent again: by another home relay, if there is one.
            let turn = usize::from(entry.attempt.saturating_sub(1)) % candidates.len();
            candidates.rotate_left(turn);
        }
        candidates.into_iter().find(may)
    }

    /// One transfer for this entry and every other waiting one of the same envelope that goes the same way.
    fn send(&mut self, lane: LaneKey, entry: &Entry, now: Timestamp, actions: &mut Vec<Action>) {
        let positions: Vec<Position> = self.waiting.get(&entry.id).into_iter().flatten().cloned().collect();
        let mut entries: Vec<(u16, Position)> = Vec::new();
        for position in positions {
            let Some(window) = self.windows.get(&(position.queue.clone(), position.rank)) else { continue };
            let Some(other) = window.waiting_entry(position.seq) else { continue };
            let together = other.attempt == entry.attempt && other.path == entry.path && position.rank == lane.1;
            let same_way = || self.next_hop(&position.queue, other) == Some(lane.0) || planted(Mutant::FanOutMixesWays);
            if together && window.held_until(now).is_none() && same_way() {
                entries.push((other.index, position));
            }
        }
        entries.sort_unstable();
        entries.dedup_by_key(|(index, _)| *index);
        for (_, position) in &entries {
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
        let (id, attempt, path, accepted) = (entry.id, entry.attempt, entry.path.clone(), entry.accepted);
        actions.push(Action::Send(Send { link: lane.0, rank: lane.1, seq, id, attempt, branch, path, accepted }));
    }

    pub(super) fn handle_acks(
        &mut self,
        link: LinkKey,
        rank: u8,
        acks: &[Ack],
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        if !self.peers.contains_key(&link) {
            return;
        }
        for ack in acks {
            let Some(flight) = self.lanes.get_mut(&(link, rank)).and_then(|lane| lane.acknowledge(ack.seq)) else {
                return actions.push(Action::Close { link, why: CloseReason::Protocol });
            };
            self.handle_ack((link, rank), ack, flight, now, actions);
        }
        // The lane has room again: queues that were waiting for it are still on its list.
    }

    fn handle_ack(&mut self, lane: LaneKey, ack: &Ack, flight: Flight, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(to) = self.peers.get(&lane.0).cloned() else { return };
        let mut passed: Vec<(NodeId, u16)> = Vec::new();
        for (index, position) in flight.entries {
            let window = self.windows.get(&(position.queue.clone(), position.rank));
            let merged =
                window.is_some_and(|window| window.is_merged(position.seq)) && !planted(Mutant::MergedReleased);
            if let Some(refused) = ack.refused.iter().find(|refused| refused.index == index) {
                self.handle_refused(&position, refused, now, actions);
            } else if merged {
                self.keep(flight.id, position, now);
            } else if ack.taken.contains(&index) || ack.duplicate.contains(&index) {
                if let Some(from) = self.release(&position, &to, now, actions) {
                    passed.extend(ack.taken.contains(&index).then_some((from, index)));
                }
            } else {
                self.put_back_entry(flight.id, position.clone());
                self.wake(&(position.queue, position.rank), actions);
            }
        }
        if let Some((from, _)) = passed.first().cloned() {
            let indices = ack.taken.clone();
            actions.push(Action::Passed(Passed {
                link: lane.0,
                rank: lane.1,
                seq: ack.seq,
                id: flight.id,
                from,
                indices,
            }));
        }
    }

    /// It was acknowledged, and another relay was told meanwhile that it is held here: it still has to be. It is sent
    /// again after a moment, of another length at each of those who crossed; never a long one, so that a peer that repeats
    /// itself holds up nobody's queue.
    // [CUST-13]
    fn keep(&mut self, id: liaison_protocol::MessageId, position: Position, now: Timestamp) {
        let key = (position.queue.clone(), position.rank);
        if let Some(window) = self.windows.get_mut(&key) {
            let until = Backoff::default().refused(now, Duration::ZERO, &mut self.jitter);
            let until = self.holds.get(&key).map_or(until, |before| until.max(*before));
            window.hold(until, "another relay has handed it over as well".into());
            self.holds.insert(key, until);
        }
        self.put_back_entry(id, position);
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
        window.backoff.reset();
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
        Some(entry.from)
    }

    /// What planted bugs do: it is gone, and nobody has it.
    fn lose(&mut self, position: &Position, now: Timestamp, actions: &mut Vec<Action>) {
        let nobody = (self.config.me.clone(), NodeKind::Daemon);
        self.release(position, &nobody, now, actions);
    }

    // [REF-1]
    fn handle_refused(&mut self, position: &Position, refused: &Refused, now: Timestamp, actions: &mut Vec<Action>) {
        let reason = RefusalReason::try_from(refused.reason).unwrap_or(RefusalReason::Malformed);
        let key = (position.queue.clone(), position.rank);
        let Some(window) = self.windows.get_mut(&key) else { return };
        let Some(entry) = window.entry(position.seq).cloned() else { return };
        if refused.retry_after_ms > 0 && planted(Mutant::DeleteOnRefusalForNow) {
            self.lose(position, now, actions);
            return;
        }
        if refused.retry_after_ms > 0 {
            let asked = Duration::from_millis(u64::from(refused.retry_after_ms).min(3_600_000));
            // All that was in flight comes back refused: that is one failure, and a shorter wait does not end a longer one.
            let held = self.holds.get(&key).copied().filter(|until| *until > now);
            let until = match held {
                Some(until) => until.max(now.after(asked)),
                None => window.backoff.refused(now, asked, &mut self.jitter),
            };
            let until = if planted(Mutant::HoldIgnored) { now } else { until };
            window.hold(until, format!("{reason}: {}", refused.detail));
            self.holds.insert(key, until);
            self.put_back_entry(entry.id, position.clone());
            return;
        }
        if planted(Mutant::RefusalForGoodIsSilent) {
            self.lose(position, now, actions);
            return;
        }
        window.end_in_flight(position.seq);
        self.end(position.clone(), EndingEntry { entry, reason, detail: refused.detail.clone() }, actions);
    }

    pub(super) fn end_holds(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let over = self.holds.iter().filter(|(_, until)| **until <= now && !planted(Mutant::HoldNeverEnds));
        let keys: Vec<QueueKey> = over.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.end_hold(&key, actions);
        }
    }

    fn end_hold(&mut self, key: &QueueKey, actions: &mut Vec<Action>) {
        self.holds.remove(key);
        if let Some(window) = self.windows.get_mut(key) {
            window.end_hold();
        }
        self.wake(key, actions);
    }

    pub(super) fn handle_retry(&mut self, actions: &mut Vec<Action>) {
        let keys: Vec<QueueKey> = self.holds.keys().cloned().collect();
        for key in keys {
            self.end_hold(&key, actions);
        }
        self.reroute(actions);
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
