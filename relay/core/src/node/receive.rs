//! Taking custody: from peers, and of this node's own messages.

use std::collections::BTreeMap;

use liaison_protocol::envelope::{Header, Kind, VerifiedEnvelope};
use liaison_protocol::frame::{Ack, Refused};
use liaison_protocol::limits::DETAIL_BYTES_MAX;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{AgencyId, Hour, NodeId, Timestamp};

use super::{LaneKey, Node};
use crate::action::{Acknowledgement, Action, Measure, Taken};
use crate::admit::{self, Refusal, Seen};
use crate::batch::remember_until;
use crate::event::{Disk, Drain, Local, Received, Ticket};
use crate::link::NodeKind;
use crate::op::{DedupeKey, Entry, Held, Op, Position, Remembered};
use crate::proofs;
use crate::quota::{NoRoom, Rate};
use crate::roster_state::GRACE;

/// When to try again with a node that drains, or whose disk is low.
const LATER_MS: u32 = 5_000;
/// A chunk that no message announces comes again so late: room for it is made by its message, or by a day.
const NO_ROOM_MS: u32 = 60_000;
/// When to try again with a node that is releasing its own copy: a commit later.
const LEAVING_MS: u32 = 250;
/// When to try again with a node whose roster has expired.
const EXPIRED_ROSTER_MS: u32 = 60_000;
/// Index that stands for a whole chain of superseding messages in the dedupe memory: no recipient has it.
pub const CHAIN_INDEX: u16 = u16::MAX;

impl Node {
    pub(super) fn handle_received(&mut self, received: Received, now: Timestamp, actions: &mut Vec<Action>) {
        let Some((peer, kind)) = self.peers.get(&received.link).cloned() else { return };
        let lane = (received.link, received.rank);
        let header = received.envelope.header();
        if let Err(rule) = check_branch(&received, header) {
            let refusal = Refusal::last(RefusalReason::Malformed, rule);
            return refuse_all(lane, received.seq, &received.branch, &refusal, actions);
        }
        if let Err(refusal) = self.admit_envelope(header, &peer, now) {
            return refuse_all(lane, received.seq, &received.branch, &refusal, actions);
        }
        let mut ack = Ack { seq: received.seq, taken: vec![], duplicate: vec![], refused: vec![], proof: None };
        let (mut fresh, mut leaning) = (Vec::new(), Vec::new());
        for (index, seen) in received.branch.iter().zip(&received.seen) {
            let pending = self.is_pending(&DedupeKey { id: received.envelope.id(), index: *index });
            match self.admit_recipient(&received, *index, seen.as_ref()) {
                Ok(Seen::New) => fresh.push(*index),
                Ok(Seen::StillHeld) => {
                    if kind == NodeKind::Relay {
                        self.merge(&received.envelope, *index);
                    }
                    ack.taken.push(*index);
                }
                Ok(Seen::Passed) => ack.duplicate.push(*index),
                Err(refusal) => {
                    ack.refused.push(refused(*index, &refusal, actions));
                    continue;
                }
            }
            if self.leans(&received, *index) {
                leaning.push(*index);
            }
            if !pending {
                self.count_accepted((&peer, kind), &received, *index, seen.as_ref(), now);
            }
        }
        let repeated = ack.taken.len() + ack.duplicate.len();
        actions.extend((0..repeated).map(|_| Action::Measure(Measure::Duplicate(header.precedence))));
        if self.config.kind == NodeKind::Daemon {
            if sent_again(&received) {
                actions.push(Action::AskedAfter { id: received.envelope.id() });
            }
            self.deliver(&received, &fresh, &mut ack, actions);
        } else {
            self.take(&received, &peer, &fresh, now, actions);
            ack.taken.extend(&fresh);
        }
        ack.taken.sort_unstable();
        if planted(Mutant::AckDuplicateOfUnsynced) && fresh.is_empty() && ack.refused.is_empty() {
            let acks = vec![Acknowledgement { ack, custody: None }];
            return actions.push(Action::Acknowledge { link: lane.0, rank: lane.1, acks });
        }
        let at = self.open.acks.len();
        self.open.leaning.extend(leaning.into_iter().map(|index| (at, index)));
        self.acknowledge_after_commit(lane, ack, received.envelope.id(), peer);
    }

