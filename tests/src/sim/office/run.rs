//! The run loop's side: what the office asks for, and what it is told, as the product's own run loop does it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use liaison_client::api::model::ProblemCode;
use liaison_client::office::Office;
use liaison_core::action::Outcome;
use liaison_core::event::{Ended as EntryEnd, Local};
use liaison_core::op::{DedupeKey, Entry, Op, Position, RANK_BULK, Table};
use liaison_core::{CHAIN_INDEX, Event, LinkKey, Ticket};
use liaison_node::local::{Answer, Asked, LocalAgency, OwnEvent, Received, Request, RequestError};
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::frame::{Ack, Inquiry, InquiryAnswer};
use liaison_protocol::limits::INQUIRY_HOPS_MAX;
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{MessageId, Timestamp};

use super::{Desk, Ended, Errand, Waiter};
use crate::sim::network::Frame;
use crate::sim::node::Request as Waits;
use crate::sim::trace::{MailKind, NodeNo, Step};
use crate::sim::world::{What, World};

impl World<'_> {
    pub(in crate::sim) fn open_desk(&mut self, node: NodeNo, seed: u64) {
        if self.plan.office && !self.federation.is_relay(node) {
            let desk = Desk::open(&self.nodes[node], node, &self.federation, seed, self.now_ms);
            self.nodes[node].desk = Some(desk);
            self.stirred.insert(node);
        }
    }

    /// The office, at its node's time.
    pub(super) fn office(&mut self, node: NodeNo) -> Option<Arc<Office>> {
        let (clock, now_ms) = (self.clock(node), self.now_ms);
        let desk = self.nodes[node].desk.as_ref()?;
        desk.set_clock(clock, now_ms);
        self.stirred.insert(node);
        Some(Arc::clone(&desk.office))
    }

    /// Whatever the offices have to do now.
    pub(in crate::sim) fn run_offices(&mut self) {
        while let Some(node) = self.stirred.pop_first() {
            self.run_office(node);
        }
    }

    fn run_office(&mut self, node: NodeNo) {
        let (clock, now_ms) = (self.clock(node), self.now_ms);
        loop {
            let Some(desk) = self.nodes[node].desk.as_mut() else { return };
            desk.set_clock(clock, now_ms);
            let Some((errand, polled)) = desk.errands.turn() else { break };
            let requests: Vec<Asked> = std::iter::from_fn(|| desk.requests.try_recv().ok()).collect();
            for request in requests {
                self.requested(node, errand, request);
            }
            if let Poll::Ready(ended) = polled {
                self.errand_ended(node, errand, ended);
            }
        }
        self.follow_inbox(node);
        self.arm_desk(node);
    }

    fn arm_desk(&mut self, node: NodeNo) {
        let now_ms = self.now_ms;
        let Some(desk) = self.nodes[node].desk.as_mut() else { return };
        let Some(next_ms) = desk.clock.next_ms().map(|at| at.max(now_ms)) else { return };
        if desk.wake_ms.is_none_or(|wake_ms| next_ms < wake_ms) {
            desk.wake_ms = Some(next_ms);
            self.at(next_ms, What::Wake { node, at_ms: next_ms });
        }
    }

    pub(in crate::sim) fn wake(&mut self, node: NodeNo, at_ms: u64) {
        let Some(desk) = self.nodes[node].desk.as_mut().filter(|desk| desk.wake_ms == Some(at_ms)) else { return };
        desk.wake_ms = None;
        self.stirred.insert(node);
    }

    /// Something has changed that an office would find when it looks round.
    pub(in crate::sim) fn stir(&mut self, node: NodeNo) {
        if self.office(node).is_some()
            && let Some(desk) = &self.nodes[node].desk
        {
            desk.low.store(self.now_ms < self.nodes[node].faults.low_until, Ordering::Relaxed);
            desk.clock.stir();
        }
    }

    fn requested(&mut self, node: NodeNo, errand: Errand, Asked { request, reply }: Asked) {
        match request {
            Request::Cancel { id, index, ops } => {
                let mut entries = self.nodes[node].disk().entries_of(&id);
                entries.retain(|(_, entry)| index.is_none_or(|index| entry.index == index));
                let Some(ticket) = self.waiter(node, Waiter::Cancelled(reply)) else { return };
                self.handle(node, Event::Cancel { ticket, entries, ops });
            }
            Request::Commit { ops } => {
                self.note_stored(node, errand, &ops);
                let Some(ticket) = self.waiter(node, Waiter::Unit(reply)) else { return };
                self.handle(node, Event::Records { ticket, ops });
            }
            Request::Inquire { id, index } => {
                let inquiry = Inquiry { id, index, hops: INQUIRY_HOPS_MAX };
                let links: Vec<LinkKey> = self.nodes[node].links.keys().copied().collect();
                links.into_iter().for_each(|link| self.transmit(node, link, Frame::Inquiry(inquiry)));
            }
            Request::PublishBundle => self.publish_bundle(node),
            Request::Retry { id } => {
                let waiting = id.map_or(0, |id| self.nodes[node].disk().entries_of(&id).len() as u64);
                self.handle(node, Event::Retry);
                drop(reply.map(|reply| reply.send(Ok(Answer::Going(waiting)))));
            }
            Request::Submit { envelope, attempt, tried, ops } => {
                self.note_submitted(node, errand, (&envelope, attempt), &ops);
                let whole = envelope.header().recipients.len() == envelope.envelope().wraps.len();
                let stored = self.nodes[node].disk().envelope(&envelope.id()).ok().flatten().filter(|_| !whole);
                let stored = stored.and_then(|bytes| self.verify(node, bytes).ok()).map(Box::new);
                let Some(ticket) = self.waiter(node, Waiter::Unit(reply)) else { return };
                self.handle(node, Event::Submitted { ticket, envelope: *envelope, attempt, tried, stored, ops });
            }
        }
    }

    /// `None`: its disk has failed in this very turn.
    fn waiter(&mut self, node: NodeNo, waiter: Waiter) -> Option<Ticket> {
        self.nodes[node].desk.as_ref()?;
        let ticket = self.nodes[node].ticket(Waits::Office);
        self.nodes[node].desk.as_mut()?.waiting.insert(ticket, waiter);
        Some(ticket)
    }

    pub(in crate::sim) fn office_answered(&mut self, node: NodeNo, ticket: Ticket, outcome: &Outcome) {
        let Some(desk) = self.nodes[node].desk.as_mut() else { return };
        let Some(waiter) = desk.waiting.remove(&ticket) else { return };
        self.stirred.insert(node);
        let result = match outcome {
            Outcome::Done { withdrawn } => Ok(withdrawn.clone()),
            Outcome::Full => Err(RequestError::Full),
        };
        match waiter {
            Waiter::Cancelled(reply) => drop(reply.map(|reply| reply.send(result.map(Answer::Withdrawn)))),
            Waiter::Unit(reply) => drop(reply.map(|reply| reply.send(result.map(|_| Answer::Done)))),
        }
    }

    fn errand_ended(&mut self, node: NodeNo, errand: Errand, ended: Ended) {
        match (errand, ended) {
            (Errand::Submit { mail }, Ended::Submitted(result)) => self.submit_answered(node, mail, result),
            (Errand::Cancel { id }, Ended::Cancelled(result)) => {
                let fault = ProblemCode::StoreFault.as_str();
                match result {
                    Err(problem) if problem.code == fault => self.die(node, "its office cannot read", false, 1_000),
                    result => self.note(Step::Answered { node, id, done: result.is_ok() }),
                }
            }
            (Errand::Mark { id }, Ended::Marked(result)) => self.mark_answered(node, id, result),
            // A loop that ends ends the daemon.
            _ => self.die(node, "its office gave up", false, 1_000),
        }
    }

    fn note_submitted(
        &mut self,
        node: NodeNo,
        errand: Errand,
        (envelope, attempt): (&VerifiedEnvelope, u8),
        ops: &[Op],
    ) {
        let (id, header) = (envelope.id(), envelope.header());
        let anew = super::records::anew(id, ops);
        let number = |index: usize| {
            let to = (&header.recipients[index].id).into();
            self.federation.number(&to).expect("a name of the plan")
        };
        let (kind, recipients): (_, Vec<NodeNo>) = match errand {
            Errand::Submit { .. } => (MailKind::Message, (0..header.recipients.len()).map(number).collect()),
            Errand::Task { name: "receipts" } => (MailKind::Receipts, vec![number(0)]),
            Errand::Task { name: "feeder" } => (MailKind::Chunk, (0..header.recipients.len()).map(number).collect()),
            _ if anew.is_some() => (MailKind::Anew, (0..header.recipients.len()).map(number).collect()),
            _ => {
                assert!(attempt > 1, "what is sent for the first time has an id of its own");
                let wraps = envelope.envelope().wraps.iter();
                (MailKind::Again, wraps.map(|wrap| number(usize::from(wrap.index))).collect())
            }
        };
        if !matches!(kind, MailKind::Again | MailKind::Chunk) {
            self.note_sealed(node, envelope);
        }
        let rank = if kind == MailKind::Chunk { RANK_BULK } else { header.precedence.rank() };
        let expires = header.expires;
        let mail = match errand {
            Errand::Submit { mail } => Some(mail),
            _ => anew.and_then(|first| self.sent.get(&first).copied()),
        };
        let text = mail.map_or_else(String::new, |mail| self.text_of(mail));
        self.sent.extend(mail.map(|mail| (id, mail)));
        self.note(Step::Submitted { node, id, recipients, rank, kind, text, expires });
        if let Errand::Submit { mail } = errand {
            self.note_attached(node, id, mail);
        }
        if let (Some(of), Some(wrap)) = (anew, envelope.envelope().wraps.first()) {
            self.note(Step::Resealed { node, id, of, index: wrap.index });
        }
        if let Some((of, attachment, index)) = super::records::chunk_of(id, ops) {
            self.note(Step::Chunk { node, id, of, attachment, index });
        }
    }

    /// What the office makes of a transfer; `None`: it is for nobody here, or the node has stopped.
    pub(in crate::sim) fn offer(
        &mut self,
        node: NodeNo,
        envelope: &VerifiedEnvelope,
        branch: &[u16],
        transfer: (LinkKey, u8, u64),
    ) -> Option<Local> {
        let (office, now, me) = (self.office(node)?, self.clock(node), self.federation.agency(node));
        let recipients = &envelope.header().recipients;
        let for_me = |index: &&u16| recipients.get(usize::from(**index)).is_some_and(|recipient| recipient.id == me);
        let index = branch.iter().find(for_me)?;
        let received = office.receive(envelope, *index, now);
        if let Some(desk) = self.nodes[node].desk.as_mut() {
            desk.offered.insert(transfer, envelope.id());
        }
        match received {
            Received::Deliver { ops, chain } => {
                let disk = self.nodes[node].disk();
                let seen = |first: MessageId| (first, disk.remembered(&DedupeKey { id: first, index: CHAIN_INDEX }));
                Some(Local::Deliver { ops, chain: chain.map(seen) })
            }
            Received::Later { reason, detail } => Some(Local::Later { reason, detail }),
            Received::Refuse { reason, detail, ops } => Some(Local::Refuse { reason, detail, ops }),
            Received::Fault(_) => {
                self.die(node, "its office cannot read", false, 1_000);
                None
            }
        }
    }

    /// The office hears what became of what it opened.
    pub(in crate::sim) fn settle_offer(&mut self, node: NodeNo, link: LinkKey, rank: u8, ack: &Ack) {
        let Some(desk) = self.nodes[node].desk.as_mut() else { return };
        let Some(id) = desk.offered.remove(&(link, rank, ack.seq)) else { return };
        let Some(office) = self.office(node) else { return };
        if ack.taken.is_empty() { office.dropped(id) } else { office.committed(id) }
    }

    /// Tells the office, and gives what it wants written down.
    pub(in crate::sim) fn progress(&mut self, node: NodeNo, event: OwnEvent) -> Option<Event> {
        let now = self.clock(node);
        let ops = self.office(node)?.progress(event, now);
        (!ops.is_empty()).then(|| Event::Records { ticket: self.nodes[node].ticket(Waits::Records), ops })
    }

    pub(in crate::sim) fn tell_office(&mut self, node: NodeNo, event: OwnEvent) {
        if let Some(event) = self.progress(node, event) {
            self.handle(node, event);
        }
    }

    /// What ends an entry of the office's own.
    pub(in crate::sim) fn end_at_office(
        &mut self,
        node: NodeNo,
        (position, entry): (&Position, &Entry),
        (reason, detail): (RefusalReason, &str),
        now: Timestamp,
    ) -> Option<EntryEnd> {
        let (id, index) = (entry.id, entry.index);
        let event = match reason {
            RefusalReason::Expired if detail.is_empty() => OwnEvent::Expired { id, index },
            RefusalReason::Expired => {
                let by = self.nodes[node].id.clone();
                OwnEvent::Refused { id, index, by, reason, detail: detail.to_owned() }
            }
            reason => {
                let hop = self.nodes[node].core.as_ref()?.next_hop_of(&position.queue);
                let by = hop.unwrap_or_else(|| self.nodes[node].id.clone());
                OwnEvent::Refused { id, index, by, reason, detail: detail.to_owned() }
            }
        };
        Some(EntryEnd::Records(self.office(node)?.progress(event, now)))
    }

    /// Whether an answer was for the office.
    pub(in crate::sim) fn office_heard(&mut self, node: NodeNo, via: NodeNo, answer: &InquiryAnswer) -> bool {
        if self.nodes[node].desk.is_none() {
            return false;
        }
        let (via, InquiryAnswer { id, index, by, state }) = (self.nodes[via].id.clone(), answer.clone());
        self.tell_office(node, OwnEvent::Answer { id, index, by, via, state });
        true
    }

    pub(in crate::sim) fn follow_roster(&mut self, node: NodeNo) {
        self.follow_signers(node);
        let roster = Arc::clone(self.nodes[node].roster());
        if let Some(desk) = &self.nodes[node].desk {
            desk.roster.send_replace(roster);
            self.tell_office(node, OwnEvent::Roster);
            self.stir(node);
        }
    }

    /// Whether the office waits for a receipt.
    pub(in crate::sim) fn office_waits(&self, node: NodeNo) -> bool {
        self.nodes[node].disk().scan(Table::Outbox, b"o", None).next().is_some()
    }

    fn note_stored(&mut self, node: NodeNo, errand: Errand, ops: &[Op]) {
        // All recipients wait for a key: nothing is queued.
        let Errand::Submit { mail } = errand else { return };
        let Some(id) = super::records::stored(ops) else { return };
        let planned = &self.plan.mail[mail];
        let recipients: Vec<NodeNo> = planned.to.iter().map(|agency| self.plan.shape.relays() + agency).collect();
        let (rank, expires) =
            (planned.precedence.rank(), self.clock(node).after(super::application::lifetime(planned)));
        self.sent.insert(id, mail);
        let (kind, text) = (MailKind::Message, self.text_of(mail));
        self.note(Step::Submitted { node, id, recipients, rank, kind, text, expires });
        self.note_attached(node, id, mail);
    }
}
