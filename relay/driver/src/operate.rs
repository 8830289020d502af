//! Answers to an operator: what this node holds, knows and is linked to.

use std::collections::BTreeMap;

use bytes::Bytes;
use liaison_core::event::Drain;
use liaison_core::op::{DedupeKey, Entry, Held, Position, RANKS};
use liaison_core::roster_state::{Jump, Standing};
use liaison_core::{Event, LinkKey, QueueView};
use liaison_protocol::role::Role;
use liaison_protocol::{AgencyId, Hour, MessageId, NodeId, Timestamp};

use crate::agency::RequestId;
use crate::links::Link;
use crate::operator::{DrainStatus, OperatorAnswer, OperatorError, OperatorRequest, RosterReload};
use crate::query::IdPrefix;
use crate::status::{
    LinkStatus, NodeStatus, QueueEntry, QueueState, QueueStatus, Rank, RosterStanding, RosterStatus, StoreStatus,
    Trace, TraceEvent, TraceStep,
};
use crate::store_error::StoreError;
use crate::{Driver, Output};

/// Recipients of a message whose memory a trace looks at.
const TRACED_RECIPIENTS: u16 = 16;
/// Ids named when a prefix fits several.
const AMBIGUOUS_MAX: usize = 5;

impl Driver {
    pub(crate) fn operate(&mut self, asked: RequestId, request: OperatorRequest) {
        let answer = self.operated(request);
        self.say(Output::Operator(asked, answer));
    }

    fn operated(&mut self, request: OperatorRequest) -> Result<OperatorAnswer, OperatorError> {
        Ok(match request {
            OperatorRequest::Audit { since, compare } => {
                if compare {
                    self.apply(Event::Compare);
                }
                OperatorAnswer::Audit(self.audit(since).map_err(store)?)
            }
            OperatorRequest::Drain => OperatorAnswer::Drain(self.drain_to(Drain::On)),
            OperatorRequest::Undrain => OperatorAnswer::Drain(self.drain_to(Drain::Off)),
            OperatorRequest::Queue { agency, limit } => OperatorAnswer::Queue(self.queue(&agency, limit)?),
            OperatorRequest::ReloadRoster { signed } => OperatorAnswer::Reload(self.reload(&signed)?),
            OperatorRequest::RetryLinks { peer } => OperatorAnswer::Links(self.retry_links(peer)?),
            OperatorRequest::RosterFork => OperatorAnswer::Fork(self.fork_report()),
            OperatorRequest::SettleFork { follow } => {
                let settled = self.settle_fork(follow).map_err(|reason| OperatorError::Roster { reason })?;
                OperatorAnswer::Settled(settled)
            }
            OperatorRequest::Status => OperatorAnswer::Status(Box::new(self.status().map_err(store)?)),
            OperatorRequest::Trace { prefix, text } => OperatorAnswer::Trace(self.trace(&prefix, &text)?),
        })
    }

    fn reload(&mut self, signed: &Bytes) -> Result<RosterReload, OperatorError> {
        let from = self.roster.version();
        let outcome = match self.settled_by_file(signed) {
            Some(settled) => settled,
            None => self.offer_roster(signed, Jump::Accept),
        };
        let to = outcome.map_err(|reason| OperatorError::Roster { reason })?;
        Ok(RosterReload { from, to, closed: self.closed_by(to) })
    }

    fn drain_to(&mut self, drain: Drain) -> DrainStatus {
        self.apply(Event::Drain(drain));
        DrainStatus {
            draining: drain == Drain::On,
            entries: self.core.queues().iter().map(|queue| queue.entries).sum(),
            in_flight: self.links.keys().map(|link| self.core.in_flight(*link) as u64).sum(),
        }
    }

    /// Links whose peers the roster about to take effect no longer names.
    fn closed_by(&self, to: liaison_protocol::roster::RosterVersion) -> Vec<NodeId> {
        let Some(roster) = self.adopting.as_ref().filter(|roster| roster.version() == to) else { return Vec::new() };
        self.links.values().filter(|link| roster.role(&link.peer).is_none()).map(|link| link.peer.clone()).collect()
    }

    /// Dialers probe every second by themselves: what waits for a peer's word is set going here.
    fn retry_links(&mut self, peer: Option<NodeId>) -> Result<Vec<NodeId>, OperatorError> {
        let down = |peer: &NodeId| !self.links.values().any(|link| link.peer == *peer);
        let known: Vec<NodeId> = self.dialed.iter().map(|peer| peer.id.clone()).collect();
        let wanted: Vec<NodeId> = match peer {
            Some(peer) if known.contains(&peer) => vec![peer],
            Some(peer) => return Err(OperatorError::UnknownPeer { peer }),
            None => known.into_iter().filter(down).collect(),
        };
        for peer in self.dialed.iter().filter(|peer| wanted.contains(&peer.id)) {
            self.outputs.extend([Output::Undial { peer: peer.id.clone() }, peer.dial()]);
        }
        self.apply(Event::Retry);
        Ok(wanted)
    }