    /// Whether it is the copy, or the successor, of what is just being committed: known, and not yet durable.
    fn leans(&self, received: &Received, index: u16) -> bool {
        let chain = match &received.local {
            Some(Local::Deliver { chain: Some((first, _)), .. }) => Some(DedupeKey { id: *first, index: CHAIN_INDEX }),
            _ => None,
        };
        let mut keys = std::iter::once(DedupeKey { id: received.envelope.id(), index }).chain(chain);
        self.flying.as_ref().is_some_and(|batch| keys.any(|key| batch.keys.contains(&key)))
    }

    /// Another relay's copy is taken for the one that is held here.
    // [CUST-13]
    fn merge(&mut self, envelope: &VerifiedEnvelope, index: u16) {
        let header = envelope.header();
        let Some(recipient) = header.recipients.get(usize::from(index)) else { return };
        if let Some(window) = self.windows.get_mut(&(recipient.id.clone(), admit::rank_of(header))) {
            window.merge(envelope.id(), index);
        }
    }

    /// Everything said in `ack` waits for the batch that is being gathered: also the duplicate of what is not durable. A
    /// relay's receipt covers duplicates, too: without one the peer keeps its copy.
    // [CUST-1] [CUST-3] [CUST-23]
    fn acknowledge_after_commit(&mut self, lane: LaneKey, ack: Ack, id: liaison_protocol::MessageId, from: NodeId) {
        let indices = proofs::claimed(&ack);
        let custody = (!indices.is_empty() && self.config.kind == NodeKind::Relay).then(|| {
            self.open.custody.push(Taken { id, from, indices });
            self.open.custody.len() - 1
        });
        self.open.acks.push((lane.0, lane.1, Acknowledgement { ack, custody }));
    }

    fn admit_envelope(&mut self, header: &Header, peer: &NodeId, now: Timestamp) -> Result<(), Refusal> {
        if let Some(ahead_ms) = self.clocks.off_ms().filter(|_| self.config.kind == NodeKind::Relay) {
            return Err(admit::wrong_clock(&self.config.me, ahead_ms));
        }
        admit::check_envelope(header, peer, &self.roster, now)?;
        if now > self.roster.expires().after(GRACE) && !planted(Mutant::GraceEndless) {
            let detail = format!("roster version {} has expired", self.roster.version());
            return Err(Refusal::later(RefusalReason::NoAgreement, detail, EXPIRED_ROSTER_MS));
        }
        if self.drain == Drain::On && !planted(Mutant::DrainIgnored) {
            let later_ms = if planted(Mutant::DrainRefusesForGood) { 0 } else { LATER_MS };
            return Err(Refusal {
                retry_after_ms: later_ms,
                ..Refusal::last(RefusalReason::Draining, "this node is being drained")
            });
        }
        if self.disk == Disk::Low && !planted(Mutant::LowDiskIgnored) {
            return Err(Refusal::later(RefusalReason::DiskLow, "the disk is below its low-water mark", LATER_MS));
        }
        self.check_rate(header, peer, now)
    }

    /// An agency's own link is limited; what comes from relays was counted by the first of them.
    fn check_rate(&mut self, header: &Header, peer: &NodeId, now: Timestamp) -> Result<(), Refusal> {
        let Some(per_second) = self.config.agency_rate.filter(|_| *peer == header.sender) else { return Ok(()) };
        if self.config.kind == NodeKind::Daemon || planted(Mutant::RateIgnored) {
            return Ok(());
        }
        let rate = self.rates.entry(peer.clone()).or_insert_with(|| Rate::new(per_second, now));
        rate.take(now).map_err(|wait| {
            let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
            Refusal::later(RefusalReason::Rate, format!("{peer} may submit {per_second} envelopes a second"), wait_ms)
        })
    }

    fn admit_recipient(&self, received: &Received, index: u16, seen: Option<&Remembered>) -> Result<Seen, Refusal> {
        let header = received.envelope.header();
        let Some(recipient) = header.recipients.get(usize::from(index)).map(|recipient| &recipient.id) else {
            if planted(Mutant::BranchUnchecked) {
                return Ok(Seen::New);
            }
            return Err(Refusal::last(RefusalReason::Malformed, "no such recipient"));
        };
        let key = DedupeKey { id: received.envelope.id(), index };
        if self.is_pending(&key) {
            return Ok(Seen::StillHeld);
        }
        let from = self.peers.get(&received.link).map_or(NodeKind::Daemon, |(_, kind)| *kind);
        let copy = admit::classify(seen, received.attempt, self.config.kind, from);
        let leaving =
            copy == Seen::StillHeld && from == NodeKind::Relay && self.releasing.values().any(|it| *it == key);
        if leaving && !planted(Mutant::LeavingIsHeld) {
            return Err(Refusal::later(RefusalReason::NoRoute, "it is just leaving here", LEAVING_MS));
        }
        if copy != Seen::New {
            return Ok(copy);
        }
        if self.config.kind == NodeKind::Daemon {
            return self.admit_local(received, recipient);
        }
        let path = path_from(received, self.peers.get(&received.link));
        let linked = self.routes.link_to(&NodeId::from(recipient)).is_some();
        let here = admit::Here { me: &self.config.me, roster: &self.roster, linked };
        admit::check_recipient(header, recipient, &path, here)?;
        check_wrap(&received.envelope, index)?;
        self.check_quota(header, recipient, received.envelope.encoded_len())?;
        Ok(Seen::New)
    }

