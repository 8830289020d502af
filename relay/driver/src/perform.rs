//! Doing what the core says.

use bytes::Bytes;
use liaison_core::action::{Acknowledgement, CloseReason, SendTransfer, Taken};
use liaison_core::event::{self, Ended};
use liaison_core::op::{DedupeKey, Entry, Op, Position};
use liaison_core::{Action, CHAIN_INDEX, Event, LinkKey, NodeKind};
use liaison_protocol::MessageId;
use liaison_protocol::envelope::{Envelope, VerifiedEnvelope, verify_bytes};
use liaison_protocol::frame::{ACKS_MAX, Ack, Acks, CloseCode, ControlFrame, Reach, Transfer};
use liaison_protocol::refusal::RefusalReason;

use crate::agency::{OwnEvent, Received};
use crate::input::{Checked, Outcome};
use crate::links::Link;
use crate::notices::Notice;
use crate::output::Metric;
use crate::receipts::Signed;
use crate::store_error::StoreError;
use crate::{Driver, Fault, Output};

/// The fault of a store that lacks an entry's envelope.
const MISSING: &str = "an entry's envelope is not in the store";

impl Driver {
    /// `signed`: the receipt of the commit that has just ended, if one has.
    pub(crate) fn perform(&mut self, action: Action, signed: Option<&Signed>) {
        match action {
            Action::Acknowledge { link, rank, acks } => self.acknowledge(link, rank, acks, signed),
            Action::Ask { link, inquiry } => self.control(link, ControlFrame::Inquiry(inquiry)),
            Action::AskedAfter { id } => self.progress(OwnEvent::AskedAfter { id }),
            Action::Attest { link, custody, taken } => self.attest(link, custody, &taken, signed),
            Action::Tell { link, answer } => self.control(link, ControlFrame::InquiryAnswer(answer)),
            Action::Answer { ticket, outcome } => self.answer(ticket, outcome),
            Action::Close { link, why } => self.close(link, why),
            Action::Commit { ops, custody } => self.commit(ops, &custody),
            Action::Compare { link, frame } => self.control(link, ControlFrame::Comparison(frame)),
            Action::Compared { peer, hour, finding } => self.compared(peer, hour, finding.map(|finding| *finding)),
            Action::LoadReleased { link, peer, hours, after } => self.load_released(link, peer, hours, after),
            Action::End { position, entry, reason, detail } => self.end(position, &entry, reason, &detail),
            Action::Load { queue, rank, after, limit } => match self.store.head(&queue, rank, after, limit) {
                Ok(entries) => {
                    let end = entries.len() < limit;
                    self.events.push_back(Event::Loaded { queue, rank, entries, end });
                }
                Err(error) => self.fail(error),
            },
            Action::LoadExpiring { until, limit } => match self.store.expiring(until, limit) {
                Ok(due) => self.events.push_back(Event::Expiring { entries: due.entries, next: due.next }),
                Err(error) => self.fail(error),
            },
            Action::Measure(measure) => self.measure(Metric::Custody(measure)),
            Action::Passed(passed) => self.pass_back(passed),
            Action::Presence { link, presence } => self.control(link, ControlFrame::Presence(presence)),
            Action::Reach { link, relays } => self.control(link, ControlFrame::Reach(Reach { relays })),
            Action::Send(send) => self.send(send),
            Action::Unproven { peer } => self.unproven(peer),
        }
    }

    /// Verified transfers enter the core together with what the store remembers of them, in one turn.
    pub(crate) fn handle_checked(&mut self, checked: Vec<Checked>) {
        let mut events = Vec::with_capacity(checked.len());
        for checked in checked {
            match self.arrived(checked) {
                Ok(event) => events.extend(event),
                Err(error) => return self.fail(error),
            }
        }
        self.apply_together(events, None);
    }