    fn queue(&self, agency: &AgencyId, limit: usize) -> Result<Vec<QueueEntry>, OperatorError> {
        let held = self.core.queues().iter().any(|queue| queue.queue == *agency);
        if self.roster.agency(agency).is_none() && !held {
            return Err(OperatorError::UnknownAgency { agency: agency.clone() });
        }
        let mut found = Vec::new();
        for rank in 0..RANKS {
            let room = limit.saturating_sub(found.len());
            let entries = self.store.head(agency, rank, 0, room).map_err(store)?;
            let position = |seq| Position { queue: agency.clone(), rank, seq };
            found.extend(entries.into_iter().map(|(seq, entry)| queue_entry(position(seq), entry)));
        }
        Ok(found)
    }

    fn trace(&self, prefix: &IdPrefix, text: &str) -> Result<Trace, OperatorError> {
        let held = self.store.ids_with_prefix(prefix, AMBIGUOUS_MAX).map_err(store)?;
        let id = match held.as_slice() {
            [id] => *id,
            // Released long ago: the full id still says what is remembered.
            [] => text.parse::<MessageId>().map_err(|_| OperatorError::UnknownMessage { prefix: text.into() })?,
            _ => return Err(OperatorError::Ambiguous { prefix: text.into(), ids: held }),
        };
        let entries: Vec<QueueEntry> = self
            .store
            .positions_of(&id)
            .map_err(store)?
            .into_iter()
            .map(|(position, entry)| queue_entry(position, entry))
            .collect();
        let events = self.remembered_events(&id, &entries).map_err(store)?;
        if entries.is_empty() && events.is_empty() {
            return Err(OperatorError::UnknownMessage { prefix: text.into() });
        }
        Ok(Trace { id, entries, events })
    }

    fn remembered_events(&self, id: &MessageId, entries: &[QueueEntry]) -> Result<Vec<TraceEvent>, StoreError> {
        let mut events: Vec<TraceEvent> = entries.iter().map(accepted).collect();
        let mut released: BTreeMap<(Option<NodeId>, Option<NodeId>, Hour), u16> = BTreeMap::new();
        for index in 0..TRACED_RECIPIENTS {
            let seen = self.store.remembered(&DedupeKey { id: *id, index })?;
            if let Some(seen) = seen.filter(|seen| seen.held == Held::Released) {
                *released.entry((seen.from, seen.to, seen.hour)).or_default() += 1;
            }
        }
        for ((from, to, hour), recipients) in released {
            events.push(taken_then(hour, from, recipients));
            events.push(left(to, recipients));
        }
        Ok(events)
    }

    pub(crate) fn status(&self) -> Result<NodeStatus, StoreError> {
        let usage = self.store.usage()?;
        let roster = self.roster_status();
        let store = StoreStatus {
            used_bytes: usage.used_bytes,
            free_bytes: usage.free_bytes,
            low_water_bytes: self.low_water_bytes,
            writable: usage.free_bytes >= self.low_water_bytes && self.fault.is_none(),
            commit_p50_ms: self.commit_times.median_ms(),
        };
        Ok(NodeStatus {
            id: self.me.clone(),
            role: self.role(),
            region: self.roster.relay(&self.me).map(|relay| relay.region.to_string()).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_s: self.now().since(self.started).as_secs(),
            draining: self.core.is_draining(),
            clock_offset_ms: self.core.clocks().ahead_ms(),
            clock: self.clock_standing(),
            links: self.link_statuses(),
            queues: queue_statuses(&self.core.queues()),
            alarms: self.alarms(&roster, &store),
            roster,
            store,
        })
    }

    const fn role(&self) -> Role {
        match self.kind {
            liaison_core::NodeKind::Daemon => Role::Agency,
            liaison_core::NodeKind::Relay => Role::Relay,
        }
    }

    fn roster_status(&self) -> RosterStatus {
        let standing = match self.rosters.standing(self.now()) {
            _ if self.rosters.fork().is_some() => RosterStanding::Forked,
            Standing::Current => RosterStanding::Current,
            Standing::Expired => RosterStanding::Expired,
            Standing::Grace { .. } => RosterStanding::Grace,
        };
        RosterStatus {
            version: self.roster.version(),
            hash: self.roster.hash(),
            expires_ms: self.roster.expires(),
            signed: u32::try_from(self.roster.signatures()).unwrap_or(u32::MAX),
            threshold: u32::try_from(self.roster.threshold()).unwrap_or(u32::MAX),
            standing,
            own_keys_expire_ms: self.own_keys_expire(),
            frozen_at: self.news.claims.frozen(self.roster.version(), self.now()).map(|by| by.version).max(),
        }
    }

