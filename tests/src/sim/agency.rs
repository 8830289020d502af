//! The agency behind a daemon: submits, owes receipts, asks after what is silent and sends it again.
//!
//! It follows the rules of the real daemon's outbox ([CUST-12]) with records of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use liaison_core::action::Outcome;
use liaison_core::op::{Op, Table};
use liaison_core::{Event, LinkKey, NodeKind, Ticket};
use liaison_node::local::OwnEvent;
use liaison_protocol::frame::{CustodyState, Inquiry, InquiryAnswer};
use liaison_protocol::limits::{ATTEMPTS_MAX, INQUIRY_HOPS_MAX};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{MessageId, NodeId, Timestamp};

use super::mail;
use super::network::Frame;
use super::node::Request;
use super::records::{self, Open};
use super::trace::{Fact, MailKind, NodeNo, Step};
use super::world::{What, World};

/// What is silent is asked after so often.
const INQUIRY: Duration = Duration::from_secs(3600);
/// After so long a silence it is sent again.
const SILENCE: Duration = Duration::from_secs(86_400);
/// Between two messages that are looked at.
const ATTEND_MS: u64 = 100;
/// Past the expiry, so long a receipt that was on its way is waited for.
const GRACE: Duration = Duration::from_secs(3600);

impl World<'_> {
    pub(super) fn submit(&mut self, mail: usize) {
        let planned = &self.plan.mail[mail];
        let node = self.plan.shape.relays() + planned.from;
        if !self.nodes[node].is_up() {
            // An analyst tries again when the daemon is back.
            return self.after(1_000, What::Submit { mail });
        }
        if self.plan.office {
            return self.submit_to_office(node, mail);
        }
        let to: Vec<NodeNo> = planned.to.iter().map(|agency| self.plan.shape.relays() + agency).collect();
        let text = self.text_of(mail);
        let expires = self.clock(node).after(Duration::from_secs(planned.lifetime_s));
        let envelope = self.seal(node, &to, planned.precedence, expires, &mail::message(&text));
        let (id, since) = (envelope.id(), self.clock(node));
        self.mail.insert(mail, id);
        let mut ops = vec![records::copy(id, envelope.encoded().clone())];
        ops.extend((0..).zip(&to).map(|(index, _)| records::open(id, index, Open { attempt: 1, expires, since })));
        let (rank, kind) = (planned.precedence.rank(), MailKind::Message);
        self.note(Step::Submitted { node, id, recipients: to, rank, kind, text, expires });
        let ticket = self.nodes[node].ticket(Request::Submit(id));
        self.handle(node, Event::Submitted { ticket, envelope, attempt: 1, tried: Vec::new(), stored: None, ops });
        if let Some(ms) = planned.cancel_after_ms {
            self.after(ms, What::Cancel { mail });
        }
    }

    /// Each recipient by itself: what has left already can not be withdrawn.
    pub(super) fn cancel(&mut self, mail: usize) {
        let node = self.plan.shape.relays() + self.plan.mail[mail].from;
        if self.plan.office {
            return self.cancel_at_office(node, mail);
        }
        let Some(id) = self.mail.get(&mail).copied().filter(|_| self.nodes[node].is_up()) else { return };
        let entries = self.nodes[node].disk().entries_of(&id);
        for (position, entry) in entries {
            let ops = self.told(node, id, entry.index, node, RefusalReason::Cancelled);
            let ticket = self.nodes[node].ticket(Request::Cancel(id));
            self.handle(node, Event::Cancel { ticket, entries: vec![(position, entry)], ops });
        }
    }

    pub(super) fn answered(&mut self, node: NodeNo, ticket: Ticket, outcome: &Outcome) -> Option<Event> {
        let done = matches!(outcome, Outcome::Done { .. });
        match self.nodes[node].tickets.remove(&ticket) {
            Some(Request::Submit(id) | Request::Cancel(id)) => self.note(Step::Answered { node, id, done }),
            Some(Request::Office) => {
                self.office_answered(node, ticket, outcome);
                return None;
            }
            Some(Request::Bundle(bundle)) if done => return self.bundle_written(node, &bundle),
            Some(Request::Bundle(_) | Request::Records) | None => {}
        }
        if !done && self.nodes[node].kind == NodeKind::Daemon {
            let life = self.nodes[node].life;
            self.after(10_000, What::PayReceipts { node, life });
        }
        None
    }

    /// After a commit: receipts may be owed, or something may be waited for.
    pub(super) fn look_after_agency(&mut self, node: NodeNo) {
        if !self.nodes[node].is_up() {
            return;
        }
        if self.nodes[node].desk.is_some() {
            self.nodes[node].agency.arrivals = true;
            self.stir(node);
            return self.arm_round(node);
        }
        if self.nodes[node].disk().records(Table::ReceiptsDue).next().is_some() {
            let (life, ms) = (self.nodes[node].life, self.rng.range(50, 1_500));
            self.after(ms, What::PayReceipts { node, life });
        }
        self.arm_round(node);
    }

    /// One envelope of receipts for each sender, and in the same commit nothing is owed any more.
    pub(super) fn pay_receipts(&mut self, node: NodeNo, life: u64) {
        if self.nodes[node].life != life || !self.nodes[node].is_up() || self.nodes[node].desk.is_some() {
            return;
        }
        let under_way = self.nodes[node].tickets.values().any(|request| matches!(request, Request::Records));
        let mut by_sender: BTreeMap<NodeNo, Vec<MessageId>> = BTreeMap::new();
        let disk = self.nodes[node].disk();
        for (id, sender) in disk.records(Table::ReceiptsDue).filter_map(|(key, value)| records::read_due(key, value)) {
            by_sender.entry(sender).or_default().push(id);
        }
        drop(disk);
        if under_way || by_sender.is_empty() {
            return;
        }
        for (sender, ids) in by_sender {
            let envelope = self.receipts(node, sender, &ids);
            let (id, expires) = (envelope.id(), envelope.header().expires);
            let (rank, kind, text) = (envelope.header().precedence.rank(), MailKind::Receipts, String::new());
            self.note(Step::Submitted { node, id, recipients: vec![sender], rank, kind, text, expires });
            let ops = ids.into_iter().map(records::paid).collect();
            let ticket = self.nodes[node].ticket(Request::Records);
            self.handle(node, Event::Submitted { ticket, envelope, attempt: 1, tried: Vec::new(), stored: None, ops });
        }
    }

    /// When the agency, or the store, next has something to do by itself.
    pub(super) fn arm_round(&mut self, node: NodeNo) {
        let state = &self.nodes[node];
        if !state.is_up() {
            return;
        }
        let waits = self.has_open(node).then(|| self.now_ms + to_ms(INQUIRY));
        let (old, next) = state.disk().forgettable(self.clock(node));
        let forget = if old.is_empty() { next.map(|next| state.true_ms(next)) } else { Some(self.now_ms + 1_000) };
        let chunks = state.desk.is_some().then(|| self.chunks_due_ms(node)).flatten();
        let next = waits.into_iter().chain(forget).chain(chunks).min();
        let Some(at_ms) = next.map(|at| at.max(self.now_ms + 1_000)) else { return };
        if self.nodes[node].round_ms.is_none_or(|round_ms| at_ms < round_ms) {
            self.nodes[node].round_ms = Some(at_ms);
            self.at(at_ms, What::Round { node, at_ms });
        }
    }

    fn has_open(&self, node: NodeNo) -> bool {
        if self.nodes[node].desk.is_some() { self.office_waits(node) } else { !self.open_parts(node).is_empty() }
    }

    fn open_parts(&self, node: NodeNo) -> Vec<(MessageId, u16)> {
        let disk = self.nodes[node].disk();
        let open = disk.records(Table::Outbox).filter_map(|(key, value)| records::read_open(key, value));
        open.map(|(id, index, _)| (id, index)).collect()
    }

    fn open_record(&self, node: NodeNo, id: MessageId, index: u16) -> Option<Open> {
        let key = records::is_open(id, index);
        let value = self.nodes[node].disk().record(&key).cloned()?;
        records::read_open(&key.1, &value).map(|(_, _, open)| open)
    }

    /// Forgets old ids; ends, asks after, or sends again what is silent.
    pub(super) fn round(&mut self, node: NodeNo, at_ms: u64) {
        if self.nodes[node].round_ms != Some(at_ms) {
            return;
        }
        self.nodes[node].round_ms = None;
        let now = self.clock(node);
        let (old, _) = self.nodes[node].disk().forgettable(now);
        self.commit_records(node, old.into_iter().map(|key| Op::Forget { key }).collect());
        if self.nodes[node].desk.is_some() {
            self.stir(node);
            return self.arm_round(node);
        }
        // One after another, each once the one before is on the disk, as the real daemon does.
        let life = self.nodes[node].life;
        for (part, wait_ms) in self.open_parts(node).into_iter().zip((0..).map(|number| number * ATTEND_MS)) {
            self.after(wait_ms, What::Attend { node, life, part });
        }
        self.arm_round(node);
    }

    pub(super) fn attend(&mut self, node: NodeNo, life: u64, (id, index): (MessageId, u16)) {
        if self.nodes[node].life != life || !self.nodes[node].is_up() {
            return;
        }
        let Some(open) = self.open_record(node, id, index) else { return };
        let now = self.clock(node);
        let queued = self.nodes[node].disk().entries_of(&id).iter().any(|(_, entry)| entry.index == index);
        if now > open.expires.after(GRACE) {
            if !queued {
                let ops = self.told(node, id, index, node, RefusalReason::Expired);
                self.commit_records(node, ops);
            }
            return;
        }
        let heard = self.nodes[node].heard.get(&(id, index)).map_or(open.since, |heard| open.since.max(*heard));
        if queued {
            return;
        }
        if now.since(heard) >= SILENCE {
            self.submit_again(node, id, index, open, now);
        } else if now.since(heard) >= INQUIRY / 2 {
            let links: Vec<LinkKey> = self.nodes[node].links.keys().copied().collect();
            let inquiry = Inquiry { id, index, hops: INQUIRY_HOPS_MAX };
            links.into_iter().for_each(|link| self.transmit(node, link, Frame::Inquiry(inquiry)));
        }
    }

    fn submit_again(&mut self, node: NodeNo, id: MessageId, index: u16, open: Open, now: Timestamp) {
        let copy = self.nodes[node].disk().record(&records::copy_key(id)).cloned();
        let Some(copy) = copy.filter(|_| open.attempt < ATTEMPTS_MAX && now < open.expires) else { return };
        // Its own key may have left the roster meanwhile.
        let Ok(envelope) = self.verify(node, copy) else { return };
        let attempt = open.attempt + 1;
        let ops = vec![records::open(id, index, Open { attempt, since: now, ..open })];
        let recipient = envelope.header().recipients[usize::from(index)].id.clone();
        let recipients = vec![self.federation.number(&NodeId::from(&recipient)).expect("a name of the plan")];
        let (rank, kind) = (envelope.header().precedence.rank(), MailKind::Again);
        self.note(Step::Submitted { node, id, recipients, rank, kind, text: String::new(), expires: open.expires });
        let Ok(stored) = self.nodes[node].disk().envelope(&id) else { return self.rotten(node) };
        let stored = stored.and_then(|bytes| self.verify(node, bytes).ok()).map(Box::new);
        let ticket = self.nodes[node].ticket(Request::Submit(id));
        let envelope = envelope.prune(&[index]);
        self.handle(node, Event::Submitted { ticket, envelope, attempt, tried: Vec::new(), stored, ops });
    }

    fn commit_records(&mut self, node: NodeNo, ops: Vec<Op>) {
        if !ops.is_empty() {
            let ticket = self.nodes[node].ticket(Request::Records);
            self.handle(node, Event::Records { ticket, ops });
        }
    }

    /// A holder of a message says that it knows nothing of it, or one behind it that it should have passed it to.
    pub(super) fn told_where(&mut self, node: NodeNo, via: NodeNo, answer: &InquiryAnswer) {
        let part = (answer.id, answer.index);
        if answer.state != CustodyState::Unknown {
            // That somebody has it who does not answer says nothing.
            if !matches!(answer.state, CustodyState::Released { .. }) {
                let now = self.clock(node);
                self.nodes[node].heard.insert(part, now);
            }
            return;
        }
        if self.nodes[node].holders.get(&part) != Some(&via) {
            return;
        }
        let (id, index) = part;
        let open = self.open_record(node, id, index);
        let queued = self.nodes[node].disk().entries_of(&id).iter().any(|(_, entry)| entry.index == index);
        if let Some(open) = open.filter(|_| !queued) {
            self.nodes[node].holders.remove(&part);
            self.submit_again(node, id, index, open, self.clock(node));
        }
    }

    /// A message that is here is asked after: its receipt is owed again.
    pub(super) fn asked_after(&mut self, node: NodeNo, id: MessageId) -> Option<Event> {
        if self.nodes[node].desk.is_some() {
            return self.progress(node, OwnEvent::AskedAfter { id });
        }
        let disk = self.nodes[node].disk();
        let inbox = disk.records(Table::Inbox).filter_map(|(key, value)| records::fact(Table::Inbox, key, value));
        let facts: Vec<Fact> = inbox.collect();
        drop(disk);
        let sender = facts.into_iter().find_map(|fact| match fact {
            Fact::Inbox { id: other, sender, .. } if other == id => Some(sender),
            _ => None,
        })?;
        let ticket = self.nodes[node].ticket(Request::Records);
        Some(Event::Records { ticket, ops: vec![records::due(id, sender)] })
    }

    /// A roster comes, from a peer or an operator.
    pub(super) fn offered(&mut self, node: NodeNo, bytes: &Bytes) {
        if self.nodes[node].is_up() {
            self.judge(node, bytes);
        }
    }
}

fn to_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).expect("a span fits")
}