    /// `None`: its link is gone, and with it whoever would be answered.
    fn arrived(&mut self, checked: Checked) -> Result<Option<Event>, Fault> {
        let Checked { link, rank, transfer, outcome } = checked;
        let (envelope, local) = match outcome {
            Outcome::Verified { envelope, local } => (*envelope, local),
            Outcome::Rejected(error) => {
                tracing::warn!(link = link.0, %error, "a transfer was rejected");
                let (reason, detail) = (error.reason(), error.to_string());
                let (seq, branch) = (transfer.seq, transfer.branch);
                return Ok(Some(Event::Rejected { link, rank, seq, branch, reason, detail }));
            }
        };
        let offered = local.is_some();
        if offered && !self.links.contains_key(&link) {
            self.drop_offer(envelope.id());
            return Ok(None);
        }
        if offered {
            self.offered.insert((link, rank, transfer.seq), envelope.id());
        }
        let received = self.remembered(link, rank, transfer, envelope, local)?;
        Ok(Some(Event::Received(Box::new(received))))
    }

    fn remembered(
        &self,
        link: LinkKey,
        rank: u8,
        transfer: Transfer,
        envelope: VerifiedEnvelope,
        local: Option<Received>,
    ) -> Result<event::Received, Fault> {
        let id = envelope.id();
        let seen = transfer.branch.iter().map(|index| self.store.remembered(&DedupeKey { id, index: *index }));
        let seen = seen.collect::<Result<_, StoreError>>()?;
        let stored = self.stored_branches(&envelope)?;
        let local = local.map(|local| self.local(local)).transpose()?;
        let Transfer { seq, attempt, branch, path, accepted, .. } = transfer;
        Ok(event::Received { link, rank, seq, attempt, accepted, branch, path, envelope, seen, stored, local })
    }

    fn local(&self, received: Received) -> Result<event::Local, Fault> {
        Ok(match received {
            Received::Deliver { ops, chain } => {
                let seen = |first: MessageId| {
                    let seen = self.store.remembered(&DedupeKey { id: first, index: CHAIN_INDEX })?;
                    Ok::<_, StoreError>((first, seen))
                };
                event::Local::Deliver { ops, chain: chain.map(seen).transpose()? }
            }
            Received::Fault(detail) => return Err(Fault::Agency(detail)),
            Received::Later { reason, detail } => event::Local::Later { reason, detail },
            Received::Refuse { reason, detail, ops } => event::Local::Refuse { reason, detail, ops },
        })
    }

    /// Another branch of this message may be stored here, with other wraps.
    pub(crate) fn stored_branches(&self, envelope: &VerifiedEnvelope) -> Result<Option<VerifiedEnvelope>, StoreError> {
        if envelope.header().recipients.len() == envelope.envelope().wraps.len() {
            return Ok(None);
        }
        let Some(bytes) = self.store.envelope(&envelope.id())? else { return Ok(None) };
        Ok(verify_bytes(bytes, &self.roster.federation(), &*self.roster).ok())
    }

    fn commit(&mut self, mut ops: Vec<Op>, custody: &[Taken]) {
        if self.kind == NodeKind::Relay && !custody.is_empty() {
            let (receipt, record) = self.receipts.custody(custody, &self.roster, self.now());
            self.unsigned = Some(receipt);
            self.records.push(record);
        }
        ops.append(&mut self.records);
        self.forgetting.note_written(ops.iter().filter(|op| matches!(op, Op::Remember { .. })).count());
        self.recent.note(&ops);
        self.say(Output::Commit { ops, receipts: self.receipts.last_number() });
    }

    fn acknowledge(&mut self, link: LinkKey, rank: u8, acks: Vec<Acknowledgement>, signed: Option<&Signed>) {
        let mut frames: Vec<Ack> = Vec::with_capacity(acks.len());
        for Acknowledgement { mut ack, custody } in acks {
            self.settle_offer(link, rank, &ack);
            self.note_refusals(link, &ack);
            ack.proof = custody.and_then(|index| signed?.proof(index));
            frames.push(ack);
        }
        for acks in frames.chunks(ACKS_MAX) {
            let proven = acks.iter().any(|ack| ack.proof.is_some());
            let receipt = signed.filter(|_| proven).map(|signed| signed.bytes.clone());
            self.say(Output::Acks { link, rank, acks: Acks { acks: acks.to_vec(), receipt } });
        }
    }