    fn own_keys_expire(&self) -> Option<Timestamp> {
        if let Some(relay) = self.roster.relay(&self.me) {
            return Some(relay.not_after);
        }
        let agency = self.roster.agency(&self.me.to_agency())?;
        agency.sign_keys.iter().map(|key| key.not_after).max()
    }

    fn link_statuses(&self) -> Vec<LinkStatus> {
        let mut peers: BTreeMap<NodeId, Option<(&LinkKey, &Link)>> =
            self.dialed.iter().map(|peer| (peer.id.clone(), None)).collect();
        peers.extend(self.peers.keys().map(|peer| (peer.clone(), None)));
        peers.extend(self.links.iter().map(|(key, link)| (link.peer.clone(), Some((key, link)))));
        let status = |(peer, link): (NodeId, Option<(&LinkKey, &Link)>)| {
            let record = self.peers.get(&peer).cloned().unwrap_or_default();
            let rtt = link.and_then(|(key, _)| self.link_view.rtt(*key)).map(|rtt| rtt.as_secs_f64() * 1000.0);
            Some(LinkStatus {
                role: self.role_of(&peer)?,
                up: link.is_some(),
                rtt_ms: rtt,
                since_ms: record.since,
                last_receive_ms: record.last_receive,
                failure_since_ms: record.failure_since,
                last_error: record.last_error,
                next_try_ms: None,
                peer,
            })
        };
        peers.into_iter().filter_map(status).collect()
    }
}

fn queue_statuses(views: &[QueueView]) -> Vec<QueueStatus> {
    let mut by_agency: BTreeMap<AgencyId, QueueStatus> = BTreeMap::new();
    for view in views {
        let status = by_agency.entry(view.queue.clone()).or_insert_with(|| QueueStatus {
            queue: view.queue.clone(),
            via: view.next_hop.clone(),
            entries: 0,
            bytes: 0,
            oldest_ms: None,
            by_precedence: [0; RANKS as usize],
            bytes_by_precedence: [0; RANKS as usize],
            oldest_by_precedence_ms: [None; RANKS as usize],
            state: if view.next_hop.is_some() { QueueState::Flowing } else { QueueState::Offline },
            last_error: None,
            next_try_ms: None,
        });
        add_rank(status, view);
    }
    by_agency.into_values().collect()
}

fn add_rank(status: &mut QueueStatus, view: &QueueView) {
    let rank = usize::from(view.rank);
    status.entries += view.entries;
    status.bytes += view.bytes;
    status.oldest_ms = [status.oldest_ms, view.oldest].into_iter().flatten().min();
    if let Some(entries) = status.by_precedence.get_mut(rank) {
        *entries = view.entries;
    }
    if let Some(bytes) = status.bytes_by_precedence.get_mut(rank) {
        *bytes = view.bytes;
    }
    if let Some(oldest) = status.oldest_by_precedence_ms.get_mut(rank) {
        *oldest = view.oldest;
    }
    if let Some(next_try) = view.next_try {
        status.state = QueueState::Backoff;
        status.next_try_ms = Some(status.next_try_ms.map_or(next_try, |other| other.min(next_try)));
    }
    if view.last_error.is_some() {
        status.last_error.clone_from(&view.last_error);
    }
}

fn queue_entry(position: Position, entry: Entry) -> QueueEntry {
    QueueEntry {
        id: entry.id,
        queue: position.queue,
        rank: Rank::from_number(position.rank),
        seq: position.seq,
        sender: entry.sender,
        from: entry.from,
        path: entry.path,
        attempt: entry.attempt,
        accepted_ms: entry.accepted,
        expires_ms: entry.expires,
        bytes: entry.bytes,
    }
}

fn accepted(entry: &QueueEntry) -> TraceEvent {
    TraceEvent {
        at_ms: Some(entry.accepted_ms),
        what: TraceStep::Accepted,
        agencies: vec![entry.queue.clone()],
        peer: Some(entry.from.clone()),
        detail: String::new(),
    }
}

/// Of what has left, only the hour of its coming is remembered.
fn taken_then(hour: Hour, from: Option<NodeId>, recipients: u16) -> TraceEvent {
    TraceEvent {
        at_ms: Some(hour.start()),
        what: TraceStep::Accepted,
        agencies: Vec::new(),
        peer: from,
        detail: format!("for {recipients} recipients, in the hour from then on"),
    }
}

fn left(to: Option<NodeId>, recipients: u16) -> TraceEvent {
    let (what, detail) = match to {
        Some(_) => (TraceStep::Forwarded, format!("for {recipients} recipients; when is not remembered")),
        None => (
            TraceStep::Ended,
            format!("for {recipients} recipients: expired, refused or withdrawn; their sender was told"),
        ),
    };
    TraceEvent { at_ms: None, what, agencies: Vec::new(), peer: to, detail }
}

fn store(error: StoreError) -> OperatorError {
    OperatorError::Store { cause: error.to_string() }
}