    fn admit_local(&self, received: &Received, recipient: &AgencyId) -> Result<Seen, Refusal> {
        if NodeId::from(recipient) != self.config.me {
            return Err(Refusal::last(RefusalReason::UnknownRecipient, format!("{recipient} is not here")));
        }
        match &received.local {
            Some(Local::Deliver { chain: Some((first, seen)), .. }) => {
                let known = seen.is_some() || self.is_pending(&DedupeKey { id: *first, index: CHAIN_INDEX });
                Ok(if known { Seen::Passed } else { Seen::New })
            }
            Some(Local::Deliver { chain: None, .. }) => Ok(Seen::New),
            Some(Local::Later { reason, detail }) => {
                let later_ms = if *reason == RefusalReason::Quota { NO_ROOM_MS } else { LATER_MS };
                Err(Refusal::later(*reason, detail.clone(), later_ms))
            }
            Some(Local::Refuse { reason, detail, .. }) => Err(Refusal::last(*reason, detail.clone())),
            None => Err(Refusal::later(RefusalReason::NoRoute, "not opened", LATER_MS)),
        }
    }

    // [CUST-10] [CUST-21]
    fn check_quota(&self, header: &Header, recipient: &AgencyId, bytes: usize) -> Result<(), Refusal> {
        let queue_bytes =
            self.roster.agency(recipient).and_then(|agency| agency.quota).unwrap_or(self.config.agency_bytes_max);
        let reserve_percent = self.config.flash_reserve_percent;
        let limits = admit::limits_of(&header.sender, recipient, queue_bytes, reserve_percent, &self.roster);
        let (pair, room) = ((recipient, &header.sender), admit::room_of(admit::rank_of(header)));
        match self.shares.admit(pair, bytes as u64, room, limits) {
            Err(no_room) if !planted(Mutant::QuotaIgnored) => {
                let detail = in_words(no_room, &header.sender, recipient);
                Err(Refusal::later(RefusalReason::Quota, detail, LATER_MS))
            }
            _ => Ok(()),
        }
    }

    /// Counts an entry for its queue and sender, from when its commit is gathered.
    pub(super) fn take_room(&mut self, position: &Position, entry: &Entry) {
        if self.config.kind == NodeKind::Relay {
            self.shares.add((&position.queue, &entry.sender), entry.bytes, admit::room_of(position.rank));
        }
    }

    pub(super) fn give_room_back(&mut self, position: &Position, entry: &Entry) {
        if self.config.kind == NodeKind::Relay {
            self.shares.remove((&position.queue, &entry.sender), entry.bytes, admit::room_of(position.rank));
        }
    }

    /// Custody for the recipients in `fresh`, in the batch that is being gathered.
    fn take(&mut self, received: &Received, peer: &NodeId, fresh: &[u16], now: Timestamp, actions: &mut Vec<Action>) {
        if fresh.is_empty() {
            return;
        }
        let attempt = received.attempt;
        let path = path_from(received, self.peers.get(&received.link));
        let envelope = match received.stored.as_ref().filter(|_| !planted(Mutant::MergeForgotten)) {
            Some(stored) => received.envelope.merge(stored),
            None => received.envelope.clone(),
        };
        let before = |index: &u16| {
            let mut pairs = received.branch.iter().zip(&received.seen);
            pairs.find(|(of, _)| *of == index).and_then(|(_, seen)| seen.as_ref())
        };
        // What comes back goes on being its first giver's: receipts and answers find their way to the sender.
        let back = received.path.contains(&self.config.me);
        let first = |index: &u16| before(index).and_then(|seen| seen.from.clone()).filter(|_| back);
        let from = |index: &u16| first(index).unwrap_or_else(|| peer.clone());
        let taken: Vec<(u16, NodeId)> = fresh.iter().map(|index| (*index, from(index))).collect();
        self.enqueue(&envelope, &taken, &Origin { attempt, path }, now);
        let header = received.envelope.header();
        for (index, from) in &taken {
            let record = Remembered {
                attempt: attempt.max(before(index).map_or(0, |seen| seen.attempt)),
                held: Held::Yes,
                until: remember_until(header.expires),
                hour: Hour::of(now),
                from: Some(from.clone()),
                to: None,
            };
            let key = DedupeKey { id: received.envelope.id(), index: *index };
            self.open.keys.insert(key);
            if !planted(Mutant::DedupeVolatile) {
                self.open.accept(Op::Remember { key, record });
            }
            actions.push(Action::Measure(Measure::Accepted(header.precedence)));
        }
    }