    /// The agency hears what became of what it opened.
    fn settle_offer(&mut self, link: LinkKey, rank: u8, ack: &Ack) {
        let Some(id) = self.offered.remove(&(link, rank, ack.seq)) else { return };
        let Some(agency) = &self.agency else { return };
        if ack.taken.is_empty() { agency.dropped(id) } else { agency.committed(id) }
    }

    fn drop_offer(&self, id: MessageId) {
        if let Some(agency) = &self.agency {
            agency.dropped(id);
        }
    }

    fn close(&mut self, link: LinkKey, why: CloseReason) {
        let Some(Link { peer, .. }) = self.links.get(&link) else { return };
        tracing::warn!(%peer, ?why, "closing a link");
        let code = match why {
            CloseReason::Protocol => CloseCode::ProtocolViolation,
            CloseReason::Timeout => CloseCode::Timeout,
        };
        self.say(Output::Close { link, code });
    }

    fn send(&mut self, send: SendTransfer) {
        if !self.links.contains_key(&send.link) {
            return;
        }
        let encoded =
            match self.recent.get(&send.id).map_or_else(|| self.store.envelope(&send.id), |bytes| Ok(Some(bytes))) {
                Ok(Some(encoded)) => encoded,
                Ok(None) => return self.fail(Fault::Agency(format!("{MISSING}: {}", send.id.short()))),
                Err(error) => return self.fail(error),
            };
        let envelope = pruned(encoded, &send.branch);
        let SendTransfer { link, rank, seq, attempt, branch, path, accepted, .. } = send;
        let transfer = Transfer { seq, attempt, branch, path, accepted, envelope };
        self.say(Output::Transfer { link, rank, transfer });
    }

    fn end(&mut self, position: Position, entry: &Entry, reason: RefusalReason, detail: &str) {
        let outcome = if let Some(agency) = self.agency.clone() {
            let (id, index, detail) = (entry.id, entry.index, detail.to_owned());
            let event = match reason {
                RefusalReason::Expired if detail.is_empty() => OwnEvent::Expired { id, index },
                // This node ends it; the detail names the last refusal.
                RefusalReason::Expired => OwnEvent::Refused { id, index, by: self.me.clone(), reason, detail },
                reason => OwnEvent::Refused { id, index, by: self.next_holder(&position), reason, detail },
            };
            Ok(Ended::Records(agency.progress(event, self.now())))
        } else {
            self.notice(&position, entry, reason, detail)
        };
        match outcome {
            Ok(outcome) => self.events.push_back(Event::Ended { position, outcome }),
            Err(error) => self.fail(error),
        }
    }

    fn next_holder(&self, position: &Position) -> liaison_protocol::NodeId {
        let hop = self.core.next_hop_of(&position.queue);
        hop.unwrap_or_else(|| self.me.clone())
    }

    fn notice(
        &mut self,
        position: &Position,
        entry: &Entry,
        reason: RefusalReason,
        detail: &str,
    ) -> Result<Ended, StoreError> {
        let notice = Notice { me: &self.me, position, entry, reason, detail, now: self.now() };
        let made = notice.make(&mut self.receipts, &self.roster, &*self.store, &*self.signer, &mut *self.random);
        let (outcome, record) = made?;
        self.records.extend(record);
        tracing::info!(message = %entry.id.short(), %reason, "not delivered");
        Ok(outcome)
    }
}

/// Only the wraps that this branch needs.
fn pruned(encoded: Bytes, branch: &[u16]) -> Bytes {
    match Envelope::decode_shared(encoded.clone()) {
        Ok(envelope) if envelope.wraps.len() > branch.len() => envelope.prune(branch).encode().into(),
        _ => encoded,
    }
}