    /// Entries for these recipients, each with the node that its custody comes from.
    fn enqueue(&mut self, envelope: &VerifiedEnvelope, taken: &[(u16, NodeId)], origin: &Origin, now: Timestamp) {
        let header = envelope.header();
        let whole = match self.undurable.get(&envelope.id()) {
            Some(other) => envelope.merge(other),
            None => envelope.clone(),
        };
        self.open.accept(Op::PutEnvelope { id: envelope.id(), bytes: whole.encoded().clone() });
        for (index, from) in taken {
            let Some(recipient) = header.recipients.get(usize::from(*index)) else { continue };
            let position = Position { queue: recipient.id.clone(), rank: admit::rank_of(header), seq: self.next_seq() };
            let entry = Entry {
                id: envelope.id(),
                index: *index,
                attempt: origin.attempt,
                sender: header.sender.clone(),
                from: from.clone(),
                path: origin.path.clone(),
                accepted: now,
                expires: header.expires,
                bytes: u32::try_from(envelope.encoded_len()).unwrap_or(u32::MAX),
            };
            self.take_room(&position, &entry);
            self.open.enqueue(position, entry);
        }
        if header.recipients.len() > 1 {
            self.undurable.insert(envelope.id(), whole);
        }
    }

    /// At the recipient's daemon: the inbox's records and the dedupe ids, in one commit.
    fn deliver(&mut self, received: &Received, fresh: &[u16], ack: &mut Ack, actions: &mut Vec<Action>) {
        let header = received.envelope.header();
        if let (Some(Local::Refuse { ops, .. }), false) = (&received.local, ack.refused.is_empty()) {
            ops.iter().for_each(|op| self.open.accept(op.clone()));
        }
        let until = remember_until(header.expires);
        let from = self.peers.get(&received.link).map(|(peer, _)| peer.clone());
        let record = Remembered { from, ..Remembered::mark(received.attempt, Held::Released, until) };
        for index in fresh {
            let Some(Local::Deliver { ops, chain }) = &received.local else { continue };
            ops.iter().filter(|_| !planted(Mutant::InboxKeepsNothing)).for_each(|op| self.open.accept(op.clone()));
            let own = DedupeKey { id: received.envelope.id(), index: *index };
            // A message is the first of its own chain, so that one which supersedes it later is known.
            let first = chain.as_ref().map_or(own.id, |(first, _)| *first);
            for key in [own, DedupeKey { id: first, index: CHAIN_INDEX }] {
                self.open.keys.insert(key);
                if !planted(Mutant::InboxDedupeVolatile) {
                    self.open.accept(Op::Remember { key, record: record.clone() });
                }
            }
            actions.push(Action::Measure(Measure::Accepted(header.precedence)));
            ack.taken.push(*index);
        }
    }

    /// Own messages are not remembered: nobody else can submit them, and one addressed to this very agency must arrive.
    pub(super) fn enqueue_own(
        &mut self,
        envelope: &VerifiedEnvelope,
        (attempt, tried): (u8, Vec<NodeId>),
        stored: Option<&VerifiedEnvelope>,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let header = envelope.header();
        let indices: Vec<u16> = match header.kind {
            Kind::Chunk => (0..header.recipients.len()).filter_map(|index| u16::try_from(index).ok()).collect(),
            Kind::Sealed => envelope.envelope().wraps.iter().map(|wrap| wrap.index).collect(),
        };
        let origin = Origin { attempt, path: tried };
        let taken: Vec<(u16, NodeId)> = indices.iter().map(|index| (*index, self.config.me.clone())).collect();
        let stored = stored.filter(|_| !planted(Mutant::SubmittedAgainLosesWraps));
        let whole = stored.map_or_else(|| envelope.clone(), |stored| envelope.merge(stored));
        self.enqueue(&whole, &taken, &origin, now);
        actions.extend(indices.iter().map(|_| Action::Measure(Measure::Accepted(header.precedence))));
    }

    pub(super) fn handle_records(&mut self, ticket: Ticket, ops: Vec<Op>) {
        ops.into_iter().for_each(|op| self.open.accept(op));
        self.open.answers.push((ticket, Vec::new()));
    }

    pub(super) fn handle_rejected(
        &self,
        lane: LaneKey,
        seq: u64,
        branch: &[u16],
        reason: RefusalReason,
        detail: &str,
        actions: &mut Vec<Action>,
    ) {
        let Some((_, kind)) = self.peers.get(&lane.0) else { return };
        // [REF-2] A relay may follow a newer roster, which names the sender's new key: the envelope waits until it is here.
        let refusal = if reason == RefusalReason::UnknownSender && *kind == NodeKind::Relay {
            Refusal::later(reason, detail, LATER_MS)
        } else {
            Refusal::last(reason, detail)
        };
        refuse_all(lane, seq, branch, &refusal, actions);
    }
}

/// Whether its sender has sent again what is in the inbox: the receipt did not reach it.
fn sent_again(received: &Received) -> bool {
    received.seen.iter().flatten().any(|seen| received.attempt > seen.attempt)
}

/// Relays that an envelope has passed, with the one that handed it over.
fn path_from(received: &Received, peer: Option<&(NodeId, NodeKind)>) -> Vec<NodeId> {
    let mut path = received.path.clone();
    if let Some((peer, NodeKind::Relay)) = peer {
        path.push(peer.clone());
    }
    path
}

/// How custody came here.
struct Origin {
    attempt: u8,
    path: Vec<NodeId>,
}

fn check_branch(received: &Received, header: &Header) -> Result<(), &'static str> {
    if received.branch.len() != received.seen.len() {
        return Err("branch and dedupe memory differ");
    }
    let unknown = received.branch.iter().any(|index| usize::from(*index) >= header.recipients.len());
    if unknown && !planted(Mutant::BranchUnchecked) {
        return Err("a branch names a recipient that the header does not have");
    }
    if received.rank != admit::rank_of(header) && !planted(Mutant::LaneUnchecked) {
        Err("a lane carries its own precedence only")
    } else {
        Ok(())
    }
}

fn in_words(no_room: NoRoom, sender: &NodeId, recipient: &AgencyId) -> String {
    match no_room {
        NoRoom::Queue { held, max } => format!("the queue of {recipient} holds {held} of {max} bytes"),
        NoRoom::Sender { held, max } => {
            format!("{sender} has {held} of its {max} bytes in the queue of {recipient}")
        }
        NoRoom::Share { held, free } => {
            format!("{sender} has {held} bytes in the queue of {recipient}, and {free} are free for all senders")
        }
    }
}

/// A relay that stripped a wrap is found by the next one, which names it by refusing.
fn check_wrap(envelope: &VerifiedEnvelope, index: u16) -> Result<(), Refusal> {
    let there = envelope.envelope().wraps.iter().any(|wrap| wrap.index == index);
    if there || envelope.header().kind == Kind::Chunk || planted(Mutant::WrapMissingTaken) {
        return Ok(());
    }
    Err(Refusal::last(RefusalReason::BadWrap, "the recipient's wrap is missing"))
}

/// Refusals need no commit: nothing was stored.
fn refuse_all(lane: LaneKey, seq: u64, branch: &[u16], refusal: &Refusal, actions: &mut Vec<Action>) {
    let mut refused_all: BTreeMap<u16, Refused> = BTreeMap::new();
    for index in branch {
        refused_all.insert(*index, refused(*index, refusal, actions));
    }
    let refused = refused_all.into_values().collect();
    let ack = Ack { seq, taken: vec![], duplicate: vec![], refused, proof: None };
    let acks = vec![Acknowledgement { ack, custody: None }];
    actions.push(Action::Acknowledge { link: lane.0, rank: lane.1, acks });
}

fn refused(index: u16, refusal: &Refusal, actions: &mut Vec<Action>) -> Refused {
    actions.push(Action::Measure(Measure::Refused(refusal.reason)));
    let mut detail = refusal.detail.clone();
    while detail.len() > DETAIL_BYTES_MAX {
        detail.pop();
    }
    Refused { index, reason: refusal.reason.code(), detail, retry_after_ms: refusal.retry_after_ms }
}
